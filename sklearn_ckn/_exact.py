"""The kernel that a convolutional kernel network approximates, computed exactly."""

from dataclasses import dataclass
from functools import partial
from math import prod
from numbers import Integral

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import ArrayLike
from sklearn import get_config
from sklearn.utils import gen_batches
from sklearn.utils._chunking import get_chunk_n_rows
from sklearn.utils._param_validation import Interval

from sklearn_ckn._common.norms import image_scales, row_norms, unit_rows
from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._common.types import (
    FloatArray,
    ImageShape,
    Kernel,
    Padding,
    PerLayer,
    Subsampling,
    validated,
)
from sklearn_ckn._features import CKNFeatures
from sklearn_ckn._input.images import check_image_pair
from sklearn_ckn._network.kernels import kernel_values
from sklearn_ckn._network.pair_layer import PairLayer
from sklearn_ckn._network.parameters import resolve_layers
from sklearn_ckn._network.pooling import pooling_matrix
from sklearn_ckn._network.unfold import SMALLEST_NORM, unfold

# Values that a block of pairs takes, two megabytes in six arrays. They stay in the
# cache, and are small enough for the memory allocator to use them again: larger ones
# it returns to the system, and page faults then double the time.
BLOCK_VALUES = 2**18

# The matrix may take this many times scikit-learn's ``working_memory``.
MAX_RESULT = 16


@dataclass(frozen=True)
class _ImageSet:
    """What is known of every image before it is compared with others.

    Attributes
    ----------
    exponents : ndarray of shape (n,)
        The images are scaled by 2^-exponent, which keeps every magnitude in range.
    units : ndarray of shape (n, n_positions, kh * kw * C)
        Patches of the images, divided by their norms.
    norms : list of ndarray of shape (n, n_positions)
        Norms of the patches that each layer takes.
    """

    exponents: np.ndarray
    units: np.ndarray
    norms: list

    @classmethod
    def from_images(cls, images, layers, run_blocks):
        """Prepare (n, H, W, C) float64 images; ``run_blocks`` is of _run_blocks."""
        scale, inverse = image_scales(images)
        n_images = len(images)
        length = layers[0].settings.patch_length(images.shape[1:])
        image_set = cls(
            np.frexp(inverse.ravel())[1] - 1,
            np.empty((n_images, layers[0].n_positions, length)),
            [np.empty((n_images, layer.n_positions)) for layer in layers],
        )

        def prepare(part):
            image_set[part]._fill(images[part] * scale[part], layers)

        run_blocks(prepare, n_images)
        return image_set

    def __getitem__(self, index):
        return _ImageSet(
            self.exponents[index],
            self.units[index],
            [norms[index] for norms in self.norms],
        )

    def _fill(self, scaled, layers):
        """Compute the unit patches of scaled images and the norms in every layer."""
        patches = unfold(scaled, layers[0].settings)
        patches = patches.reshape(-1, patches.shape[-1])
        self.units[...] = unit_rows(patches).reshape(self.units.shape)
        self.norms[0][...] = row_norms(patches).reshape(self.norms[0].shape)
        for depth in range(1, len(layers)):
            products = layers[depth].patch_products(
                _map_products(self, self, layers[:depth])
            )
            norms = np.sqrt(np.einsum("nuu->nu", products))
            self.norms[depth][...] = np.where(norms > SMALLEST_NORM, norms, 0)


def _map_products(left, right, layers):
    """Return the inner products between the maps of pairs of images.

    Every pair goes through matrix products of its own, whose shapes depend on the
    shape of the images alone: so its values do not depend on the other pairs.

    Parameters
    ----------
    left, right : _ImageSet
        The first and the second images of the pairs.
    layers : list of PairLayer
        The layers that the images go through, at least one.

    Returns
    -------
    products : ndarray of shape (n_pairs, U, V), float64
        Between the pixels at position u of the one map and v of the other.
    """
    cosines = left.units @ right.units.transpose(0, 2, 1)
    products = _pooled_kernel(cosines, left.norms[0], right.norms[0], layers[0])
    for layer, left_norms, right_norms in zip(
        layers[1:], left.norms[1:], right.norms[1:], strict=False
    ):
        cosines = layer.patch_products(products)
        cosines *= _reciprocals(left_norms)[:, :, np.newaxis]
        cosines *= _reciprocals(right_norms)[:, np.newaxis, :]
        products = _pooled_kernel(cosines, left_norms, right_norms, layer)
    return products


