"""CKNClassifier: convolutional kernel features and a linear classifier."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from sklearn_ckn._base import NetworkPredictor
from sklearn_ckn._common.devices import computed_where_x_is, device_of
from sklearn_ckn._common.fitting import fitted_property, keep_fitted_on_error
from sklearn_ckn._common.memory_limits import fit_in_memory
from sklearn_ckn._common.progress import start_task
from sklearn_ckn._common.types import (
    Alpha,
    Branches,
    ClassWeight,
    Device,
    FloatArray,
    Head,
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
from sklearn_ckn._heads.classification import ClassifierProblem
from sklearn_ckn._heads.decisions import DecisionsMixin
from sklearn_ckn._heads.held_out import HoldOut
from sklearn_ckn._input.images import check_images
from sklearn_ckn._input.labels import CLASS_WEIGHT_CONSTRAINT, encode_labels
from sklearn_ckn._input.sample_weight import (
    check_groups,
    check_sample_weight,
    positive_rows,
)
from sklearn_ckn._learning.training_features import STREAMING_CONSTRAINT
from sklearn_ckn._linear_path import LOSS_CONSTRAINT, LinearPathClassifier
from sklearn_ckn._network.constraints import CHOICE_CONSTRAINTS
from sklearn_ckn._signals import SignalsMixin


class CKNClassifier(SignalsMixin, DecisionsMixin, NetworkPredictor):
    """Convolutional kernel network with unsupervised anchors and a linear head.

    The features of :class:`CKNFeatures` are centred and divided by their root mean
    square norm, and the head, a linear classifier, minimises

    (1/n) sum_i w_i loss(y_i, W x_i + b) + alpha/2 ||W||^2

    (Mairal, NIPS 2016, eq. 7), where y_i is +1 for the class of image i and -1 for the
    other classes. The meaning of ``alpha`` therefore does not depend on the unit of the
    images or the size of the network.

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
        of the training images: a search over ``head``, ``alpha`` or ``class_weight``
        computes these once. They are stored on disk for each network and each training
        set, up to 128 MiB in all if ``memory`` is a folder: the oldest are then
        removed. In a joblib.Memory they stay until its ``reduce_size`` is called.
    head : {"ridge", "linear_svm", "logistic"}, default="ridge"
        Loss of the head: squared error, squared hinge loss or log loss. See ``loss`` of
        :class:`LinearPathClassifier`. The last two take several times longer than
        ``"ridge"``.
    alpha : float, "auto" or array-like of float, default="auto"
        Regularization of the head, or candidates for it. One candidate is chosen by the
        accuracy on images held out of the head's training: each image in turn with
        ``"ridge"``, folds with the other losses or with ``groups`` in ``fit``. The
        anchors are learned from all images, without labels.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, the choice of alpha and the probabilities.
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
    head_ : LinearPathClassifier
        The head, fitted to the output of ``features_``.
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        Weights of the features before standardization; one row for two classes.
    intercept_ : ndarray of shape (n_classes,) or (1,)
    alpha_ : float
        The alpha that was chosen.
    alphas_ : ndarray of shape (n_alphas,)
        The alphas that were tried, in descending order.
    alpha_scores_ : ndarray of shape (n_alphas,)
        Accuracy for each of ``alphas_``, on images that the head was not trained on.
    alpha_scoring_ : {"leave_one_out", "cross_validation", "held_out"}
        How ``alpha_scores_`` was computed: each image left out on its own, images held
        out in several splits, or images held out in one split.
    alpha_n_samples_ : int
        Number of images by which they were computed: all that are held out, or 50,000
        of these, chosen by their number alone, if there are more.
    temperature_ : float
        Probabilities are the softmax of the decisions divided by it.
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
    CKNFeatures : The features without the head.
    CKNRegressor : The same for real targets.
    LinearPathClassifier : The head, for any features.

    Notes
    -----
    ``"auto"`` compares up to six maps: no whitening, whitening with the powers 0 and
    0.25, each without and with mirror images. For each of them a network with half the
    anchors, at most 80 in a layer, is learned from 1,500 training images, or 60 % and
    at most 4,000, and a ridge head predicts each of these images without it, or each
    group without it in folds. The ``loss`` is the share of wrong predictions. The first
    map in this order is chosen whose loss is at most one standard error above the
    lowest one. The standard error is that of the difference over the same images. All
    of these maps have ``normalize=0.5``; the chosen one is then tried with 0 and 1, and
    the choice is repeated with these two. With fewer than 50 images the first map is
    taken. All this takes about as long as the fit that follows, or less.

    ``sample_weight`` in ``fit`` applies to the head. The patches from which the network
    learns are drawn uniformly from all images of positive weight: anchors represent
    patches of images, and an image of small weight, such as one of a frequent class, is
    as good an example as any other. For the head, a weight of 2 therefore means the
    same as repeating the image, but a repeated image changes which patches are drawn.

    With ``streaming``, the head ``"ridge"`` needs about twice the time for encoding:
    features are computed once for the sums from which ridge is solved, and once for the
    leave-one-out predictions. The other heads read the features many times; these are
    then written to a temporary file in the folder ``memory``, which must be given, with
    an integer ``random_state``. The result is the same up to rounding. ``streaming``
    has no effect if there are more features than images.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_ckn import CKNClassifier
    >>> digits = load_digits()
    >>> X_train, X_test, y_train, y_test = train_test_split(
    ...     digits.images, digits.target, random_state=0
    ... )
    >>> classifier = CKNClassifier(n_anchors=(32, 64), random_state=0)
    >>> bool(classifier.fit(X_train, y_train).score(X_test, y_test) > 0.97)
    True
    """

    _parameter_constraints = {  # noqa: RUF012
        **CKNFeatures._parameter_constraints,
        **CHOICE_CONSTRAINTS,
        "head": LOSS_CONSTRAINT,
        "alpha": ALPHA_CONSTRAINT,
        "class_weight": CLASS_WEIGHT_CONSTRAINT,
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
        head: Head = "ridge",
        alpha: Alpha = "auto",
        class_weight: ClassWeight = None,
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
        self.head = head
        self.alpha = alpha
        self.class_weight = class_weight
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
        y : array-like of shape (n,)
            Labels: numbers or strings, two classes or more.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the images, not negative: numbers of repetitions in the loss of
            the head, the choice of alpha and the probabilities. Images of weight 0 are
            left out completely. The weights do not affect the patches that are drawn
            from the other images: see the Notes of the class.
        groups : array-like of shape (n,) or None, default=None
            Numbers or strings. Images of one group, such as shifted copies of one
            image or pictures of one object, are held out together, in folds. With None
            only equal images are held out together.

        Returns
        -------
        self : CKNClassifier

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
            images, problem, _ = self._read_input(X, y, sample_weight, groups, alphas)
            features = self._learn_features(
                images, problem, engine, task, self.streaming
            )
            self.head_ = self._fit_head(problem, features, engine, task)
        task.end()
        return self

    def _read_input(self, X, y, sample_weight, groups, alphas):
        """Validate the arguments of ``fit`` and set ``classes_`` and the input names.

        Returns
        -------
        images : Images
            The images of positive weight.
        problem : ClassifierProblem
            The problem that the head solves on their features.
        origin : tuple of int and ndarray
            The number of images in X, and the positions in X of ``images``.
        """
        images, y = check_images(self, X, y, reset=True)
        n = len(images)
        weights = check_sample_weight(sample_weight, n)
        labels = encode_labels(y, self.class_weight, weights)
        groups = check_groups(groups, n)
        kept = positive_rows(weights)
        images, labels = images.keep(kept), labels[kept]
        hold_out = HoldOut.of_images(images, None if groups is None else groups[kept])
        problem = ClassifierProblem(self.head, labels, hold_out, alphas)
        problem.check()
        self.classes_ = labels.classes
        return images, problem, (n, np.arange(n)[kept])

    def _fit_head(self, problem, features, engine, task):
        """Return the head fitted to features, given in a list, as a subtask."""
        with task.step("head") as step:
            fitted = fit_in_memory(problem.fit, features, engine)
            step.outcome = fitted.description
        return self._new_head()._set_fitted(fitted, problem.labels)

    def _new_head(self):
        return LinearPathClassifier(
            self.head, alpha=self.alpha, class_weight=self.class_weight
        )

    @fitted_property
    def temperature_(self) -> float:
        """Probabilities are the softmax of the decisions divided by it."""
        return self.head_.temperature_

    @computed_where_x_is
    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return the decision values of the classes.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
            In the units of the images of ``fit``; a warning says if they seem to be
            others.

        Returns
        -------
        decisions : array of shape (n, n_classes), or (n,) for two classes
            In the dtype of the features: float64 for float64 images, else float32.
            An array of CuPy on the GPU of X if X is one, else of NumPy.

        Raises
        ------
        ValueError
            X is not as described.
        """
        (decisions,) = self._apply_head(
            X, lambda features: (self.head_._decisions(features),)
        )
        return decisions
