"""The array engine: readable array code for NumPy, the oracle, and CuPy, the GPU."""

from itertools import product
from math import prod

import numpy as np

from sklearn_ckn._kernels import kernel_derivatives, kernel_values
from sklearn_ckn._layer import LayerGradients, map_shapes, pooling_matrix

# Patches with a smaller norm count as zero, since its reciprocal could overflow. The
# caller scales every image to about 1, so this is far below rounding.
SMALLEST_NORM = 1e-37


class ArrayEngine:
    """Operations on float32 or float64 arrays of a NumPy-like namespace.

    The methods are those of ``CPUEngine``; NumPy arrays go in and come out.

    Parameters
    ----------
    xp : module
        ``numpy`` or ``cupy``.
    """

    def __init__(self, xp=np):
        self.xp = xp
        #: What results depend on beside the data.
        self.name = f"array {xp.__name__}"

    def _to_numpy(self, array):
        return array if self.xp is np else self.xp.asnumpy(array)

    def bytes_per_image(self, image_shape, layers, itemsize):
        """Return the memory that one more image in a call to ``encode`` takes."""
        sizes = [prod(image_shape)]
        for shape, layer in zip(map_shapes(image_shape, layers), layers, strict=False):
            settings = layer.settings
            # Unfolded patches, their squares, and the steps of the kernel function.
            per_position = 2 * settings.patch_length(shape) + 5 * settings.n_anchors
            sizes.append(prod(settings.response_shape(shape)) * per_position)
        return itemsize * max(sizes)

    def encode(self, images, layers):
        """Map images through layers; see ``CPUEngine.encode``."""
        maps = self.xp.asarray(images)
        for layer in layers:
            maps = self.encode_steps(maps, layer)["output"]
        return self._to_numpy(maps)

    def encode_with_tape(self, images, layers):
        """Map images and keep every step; see ``CPUEngine.encode_with_tape``."""
        maps = self.xp.asarray(images)
        tape = []
        for layer in layers:
            tape.append(self.encode_steps(maps, layer))
            maps = tape[-1]["output"]
        return self._to_numpy(maps), tape

    def encode_steps(self, maps, layer):
        """Apply one layer and return each step's result.

        Parameters
        ----------
        maps : array of shape (n, H, W, C)
        layer : Layer

        Returns
        -------
        steps : dict of arrays
            ``"maps"``, those given; ``"norms"`` (n, H1, W1, 1) of their patches and
            the ``"inverse_norms"``, 0 for patches of zeros; ``"cosines"`` and
            ``"responses"`` (n, H1, W1, p); ``"pooled"`` and ``"output"``
            (n, H', W', p).
        """
        xp = self.xp
        settings = layer.settings
        anchors = xp.asarray(layer.anchors)
        projection = xp.asarray(layer.projection, dtype=maps.dtype)
        patches = self.unfold(maps, settings)
        norms = xp.sqrt((patches * patches).sum(axis=-1, keepdims=True))
        inverse_norms = xp.where(
            norms > SMALLEST_NORM, 1 / xp.maximum(norms, SMALLEST_NORM), 0
        )
        cosines = patches @ anchors.T * inverse_norms
        values = kernel_values(cosines, settings.kernel, settings.beta, xp)
        responses = xp.where(norms > SMALLEST_NORM, norms * values, 0)
        pooled = self._pool(responses, settings.subsampling)
        return {
            "maps": maps,
            "norms": norms,
            "inverse_norms": inverse_norms,
            "cosines": cosines,
            "responses": responses,
            "pooled": pooled,
            "output": pooled @ projection,
        }

    def encode_backward(self, tape, layers, slopes, *, to_images=False):
        """Compute gradients; see ``CPUEngine.encode_backward``."""
        gradients = [None] * len(layers)
        slopes = self.xp.asarray(slopes)
        for i in reversed(range(len(layers))):
            gradients[i], slopes = self._backward_steps(
                tape[i], layers[i], slopes, to_images or i > 0
            )
        return gradients, None if slopes is None else self._to_numpy(slopes)

    def _backward_steps(self, steps, layer, slopes, to_maps):
        """Return one layer's gradients, and that in its input if it is wanted."""
        xp = self.xp
        settings = layer.settings
        anchors = xp.asarray(layer.anchors)
        n_anchors = settings.n_anchors
        pooled = steps["pooled"].reshape(-1, n_anchors)
        projection_slopes = pooled.T @ slopes.reshape(-1, n_anchors)
        response_slopes = self._unpool(
            slopes @ xp.asarray(layer.projection, dtype=slopes.dtype),
            steps["responses"].shape,
            settings.subsampling,
        )
        norms, inverse_norms = steps["norms"], steps["inverse_norms"]
        cosines = steps["cosines"]
        inside = inverse_norms > 0
        response_slopes = xp.where(inside, response_slopes, 0)
        derivative, beta_derivative = kernel_derivatives(
            cosines, settings.kernel, settings.beta, xp
        )
        # norm * kappa(product / norm), by the product, by beta and by the norm
        product_slopes = response_slopes * derivative
        beta_slope = (response_slopes * norms * beta_derivative).sum(dtype=np.float64)
        patches = self.unfold(steps["maps"], settings)
        anchor_slopes = product_slopes.reshape(-1, n_anchors).T @ patches.reshape(
            -1, anchors.shape[1]
        )
        gradients = LayerGradients(
            self._to_numpy(anchor_slopes),
            self._to_numpy(projection_slopes),
            float(beta_slope),
        )
        if not to_maps:
            return gradients, None
        values = kernel_values(cosines, settings.kernel, settings.beta, xp)
        norm_slopes = (response_slopes * (values - cosines * derivative)).sum(
            axis=-1, keepdims=True
        )
        patch_slopes = product_slopes @ anchors + norm_slopes * inverse_norms * patches
        return gradients, self._fold(patch_slopes, steps["maps"].shape, settings)

    def _unpool(self, pooled, shape, subsampling):
        """Apply the transpose of ``_pool``; ``shape`` is that of the responses."""
        down, along = (
            self.xp.asarray(pooling_matrix(size, subsampling).astype(pooled.dtype))
            for size in shape[1:3]
        )
        rows = self.xp.einsum("jw,nijp->niwp", along, pooled)
        return self.xp.einsum("ih,niwp->nhwp", down, rows)

    def _fold(self, patches, shape, settings):
        """Apply the transpose of ``unfold``; ``shape`` is that of the maps."""
        n_images, height, width, n_channels = shape
        (top, bottom), (left, right) = map(settings.pad_axis, (height, width))
        padded = self.xp.zeros(
            (n_images, top + height + bottom, left + width + right, n_channels),
            dtype=patches.dtype,
        )
        rows, columns = patches.shape[1:3]
        offsets = product(range(settings.patch_size), repeat=2)
        for i, (row, column) in enumerate(offsets):
            part = patches[..., i * n_channels : (i + 1) * n_channels]
            padded[:, row : row + rows, column : column + columns] += part
        return padded[:, top : top + height, left : left + width]

    def unfold(self, maps, settings):
        """Return all patches, (n, H1, W1, k * k * C)."""
        height, width = maps.shape[1:3]
        response_height, response_width = settings.response_shape(maps.shape[1:])
        padded = self.xp.pad(
            maps,
            ((0, 0), settings.pad_axis(height), settings.pad_axis(width), (0, 0)),
        )
        return self.xp.concatenate(
            [
                padded[:, row : row + response_height, column : column + response_width]
                for row in range(settings.patch_size)
                for column in range(settings.patch_size)
            ],
            axis=-1,
        )

    def _pool(self, responses, subsampling):
        """Apply the Gaussian pooling along height and width."""
        down, along = (
            self.xp.asarray(pooling_matrix(size, subsampling).astype(responses.dtype))
            for size in responses.shape[1:3]
        )
        rows = self.xp.einsum("ih,nhwp->niwp", down, responses)
        return self.xp.einsum("jw,niwp->nijp", along, rows)

    def gather_patches(self, images, indices, rows, columns, settings):
        """Copy single patches; see ``CPUEngine.gather_patches``."""
        xp = self.xp
        height, width = images.shape[1:3]
        padded = xp.pad(
            xp.asarray(images),
            ((0, 0), settings.pad_axis(height), settings.pad_axis(width), (0, 0)),
        )
        offsets = xp.arange(settings.patch_size)
        patches = padded[
            xp.asarray(indices)[:, None, None],
            xp.asarray(rows)[:, None, None] + offsets[:, None],
            xp.asarray(columns)[:, None, None] + offsets,
        ]
        return self._to_numpy(patches.reshape(len(indices), -1))

    def nearest_anchors(self, points, anchors):
        """Find each point's nearest anchor; see ``CPUEngine.nearest_anchors``."""
        xp = self.xp
        products = xp.asarray(points) @ xp.asarray(anchors).T
        return (
            self._to_numpy(products.argmax(axis=1)),
            self._to_numpy(products.max(axis=1)),
        )

    def sum_groups(self, points, labels, n_groups):
        """Add the points of each group; see ``CPUEngine.sum_groups``."""
        xp = self.xp
        members = xp.asarray(labels) == xp.arange(n_groups)[:, None]
        return self._to_numpy(
            members.astype(np.float64) @ xp.asarray(points).astype(np.float64)
        )
