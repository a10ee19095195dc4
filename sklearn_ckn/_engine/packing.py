"""Layers in the form that the CPU kernels take: centred and packed into panels.

For each layer, the algorithm of the correlation (direct or Winograd) and the precision
of the projection are chosen from an estimate of the rounding errors.
"""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._ext import _cpu
from sklearn_ckn._network.kernels import KERNELS, kernel_values
from sklearn_ckn._network.pooling import pooling_of_maps

# Winograd's algorithm is used from this number of channels on: its transforms then cost
# little compared with the products that it saves.
MIN_WINOGRAD_CHANNELS = 32

# For each side of the tiles of Winograd's algorithm, the largest value of
# ``RoundingGains.responses`` with which the tiles are used. The aim is a relative error
# of a layer's maps of at most 2e-6. The error was at most 0.5, 0.2 and 0.1 times the
# gain times 2^-24 with tiles of side 4, with tiles of side 2 and without tiles, in
# networks on photographs, digits and noise, with well and badly conditioned anchors.
MAX_RESPONSE_GAIN = {4: 65, 2: 400}

# Largest value of ``RoundingGains.projection`` with which pooling and projection are
# computed in float32: the relative error of the maps is then about 3 times the gain
# times 2^-24.
MAX_PROJECTION_GAIN = 8

# Size of the sample of anchors over which kernel values are averaged.
N_SAMPLED_ANCHORS = 64


@dataclass(frozen=True)
class PackedLayer:
    """One layer in the form that the kernels take.

    It corresponds to ``ckn_layer`` in ``_ext/layers.h``. p is the number of anchors.

    Attributes
    ----------
    forward_sizes : dict of int
        Sizes of the correlation of the layer's input with the anchors: the fields of
        ``ckn_correlation``.
    backward_sizes : dict of int
        Sizes of the correlation of the gradient with respect to the products with the
        flipped anchors, which gives the gradient with respect to the input.
    anchors : ndarray of shape (n_panels, depth, panel_width)
        The anchors minus their mean, packed.
    direct_anchors : ndarray or None
        The same, packed for the direct algorithm; None unless ``anchors`` are packed
        for Winograd's algorithm.
    flipped : ndarray or None
        The anchors with rows and columns in reverse order, packed; None unless the
        gradient with respect to the input is needed.
    mean : ndarray of shape (patch_length,)
        Mean of the anchors.
    projection : ndarray of shape (n_panels, n_anchors, panel_width)
        Packed; float64 if ``wide``.
    real_projection : ndarray or None
        The same in the dtype of the anchors; None unless gradients are needed.
    wide : bool
        Whether pooling and projection are computed in float64.
    taps : ndarray of shape (2 * radius + 1,), float64
        Weights of the pooling, see ``pooling_of_maps``.
    subsampling : int
        Stride of the pooling, see there.
    pooled_shape : tuple of int
        Height and width (H', W') of the pooled maps.
    kernel : int
        Position of the kernel's name in ``KERNELS``.
    beta : float
    center, keep_norm : bool
        See ``LayerSettings``.
    """

    forward_sizes: dict
    backward_sizes: dict
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
    center: bool
    keep_norm: bool


