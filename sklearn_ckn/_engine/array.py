"""The array engine: matrix products around a layer's steps, for NumPy and CuPy."""

from dataclasses import dataclass
from functools import cached_property, partial
from math import prod

import numpy as np

from sklearn_ckn._common.memory_limits import Budget
from sklearn_ckn._engine.contract import Engine, LastLayers
from sklearn_ckn._engine.oracle import ArraySteps
from sklearn_ckn._engine.packing import MAX_PROJECTION_GAIN, RoundingGains
from sklearn_ckn._network.layer import LayerGradients
from sklearn_ckn._network.network import map_shapes
from sklearn_ckn._network.unfold import pad_maps


@dataclass(frozen=True)
class LayerTape:
    """What the gradients of a layer need.

    Attributes
    ----------
    maps : array of shape (n, H, W, C)
        Its input.
    products : array of shape (m, p)
        Of the patches at the m = n * H1 * W1 positions and the centred anchors.
    scalars : PatchScalars
    pooled : array of shape (n, H', W', p)
    """

    maps: object
    products: object
    scalars: object
    pooled: object


@dataclass(frozen=True)
class ArrayLayer:
    """A layer whose arrays are where they are computed with.

    Attributes
    ----------
    settings : LayerSettings
    mean : array of shape (k * k * C,)
        Of the anchors.
    centred : array of shape (p, k * k * C)
        Anchors minus their mean.
    anchors : array of shape (p, k * k * C)
    projection : array of shape (p, p)
        float64 where a projection in float32 would lose too much.
    """

    settings: object
    mean: object
    centred: object
    anchors: object
    projection: object


