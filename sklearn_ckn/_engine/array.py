"""The array engine: readable array code for NumPy, the oracle, and CuPy, the GPU."""

from math import prod

import numpy as np

from sklearn_ckn._kernels import kernel_values
from sklearn_ckn._layer import map_shapes, pooling_matrix

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

    def encode_steps(self, maps, layer):
        """Apply one layer and return each step's result.

        Parameters
        ----------
        maps : array of shape (n, H, W, C)
        layer : Layer

        Returns
        -------
        steps : dict of arrays
            ``"responses"`` (n, H1, W1, p), ``"pooled"`` and ``"output"``
            (n, H', W', p).
        """
        xp = self.xp
        settings = layer.settings
        anchors = xp.asarray(layer.anchors)
        projection = xp.asarray(layer.projection)
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
            "responses": responses,
            "pooled": pooled,
            "output": pooled @ projection,
        }

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
