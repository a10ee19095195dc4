"""CKNRegressor: convolutional kernel features and ridge regression."""

from typing import Literal, Self, overload

from numpy.typing import ArrayLike
from sklearn.base import MultiOutputMixin

from sklearn_ckn._base import NetworkPredictor
from sklearn_ckn._common.devices import computed_where_x_is, device_of
from sklearn_ckn._common.fitting import keep_fitted_on_error
from sklearn_ckn._common.memory_limits import fit_in_memory
from sklearn_ckn._common.progress import start_task
from sklearn_ckn._common.types import (
    Alpha,
    Branches,
    Device,
    FloatArray,
    ImageShape,
    Kernel,
    MemoryLike,
    OrAuto,
    Padding,
    PerLayer,
    RandomState,
    Subsampling,
    fit_context,
)
from sklearn_ckn._engine.choice import get_engine
from sklearn_ckn._features import CKNFeatures
from sklearn_ckn._heads.alphas import ALPHA_CONSTRAINT, resolve_alphas
from sklearn_ckn._heads.held_out import HoldOut
from sklearn_ckn._heads.regression import RegressionProblem
from sklearn_ckn._heads.scores import R2ScoreMixin
from sklearn_ckn._heads.targets import target_columns
from sklearn_ckn._input.images import check_images
from sklearn_ckn._input.sample_weight import (
    check_groups,
    check_sample_weight,
    positive_rows,
)
from sklearn_ckn._learning.training_features import STREAMING_CONSTRAINT
from sklearn_ckn._network.constraints import CHOICE_CONSTRAINTS
from sklearn_ckn._ridge_path import RidgePathRegressor
from sklearn_ckn._signals import SignalsMixin


