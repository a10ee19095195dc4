"""Layers laid out for the CPU kernels: centred, packed, with an algorithm chosen."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._ext import _cpu
from sklearn_ckn._network.kernels import KERNELS, kernel_values
from sklearn_ckn._network.pooling import pooling_taps

# From so many channels on, the transforms of Winograd's algorithm are small beside
# the products that it saves.
MIN_WINOGRAD_CHANNELS = 32

# Largest ``response_gain`` with which tiles of Winograd's algorithm are used, by their
# side. The relative error of a layer's maps was at most 0.5, 0.2 and 0.1 times the
# gain times 2^-24 with tiles of 4, of 2 and without, in networks on photographs,
# digits and noise, with well and badly conditioned anchors: 2e-6 is the aim.
MAX_RESPONSE_GAIN = {4: 65, 2: 400}

# Largest ``projection_gain`` with which pooling and projection are in float32: their
# relative error is about 3 times the gain times 2^-24.
MAX_PROJECTION_GAIN = 8

# Anchors that stand for all where kernel values are averaged.
N_SAMPLED_ANCHORS = 64


@dataclass(frozen=True)
class PackedLayer:
    """One layer as the kernels take it; see ``ckn_layer`` in ``_ext/layers.h``.

    Attributes
    ----------
    patches : dict of int
        Sizes of the products of patches and anchors.
    input_gradient : dict of int
        Sizes of the correlation of gradients with flipped anchors.
    anchors : ndarray of shape (n_panels, depth, panel_width)
        The anchors minus their mean, packed.
    direct_anchors : ndarray or None
        The same without Winograd's algorithm, where ``anchors`` are packed for it.
    flipped : ndarray or None
        The flipped anchors, packed, if gradients in the input are wanted.
    mean : ndarray of shape (patch_length,)
        Mean of the anchors.
    projection : ndarray of shape (n_panels, n_anchors, panel_width)
        float64 if ``wide``.
    real_projection : ndarray or None
        The same in the dtype of the anchors, if gradients are wanted.
    wide : bool
        Whether pooling and projection are computed in float64.
    taps : ndarray of shape (2 * radius + 1,), float64
        Of the pooling.
    subsampling : int
    pooled_shape : tuple of int
        (H', W').
    kernel : int
        Position of the kernel's name in ``KERNELS``.
    beta : float
    """

    patches: dict
    input_gradient: dict
    anchors: np.ndarray
    direct_anchors: np.ndarray | None
    flipped: np.ndarray | None
    mean: np.ndarray
    projection: np.ndarray
    real_projection: np.ndarray | None
    wide: bool
    taps: np.ndarray
    subsampling: int
    pooled_shape: tuple
    kernel: int
    beta: float


@dataclass(frozen=True)
class RoundingGains:
    """How much a layer enlarges rounding errors.

    The errors of the responses of p anchors are independent of each other, and so in
    no way smooth in the anchors: the projection P = (K + eps I)^(-1/2) enlarges them by
    its root mean square singular value ||P|| / sqrt(p), while the responses
    themselves, of the size sqrt(p) times the kernel's root mean square value, come out
    as large as the patch, 1.

    Attributes
    ----------
    projection : float
        Kernel's root mean square times the Frobenius norm of the projection: error of
        the maps over the relative error of pooled responses.
    responses : float
        That times the derivative of the kernel's logarithm and the distance of the
        anchors from their mean: error of the maps over that of a product of unit
        vectors.
    """

    projection: float
    responses: float

    @classmethod
    def of(cls, layer, mean):
        """Estimate the gains of a layer whose anchors have the given mean."""
        settings = layer.settings
        anchors = layer.anchors
        sample = anchors[:: -(-len(anchors) // N_SAMPLED_ANCHORS)]
        # On one thread: the choices that follow may not depend on their number, and
        # threads of BLAS that wait for more work would be in the way of ours.
        with single_threaded_blas():
            cosines = sample @ anchors.T
            projection = float(namespace(anchors).linalg.norm(layer.projection))
        values = kernel_values(cosines, settings.kernel, settings.beta)
        projection *= float((values**2).mean()) ** 0.5
        deviation = max(0.0, 1 - float((mean**2).sum())) ** 0.5
        derivative = settings.beta if settings.kernel == "exp" else 2
        return cls(projection, projection * derivative * deviation)


def correlation_sizes(shape, patch_shape, padding, n_filters, max_tile):
    """Return the sizes of a correlation, and with which tile it is computed.

    Parameters
    ----------
    shape : tuple of int
        (H, W, C) of the map.
    patch_shape : tuple of int
    padding : tuple of tuple of int
        Zeros before and after each axis.
    n_filters : int
    max_tile : int
        Largest tile of Winograd's algorithm that is accurate enough; 1 for none.

    Returns
    -------
    sizes : dict of int
        The fields of ``ckn_correlation``.
    """
    (top, bottom), (left, right) = padding
    height, width, n_channels = shape
    patch_height, patch_width = patch_shape
    response_height = height + top + bottom - patch_height + 1
    response_width = width + left + right - patch_width + 1
    tile = 1
    if patch_shape == (3, 3) and n_channels >= MIN_WINOGRAD_CHANNELS:
        tile = best_tile(response_height, response_width, max_tile)
    # Tiles may reach over the last positions: the map gets zeros for them, too.
    reach = [-(-size // tile) * tile for size in (response_height, response_width)]
    return {
        "height": height,
        "width": width,
        "n_channels": n_channels,
        "patch_height": patch_height,
        "patch_width": patch_width,
        "pad_top": top,
        "pad_left": left,
        "padded_height": max(height + top + bottom, reach[0] + patch_height - 1),
        "padded_width": max(width + left + right, reach[1] + patch_width - 1),
        "response_height": response_height,
        "response_width": response_width,
        "n_filters": n_filters,
        "tile": tile,
    }


def best_tile(height, width, max_tile):
    """Return the side of the tiles, 1 without Winograd, with the fewest products."""
    costs = {1: 9 * height * width}
    for tile in (2, 4)[: max_tile // 2]:
        costs[tile] = (tile + 2) ** 2 * -(-height // tile) * -(-width // tile)
    return min(costs, key=costs.get)


def pack_layer(layer, image_shape, instruction_set, n_threads, *, gradients=None):
    """Pack one layer.

    Parameters
    ----------
    layer : Layer
        In float32 or float64.
    image_shape : tuple of int
        (H, W, C) of the layer's input.
    instruction_set : str
    n_threads : int
    gradients : {None, "parameters", "all"}, default=None
        Which gradients are wanted: those in the layer's parameters, or in its input
        as well.

    Returns
    -------
    packed : PackedLayer
    """
    settings = layer.settings
    dtype = layer.anchors.dtype
    n_anchors, n_channels = len(layer.anchors), image_shape[2]
    patch_shape = settings.patch_shape(image_shape)
    padding = [settings.pad_axis(size) for size in image_shape[:2]]
    # What all anchors have in common is a product of its own, in double precision:
    # the products with the differences are smaller, and so are their rounding errors.
    exact_mean = layer.anchors.mean(axis=0, dtype=np.float64)
    mean = exact_mean.astype(dtype)
    centred = layer.anchors - mean
    max_tile, wide = 4, True
    if dtype == np.float32:
        gains = RoundingGains.of(layer, exact_mean)
        tiles = [t for t, gain in MAX_RESPONSE_GAIN.items() if gains.responses <= gain]
        max_tile = max(tiles, default=1)
        wide = gains.projection > MAX_PROJECTION_GAIN
    patches = correlation_sizes(image_shape, patch_shape, padding, n_anchors, max_tile)
    width = _cpu.panel_width(instruction_set, dtype)
    # No projection of this layer follows the gradient in its input.
    input_gradient = correlation_sizes(
        (
            patches["response_height"],
            patches["response_width"],
            -(-n_anchors // width) * width,
        ),
        patch_shape,
        [
            (side - 1 - before, side - 1 - after)
            for side, (before, after) in zip(patch_shape, padding, strict=True)
        ],
        n_channels,
        max(MAX_RESPONSE_GAIN),
    )
    flipped = None
    if gradients == "all":
        # (channel, row, column, anchor), rows and columns from the last to the first
        filters = np.zeros(
            (n_channels, *patch_shape, input_gradient["n_channels"]), dtype
        )
        maps = layer.anchors.reshape(n_anchors, *patch_shape, n_channels)
        filters[..., :n_anchors] = maps[:, ::-1, ::-1].transpose(3, 1, 2, 0)
        flipped = _cpu.pack(
            filters.reshape(n_channels, -1),
            input_gradient["tile"],
            instruction_set,
            n_threads,
        )

    def pack_projection(dtype):
        matrix = np.ascontiguousarray(layer.projection, dtype=dtype)
        return _cpu.pack(matrix, 1, instruction_set, n_threads)

    def pack_anchors(tile):
        return _cpu.pack(centred, tile, instruction_set, n_threads)

    projection = pack_projection(np.float64 if wide else dtype)
    real_projection = None
    if gradients is not None:
        is_real = projection.dtype == dtype
        real_projection = projection if is_real else pack_projection(dtype)
    return PackedLayer(
        patches=patches,
        input_gradient=input_gradient,
        anchors=pack_anchors(patches["tile"]),
        direct_anchors=pack_anchors(1) if patches["tile"] > 1 else None,
        flipped=flipped,
        mean=mean,
        projection=projection,
        real_projection=real_projection,
        wide=wide,
        taps=pooling_taps(
            settings.subsampling, max(settings.response_shape(image_shape))
        ),
        subsampling=settings.subsampling,
        pooled_shape=settings.output_shape(image_shape)[:2],
        kernel=KERNELS.index(settings.kernel),
        beta=settings.beta,
    )
