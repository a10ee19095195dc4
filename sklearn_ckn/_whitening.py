"""PatchWhitening: images to images whose patches are centred and whitened."""

from numbers import Integral, Real
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh
from sklearn.base import (
    OneToOneFeatureMixin,
    TransformerMixin,
)
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.fitting import keep_fitted_on_error
from sklearn_ckn._common.output import PixelNamesMixin, wrap_rows_only
from sklearn_ckn._common.parameters import finite_number
from sklearn_ckn._common.pickles import VersionedEstimator
from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._common.types import FloatArray, ImageShape, fit_context
from sklearn_ckn._input.containers import read_images
from sklearn_ckn._input.dtypes import compute_dtype
from sklearn_ckn._input.images import check_images
from sklearn_ckn._network.patch_arrays import (
    add_patches,
    blocks_of_planes,
    centred_basis,
    gather_patches,
    patches_per_pixel,
    second_moments,
)


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
        Second moments of centred patches along the components, in falling order, 0 or
        the largest number where they leave the range of float64;
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
            X or a parameter is not as described; the matrix leaves the range of
            float64.
        """
        reg = finite_number("reg", self.reg)
        with keep_fitted_on_error(self):
            images = check_images(self, X, reset=True).array
            self.image_shape_ = images.shape[1:]
            height, width, n_channels = self.image_shape_
            self.patch_shape_ = (
                min(int(self.patch_size), height),
                min(int(self.patch_size), width),
                n_channels,
            )
            basis = centred_basis(self.patch_shape_)
            # On one thread the moments are the same to the bit on every machine
            # size; and the products are too small for threads to gain anything.
            with single_threaded_blas():
                moments, exponent = second_moments(images, self.patch_shape_)
                # The coordinates of a patch are those of its differences from the
                # first pixel, to which the columns of that pixel do not matter.
                from_differences = basis[:, -len(moments) :]
                eigenvalues, vectors = eigh(
                    from_differences @ moments @ from_differences.T
                )
                eigenvalues = np.maximum(eigenvalues[::-1], 0)
                self.components_ = vectors[:, ::-1].T @ basis
                self.whitening_ = self._whitening_matrix(eigenvalues, exponent, reg)
            with np.errstate(over="ignore", under="ignore"):
                eigenvalues = np.ldexp(eigenvalues, 2 * exponent)
            self.eigenvalues_ = np.minimum(eigenvalues, np.finfo(np.float64).max)
        return self

    def _whitening_matrix(self, eigenvalues, exponent, reg):
        """Return U (e + reg mean(e))^(-power) U^T of eigenvalues e over 4^exponent.

        Without (...)^(-power) where all of e is zero.
        """
        mean = eigenvalues.mean()
        if mean == 0:
            return self.components_.T @ self.components_
        # Divided first: reg times a tiny mean could underflow to zero.
        multipliers = (eigenvalues / mean + reg) ** -self.power
        multipliers *= mean**-self.power
        # 4^(-power exponent), most of it a power of two, which is exact.
        unit = -2 * self.power * exponent
        multipliers *= 2 ** (unit - round(unit))
        half = self.components_.T * np.sqrt(multipliers)
        with np.errstate(over="ignore", under="ignore"):
            # A matrix times its own transpose is symmetric to the bit.
            matrix = np.ldexp(half @ half.T, round(unit))
        largest = abs(matrix).max()
        if not np.finfo(np.float64).tiny <= largest < np.inf:
            raise ValueError(
                "The whitening matrix leaves the range of float64: multiply X by a "
                f"constant that brings it nearer to 1, or choose another reg than "
                f"{reg!r}."
            )
        return matrix

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
            X is not as described; results leave the range of their dtype.
        """
        check_is_fitted(self)
        X = read_images(X, type(self).__name__)
        images = check_images(self, X, reset=False).array
        dtype = compute_dtype(images.dtype)
        xp = namespace(images)
        # Over a power of two as the images are: each product is then of about 1.
        exponent = np.frexp(abs(self.whitening_).max())[1]
        matrix = np.ldexp(self.whitening_, -exponent)
        matrix = xp.asarray(matrix.astype(dtype))
        counts = patches_per_pixel(self.image_shape_, self.patch_shape_)
        counts = xp.asarray(counts.astype(dtype))
        whitened = xp.empty(images.shape, dtype=dtype)
        with single_threaded_blas(), np.errstate(over="ignore", under="ignore"):
            for part, planes, exponents in blocks_of_planes(
                images, self.patch_shape_, dtype
            ):
                patches = gather_patches(planes, self.patch_shape_)
                # The matrix maps flat patches to zero: differences from the first
                # pixel, without its columns, give what patches would.
                products = matrix[:, -patches.shape[1] :] @ patches
                sums = add_patches(products, planes.shape, self.patch_shape_)
                sums /= counts
                sums = xp.ldexp(sums, exponents + exponent)
                if not bool(xp.isfinite(sums).all()):
                    raise ValueError(
                        "X holds values so large that whitened ones leave the range "
                        f"of {dtype}: divide X by a constant."
                    )
                whitened[part] = sums.transpose(0, 2, 3, 1)
        return whitened.reshape(X.shape)

    def fit_transform(self, X: ArrayLike, y: object = None) -> FloatArray:
        """Learn the second moments and whiten the images that they are of.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
            Images, or rows with ``image_shape``.
        y : None
            Ignored.

        Returns
        -------
        whitened : array of the shape of X
            See ``transform``.

        Raises
        ------
        ValueError
            See ``fit`` and ``transform``.
        """
        return self.fit(X, y).transform(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
