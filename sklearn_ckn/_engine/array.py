"""Engine that computes layers as matrix products, for NumPy and CuPy arrays."""

from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from sklearn_ckn._common.memory_limits import Budget
from sklearn_ckn._engine.contract import Engine
from sklearn_ckn._engine.packing import RoundingGains, needs_float64
from sklearn_ckn._network.layer import LayerGradients
from sklearn_ckn._network.unfold import pad_maps


@dataclass(frozen=True)
class PatchScalars:
    """Three numbers for each of m patches.

    Attributes
    ----------
    norms : array of shape (m, 1)
        By which responses are multiplied; ones for a layer without ``keep_norm``.
    inverse_norms : array of shape (m, 1)
        0 for patches of zeros, and for flat ones of a layer with ``center_patches``.
    offsets : array of shape (m, 1)
        Inner products of the patches with the mean of the anchors. The product of a
        patch and an anchor is computed as its product with the centred anchor plus
        this offset. The products with centred anchors are smaller, and so are their
        rounding errors. The rounding error of the offset is the same for all anchors
        of a patch, and such an error is not amplified by the projection.
    """

    norms: object
    inverse_norms: object
    offsets: object


@dataclass(frozen=True)
class LayerTape:
    """Intermediate results of a layer that its backward pass needs.

    Attributes
    ----------
    maps : array of shape (n, H, W, C)
        Input of the layer.
    products : array of shape (m, p)
        Inner products of the patches at the m = n * H1 * W1 positions with the centred
        anchors.
    scalars : PatchScalars
    pooled : array of shape (n, H', W', p)
        Pooled responses.
    """

    maps: object
    products: object
    scalars: object
    pooled: object


@dataclass(frozen=True)
class ArrayLayer:
    """A layer with its arrays in the namespace of the engine.

    Attributes
    ----------
    settings : LayerSettings
    mean : array of shape (kh * kw * C,)
        Mean of the anchors.
    centred : array of shape (p, kh * kw * C)
        Anchors minus their mean.
    anchors : array of shape (p, kh * kw * C)
    projection : array of shape (p, p)
        In float64 if float32 would not be accurate enough, see ``needs_float64``.
    """

    settings: object
    mean: object
    centred: object
    anchors: object
    projection: object