class CKNRegressor(SignalsMixin, R2ScoreMixin, MultiOutputMixin, NetworkPredictor):
    """Convolutional kernel network with unsupervised anchors and ridge regression.

    The features of :class:`CKNFeatures` are the input of :class:`RidgePathRegressor`,
    which chooses its regularization by leave-one-out predictions and estimates standard
    deviations.

    Parameters
    ----------
    n_anchors : int or tuple of int, default=(64, 256)
        Number of anchors of each layer. :class:`CKNFeatures` describes this and the
        parameters up to ``kmeans_tol`` in detail.
    patch_size : int or tuple of int, default=3
        Side of the patches in pixels of the layer's input; 1 along an axis of length 1.
    dilation : int or tuple of int, default=1
        Patches take every ``dilation``-th pixel; 1 for patches without gaps.
    subsampling : int, "auto", "global" or tuple of these, default="auto"
        Stride of the pooling in positions; ``"global"`` is the mean over all of them.
    kernel : {"exp", "poly", "arccos1"} or tuple of these, default="exp"
        Dot-product kernel between unit patches.
    beta : float or tuple of float, default=2.8
        1 / sigma^2 of the kernel ``"exp"``.
    padding : {"same", "valid"} or tuple of these, default="same"
        Whether the layer's input is padded with zeros.
    center_patches : bool or tuple of bool, default=False
        Whether to take the mean of each channel off every patch.
    keep_norm : bool or tuple of bool, default=True
        Whether to multiply the responses of a patch by its norm.
    image_shape : tuple of int or None, default=None
        (height, width) or (height, width, channels) of images given as rows.
    nystrom_reg : float or tuple of float, default=1e-3
        Added to the eigenvalues of the anchors' kernel matrix.
    n_patches : int, default=100_000
        Number of patches sampled to learn the anchors of each layer.
    kmeans_max_iter : int, default=0
        Maximum number of k-means iterations.
    kmeans_tol : float, default=1e-4
        Relative tolerance of k-means for the decrease of the inertia.
    differences : bool, default=False
        Whether to take the differences of neighbouring pixels of signals first, see
        :class:`CKNFeatures`. Nothing is compared for ``"auto"`` then, as with
        ``branches``.
    whitening : float, "auto" or None, default="auto"
        Power of the whitening of the images, from 0 to 0.5, or None for no whitening.
        ``"auto"`` chooses None, 0 or 0.25 by held-out images: see Notes.
    flip_average : bool or "auto", default="auto"
        Whether to average the features of an image and of its mirror image. ``"auto"``
        chooses by held-out images; signals are not mirrored.
    normalize : float or "auto", default="auto"
        Power, from 0 to 1, of their norm by which the features of an image are divided:
        with 1, its contrast makes no difference. ``"auto"`` chooses 0.5, 0 or 1 by
        held-out images.
    branches : list of dict, "signals" or None, default=None
        Networks side by side, see :class:`CKNFeatures`. ``"auto"`` then stands for no
        whitening, no mirror images and no normalization, as nothing is compared.
    memory : str, path, joblib.Memory or None, default=None
        Cache of the learned anchors, as for :class:`CKNFeatures`, and of the features
        of the training images: a search over ``alpha`` computes these once. They are
        stored on disk for each network and each training set, up to 128 MiB in all, as
        for :class:`CKNClassifier`.
    alpha : float, "auto" or array-like of float, default="auto"
        Regularization of the head, or candidates for it: see
        :class:`RidgePathRegressor`.
    streaming : bool or "auto", default="auto"
        Whether the features of the training images are computed again whenever the head
        reads them, so that memory never holds all of them. ``"auto"``: if they would
        take more than half of the memory that is free. See Notes.
    device : {"cpu", "cuda", "auto"}, default="cpu"
        Where a NumPy array X is computed: ``"cuda"`` needs CuPy and an NVIDIA GPU, and
        ``"auto"`` takes a GPU where CuPy sees one. An array of CuPy is computed on its
        own GPU, whatever ``device`` is. Results follow X: NumPy arrays for NumPy,
        arrays of CuPy on the same GPU for CuPy. Fitted attributes are NumPy arrays.
    verbose : int, default=0
        1 prints a line for each step of the fit, with its seconds, 2 also one per
        k-means iteration.
    random_state : int, RandomState instance or None, default=None
        Seeds the sampling of patches and k-means.

    Attributes
    ----------
    features_ : CKNFeatures
        The fitted network, usable on its own.
    head_ : RidgePathRegressor
        The head, fitted to the output of ``features_``.
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Weights of the features before standardization.
    intercept_ : float or ndarray of shape (n_targets,)
    alpha_ : float
        The alpha that was chosen.
    alphas_ : ndarray of shape (n_alphas,)
        The alphas that were tried, in descending order.
    alpha_scores_ : ndarray of shape (n_alphas,)
        R2 for each of ``alphas_``, on images that the head was not trained on.
    alpha_scoring_ : {"leave_one_out", "cross_validation", "held_out"}
        How ``alpha_scores_`` was computed: each image left out on its own, images held
        out in several splits, or images held out in one split.
    alpha_n_samples_ : int
        Number of images by which they were computed: all that are held out, or 50,000
        of these, chosen by their number alone, if there are more.
    whitening_ : float or None
        Power of the whitening that was chosen, or the parameter.
    flip_average_ : bool
        The choice, or the parameter.
    normalize_ : float
        The choice, or the parameter.
    map_results_ : dict of ndarray or None
        How the candidates of ``"auto"`` compare: for each the values of ``whitening``,
        ``flip_average`` and ``normalize``, its mean ``loss``, the ``excess`` over the
        lowest loss, and the standard error of the excess, ``excess_error``; see Notes.
        None if nothing was compared.
    image_shape_ : tuple of int
        (H, W, C).
    n_iter_ : int
        ``n_iter_`` of ``features_``.
    n_features_in_ : int
        H * W * C.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if X was a data frame with string column names.

    See Also
    --------
    CKNClassifier : The same for classes.
    RidgePathRegressor : The head, for any features.

    Notes
    -----
    ``"auto"`` compares the maps that :class:`CKNClassifier` describes. The ``loss`` is
    the squared error over the variance of the target, averaged over the targets.

    ``sample_weight`` in ``fit`` applies to the head, and ``streaming`` works, as
    :class:`CKNClassifier` describes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_ckn import CKNRegressor
    >>> digits = load_digits()
    >>> regressor = CKNRegressor(n_anchors=(16, 32), random_state=0)
    >>> _ = regressor.fit(digits.images[:1000], digits.target[:1000])
    >>> bool(regressor.score(digits.images[1000:], digits.target[1000:]) > 0.7)
    True
    """

    _parameter_constraints = {  # noqa: RUF012
        **CKNFeatures._parameter_constraints,
        **CHOICE_CONSTRAINTS,
        "alpha": ALPHA_CONSTRAINT,
        "streaming": STREAMING_CONSTRAINT,
    }

    def __init__(
        self,
        n_anchors: PerLayer[int] = (64, 256),
        *,
        patch_size: PerLayer[int] = 3,
        dilation: PerLayer[int] = 1,
        subsampling: PerLayer[Subsampling] = "auto",
        kernel: PerLayer[Kernel] = "exp",
        beta: PerLayer[float] = 2.8,
        padding: PerLayer[Padding] = "same",
        center_patches: PerLayer[bool] = False,
        keep_norm: PerLayer[bool] = True,
        image_shape: ImageShape = None,
        nystrom_reg: PerLayer[float] = 1e-3,
        n_patches: int = 100_000,
        kmeans_max_iter: int = 0,
        kmeans_tol: float = 1e-4,
        differences: bool = False,
        whitening: OrAuto[float | None] = "auto",
        flip_average: OrAuto[bool] = "auto",
        normalize: OrAuto[float] = "auto",
        branches: Branches = None,
        memory: MemoryLike = None,
        alpha: Alpha = "auto",
        streaming: OrAuto[bool] = "auto",
        device: Device = "cpu",
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        self.n_anchors = n_anchors
        self.patch_size = patch_size
        self.dilation = dilation
        self.subsampling = subsampling
        self.kernel = kernel
        self.beta = beta
        self.padding = padding
        self.center_patches = center_patches
        self.keep_norm = keep_norm
        self.image_shape = image_shape
        self.nystrom_reg = nystrom_reg
        self.n_patches = n_patches
        self.kmeans_max_iter = kmeans_max_iter
        self.kmeans_tol = kmeans_tol
        self.differences = differences
        self.whitening = whitening
        self.flip_average = flip_average
        self.normalize = normalize
        self.branches = branches
        self.memory = memory
        self.alpha = alpha
        self.streaming = streaming
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @fit_context
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Learn the network and the head.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
            Images, or rows with ``image_shape``, as for :meth:`CKNFeatures.fit`.
            uint8 and float32 are computed in float32, all other dtypes in float64.
        y : array-like of shape (n,) or (n, n_targets)
            Real numbers.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the images, not negative: numbers of repetitions in the ridge
            regression. Images of weight 0 are left out completely. The weights do not
            affect the patches that are drawn: see :meth:`CKNClassifier.fit`.
        groups : array-like of shape (n,) or None, default=None
            Numbers or strings. Images of one group, such as shifted copies of one
            image or pictures of one object, are held out together, in folds. With None
            only equal images are held out together.

        Returns
        -------
        self : CKNRegressor

        Raises
        ------
        ValueError
            X, y, a weight, a group or a parameter is not as described.
        ImportError, RuntimeError
            ``device="cuda"`` without CuPy or a GPU.
        OSError
            Images in a file, or a block of a Dask array, cannot be read.

        Notes
        -----
        Time and memory grow with the number of pixels. With default parameters, 500
        images of 256 x 256 x 3 of ``uint8`` took 136 s on two threads of an AMD EPYC
        with AVX2, and 0.6 GB, in which the images and the sampled patches are included.
        The features see shapes of some tens of pixels: reduce larger images, or cut
        them into tiles.
        """
        task = start_task(self, 4, X, y)
        with keep_fitted_on_error(self), device_of(X):
            alphas = resolve_alphas(self.alpha)
            engine = get_engine(self.device, X)
            images, y = check_images(
                self, X, y, reset=True, multi_output=True, y_numeric=True
            )
            weights = check_sample_weight(sample_weight, len(y))
            groups = check_groups(groups, len(y))
            kept = positive_rows(weights)
            images, targets = images.keep(kept), target_columns(y[kept])
            groups = None if groups is None else groups[kept]
            hold_out = HoldOut.of_images(images, groups)
            problem = RegressionProblem(targets, weights[kept], hold_out, alphas)
            features = self._learn_features(
                images, problem, engine, task, self.streaming
            )
            with task.step("head") as step:
                fitted, posterior = fit_in_memory(problem.fit, features, engine)
                step.outcome = fitted.description
            head = RidgePathRegressor(self.alpha)
            self.head_ = head._set_fitted(fitted, posterior, y.ndim)
        task.end()
        return self

    @overload
    def predict(self, X: ArrayLike, return_std: Literal[False] = ...) -> FloatArray: ...

    @overload
    def predict(
        self, X: ArrayLike, return_std: Literal[True]
    ) -> tuple[FloatArray, FloatArray]: ...

    @overload
    def predict(
        self, X: ArrayLike, return_std: bool
    ) -> FloatArray | tuple[FloatArray, FloatArray]: ...

    @computed_where_x_is
    def predict(
        self, X: ArrayLike, return_std: bool = False
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Predict targets.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
            In the units of the images of ``fit``; a warning says if they seem to be
            others.
        return_std : bool, default=False
            Whether to return the standard deviations too.

        Returns
        -------
        mean : array of shape (n,) or (n, n_targets)
            float64 for float64 images, or if float32 cannot represent values like the y
            of the fit, else float32. An array of CuPy on the GPU of X if X is one, else
            of NumPy.
        deviation : array of the shape of ``mean``, float64
            Standard deviation of a new target, including its noise: see
            :class:`RidgePathRegressor`. Only if ``return_std``.

        Raises
        ------
        ValueError
            X is not as described.
        """
        if return_std:
            return tuple(
                self._apply_head(
                    X, lambda features: self.head_._predict(features, return_std=True)
                )
            )
        (mean,) = self._apply_head(X, lambda features: (self.head_._predict(features),))
        return mean
