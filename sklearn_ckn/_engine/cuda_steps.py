"""The steps between a layer's matrix products as CUDA kernels."""

from functools import cache
from importlib import resources
from math import prod

import numpy as np

from sklearn_ckn._engine.array import PatchScalars
from sklearn_ckn._network.kernels import KERNELS
from sklearn_ckn._network.pooling import pooling_of_maps
from sklearn_ckn._network.unfold import SMALLEST_NORM

#: C names of the dtypes.
TYPES = {"f": "float", "d": "double"}

# Number of threads of a block in kernels with one thread for each element. LANES and
# GROUPS are the block sizes of the other kernels, the same numbers as in steps.cu.
BLOCK = 256
LANES, GROUPS = 32, 4


@cache
def load_module(cupy, device, types):
    """Return the loaded kernels for a device and for the C names of the two types.

    CuPy compiles them once and keeps the result on disk. The loaded module is kept
    here, because each call of an estimator creates a new engine.
    """
    return cupy.RawModule(
        code=source(),
        options=("-std=c++17", f"-DSCALAR={types[0]}", f"-DSUM={types[1]}"),
    )


@cache
def source():
    """Return the CUDA source of the kernels."""
    return (resources.files(__package__) / "steps.cu").read_text()


class CudaSteps:
    """The steps between a layer's matrix products, for CuPy arrays.

    The methods have the parameters and return values of those of ``ArraySteps``. Each
    of them launches one kernel that does all operations of the step, where array code
    would read and write an array for each operation.

    Parameters
    ----------
    cupy : module
    """

    def __init__(self, cupy):
        self._cupy = cupy

    def _launch(self, name, grid, block, dtype, *arguments, sum_dtype=None):
        """Launch a kernel on the current device."""
        types = TYPES[dtype.char], TYPES[np.dtype(sum_dtype or dtype).char]
        module = load_module(self._cupy, self._cupy.cuda.Device().id, types)
        module.get_function(name)((grid,), block, arguments)

    def _launch_elements(self, name, n_threads, dtype, *arguments, **options):
        """Launch a thread for each of ``n_threads`` elements, if there are any."""
        if n_threads:
            grid = -(-n_threads // BLOCK)
            self._launch(name, grid, (BLOCK,), dtype, *arguments, **options)

    def _launch_positions(self, name, n_positions, dtype, *arguments):
        """Launch LANES threads for each of ``n_positions``, if there are any."""
        if n_positions:
            grid = -(-n_positions // GROUPS)
            self._launch(name, grid, (LANES, GROUPS), dtype, *arguments)

    def unfold(self, maps, mean, settings):
        """Return patches and their PatchScalars; see ``ArraySteps.unfold``."""
        maps = self._cupy.ascontiguousarray(maps)
        n_images, height, width, n_channels = maps.shape
        rows, columns = settings.response_shape(maps.shape[1:])
        n_positions = n_images * rows * columns
        length = settings.patch_length(maps.shape[1:])
        patches = self._cupy.empty((n_positions, length), maps.dtype)
        scalars = PatchScalars(
            *(self._cupy.empty((n_positions, 1), maps.dtype) for _ in range(3))
        )
        self._launch_positions(
            "unfold",
            n_positions,
            maps.dtype,
            maps,
            self._cupy.ascontiguousarray(mean),
            patches,
            *_arrays(scalars),
            np.int64(n_positions),
            *_integers(height, width, n_channels, rows, columns),
            *_patch_arguments(settings, maps.shape[1:]),
            *_integers(settings.center_patches, settings.keep_norm),
            maps.dtype.type(SMALLEST_NORM),
        )
        return patches, scalars

    def respond_and_pool(self, products, scalars, shape, settings, sum_dtype):
        """Return the pooled responses; see ``ArraySteps.respond_and_pool``."""
        n_anchors = products.shape[1]
        pooled_rows, pooled_columns = map(settings.pooled_size, shape[1:])
        stride, taps = pooling_of_maps(settings.subsampling, shape[1:])
        pooled = self._cupy.empty(
            (shape[0], pooled_rows, pooled_columns, n_anchors), sum_dtype
        )
        n_threads = shape[0] * pooled_columns * n_anchors
        self._launch_elements(
            "respond_and_pool",
            n_threads,
            products.dtype,
            products,
            *_arrays(scalars),
            self._cupy.asarray(taps.astype(sum_dtype)),
            pooled,
            np.int64(n_threads),
            *_integers(n_anchors, *shape[1:], pooled_rows, pooled_columns),
            *_kernel_arguments(settings, stride, taps, products.dtype),
            sum_dtype=sum_dtype,
        )
        return pooled

    def differentiate(self, pooled_gradient, products, scalars, shape, settings):
        """Compute the gradients of a step; see ``ArraySteps.differentiate``."""
        n_positions, n_anchors = products.shape
        stride, taps = pooling_of_maps(settings.subsampling, shape[1:])
        product_gradients, coefficients, beta_gradients = (
            self._cupy.empty(size, products.dtype)
            for size in (products.shape, (n_positions, 1), n_positions)
        )
        self._launch_positions(
            "differentiate",
            n_positions,
            products.dtype,
            self._cupy.ascontiguousarray(pooled_gradient),
            products,
            *_arrays(scalars),
            self._cupy.asarray(taps.astype(products.dtype)),
            product_gradients,
            coefficients,
            beta_gradients,
            np.int64(n_positions),
            *_integers(n_anchors, *shape[1:], *pooled_gradient.shape[1:3]),
            *_kernel_arguments(settings, stride, taps, products.dtype),
        )
        return product_gradients, coefficients, beta_gradients

    def fold(self, patch_gradients, coefficients, maps, settings):
        """Add the gradients of patches at their pixels; see ``ArraySteps.fold``."""
        maps = self._cupy.ascontiguousarray(maps)
        height, width, n_channels = maps.shape[1:]
        rows, columns = settings.response_shape(maps.shape[1:])
        gradient = self._cupy.empty(maps.shape, maps.dtype)
        self._launch_elements(
            "fold",
            maps.size,
            maps.dtype,
            patch_gradients,
            coefficients,
            maps,
            gradient,
            np.int64(maps.size),
            *_integers(height, width, n_channels, rows, columns),
            *_patch_arguments(settings, maps.shape[1:]),
        )
        return gradient

    def sum_groups(self, points, labels, n_groups):
        """Add the points of each group; see ``Engine.sum_groups``."""
        cupy = self._cupy
        order = cupy.argsort(labels, kind="stable")
        starts = cupy.searchsorted(labels[order], cupy.arange(n_groups + 1))
        shape = (n_groups, points.shape[1])
        sums = cupy.empty(shape, np.float64)
        self._launch_elements(
            "sum_groups",
            prod(shape),
            points.dtype,
            cupy.ascontiguousarray(points),
            order.astype(np.int64, copy=False),
            starts.astype(np.int64, copy=False),
            sums,
            np.int64(prod(shape)),
            *_integers(points.shape[1]),
        )
        return sums


def _arrays(scalars):
    """Return the arrays of PatchScalars in the order of the kernels' parameters."""
    return scalars.norms, scalars.inverse_norms, scalars.offsets


def _integers(*values):
    """Return arguments of the C type ``int``."""
    return [np.int32(value) for value in values]


def _patch_arguments(settings, map_shape):
    """Return the arguments of ``unfold`` and ``fold`` that describe the patches."""
    before = [settings.pad_axis(size)[0] for size in map_shape[:2]]
    return _integers(*settings.patch_shape(map_shape), settings.dilation, *before)


def _kernel_arguments(settings, stride, taps, dtype):
    """Return the last arguments of ``respond_and_pool`` and ``differentiate``."""
    return [
        *_integers(stride, len(taps) // 2),
        *_integers(KERNELS.index(settings.kernel)),
        dtype.type(settings.beta),
    ]
