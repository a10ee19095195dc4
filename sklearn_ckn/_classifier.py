"""CKNClassifier: convolutional kernel features and a linear head."""

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
    ClassWeight,
    Device,
    FloatArray,
    Head,
    ImageShape,
    Kernel,
    MemoryLike,
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
from sklearn_ckn._linear_path import LOSS_CONSTRAINT, LinearPathClassifier


class CKNClassifier(DecisionsMixin, NetworkPredictor):
    """Convolutional kernel network with unsupervised anchors and a linear head.

    The images' features, those of :class:`CKNFeatures`, are centred and divided by
    their root mean square norm, and the head minimises

    (1/n) sum_i w_i loss(y_i, W x_i + b) + alpha/2 ||W||^2

    (Mairal, NIPS 2016, eq. 7) over targets of +1 for a sample's class and -1 for the
    others, summed over the classes. ``alpha`` so means the same whatever the unit of
    the images and the size of the network.

    Parameters
    ----------
    n_anchors : int or tuple of int, default=(64, 256)
        Number of anchors, one value per layer. This and the parameters up to
        ``kmeans_tol`` are those of :class:`CKNFeatures`, which says more.
    patch_size : int or tuple of int, default=3
        Side of the patches in pixels of the layer's input; 1 along an axis of length 1.
    subsampling : int, "auto" or tuple of these, default="auto"
        Stride of the pooling in positions.
    kernel : {"exp", "poly", "arccos1"} or tuple of these, default="exp"
        Dot-product kernel between unit patches.
    beta : float or tuple of float, default=2.8
        1 / sigma^2 of the kernel ``"exp"``.
    padding : {"same", "valid"} or tuple of these, default="same"
        Whether zeros surround the image.
    image_shape : tuple of int or None, default=None
        (height, width) or (height, width, channels) of images given as rows.
    nystrom_reg : float or tuple of float, default=1e-3
        Added to the eigenvalues of the anchors' kernel matrix.
    n_patches : int, default=100_000
        Patches sampled for the anchors of each layer.
    kmeans_max_iter : int, default=0
        Largest number of k-means iterations after the seeding.
    kmeans_tol : float, default=1e-4
        Part of the inertia that a k-means iteration must gain to go on.
    flip_average : bool, default=False
        Whether to average the features of an image and of its mirror image.
    memory : str, path, joblib.Memory or None, default=None
        Where the anchors of layers are kept, and here also the features of the
        training images: a search over ``head``, ``alpha`` or ``class_weight`` computes
        them once. They take the room of the features on disk, for each network and
        each training set.
    head : {"ridge", "linear_svm", "logistic"}, default="ridge"
        The loss of the head: that of :class:`LinearPathClassifier`, which says more.
        The other two take several times longer than ``"ridge"``.
    alpha : float, "auto" or array-like of float, default="auto"
        Regularization of the head, or candidates for it, of which samples held out of
        the head's training choose one: left out one by one with ``"ridge"``, in
        folds with the others, or with ``groups`` in ``fit``. The anchors have seen
        those images, without labels.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, the choice of alpha and the probabilities.
    device : {"cpu", "cuda", "auto"}, default="cpu"
        Where a NumPy array X is computed: ``"cuda"`` needs CuPy and an NVIDIA GPU, and
        ``"auto"`` takes a GPU where CuPy sees one. An array of CuPy is computed on its
        own GPU, whatever ``device`` is. Results follow X: NumPy arrays for NumPy,
        arrays of CuPy on the same GPU for CuPy. Fitted attributes are NumPy arrays.
    verbose : int, default=0
        1 prints a line per layer, 2 one per k-means iteration.
    random_state : int, RandomState instance or None, default=None
        Seeds the sampling of patches and the k-means.

    Attributes
    ----------
    features_ : CKNFeatures
        The fitted network, usable on its own.
    head_ : LinearPathClassifier
        The head on their features.
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        Weights on the features as they come out of ``features_``; one row for two
        classes.
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
    temperature_ : float
        Probabilities are the softmax of the decisions over it.
    image_shape_ : tuple of int
        (H, W, C).
    n_iter_ : int
        That of ``features_``.
    n_features_in_ : int
        H * W * C.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if X was a data frame with string column names.

    See Also
    --------
    CKNFeatures : The features alone, for another head.
    CKNRegressor : The same for real targets.
    LinearPathClassifier : The head alone, for other features.

    Notes
    -----
    ``sample_weight`` in ``fit`` is for the head. The patches that the network learns
    from are drawn uniformly from all images of positive weight, since the anchors are
    there to represent images, and an image that counts little, such as one of a
    frequent class, is as good an example of what images look like. A weight of 2
    therefore means the same as a repetition to the head, but not to the random numbers
    that draw the patches.

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
        "head": LOSS_CONSTRAINT,
        "alpha": ALPHA_CONSTRAINT,
        "class_weight": CLASS_WEIGHT_CONSTRAINT,
    }

    def __init__(
        self,
        n_anchors: PerLayer[int] = (64, 256),
        *,
        patch_size: PerLayer[int] = 3,
        subsampling: PerLayer[Subsampling] = "auto",
        kernel: PerLayer[Kernel] = "exp",
        beta: PerLayer[float] = 2.8,
        padding: PerLayer[Padding] = "same",
        image_shape: ImageShape = None,
        nystrom_reg: PerLayer[float] = 1e-3,
        n_patches: int = 100_000,
        kmeans_max_iter: int = 0,
        kmeans_tol: float = 1e-4,
        flip_average: bool = False,
        memory: MemoryLike = None,
        head: Head = "ridge",
        alpha: Alpha = "auto",
        class_weight: ClassWeight = None,
        device: Device = "cpu",
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        self.n_anchors = n_anchors
        self.patch_size = patch_size
        self.subsampling = subsampling
        self.kernel = kernel
        self.beta = beta
        self.padding = padding
        self.image_shape = image_shape
        self.nystrom_reg = nystrom_reg
        self.n_patches = n_patches
        self.kmeans_max_iter = kmeans_max_iter
        self.kmeans_tol = kmeans_tol
        self.flip_average = flip_average
        self.memory = memory
        self.head = head
        self.alpha = alpha
        self.class_weight = class_weight
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
            Images, or rows with ``image_shape``. uint8 and float32 are computed in
            float32, everything else in float64. An array of NumPy or CuPy.
        y : array-like of shape (n,)
            Labels: numbers or strings, two classes or more.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the images, which are not negative. They weight the loss of the
            head, the choice of alpha and the probabilities, and mean repetitions there.
            An image of weight 0 is left out altogether. Patches are drawn from all
            other images alike: see Notes.
        groups : array-like of shape (n,) or None, default=None
            Numbers or strings: images of one group, such as shifted copies of one
            image or pictures of one object, are held out together, in folds. None
            stands for images that are equal.

        Returns
        -------
        self : CKNClassifier

        Raises
        ------
        ValueError
            X, y, a weight, a group or a parameter is not as described.
        ImportError, RuntimeError
            ``device="cuda"`` without CuPy or a GPU.
        """
        task = start_task(self, 3, X, y)
        with keep_fitted_on_error(self), device_of(X):
            alphas = resolve_alphas(self.alpha)
            engine = get_engine(self.device, X)
            images, problem, _ = self._read_input(X, y, sample_weight, groups, alphas)
            features = self._learn_features(images, engine, task)
            with task.subtask("fit head"):
                fitted = fit_in_memory(problem.fit, features, engine)
            self.head_ = self._new_head()._set_fitted(fitted, problem.labels)
        task.end()
        return self

    def _read_input(self, X, y, sample_weight, groups, alphas):
        """Validate what ``fit`` is given, and set what that tells.

        Returns
        -------
        images : Images
            Those of positive weight.
        problem : ClassifierProblem
            Of the head on these images.
        origin : tuple of int and ndarray
            The number of images in X and the positions of these among them.
        """
        images, y = check_images(self, X, y, reset=True)
        n = len(images)
        weights = check_sample_weight(sample_weight, n)
        labels = encode_labels(y, self.class_weight, weights)
        groups = check_groups(groups, n)
        kept = positive_rows(weights)
        images, labels = images[kept], labels[kept]
        hold_out = HoldOut.of_images(images, None if groups is None else groups[kept])
        problem = ClassifierProblem(self.head, labels, hold_out, alphas)
        problem.check()
        self.classes_ = labels.classes
        return images, problem, (n, np.arange(n)[kept])

    def _new_head(self):
        return LinearPathClassifier(
            self.head, alpha=self.alpha, class_weight=self.class_weight
        )

    @fitted_property
    def temperature_(self) -> float:
        """What decisions are divided by for probabilities."""
        return self.head_.temperature_

    @computed_where_x_is
    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return the scores of the classes.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)

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
