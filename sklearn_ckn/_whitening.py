"""PatchWhitening: images to images whose patches are centred and whitened."""

from math import prod
from numbers import Integral, Real
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh, helmert
from sklearn.base import (
    OneToOneFeatureMixin,
    TransformerMixin,
)
from sklearn.utils import gen_batches
from sklearn.utils._chunking import get_chunk_n_rows
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from sklearn_ckn._arrays import namespace, to_numpy
from sklearn_ckn._image_layouts import read_images
from sklearn_ckn._images import (
    check_images,
    compute_dtype,
    keep_fitted_on_error,
)
from sklearn_ckn._norms import BLOCK_VALUES, GPU_BLOCK_VALUES
from sklearn_ckn._output import PixelNamesMixin, wrap_rows_only
from sklearn_ckn._persistence import VersionedEstimator
from sklearn_ckn._threads import single_threaded_blas
from sklearn_ckn._typing import FloatArray, ImageShape, fit_context


@wrap_rows_only
class PatchWhitening(
    PixelNamesMixin, OneToOneFeatureMixin, TransformerMixin, VersionedEstimator
):
    """Centre and whiten the patches of images, and put the images together again.

    Each patch loses the mean of each of its channels and is multiplied by

    U (diag(e) + reg mean(e) I)^(-power) U^T,

    where e and U are the eigenvalues and eigenvectors of the second moments of the
    training images' centred patches; the patches are then averaged where they
    overlap. Brightness so falls away, and fine detail and differences in colour, of
    which natural images have little, gain weight. The images keep their layout and
    shape and can go on to :class:`CKNFeatures`. The map is linear, and flat parts of
    an image become exactly zero.

    Parameters
    ----------
    patch_size : int, default=3
        Side of the patches in pixels. All patches inside the image are taken,
        without padding; an axis shorter than the patch is covered by one. One-pixel
        patches, for which centring would leave nothing, are not centred: their
        channels are whitened.
    power : float, default=0.25
        From 0, centring alone, to 0.5, ZCA whitening, after which patches have unit
        second moments in every direction.
    reg : float, default=1e-2
        Added to the eigenvalues as a part of their mean, so that the unit of the
        images does not matter: images c times as large give c^(1 - 2 power) times
        as large an output. It limits how much directions that are almost absent
        from the training images, often noise, are amplified; larger powers need
        more of it.
    image_shape : tuple of int or None, default=None
        (height, width) or (height, width, channels) of images given as rows. With
        None, a row is one pixel with ``n_features`` channels, with a warning.

    Attributes
    ----------
    patch_shape_ : tuple of int
        (kh, kw, C), no larger than the image.
    eigenvalues_ : ndarray of shape (n_components,), float64
        Second moments of centred patches along the components, in falling order;
        n_components is (kh * kw - 1) * C, the dimensions that centring leaves, or C
        for one-pixel patches.
    components_ : ndarray of shape (n_components, kh * kw * C), float64
        Eigenvectors as rows, in (row, column, channel) order.
    whitening_ : ndarray of shape (kh * kw * C, kh * kw * C), float64
        The symmetric matrix that centres and whitens a patch. Where e is zero,
        because the training images are constant, it only centres.
    image_shape_ : tuple of int
        (H, W, C).
    n_features_in_ : int
        H * W * C.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if X was a data frame with string column names.

    See Also
    --------
    CKNFeatures : The kernel features that these images are meant for.

    Notes
    -----
    Networks of this kind reach their published accuracy on CIFAR-10 (Mairal, NIPS
    2016) with images whitened beforehand. Where other implementations take the
    moments from each image alone, these are the training images', and the same map
    holds for all.

    Features of whitened images want an ``alpha`` some ten times larger in a linear
    head than those of raw images; the default of :class:`CKNClassifier` finds it.

    References
    ----------
    J. Mairal, "End-to-End Kernel Learning with Supervised Convolutional Kernel
    Networks", NIPS 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_ckn import PatchWhitening
    >>> images = load_digits().images
    >>> whitening = PatchWhitening().fit(images)
    >>> whitening.patch_shape_, whitening.eigenvalues_.shape
    ((3, 3, 1), (8,))
    >>> whitening.transform(images).shape
    (1797, 8, 8)
    """

    _parameter_constraints = {  # noqa: RUF012
        "patch_size": [Interval(Integral, 1, None, closed="left")],
        "power": [Interval(Real, 0, 0.5, closed="both")],
        "reg": [Interval(Real, 0, None, closed="neither")],
        "image_shape": ["array-like", None],
    }

    def __init__(
        self,
        patch_size: int = 3,
        *,
        power: float = 0.25,
        reg: float = 1e-2,
        image_shape: ImageShape = None,
    ) -> None:
        self.patch_size = patch_size
        self.power = power
        self.reg = reg
        self.image_shape = image_shape

    @fit_context
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn the second moments of all patches of the images.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
            Images, or rows with ``image_shape``.
        y : None
            Ignored.

        Returns
        -------
        self : PatchWhitening

        Raises
        ------
        ValueError
            X or a parameter is not as described.
        """
        with keep_fitted_on_error(self):
            images = check_images(self, X, reset=True)
            self.image_shape_ = images.shape[1:]
            height, width, n_channels = self.image_shape_
            self.patch_shape_ = (
                min(int(self.patch_size), height),
                min(int(self.patch_size), width),
                n_channels,
            )
            basis = _centred_basis(self.patch_shape_)
            # On one thread the moments are the same to the bit on every machine
            # size; and the products are too small for threads to gain anything.
            with single_threaded_blas:
                moments = _second_moments(images, self.patch_shape_)
                # The coordinates of a patch are those of its differences from the
                # first pixel, to which the columns of that pixel do not matter.
                from_differences = basis[:, -len(moments) :]
                eigenvalues, vectors = eigh(
                    from_differences @ moments @ from_differences.T
                )
                self.eigenvalues_ = np.maximum(eigenvalues[::-1], 0)
                self.components_ = vectors[:, ::-1].T @ basis
                half = self.components_.T * np.sqrt(self._multipliers())
                # A matrix times its own transpose is symmetric to the bit.
                self.whitening_ = half @ half.T
        return self

    def _multipliers(self):
        """Return (e + reg mean(e))^(-power), or ones where all of e is zero."""
        mean = self.eigenvalues_.mean()
        if mean == 0:
            return np.ones_like(self.eigenvalues_)
        # Divided first: reg times a tiny mean could underflow to zero.
        relative = (self.eigenvalues_ / mean + self.reg) ** -self.power
        return relative * mean**-self.power

    def transform(self, X: ArrayLike) -> FloatArray:
        """Whiten images.

        An image's result does not depend, to the bit, on the others in X. Memory
        stays at the output and the patches of a few images, which follow
        scikit-learn's ``working_memory``.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
            Images of the shape of those given to ``fit``, in any of the layouts.

        Returns
        -------
        whitened : array of the shape of X
            float32 for uint8 and float32 images, float64 for others. An array of
            CuPy if X is one, computed where X is. Rows come in the container that
            ``set_output`` asks for; images, which no data frame holds, as an array.

        Raises
        ------
        ValueError
            X is not as described.
        """
        check_is_fitted(self)
        X = read_images(X, type(self).__name__)
        images = check_images(self, X, reset=False)
        dtype = compute_dtype(images.dtype)
        xp = namespace(images)
        matrix = xp.asarray(self.whitening_.astype(dtype))
        counts = _patches_per_pixel(self.image_shape_, self.patch_shape_)
        counts = xp.asarray(counts.astype(dtype))
        whitened = xp.empty(images.shape, dtype=dtype)
        with single_threaded_blas:
            for part, planes in _blocks_of_planes(images, self.patch_shape_, dtype):
                patches = _gather_patches(planes, self.patch_shape_)
                # The matrix maps flat patches to zero: differences from the first
                # pixel, without its columns, give what patches would.
                products = matrix[:, -patches.shape[1] :] @ patches
                sums = _add_patches(products, planes.shape, self.patch_shape_)
                xp.divide(sums, counts, out=whitened[part].transpose(0, 3, 1, 2))
        return whitened.reshape(X.shape)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _centred_basis(patch_shape):
    """Return an orthonormal basis of the centred patches.

    Parameters
    ----------
    patch_shape : tuple of int
        (kh, kw, C).

    Returns
    -------
    basis : ndarray of shape ((kh * kw - 1) * C, kh * kw * C), float64
        Of all patches, (C, C), where they have one pixel.
    """
    height, width, n_channels = patch_shape
    n_pixels = height * width
    pixels = helmert(n_pixels) if n_pixels > 1 else np.ones((1, 1))
    return np.kron(pixels, np.eye(n_channels))


def _n_positions(image_shape, patch_shape):
    """Return how many patches fit along the height and the width of an image."""
    return (
        image_shape[0] - patch_shape[0] + 1,
        image_shape[1] - patch_shape[1] + 1,
    )


def _patches_per_pixel(image_shape, patch_shape):
    """Return in how many patches each pixel is, an array of shape (H, W)."""
    rows, columns = (
        np.convolve(np.ones(n_positions), np.ones(side))
        for n_positions, side in zip(
            _n_positions(image_shape, patch_shape), patch_shape[:2], strict=True
        )
    )
    return np.outer(rows, columns)


def _blocks_of_planes(images, patch_shape, dtype):
    """Yield slices of images and these as (n, C, H, W) arrays of ``dtype``.

    A block's patches stay in the cache, where they are several times faster to work
    on than in memory, and within scikit-learn's ``working_memory``.
    """
    n_values = prod(patch_shape) * prod(_n_positions(images.shape[1:], patch_shape))
    # Patches before and after whitening, and the image on both sides.
    n_bytes = 2 * (n_values + prod(images.shape[1:])) * np.dtype(dtype).itemsize
    by_memory = get_chunk_n_rows(n_bytes, max_n_rows=len(images))
    xp = namespace(images)
    by_cache = max(1, (BLOCK_VALUES if xp is np else GPU_BLOCK_VALUES) // n_values)
    for part in gen_batches(len(images), min(by_memory, by_cache)):
        planes = images[part].transpose(0, 3, 1, 2)
        yield part, xp.ascontiguousarray(planes, dtype=dtype)


def _windows(planes, patch_shape):
    """Yield, for each pixel of a patch, a view of what it sees at all positions.

    Parameters
    ----------
    planes : ndarray of shape (n, C, H, W)
    patch_shape : tuple of int
        (kh, kw, C).

    Yields
    ------
    window : ndarray of shape (n, C, H - kh + 1, W - kw + 1)
    """
    height, width = _n_positions(planes.shape[2:], patch_shape)
    for row in range(patch_shape[0]):
        for column in range(patch_shape[1]):
            yield planes[:, :, row : row + height, column : column + width]


def _gather_patches(planes, patch_shape):
    """Return the patches at all positions as differences from their first pixel.

    What is flat is then zero exactly, and large values do not hide small contrasts.

    Parameters
    ----------
    planes : ndarray of shape (n, C, H, W)
    patch_shape : tuple of int
        (kh, kw, C).

    Returns
    -------
    patches : ndarray of shape (n, (kh * kw - 1) * C, n_positions)
        Without the first pixel, which is zero. One-pixel patches are themselves,
        (n, C, n_positions).
    """
    windows = list(_windows(planes, patch_shape))
    if len(windows) == 1:
        return planes.reshape(*planes.shape[:2], -1)
    n, n_channels, *positions = windows[0].shape
    xp = namespace(planes)
    patches = xp.empty(
        (n, len(windows) - 1, n_channels, *positions), dtype=planes.dtype
    )
    for index, window in enumerate(windows[1:]):
        xp.subtract(window, windows[0], out=patches[:, index])
    return patches.reshape(n, -1, prod(positions))


def _add_patches(patches, planes_shape, patch_shape):
    """Add patches up at the pixels that they came from.

    Parameters
    ----------
    patches : ndarray of shape (n, kh * kw * C, n_positions)
    planes_shape : tuple of int
        (n, C, H, W).
    patch_shape : tuple of int
        (kh, kw, C).

    Returns
    -------
    sums : ndarray of shape (n, C, H, W), dtype of ``patches``
    """
    xp = namespace(patches)
    sums = xp.zeros(planes_shape, dtype=patches.dtype)
    patches = xp.split(patches, prod(patch_shape[:2]), axis=1)
    for window, pixels in zip(_windows(sums, patch_shape), patches, strict=True):
        window += pixels.reshape(window.shape)
    return sums


def _second_moments(images, patch_shape):
    """Return the mean over all patches of their products with themselves.

    Everything is in float64, where the differences of uint8 images and their
    products are exact, and is added image after image, so that the size of the
    blocks does not matter.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C)
    patch_shape : tuple of int
        (kh, kw, C).

    Returns
    -------
    moments : ndarray of shape (length, length), float64
        Of what ``_gather_patches`` returns.
    """
    moments = 0.0
    for _, planes in _blocks_of_planes(images, patch_shape, np.float64):
        patches = _gather_patches(planes, patch_shape)
        products = patches @ patches.transpose(0, 2, 1)
        # A GPU adds the images of a block at once: one by one would take it longer
        # than the products.
        if namespace(products) is np:
            for product in products:
                moments += product
        else:
            moments = moments + products.sum(axis=0)
    return to_numpy(moments) / (len(images) * patches.shape[2])
