"""PatchWhitening: a transformer that centres and whitens the patches of images."""

from math import isfinite
from numbers import Integral, Real
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import (
    OneToOneFeatureMixin,
    TransformerMixin,
)
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from sklearn_ckn._common.devices import computed_where_x_is, device_of
from sklearn_ckn._common.fitting import fitted_property, keep_fitted_on_error
from sklearn_ckn._common.lazy_array import largest_magnitude
from sklearn_ckn._common.output import PixelNamesMixin, RowOutputMixin
from sklearn_ckn._common.parameters import finite_number
from sklearn_ckn._common.pickles import VersionedEstimator
from sklearn_ckn._common.types import FloatArray, ImageShape, fit_context
from sklearn_ckn._engine.choice import get_engine
from sklearn_ckn._input.containers import read_images
from sklearn_ckn._input.dtypes import compute_dtype
from sklearn_ckn._input.images import check_images
from sklearn_ckn._network.whitening import PatchSpectrum, Whitening


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
            Images, or rows with ``image_shape``, as for :meth:`CKNFeatures.fit`. An
            array of CuPy is computed on its own GPU, whichever is current, a NumPy
            array on the CPU, and results follow X: NumPy arrays for NumPy, arrays of
            CuPy on the same GPU for CuPy, lazy arrays of Dask for Dask.
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
            spectrum = PatchSpectrum.of_images(
                images, int(self.patch_size), get_engine("cpu", X)
            )
            self._whitening = spectrum.whitening(self.power, reg)
            self.patch_shape_ = spectrum.patch_shape
            self.components_ = spectrum.components
            with np.errstate(over="ignore", under="ignore"):
                eigenvalues = np.ldexp(spectrum.eigenvalues, 2 * spectrum.exponent)
            self.eigenvalues_ = np.minimum(eigenvalues, np.finfo(np.float64).max)
        return self

    @fitted_property
    def whitening_(self) -> FloatArray:
        """The symmetric matrix that centres and whitens a patch."""
        return self._whitening.matrix

    @classmethod
    def _translate_state(cls, state):
        # Version 0.1.0 stored the matrix.
        state = dict(super()._translate_state(state))
        if "whitening_" in state:
            state["_whitening"] = Whitening(
                state["image_shape_"],
                state["patch_shape_"],
                state["power"],
                state.pop("whitening_"),
            )
        return state

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
        whitened = self._whitening.apply(images, dtype, get_engine("cpu", X))
        if not isfinite(largest_magnitude(whitened)):
            raise ValueError(
                "X holds values so large that whitened ones leave the range of "
                f"{dtype}: divide X by a constant."
            )
        return whitened.reshape(X.shape)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