class ArrayEngine(Engine):
    """Engine that computes layers with large matrix products.

    The steps between the products (unfolding, responses and pooling) are methods of
    another object, which may compute several of them at once.

    Parameters
    ----------
    xp : module
        ``numpy`` or ``cupy``.
    steps : ArraySteps or CudaSteps
        Implements the steps between the matrix products.
    """

    def __init__(self, xp, steps):
        self.xp = xp
        self._steps = steps

    def bytes_per_image(self, network, itemsize):
        """Return the memory per image of ``encode``; see ``Engine.bytes_per_image``.

        It is the memory of the arrays of the layer that needs most, and of two copies
        of images and maps: one for the block that is computed, one for a block that is
        being copied between host and device.
        """
        around = 2 * itemsize * (network.map_sizes[0] + network.n_features)
        return around + max(map(sum, self._layer_bytes(network, itemsize)), default=0)

    @staticmethod
    def _layer_bytes(network, itemsize):
        """Yield the bytes of the products, patches, input and output of each layer."""
        shapes = network.shapes
        for settings, shape, output in zip(
            network.settings, shapes, shapes[1:], strict=False
        ):
            n_positions = prod(settings.response_shape(shape))
            yield (
                itemsize * n_positions * (settings.n_anchors + 3),
                itemsize * n_positions * settings.patch_length(shape),
                itemsize * prod(shape),
                np.dtype(np.float64).itemsize * prod(output),
            )

    def tape_bytes_per_image(self, network, itemsize):
        """Return the memory per image; see ``Engine.tape_bytes_per_image``."""
        sizes = list(self._layer_bytes(network, itemsize))
        kept = sum(products + maps + 2 * output for products, _, maps, output in sizes)
        # The backward pass of a layer needs its patches, the gradients with respect to
        # them, and the gradients with respect to the products.
        passing = max(products + 2 * patches for products, patches, *_ in sizes)
        return kept + passing

    def prepare(self, network, dtype):
        """Return the layers as ArrayLayers; see ``Engine.prepare``."""
        return [
            self._prepare_layer(layer.with_anchors_as(dtype), dtype)
            for layer in network.layers
        ]

    def encode(self, images, prepared):
        """Map images through the layers; see ``Engine.encode``."""
        maps = self.xp.asarray(images)
        for layer in prepared:
            maps = self._encode_layer(maps, layer)[0]
        return maps

    def _prepare_layer(self, layer, dtype):
        """Return an ArrayLayer, with its projection in float64 if that is needed."""
        xp = self.xp
        mean = layer.anchors.astype(np.float64).mean(axis=0)
        wide = needs_float64(layer.settings, RoundingGains.of(layer, mean))
        return ArrayLayer(
            layer.settings,
            xp.asarray(mean, dtype=dtype),
            xp.asarray(layer.anchors - mean, dtype=dtype),
            xp.asarray(layer.anchors, dtype=dtype),
            xp.asarray(layer.projection, dtype=np.float64 if wide else dtype),
        )

    def _encode_layer(self, maps, layer):
        """Return the output of a layer and its tape."""
        settings = layer.settings
        shape = (len(maps), *settings.response_shape(maps.shape[1:]))
        patches, scalars = self._steps.unfold(maps, layer.mean, settings)
        products = patches @ layer.centred.T
        del patches
        dtype = layer.projection.dtype
        pooled = self._steps.respond_and_pool(products, scalars, shape, settings, dtype)
        output = _project(pooled, layer.projection).astype(maps.dtype, copy=False)
        return output, LayerTape(maps, products, scalars, pooled)

    def encode_with_tape(self, images, prepared):
        """Map images and return a tape; see ``Engine.encode_with_tape``."""
        maps = self.xp.asarray(images)
        tape = []
        for layer in prepared:
            maps, layer_tape = self._encode_layer(maps, layer)
            tape.append(layer_tape)
        return maps, tape

    def encode_backward(self, tape, prepared, gradient, *, to_images=False):
        """Compute gradients; see ``Engine.encode_backward``."""
        layer_gradients = [None] * len(prepared)
        gradient = self.xp.asarray(gradient)
        for i in reversed(range(len(prepared))):
            layer_gradients[i], gradient = self._backward_layer(
                prepared[i], tape[i], gradient, to_images or i > 0
            )
        return layer_gradients, gradient

    def _backward_layer(self, layer, tape, gradient, to_maps):
        """Return the gradients with respect to a layer and, if needed, to its input."""
        settings = layer.settings
        n_anchors = settings.n_anchors
        shape = (len(gradient), *settings.response_shape(tape.maps.shape[1:]))
        dtype = gradient.dtype
        pooled = tape.pooled.reshape(-1, n_anchors).astype(dtype, copy=False)
        projection_gradient = pooled.T @ gradient.reshape(-1, n_anchors)
        product_gradients, coefficients, beta_gradients = self._steps.differentiate(
            _project(gradient, layer.projection.astype(dtype, copy=False)),
            tape.products,
            tape.scalars,
            shape,
            settings,
        )
        patches, _ = self._steps.unfold(tape.maps, layer.mean, settings)
        anchor_gradient = product_gradients.T @ patches
        del patches
        gradients = LayerGradients(
            anchor_gradient, projection_gradient, beta_gradients.sum(dtype=np.float64)
        )
        if not to_maps:
            return gradients, None
        patch_gradients = product_gradients @ layer.anchors
        return gradients, self._steps.fold(
            patch_gradients, coefficients, tape.maps, settings
        )

    def gather_patches(self, images, indices, rows, columns, settings):
        """Copy single patches; see ``Engine.gather_patches``."""
        xp = self.xp
        padded = pad_maps(xp.asarray(images), settings)
        patch_height, patch_width = settings.patch_shape(images.shape[1:])
        down, along = (
            settings.dilation * xp.arange(side) for side in (patch_height, patch_width)
        )
        patches = padded[
            xp.asarray(indices)[:, None, None],
            xp.asarray(rows)[:, None, None] + down[:, None],
            xp.asarray(columns)[:, None, None] + along,
        ]
        return patches.reshape(len(indices), -1)

    def nearest_anchors(self, points, anchors):
        """Find each point's nearest anchor; see ``Engine.nearest_anchors``."""
        xp = self.xp
        points, anchors = xp.asarray(points), xp.asarray(anchors)
        nearest = xp.empty(len(points), dtype=np.intp)
        similarity = xp.empty(len(points), dtype=points.dtype)

        def compute(rows):
            products = points[rows] @ anchors.T
            return products.argmax(axis=1), products.max(axis=1)

        parts = Budget(self.block_bytes).in_parts(
            len(points),
            points.dtype.itemsize * len(anchors),
            partial(map, compute),
            self,
        )
        for rows, (places, cosines) in parts:
            nearest[rows], similarity[rows] = places, cosines
        return nearest, similarity

    def sum_groups(self, points, labels, n_groups):
        """Add the points of each group; see ``Engine.sum_groups``."""
        xp = self.xp
        return self._steps.sum_groups(xp.asarray(points), xp.asarray(labels), n_groups)


def _project(maps, projection):
    """Multiply maps (n, H', W', p) by a projection, in a single matrix product."""
    return (maps.reshape(-1, maps.shape[-1]) @ projection).reshape(maps.shape)
