"""The CPU engine: NumPy arrays in, the Cython extension inside."""

from itertools import pairwise
from math import prod

import numpy as np

from sklearn_ckn._ext import _clusters, _encode, _gradients, _patches
from sklearn_ckn._kernels import KERNELS
from sklearn_ckn._layer import LayerGradients, map_shapes, pooling_taps
from sklearn_ckn._threads import n_threads, single_threaded_blas

# Work of one call into the extension, in multiply-adds: some tenths of a second.
# Python looks at signals between calls, so that Ctrl-C is answered soon.
WORK_PER_CALL = 4_000_000_000


def _layer_sizes(images, settings):
    """Return the sizes of a layer on (n, H, W, C) images, for the extension."""
    _, height, width, n_channels = images.shape
    response_height, response_width = settings.response_shape(images.shape[1:])
    pooled_height, pooled_width, _ = settings.output_shape(images.shape[1:])
    return {
        "height": height,
        "width": width,
        "n_channels": n_channels,
        "patch_size": settings.patch_size,
        "pad_top": settings.pad_axis(height)[0],
        "pad_left": settings.pad_axis(width)[0],
        "response_height": response_height,
        "response_width": response_width,
        "n_anchors": settings.n_anchors,
        "subsampling": settings.subsampling,
        "radius": len(pooling_taps(settings.subsampling)) // 2,
        "pooled_height": pooled_height,
        "pooled_width": pooled_width,
    }


def _scratch(sizes, n_workers, dtype):
    """Return the scratch of the workers: ``dtype`` and float64, a row for each."""
    n_values, n_doubles = sizes
    return np.empty((n_workers, n_values), dtype), np.empty((n_workers, n_doubles))


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
            images = self._encode_layer(images, layer)[0]
        return images

    def encode_with_tape(self, images, layers):
        """Map images through layers and keep what their gradients need.

        Parameters
        ----------
        images, layers
            See ``encode``.

        Returns
        -------
        maps : ndarray of shape (n, H', W', p), dtype of the images
        tape : list of tuple
            For ``encode_backward``: of each layer its input, the inner products of
            patches and anchors, and the pooled responses.
        """
        tape = []
        for layer in layers:
            output, products, pooled = self._encode_layer(images, layer, keep=True)
            tape.append((images, products, pooled))
            images = output
        return images, tape

    def _encode_layer(self, images, layer, keep=False):
        """Return a layer's maps, and what its gradients need or None for both."""
        settings = layer.settings
        sizes = _layer_sizes(images, settings)
        output_shape = (len(images), *settings.output_shape(images.shape[1:]))
        output = np.empty(output_shape, dtype=images.dtype)
        products = pooled = None
        if keep:
            n_positions = sizes["response_height"] * sizes["response_width"]
            products = np.empty(
                (len(images), n_positions, settings.n_anchors), dtype=images.dtype
            )
            pooled = np.empty_like(output)
        n_workers = max(1, min(n_threads(), len(images)))
        with single_threaded_blas:
            _encode.encode_layer(
                images,
                layer.anchors,
                layer.projection,
                pooling_taps(settings.subsampling).astype(images.dtype),
                output,
                products,
                pooled,
                *_scratch(_encode.scratch_sizes(sizes), n_workers, images.dtype),
                KERNELS.index(settings.kernel),
                settings.beta,
                sizes,
            )
        return output, products, pooled

    def encode_backward(self, tape, layers, slopes, *, to_images=False):
        """Compute the gradients of a function of the maps.

        They are sums over the images, in an order that does not depend on the number
        of threads.

        Parameters
        ----------
        tape : list of tuple
            From ``encode_with_tape``.
        layers : list of Layer
            Those that the tape is of.
        slopes : ndarray of shape (n, H', W', p), dtype of the images
            The function's gradient in the maps.
        to_images : bool, default=False
            Whether to compute the gradient in the images.

        Returns
        -------
        gradients : list of LayerGradients
            Of each layer, its anchors and its projection taken as independent.
        image_slopes : ndarray of shape (n, H, W, C) or None
        """
        gradients = [None] * len(layers)
        slopes = np.ascontiguousarray(slopes)
        for i in reversed(range(len(layers))):
            gradients[i], slopes = self._backward_layer(
                *tape[i], slopes, layers[i], to_images or i > 0
            )
        return gradients, slopes

    def _backward_layer(self, images, products, pooled, slopes, layer, to_images):
        settings = layer.settings
        dtype = images.dtype
        sizes = _layer_sizes(images, settings)
        n_groups = max(1, min(_gradients.n_groups(), len(images)))
        anchor_slopes = np.empty((n_groups, *layer.anchors.shape), dtype)
        projection_slopes = np.empty((n_groups, *layer.projection.shape), dtype)
        beta_slopes = np.empty(n_groups)
        image_slopes = np.empty_like(images) if to_images else None
        n_workers = min(n_threads(), n_groups)
        with single_threaded_blas:
            _gradients.backward_layer(
                images,
                products,
                pooled,
                slopes,
                layer.anchors,
                layer.projection,
                pooling_taps(settings.subsampling).astype(dtype),
                anchor_slopes,
                projection_slopes,
                beta_slopes,
                image_slopes,
                *_scratch(_gradients.scratch_sizes(sizes), n_workers, dtype),
                KERNELS.index(settings.kernel),
                settings.beta,
                sizes,
            )
        gradients = LayerGradients(
            anchor_slopes.sum(axis=0),
            projection_slopes.sum(axis=0),
            float(beta_slopes.sum()),
        )
        return gradients, image_slopes

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