@dataclass(frozen=True)
class RoundingGains:
    """Estimated factors by which a layer amplifies relative rounding errors.

    They come from a model of a patch of norm 1 and a layer of p anchors, with kernel
    matrix K and projection P = (K + eps I)^(-1/2):

    - The responses of the patch form a vector of norm about sqrt(p) r, where r is the
      root mean square of the kernel values.
    - Each response has a rounding error of relative size e, independent of the errors
      of the other responses. The vector of errors has a norm of about e sqrt(p) r.
    - The projection multiplies the norm of a vector of independent errors by about the
      root mean square of the singular values of P, which is ||P||_F / sqrt(p). The
      error of the map therefore has a norm of about e r ||P||_F.
    - The responses themselves are strongly correlated, since similar anchors have
      similar responses. The projection maps them to a vector of norm about 1.

    The relative error of the map is therefore e times the gain r ||P||_F.

    Attributes
    ----------
    projection : float
        The gain r ||P||_F: relative error of the maps divided by the relative error of
        the pooled responses.
    responses : float
        Relative error of the maps divided by the error of an inner product of unit
        vectors. It is ``projection`` times the derivative of the logarithm of the
        kernel function, which turns the error of a product into the relative error of
        a response, times the root mean square distance of the anchors from their mean,
        because only products with the centred anchors are rounded in this way.
    """

    projection: float
    responses: float

    @classmethod
    def of(cls, layer, mean):
        """Estimate the gains of a layer.

        Parameters
        ----------
        layer : Layer
        mean : array of shape (patch_length,), float64
            Mean of its anchors.

        Returns
        -------
        gains : RoundingGains
        """
        settings = layer.settings
        anchors = layer.anchors
        sample = anchors[:: -(-len(anchors) // N_SAMPLED_ANCHORS)]
        # On one thread: the choices that depend on the gains must not depend on the
        # number of threads, and BLAS threads that wait for more work would slow down
        # the threads of the kernels.
        with single_threaded_blas():
            cosines = sample @ anchors.T
            projection = float(namespace(anchors).linalg.norm(layer.projection))
        values = kernel_values(cosines, settings.kernel, settings.beta)
        projection *= float((values**2).mean()) ** 0.5
        deviation = max(0.0, 1 - float((mean**2).sum())) ** 0.5
        derivative = settings.beta if settings.kernel == "exp" else 2
        return cls(projection, projection * derivative * deviation)


def needs_float64(settings, gains):
    """Return whether a layer in float32 is pooled and projected in float64.

    It is so where the projection enlarges rounding errors, and where responses at
    thousands of positions may be added, whose sum is much larger than each of them.
    """
    return settings.subsampling == "global" or gains.projection > MAX_PROJECTION_GAIN


def correlation_sizes(shape, patch_shape, dilation, padding, n_filters, max_tile):
    """Return the sizes of a correlation and the tile with which it is computed.

    Parameters
    ----------
    shape : tuple of int
        (H, W, C) of the map.
    patch_shape : tuple of int
        (kh, kw) of the filters.
    dilation : int
        Pixels of the map from one pixel of a filter to the next.
    padding : sequence of tuple of int
        Number of zeros before and after each of the two axes.
    n_filters : int
    max_tile : int
        Side of the largest tile of Winograd's algorithm that is accurate enough; 1 if
        none is.

    Returns
    -------
    sizes : dict of int
        Values of the fields of ``ckn_correlation`` in ``_ext/layers.h``.
    """
    (top, bottom), (left, right) = padding
    height, width, n_channels = shape
    patch_height, patch_width = patch_shape
    span_height, span_width = (dilation * (side - 1) + 1 for side in patch_shape)
    response_height = height + top + bottom - span_height + 1
    response_width = width + left + right - span_width + 1
    tile = 1
    if patch_shape == (3, 3) and dilation == 1 and n_channels >= MIN_WINOGRAD_CHANNELS:
        tile = best_tile(response_height, response_width, max_tile)
    # The last tiles may extend past the last positions: the map is padded for them.
    reach = [-(-size // tile) * tile for size in (response_height, response_width)]
    return {
        "height": height,
        "width": width,
        "n_channels": n_channels,
        "patch_height": patch_height,
        "patch_width": patch_width,
        "dilation": dilation,
        "pad_top": top,
        "pad_left": left,
        "padded_height": max(height + top + bottom, reach[0] + span_height - 1),
        "padded_width": max(width + left + right, reach[1] + span_width - 1),
        "response_height": response_height,
        "response_width": response_width,
        "n_filters": n_filters,
        "tile": tile,
    }


def best_tile(height, width, max_tile):
    """Return the side of the tiles that need the fewest products.

    1 stands for the direct algorithm.

    Parameters
    ----------
    height, width : int
        Size of the map of responses.
    max_tile : int
        See ``correlation_sizes``.
    """
    costs = {1: 9 * height * width}
    for tile in (2, 4)[: max_tile // 2]:
        costs[tile] = (tile + 2) ** 2 * -(-height // tile) * -(-width // tile)
    return min(costs, key=costs.get)


def pack_layer(layer, image_shape, instruction_set, n_threads, *, gradients=None):
    """Pack one layer.

    Parameters
    ----------
    layer : Layer
        With anchors in float32 or float64, the dtype of the computation.
    image_shape : tuple of int
        (H, W, C) of the layer's input.
    instruction_set : str
        Name of the instruction set of the kernels.
    n_threads : int
        Number of threads that pack the matrices.
    gradients : {None, "parameters", "all"}, default=None
        Which gradients are needed: none, those with respect to the layer's parameters,
        or also that with respect to its input.

    Returns
    -------
    packed : PackedLayer
    """
    settings = layer.settings
    dtype = layer.anchors.dtype
    n_anchors, n_channels = len(layer.anchors), image_shape[2]
    patch_shape = settings.patch_shape(image_shape)
    padding = [settings.pad_axis(size) for size in image_shape[:2]]
    spans = [settings.patch_span(size) for size in image_shape[:2]]
    # The products with the mean of the anchors are computed separately, in double
    # precision. The products with the centred anchors are smaller than those with the
    # anchors themselves, and so are their rounding errors.
    exact_mean = layer.anchors.mean(axis=0, dtype=np.float64)
    mean = exact_mean.astype(dtype)
    centred = layer.anchors - mean
    max_tile, wide = 4, True
    if dtype == np.float32:
        gains = RoundingGains.of(layer, exact_mean)
        tiles = [t for t, gain in MAX_RESPONSE_GAIN.items() if gains.responses <= gain]
        max_tile = max(tiles, default=1)
        wide = needs_float64(settings, gains)
    if gradients is not None:
        # The products are computed again for derivatives. No projection follows, which
        # would amplify their rounding errors.
        max_tile = max(MAX_RESPONSE_GAIN)
    if not settings.responds_by_norm:
        # With tiles, the kernels look for weak patches by the numbers that multiply
        # responses, which must then be norms of the patches as they are.
        max_tile = 1
    forward_sizes = correlation_sizes(
        image_shape, patch_shape, settings.dilation, padding, n_anchors, max_tile
    )
    width = _cpu.panel_width(instruction_set, dtype)
    # No projection follows here either.
    backward_sizes = correlation_sizes(
        (
            forward_sizes["response_height"],
            forward_sizes["response_width"],
            -(-n_anchors // width) * width,
        ),
        patch_shape,
        settings.dilation,
        [
            (span - 1 - before, span - 1 - after)
            for span, (before, after) in zip(spans, padding, strict=True)
        ],
        n_channels,
        max(MAX_RESPONSE_GAIN),
    )
    flipped = None
    if gradients == "all":
        # (channel, row, column, anchor), rows and columns from the last to the first
        filters = np.zeros(
            (n_channels, *patch_shape, backward_sizes["n_channels"]), dtype
        )
        maps = layer.anchors.reshape(n_anchors, *patch_shape, n_channels)
        filters[..., :n_anchors] = maps[:, ::-1, ::-1].transpose(3, 1, 2, 0)
        flipped = _cpu.pack(
            filters.reshape(n_channels, -1),
            backward_sizes["tile"],
            instruction_set,
            n_threads,
        )

    def pack_projection(dtype):
        matrix = np.ascontiguousarray(layer.projection, dtype=dtype)
        return _cpu.pack(matrix, 1, instruction_set, n_threads)

    def pack_anchors(tile):
        return _cpu.pack(centred, tile, instruction_set, n_threads)

    stride, taps = pooling_of_maps(
        settings.subsampling, settings.response_shape(image_shape)
    )
    projection = pack_projection(np.float64 if wide else dtype)
    real_projection = None
    if gradients is not None:
        is_real = projection.dtype == dtype
        real_projection = projection if is_real else pack_projection(dtype)
    return PackedLayer(
        forward_sizes=forward_sizes,
        backward_sizes=backward_sizes,
        anchors=pack_anchors(forward_sizes["tile"]),
        direct_anchors=pack_anchors(1) if forward_sizes["tile"] > 1 else None,
        flipped=flipped,
        mean=mean,
        projection=projection,
        real_projection=real_projection,
        wide=wide,
        taps=taps,
        subsampling=stride,
        pooled_shape=settings.output_shape(image_shape)[:2],
        kernel=KERNELS.index(settings.kernel),
        beta=settings.beta,
        center=settings.center_patches,
        keep_norm=settings.keep_norm,
    )