class ArrayEngine(Engine):
    """Operations on float32 or float64 arrays of a NumPy-like namespace.

    The methods are those of ``CPUEngine``. NumPy arrays or arrays of the namespace go
    in, arrays of the namespace come out.

    Parameters
    ----------
    xp : module, default=numpy
        ``numpy`` or ``cupy``.
    steps : ArraySteps or CudaSteps, default=ArraySteps()
        What is done around the matrix products.
    """

    def __init__(self, xp=np, steps=None):
        self.xp = xp
        self._steps = ArraySteps() if steps is None else steps
        self._prepared = LastLayers()

    @cached_property
    def name(self):
        """The implementation: see ``Engine``."""
        return f"array {self.xp.__name__}"

    def bytes_per_image(self, image_shape, layers, itemsize):
        """Return the memory that one more image in a call to ``encode`` takes.

        That of its arrays in the widest layer, and of the images and maps around it:
        beside the ones computed, those that are on their way between host and device.
        """
        shapes = map_shapes(image_shape, layers)
        around = 2 * itemsize * (prod(shapes[0]) + prod(shapes[-1]))
        sizes = self._layer_bytes(image_shape, layers, itemsize)
        return around + max(map(sum, sizes), default=0)

    @staticmethod
    def _layer_bytes(image_shape, layers, itemsize):
        """Yield the bytes of each layer's products, patches, input and output."""
        shapes = map_shapes(image_shape, layers)
        for layer, shape, output in zip(layers, shapes, shapes[1:], strict=False):
            settings = layer.settings
            n_positions = prod(settings.response_shape(shape))
            yield (
                itemsize * n_positions * (settings.n_anchors + 3),
                itemsize * n_positions * settings.patch_length(shape),
                itemsize * prod(shape),
                np.dtype(np.float64).itemsize * prod(output),
            )

    def tape_bytes_per_image(self, image_shape, layers, itemsize):
        """Return what an image takes that goes forward and backward."""
        sizes = list(self._layer_bytes(image_shape, layers, itemsize))
        kept = sum(products + maps + 2 * output for products, _, maps, output in sizes)
        # On the way back a layer has its patches, their slopes and those of products.
        passing = max(products + 2 * patches for products, patches, *_ in sizes)
        return kept + passing

    def encode(self, images, layers):
        """Map images through layers; see ``CPUEngine.encode``."""
        maps = self.xp.asarray(images)
        for layer in self._prepare(layers, maps.dtype):
            maps = self._encode_layer(maps, layer)[0]
        return maps

    def _prepare(self, layers, dtype):
        """Return the layers prepared, from the last call if they are the same."""
        return self._prepared.get(
            dtype,
            layers,
            lambda: [self._prepare_layer(layer, dtype) for layer in layers],
        )

    def _prepare_layer(self, layer, dtype):
        """Return an ArrayLayer; its projection in float64 where that is needed."""
        xp = self.xp
        mean = layer.anchors.astype(np.float64).mean(axis=0)
        gain = RoundingGains.of(layer, mean).projection
        wide = np.float64 if gain > MAX_PROJECTION_GAIN else dtype
        return ArrayLayer(
            layer.settings,
            xp.asarray(mean, dtype=dtype),
            xp.asarray(layer.anchors - mean, dtype=dtype),
            xp.asarray(layer.anchors, dtype=dtype),
            xp.asarray(layer.projection, dtype=wide),
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

    def encode_with_tape(self, images, layers):
        """Map images and keep every step; see ``CPUEngine.encode_with_tape``."""
        maps = self.xp.asarray(images)
        tape = []
        for layer in layers:
            prepared = self._prepare_layer(layer, maps.dtype)
            maps, layer_tape = self._encode_layer(maps, prepared)
            tape.append((prepared, layer_tape))
        return maps, tape

    def encode_backward(self, tape, layers, slopes, *, to_images=False):
        """Compute gradients; see ``CPUEngine.encode_backward``."""
        gradients = [None] * len(layers)
        slopes = self.xp.asarray(slopes)
        for i in reversed(range(len(layers))):
            gradients[i], slopes = self._backward_layer(
                *tape[i], slopes, to_images or i > 0
            )
        return gradients, slopes

    def _backward_layer(self, layer, tape, slopes, to_maps):
        """Return a layer's gradients, and that in its input if it is wanted."""
        settings = layer.settings
        n_anchors = settings.n_anchors
        shape = (len(slopes), *settings.response_shape(tape.maps.shape[1:]))
        dtype = slopes.dtype
        pooled = tape.pooled.reshape(-1, n_anchors).astype(dtype, copy=False)
        projection_slopes = pooled.T @ slopes.reshape(-1, n_anchors)
        product_slopes, coefficients, beta_slopes = self._steps.differentiate(
            _project(slopes, layer.projection.astype(dtype, copy=False)),
            tape.products,
            tape.scalars,
            shape,
            settings,
        )
        patches, _ = self._steps.unfold(tape.maps, layer.mean, settings)
        anchor_slopes = product_slopes.T @ patches
        del patches
        gradients = LayerGradients(
            anchor_slopes, projection_slopes, beta_slopes.sum(dtype=np.float64)
        )
        if not to_maps:
            return gradients, None
        patch_slopes = product_slopes @ layer.anchors
        return gradients, self._steps.fold(
            patch_slopes, coefficients, tape.maps, settings
        )

    def gather_patches(self, images, indices, rows, columns, settings):
        """Copy single patches; see ``CPUEngine.gather_patches``."""
        xp = self.xp
        padded = pad_maps(xp.asarray(images), settings)
        offsets = xp.arange(settings.patch_size)
        patches = padded[
            xp.asarray(indices)[:, None, None],
            xp.asarray(rows)[:, None, None] + offsets[:, None],
            xp.asarray(columns)[:, None, None] + offsets,
        ]
        return patches.reshape(len(indices), -1)

    def nearest_anchors(self, points, anchors):
        """Find each point's nearest anchor; see ``CPUEngine.nearest_anchors``."""
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
        """Add the points of each group; see ``CPUEngine.sum_groups``."""
        xp = self.xp
        return self._steps.sum_groups(xp.asarray(points), xp.asarray(labels), n_groups)


def _project(maps, projection):
    """Return maps (n, H', W', p) times a projection, as a single product."""
    return (maps.reshape(-1, maps.shape[-1]) @ projection).reshape(maps.shape)
