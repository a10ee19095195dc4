"""PatchWhitening: a transformer that centres and whitens the patches of images."""

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
from sklearn_ckn._common.devices import computed_where_x_is, device_of
from sklearn_ckn._common.fitting import keep_fitted_on_error
from sklearn_ckn._common.output import PixelNamesMixin, RowOutputMixin
from sklearn_ckn._common.parameters import finite_number
from sklearn_ckn._common.pickles import VersionedEstimator
from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._common.types import FloatArray, ImageShape, fit_context
from sklearn_ckn._engine.choice import get_engine
from sklearn_ckn._input.containers import read_images
from sklearn_ckn._input.dtypes import compute_dtype
from sklearn_ckn._input.images import check_images
from sklearn_ckn._network.patch_arrays import (
    add_patches,
    centred_basis,
    compute_planes,
    gather_patches,
    patches_per_pixel,
    second_moments,
)


class PatchWhitening(
    PixelNamesMixin,
    RowOutputMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    VersionedEstimator,
):
    """Centre and whiten the patches of images and average them where they overlap.

    The mean of each channel is subtracted from each patch, and the patch is multiplied
    by

    U (diag(e) + reg mean(e) I)^(-power) U^T,

    where e and U are the eigenvalues and eigenvectors of the second moments of the
    centred patches of the training images. An image is then put together again: each of
    its pixels is the average of the values that the patches around it give. This
    removes brightness, and gives more weight to fine detail and differences in colour,
    of which natural images have little. The images keep their layout and shape and are
    meant as input of :class:`CKNFeatures`. The map is linear, and constant parts of an
    image become exactly zero.

    Parameters
    ----------
    patch_size : int, default=3
        Side of the patches in pixels. All patches inside the image are taken, without
        padding; along an axis that is shorter than ``patch_size``, patches are as long
        as the axis. Patches of one pixel are not centred, since centring would leave
        nothing; their channels are whitened.
    power : float, default=0.25
        From 0, which only centres, to 0.5, which is ZCA whitening: the patches then
        have unit second moments in every direction.
    reg : float, default=1e-2
        Added to the eigenvalues, as a fraction of their mean, so that it is independent
        of the unit of the images: multiplying the images by c multiplies the output by
        c^(1 - 2 power). It limits the amplification of directions that are almost
        absent from the training images, and often are noise; larger powers need a
        larger ``reg``.
    image_shape : tuple of int or None, default=None
        (height, width) or (height, width, channels) of images given as rows. With
        None, a row is one pixel with ``n_features`` channels, with a warning.

    Attributes
    ----------
    patch_shape_ : tuple of int
        (kh, kw, C), no larger than the image.
    eigenvalues_ : ndarray of shape (n_components,), float64
        Second moments of centred patches along the components, in descending order; 0
        or the largest number where they leave the range of float64. n_components is
        (kh * kw - 1) * C, the number of dimensions that centring leaves, or C for
        patches of one pixel.
    components_ : ndarray of shape (n_components, kh * kw * C), float64
        Eigenvectors as rows, in (row, column, channel) order.
    whitening_ : ndarray of shape (kh * kw * C, kh * kw * C), float64
        The symmetric matrix that centres and whitens a patch. If the training images
        are constant, so that e is zero, it only centres.
    image_shape_ : tuple of int
        (H, W, C).
    n_features_in_ : int
        H * W * C.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if X was a data frame with string column names.

    See Also
    --------
    CKNFeatures : Learns kernel features of the whitened images.

    Notes
    -----
    Networks of this kind reach their published accuracy on CIFAR-10 (Mairal, NIPS
    2016) on whitened images. Some implementations compute the moments for each image
    separately; here they are those of all training images, and all images go through
    the same map.

    The best ``alpha`` of a linear head is about ten times larger for features of
    whitened images than for those of the original ones. :class:`CKNClassifier` finds it
    with its default ``alpha="auto"``.

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
            Images, or rows with ``image_shape``. An array of CuPy is computed on its
            own GPU, whichever is current, a NumPy array on the CPU, and results follow
            X: NumPy arrays for NumPy, arrays of CuPy on the same GPU for CuPy.
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
        with keep_fitted_on_error(self), device_of(X):
            images = check_images(self, X, reset=True).array
            self.image_shape_ = images.shape[1:]
            height, width, n_channels = self.image_shape_
            self.patch_shape_ = (
                min(int(self.patch_size), height),
                min(int(self.patch_size), width),
                n_channels,
            )
            basis = centred_basis(self.patch_shape_)
            # With one thread the moments are the same bits whatever the number of
            # cores, and the products are too small for threads to make them faster.
            with single_threaded_blas():
                moments, exponent = second_moments(
                    images, self.patch_shape_, get_engine("cpu", X)
                )
                # The coordinates of a patch in the basis are those of its differences
                # from the first pixel, which do not need the columns of that pixel.
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
        """Return U (e + reg mean(e))^(-power) U^T for eigenvalues e over 4^exponent.

        If all eigenvalues are zero, the result is U U^T.
        """
        mean = eigenvalues.mean()
        if mean == 0:
            return self.components_.T @ self.components_
        # Divided first: reg times a tiny mean could underflow to zero.
        multipliers = (eigenvalues / mean + reg) ** -self.power
        multipliers *= mean**-self.power
        # The factor 4^(-power exponent): most of it is a power of two, which is exact.
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

    @computed_where_x_is
    def transform(self, X: ArrayLike) -> FloatArray:
        """Whiten images.

        The result for an image does not depend on the other images in X, not even in
        the last bit. Besides the output, the patches of a few images at a time are in
        memory, as many as scikit-learn's ``working_memory`` allows.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
            Images of the shape of those given to ``fit``, in any of the layouts.

        Returns
        -------
        whitened : array of the shape of X
            float32 for uint8 and float32 images, float64 for others. An array of
            CuPy on the GPU of X if X is one, else of NumPy. ``set_output`` applies to
            rows in arrays of NumPy. Images stay an array, since they have more than the
            two axes of a data frame; but if X is a frame or a series of pandas that
            holds images, ``"pandas"`` returns a frame with one column of images.

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
        # Divided by a power of two, as the images are: products are then about 1.
        exponent = np.frexp(abs(self.whitening_).max())[1]
        matrix = np.ldexp(self.whitening_, -exponent)
        matrix = xp.asarray(matrix.astype(dtype))
        counts = patches_per_pixel(self.image_shape_, self.patch_shape_)
        counts = xp.asarray(counts.astype(dtype))

        def whiten(planes):
            patches = gather_patches(planes.values, self.patch_shape_)
            # The matrix maps flat patches to zero: differences from the first pixel,
            # without the columns of that pixel, give the same as the patches.
            products = matrix[:, -patches.shape[1] :] @ patches
            sums = add_patches(products, planes.values.shape, self.patch_shape_)
            sums /= counts
            return xp.ldexp(sums, planes.exponents + exponent)

        whitened = xp.empty(images.shape, dtype=dtype)
        with single_threaded_blas(), np.errstate(over="ignore", under="ignore"):
            for part, planes in compute_planes(
                whiten, images, self.patch_shape_, dtype, get_engine("cpu", X)
            ):
                if not bool(xp.isfinite(planes).all()):
                    raise ValueError(
                        "X holds values so large that whitened ones leave the range "
                        f"of {dtype}: divide X by a constant."
                    )
                whitened[part] = planes.transpose(0, 2, 3, 1)
        return whitened.reshape(X.shape)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
