"""ckn_kernel: the kernel that convolutional kernel networks approximate, exactly."""

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike
from sklearn import get_config
from sklearn.utils._param_validation import Interval

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
from sklearn_ckn._network.pair_kernel import PairKernel
from sklearn_ckn._network.parameters import resolve_layers

# The matrix may take this many times scikit-learn's ``working_memory``.
MAX_RESULT = 16


def _check_memory(n_left, n_right, pair_bytes):
    """Raise if comparing two images, or the kernel matrix, takes too much memory."""
    working_memory = get_config()["working_memory"]
    needed = pair_bytes / 2**20
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


def _is_row(X):
    """Return whether X is a single row, as scikit-learn passes to kernel functions."""
    return isinstance(X, np.ndarray) and X.ndim == 1 and X.dtype.kind in "buif"


_SHARED_PARAMETERS = (
    "patch_size",
    "dilation",
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
        "flip_average": ["boolean"],
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
    dilation: PerLayer[int] = 1,
    subsampling: PerLayer[Subsampling] = "auto",
    kernel: PerLayer[Kernel] = "exp",
    beta: PerLayer[float] = 2.8,
    padding: PerLayer[Padding] = "same",
    image_shape: ImageShape = None,
    flip_average: bool = False,
    n_jobs: int | None = None,
) -> FloatArray:
    """Compute the exact kernel between images, which networks approximate.

    A layer maps an image x to a map whose pixel at position u represents the patch
    x_u of its input. The inner product of two such pixels, of the maps of two images x
    and y, is

    K(u, v) = ||x_u|| ||y_v|| kappa(<x_u, y_v> / (||x_u|| ||y_v||)),

    or 0 where a patch is zero (Mairal, NIPS 2016, eq. 1), pooled over the positions u
    and v. The inner product of two patches of the next layer's input is the sum of
    K over the pixels of the patches. The value of the kernel is the sum of K(u, u)
    over the last maps, which is their inner product (for the multilayer kernel:
    Mairal, Koniusz, Harchaoui and Schmid, NIPS 2014, definitions 1 and 2).
    :class:`CKNFeatures` projects the same maps onto its anchors: the inner products of
    its features tend to this kernel as the number of anchors grows and
    ``nystrom_reg`` falls.

    The time grows with the square of the number of images and of positions. The kernel
    is meant for a few thousand small images: to train a support vector machine, to
    study the kernel itself, or to measure how much the anchors lose.

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
        Side k of the patches in pixels of the layer's input; per layer. Along an axis
        of length 1 patches have side 1.
    dilation : int or tuple of int, default=1
        Patches take every ``dilation``-th pixel; 1 for patches without gaps; per layer.
    subsampling : int, "auto", "global" or tuple of these, default="auto"
        Stride s of the Gaussian pooling in positions; per layer. ``"auto"`` in a
        tuple is ceil(max(height, width) / 3) of that layer's map, and ``"global"`` is
        the mean over all positions. On its own, either stands for 2 in every layer but
        the last, and for itself in the last.
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
    flip_average : bool, default=False
        Whether to average the kernel over left-right flips of both images: the value
        is the mean of the kernel of x and y, of x and the mirror image of y, of the
        mirror image of x and y, and of both mirror images. Features with
        ``flip_average=True`` approximate it. It takes four times as long.
    n_jobs : int or None, default=None
        Number of threads, as elsewhere in scikit-learn. The values depend neither on
        it nor on ``working_memory``, and the value of a pair does not depend on the
        other images.

    Returns
    -------
    K : ndarray of shape (n_X, n_Y), float64, or float
        Without Y, symmetric to the bit. A number if X and Y are single rows, two arrays
        of shape (H*W*C,).

    Raises
    ------
    ValueError
        X, Y or a parameter is not as described; a value leaves the range of float64;
        the comparison of two images needs more memory than scikit-learn's
        ``working_memory``, or the matrix more than 16 times as much.

    See Also
    --------
    CKNFeatures : Learns features whose inner products approximate this kernel.

    Notes
    -----
    :class:`~sklearn.svm.SVC` calls a kernel function once, with all rows.
    :class:`~sklearn.kernel_ridge.KernelRidge`,
    :class:`~sklearn.kernel_approximation.Nystroem` and other estimators that use
    :func:`~sklearn.metrics.pairwise.pairwise_kernels` call it once for every pair of
    rows. For small images this takes about forty times as long, since each call
    validates and prepares its two images again: compute the matrix once and pass
    ``kernel="precomputed"`` instead.

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
        "dilation": dilation,
        "subsampling": subsampling,
        "kernel": kernel,
        "beta": beta,
        "padding": padding,
    }
    kernel_of_pairs = PairKernel.from_settings(
        resolve_layers(parameters, image_shape), image_shape, flip_average, n_jobs
    )
    _check_memory(len(left), len(right), kernel_of_pairs.pair_bytes)
    # With one thread BLAS returns the same bits whatever the number of cores.
    with single_threaded_blas():
        K = kernel_of_pairs.matrix(left, right)
    if not np.isfinite(K).all():
        raise ValueError(
            "X or Y holds values so large that their kernel leaves the range of "
            "float64: divide both by a constant."
        )
    return K[0, 0] if is_pair_of_rows else K
