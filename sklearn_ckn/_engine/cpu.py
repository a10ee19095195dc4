"""The CPU engine: NumPy arrays in, the Cython extension inside."""

from itertools import pairwise
from math import prod

import numpy as np

from sklearn_ckn._ext import _clusters, _encode, _patches
from sklearn_ckn._kernels import KERNELS
from sklearn_ckn._layer import map_shapes, pooling_taps
from sklearn_ckn._threads import n_threads, single_threaded_blas

# Work of one call into the extension, in multiply-adds: some tenths of a second.
# Python looks at signals between calls, so that Ctrl-C is answered soon.
WORK_PER_CALL = 4_000_000_000


class CPUEngine:
    """Operations on float32 or float64 NumPy arrays, with OpenMP over images.

    An image's result depends on the image alone, to the bit: not on its
    neighbours, on the number of threads or on how a data set is divided.
    """

    def bytes_per_image(self, image_shape, layers, itemsize):
        """Return the memory that one more image in a call to ``encode`` takes."""
        sizes = [prod(shape) for shape in map_shapes(image_shape, layers)]
        return itemsize * max(
            (before + after for before, after in pairwise(sizes)),
            default=sizes[0],
        )

    def encode(self, images, layers):
        """Map images through layers.

        Parameters
        ----------
        images : ndarray of shape (n, H, W, C), float32 or float64
            C-ordered.
        layers : list of Layer
            In the dtype of the images.

        Returns
        -------
        maps : ndarray of shape (n, H', W', p), dtype of the images
        """
        for layer in layers:
            images = self._encode_layer(images, layer)
        return images

    def _encode_layer(self, images, layer):
        settings = layer.settings
        image_shape = images.shape[1:]
        height, width, _ = image_shape
        response_height, response_width = settings.response_shape(image_shape)
        output_shape = settings.output_shape(image_shape)
        output = np.empty((len(images), *output_shape), dtype=images.dtype)
        n_floats, n_doubles = _encode.scratch_sizes(
            height,
            width,
            settings.patch_length(image_shape),
            settings.n_anchors,
            response_height * response_width,
            *output_shape[:2],
        )
        n_workers = max(1, min(n_threads(), len(images)))
        with single_threaded_blas:
            _encode.encode_layer(
                images,
                layer.anchors,
                layer.projection,
                pooling_taps(settings.subsampling).astype(images.dtype),
                output,
                np.empty((n_workers, n_floats), dtype=images.dtype),
                np.empty((n_workers, n_doubles)),
                KERNELS.index(settings.kernel),
                settings.beta,
                settings.patch_size,
                settings.pad_axis(height)[0],
                settings.pad_axis(width)[0],
                response_height,
                response_width,
                settings.subsampling,
            )
        return output

    def gather_patches(self, images, indices, rows, columns, settings):
        """Copy single patches, zeros where they reach outside their image.

        Parameters
        ----------
        images : ndarray of shape (n, H, W, C), float32 or float64
            C-ordered.
        indices, rows, columns : ndarray of shape (m,), intp
            Image and position of each patch; positions count from (0, 0) to the
            layer's ``response_shape``.
        settings : LayerSettings

        Returns
        -------
        patches : ndarray of shape (m, k * k * C), dtype of the images
        """
        height, width, _ = images.shape[1:]
        patches = np.empty(
            (len(indices), settings.patch_length(images.shape[1:])), images.dtype
        )
        _patches.gather_patches(
            images,
            indices,
            rows - settings.pad_axis(height)[0],
            columns - settings.pad_axis(width)[0],
            patches,
            settings.patch_size,
            n_threads(),
        )
        return patches

    def nearest_anchors(self, points, anchors):
        """Find for every point the anchor of largest inner product.

        Parameters
        ----------
        points : ndarray of shape (n, length), float32 or float64
        anchors : ndarray of shape (p, length), dtype of the points

        Returns
        -------
        nearest : ndarray of shape (n,), intp
            The first of equals.
        similarity : ndarray of shape (n,), dtype of the points
        """
        n_points, length = points.shape
        n_anchors = len(anchors)
        nearest = np.empty(n_points, dtype=np.intp)
        similarity = np.empty(n_points, dtype=points.dtype)
        n_chunk_rows = _clusters.chunk_rows()
        n_chunks = max(1, WORK_PER_CALL // (n_chunk_rows * n_anchors * length))
        step = n_chunks * n_chunk_rows
        n_workers = min(n_threads(), n_chunks, -(-n_points // n_chunk_rows))
        scratch = np.empty((n_workers, n_chunk_rows * n_anchors), dtype=points.dtype)
        with single_threaded_blas:
            for start in range(0, n_points, step):
                rows = slice(start, start + step)
                _clusters.nearest_anchors(
                    points[rows], anchors, nearest[rows], similarity[rows], scratch
                )
        return nearest, similarity

    def sum_groups(self, points, labels, n_groups):
        """Add the points of each group.

        Parameters
        ----------
        points : ndarray of shape (n, length), float32 or float64
        labels : ndarray of shape (n,), intp
            Group of each point, 0 to n_groups - 1.
        n_groups : int

        Returns
        -------
        sums : ndarray of shape (n_groups, length), float64
        """
        sums = np.empty((n_groups, points.shape[1]))
        order = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[order], np.arange(n_groups + 1))
        _clusters.sum_groups(points, order, starts, sums, n_threads())
        return sums