def _reciprocals(norms):
    """Return 1 / norms, and 0 for 0."""
    return np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)


def _pooled_kernel(cosines, left_norms, right_norms, layer):
    """Return the pooled kernel between patches of given cosines and norms."""
    products = kernel_values(cosines, layer.settings.kernel, layer.settings.beta)
    products *= left_norms[:, :, np.newaxis]
    products *= right_norms[:, np.newaxis, :]
    return layer.pool(products)


def _pair_indices(part, n_left, n_right, symmetric):
    """Return the first and the second images of the pairs numbered by a slice."""
    numbers = np.arange(part.start, part.stop)
    if not symmetric:
        return np.divmod(numbers, n_right)
    # With the images on a circle, steps of 0, 1, ..., n / 2 images from each of them
    # meet every pair once, if half of them take the last step where n is even.
    steps, first = np.divmod(numbers, n_left)
    second = (first + steps) % n_left
    return np.minimum(first, second), np.maximum(first, second)


def _kernel_matrix(left, right, layers, run_blocks):
    """Return the kernel between two image sets, which may be the same object."""
    symmetric = right is left
    n_left, n_right = len(left.exponents), len(right.exponents)
    K = np.empty((n_left, n_right))

    def compare(part):
        rows, columns = _pair_indices(part, n_left, n_right, symmetric)
        products = _map_products(left[rows], right[columns], layers)
        exponents = left.exponents[rows] + right.exponents[columns]
        with np.errstate(over="ignore", under="ignore"):
            K[rows, columns] = np.ldexp(np.einsum("nuu->n", products), exponents)
        if symmetric:
            K[columns, rows] = K[rows, columns]

    run_blocks(compare, n_left * (n_left + 1) // 2 if symmetric else K.size)
    return K


def _values_per_pair(image_shape, layers):
    """Return how many float64 values the comparison of two images takes."""
    patches = layers[0].n_positions * layers[0].settings.patch_length(image_shape)
    # Of the kernel function's steps, six arrays are alive at once.
    largest = 6 * layers[0].n_positions ** 2
    for layer in layers[1:]:
        padded = prod(
            size + sum(pad)
            for size, pad in zip(layer.map_size, layer.padding, strict=True)
        )
        # The products, their padded copy and the sums over rows and columns.
        sums = 3 * padded**2 + layer.n_positions**2
        largest = max(largest, sums, padded**2 + 6 * layer.n_positions**2)
    return 2 * patches + largest


def _check_memory(n_left, n_right, pair_values):
    """Raise if two images, or the kernel matrix, take too much memory."""
    working_memory = get_config()["working_memory"]
    needed = 8 * pair_values / 2**20
    if needed > working_memory:
        raise ValueError(
            f"Comparing two images takes {needed:.3g} MiB, more than scikit-learn's "
            f"working_memory of {working_memory} MiB. It grows with the square of the "
            "number of pixels: use smaller images, or CKNFeatures, which does not "
            "compare images in pairs, or allow more by sklearn.set_config("
            f"working_memory={int(needed) + 1})."
        )
    needed = 8 * n_left * n_right / 2**20
    if needed > MAX_RESULT * working_memory:
        raise ValueError(
            f"A kernel matrix of {n_left} x {n_right} images takes {needed:.3g} MiB, "
            f"more than {MAX_RESULT} times scikit-learn's working_memory of "
            f"{working_memory} MiB: use fewer images, or CKNFeatures, which needs no "
            "such matrix, or allow more by sklearn.set_config("
            f"working_memory={int(needed / MAX_RESULT) + 1})."
        )


def _run_blocks(task, n_items, *, pair_values, n_jobs):
    """Call ``task`` with slices that divide ``n_items`` pairs or images."""
    in_memory = get_chunk_n_rows(8 * pair_values, max_n_rows=n_items)
    n_workers = min(effective_n_jobs(n_jobs), in_memory)
    step = max(1, min(BLOCK_VALUES // pair_values, in_memory // n_workers))
    parts = list(gen_batches(n_items, step))
    if len(parts) == 1:
        task(parts[0])
        return
    # Threads, for the blocks are written into one array.
    Parallel(n_jobs=n_workers, require="sharedmem")(
        delayed(task)(part) for part in parts
    )


def _is_row(X):
    """Whether X is one row of numbers, as scikit-learn gives to kernel functions."""
    return isinstance(X, np.ndarray) and X.ndim == 1 and X.dtype.kind in "buif"


_SHARED_PARAMETERS = (
    "patch_size",
    "subsampling",
    "kernel",
    "beta",
    "padding",
    "image_shape",
)


@validated(
    {
        "X": ["array-like"],
        "Y": ["array-like", None],
        "n_layers": [Interval(Integral, 1, 1000, closed="both")],
        "n_jobs": [Integral, None],
        **{
            name: CKNFeatures._parameter_constraints[name]
            for name in _SHARED_PARAMETERS
        },
    }
)
def ckn_kernel(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    n_layers: int = 2,
    patch_size: PerLayer[int] = 3,
    subsampling: PerLayer[Subsampling] = "auto",
    kernel: PerLayer[Kernel] = "exp",
    beta: PerLayer[float] = 2.8,
    padding: PerLayer[Padding] = "same",
    image_shape: ImageShape = None,
    n_jobs: int | None = None,
) -> FloatArray:
    """Compute the kernel between images that a network approximates.

    A layer maps an image x to a map whose pixel at u stands for the patch x_u of
    its input. The inner product of two such pixels is

    K(u, v) = ||x_u|| ||y_v|| kappa(<x_u, y_v> / (||x_u|| ||y_v||))

    and 0 where a patch is zero (Mairal, NIPS 2016, eq. 1), pooled over the
    positions u and v; those of patches, which the next layer takes, are sums of it.
    The result is the sum of K(u, u) over the last map, the inner product of the
    maps (for the multilayer kernel, Mairal, Koniusz, Harchaoui and Schmid, NIPS
    2014, definitions 1 and 2). :class:`CKNFeatures` projects the same maps onto its
    anchors: the inner products of its features tend to this kernel as the anchors
    grow in number and ``nystrom_reg`` falls.

    Time grows with the square of the number of images and of positions, so this is
    for some thousands of small images: to train a support vector machine on them, to
    study the kernel, or to measure what the anchors lose.

    Parameters
    ----------
    X : array-like of shape (n_X, H*W*C), (n_X, H, W) or (n_X, H, W, C)
        Images, or rows with ``image_shape``; computed in float64.
    Y : array-like of shape (n_Y, H*W*C), (n_Y, H, W) or (n_Y, H, W, C), default=None
        Images of the same shape, in any of the layouts. None stands for X and takes
        half the time.
    n_layers : int, default=2
        Number of layers, at most 1000. Parameters marked "per layer" take one value for
        all layers or a tuple with one for each.
    patch_size : int or tuple of int, default=3
        Side k of the patches in pixels of the layer's input; per layer.
    subsampling : int, "auto" or tuple of these, default="auto"
        Stride s of the Gaussian pooling in positions; per layer. ``"auto"`` in a
        tuple is ceil(max(height, width) / 3) of that layer's map; on its own it
        stands for 2 in every layer but the last and ``"auto"`` in the last.
    kernel : {"exp", "poly", "arccos1"} or tuple of these, default="exp"
        kappa(u) is exp(beta (u - 1)), u^2, or the arc-cosine kernel of order 1,
        which belongs to the ReLU; per layer.
    beta : float or tuple of float, default=2.8
        1 / sigma^2 of the kernel ``"exp"``, unused by the others; per layer.
    padding : {"same", "valid"} or tuple of these, default="same"
        Whether zeros surround the image, so that every pixel is a position. Axes
        shorter than a patch are padded either way; per layer.
    image_shape : tuple of int or None, default=None
        (height, width) or (height, width, channels) of images given as rows. With
        None, a row is one pixel with ``n_features`` channels, with a warning.
    n_jobs : int or None, default=None
        Number of threads, as elsewhere in scikit-learn. The values do not depend on
        it, nor on ``working_memory``, nor those of a pair on the other images.

    Returns
    -------
    K : ndarray of shape (n_X, n_Y), float64, or float
        Without Y, symmetric to the bit. A number where X and Y are two arrays of shape
        (H*W*C,), single rows.

    Raises
    ------
    ValueError
        X, Y or a parameter is not as described, or a value leaves the range of
        float64; or two images need more memory than
        scikit-learn's ``working_memory``, or the matrix more than 16 times as much.

    See Also
    --------
    CKNFeatures : Features whose inner products approximate this kernel.

    Notes
    -----
    :class:`~sklearn.svm.SVC` gives a kernel function all rows at once.
    :class:`~sklearn.kernel_ridge.KernelRidge`,
    :class:`~sklearn.kernel_approximation.Nystroem` and others that go through
    :func:`~sklearn.metrics.pairwise.pairwise_kernels` call it once for every pair of
    rows, which for small images takes some forty times as long as the matrix, since
    each call checks and prepares its two images anew: compute the matrix and pass
    ``kernel="precomputed"`` where there is time to save.

    References
    ----------
    J. Mairal, P. Koniusz, Z. Harchaoui and C. Schmid, "Convolutional Kernel
    Networks", NIPS 2014.

    J. Mairal, "End-to-End Kernel Learning with Supervised Convolutional Kernel
    Networks", NIPS 2016.

    Examples
    --------
    >>> from functools import partial
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.svm import SVC
    >>> from sklearn_ckn import ckn_kernel
    >>> X, y = load_digits(return_X_y=True)
    >>> svm = SVC(kernel=partial(ckn_kernel, image_shape=(8, 8)))
    >>> svm.fit(X[:100], y[:100]).predict(X[100:105])
    array([4, 0, 5, 3, 6])
    """
    is_pair_of_rows = _is_row(X) and _is_row(Y)
    if is_pair_of_rows:
        X, Y = np.asarray(X)[np.newaxis], np.asarray(Y)[np.newaxis]
    left, right = check_image_pair(X, Y, image_shape, "ckn_kernel")
    image_shape = left.shape[1:]
    parameters = {
        "n_layers": n_layers,
        "patch_size": patch_size,
        "subsampling": subsampling,
        "kernel": kernel,
        "beta": beta,
        "padding": padding,
    }
    layers = []
    map_shape = image_shape
    for settings in resolve_layers(parameters, image_shape):
        sizes = settings.response_shape(map_shape)
        pooling = tuple(pooling_matrix(size, settings.subsampling) for size in sizes)
        layers.append(PairLayer(settings, map_shape[:2], pooling))
        map_shape = settings.output_shape(map_shape)
    pair_values = _values_per_pair(image_shape, layers)
    _check_memory(len(left), len(right), pair_values)

    run_blocks = partial(_run_blocks, pair_values=pair_values, n_jobs=n_jobs)
    # On one thread BLAS gives the same to the bit on every machine size.
    with single_threaded_blas():
        left_set = _ImageSet.from_images(left, layers, run_blocks)
        right_set = (
            left_set
            if right is left
            else _ImageSet.from_images(right, layers, run_blocks)
        )
        K = _kernel_matrix(left_set, right_set, layers, run_blocks)
    if not np.isfinite(K).all():
        raise ValueError(
            "X or Y holds values so large that their kernel leaves the range of "
            "float64: divide both by a constant."
        )
    return K[0, 0] if is_pair_of_rows else K
