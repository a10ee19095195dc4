"""SupervisedCKNClassifier: the network and the head are trained on the labels."""

from typing import Any, Literal, Self

from numpy.typing import ArrayLike

from sklearn_ckn._classifier import CKNClassifier
from sklearn_ckn._common.devices import device_of
from sklearn_ckn._common.fitting import keep_fitted_on_error
from sklearn_ckn._common.progress import start_task
from sklearn_ckn._common.types import (
    Alpha,
    Augmentation,
    ClassWeight,
    Device,
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
from sklearn_ckn._training.constraints import TRAINING_CONSTRAINTS
from sklearn_ckn._training.fit import fit_supervised
from sklearn_ckn._training.presets import PRESETS

#: Parameters of CKNClassifier for which there are no gradients.
UNTRAINED = ("center_patches", "keep_norm", "differences", "branches")


class SupervisedCKNClassifier(CKNClassifier):
    """Convolutional kernel network whose anchors are learned together with the head.

    Training starts from the network of :class:`CKNClassifier` and minimises

    (1/n) sum_i w_i loss(y_i, W x_i + b) + alpha/2 ||W||^2

    by stochastic gradient descent over the head, the anchors of all layers, which
    remain unit vectors, and optionally the betas (Mairal, "End-to-End Kernel Learning
    with Supervised Convolutional Kernel Networks", NIPS 2016, eq. 7). x are features
    minus a mean, over their root mean square norm at the start. The head is refitted
    after every epoch. The best epoch, or the start, is kept: with ``early_stopping``
    the one with the highest accuracy on held-out images.

    On ten thousand small photographs, training increases the accuracy by 3 to 8
    points, most with few anchors; on a few thousand digits, it does not. An epoch takes
    about as long as five calls of ``transform`` on the training images.

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
        1 / sigma^2 of the kernel ``"exp"``, at the start of training.
    padding : {"same", "valid"} or tuple of these, default="same"
        Whether the layer's input is padded with zeros.
    image_shape : tuple of int or None, default=None
        (height, width) or (height, width, channels) of images given as rows.
    nystrom_reg : float or tuple of float, default=1e-3
        Added to the eigenvalues of the anchors' kernel matrix.
    n_patches : int, default=100_000
        Number of patches sampled to learn the anchors of each layer at the start.
    kmeans_max_iter : int, default=0
        Maximum number of k-means iterations.
    kmeans_tol : float, default=1e-4
        Relative tolerance of k-means for the decrease of the inertia.
    whitening : float, "auto" or None, default="auto"
        Power of the whitening; ``"auto"`` chooses as in :class:`CKNClassifier`.
    flip_average : bool or "auto", default="auto"
        Whether to average features of an image and its mirror image, also in training.
    normalize : float or "auto", default="auto"
        Power, from 0 to 1, of their norm by which the features of an image are divided:
        with 1, its contrast makes no difference. ``"auto"`` chooses 0.5, 0 or 1 by
        held-out images.
    memory : str, path, joblib.Memory or None, default=None
        Cache of the start, as for :class:`CKNClassifier`, and of the state after the
        last epoch. A fit that was interrupted, even killed, goes on after this epoch
        if it is repeated with the same images and parameters, and ends with the same
        bits. With a callable ``augment``, every training starts anew.
    head : {"ridge", "linear_svm", "logistic"}, default="ridge"
        Squared error, squared hinge or log loss: see :class:`LinearPathClassifier`.
    alpha : float, "auto" or array-like of float, default="auto"
        Regularization, or candidates for it. With candidates, the head of the start
        chooses one as in :class:`CKNClassifier`, the network is trained with ten times
        this value, at least 1e-5, and its head chooses again, by the held-out images.
        Without held-out images, it has the alpha of the training.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, the choice of alpha and the probabilities.
    learn_beta : bool, default=False
        Whether to train the logarithms of the betas of the kernels ``"exp"``. On
        photographs this increased the accuracy by one point.
    n_epochs : int, default=30
        Number of passes over the training images; 0 keeps the start.
    batch_size : int, default=64
        Approximate number of images per step; batches differ in size by at most 1.
    learning_rate : float, default=0.01
        Largest angle in radians by which a step turns an anchor. It does not depend on
        the unit of the images or on the loss: steps are equally long in all directions
        in which the mean gradients of a layer differ from 0 (Jordan, "Muon", 2024). It
        increases linearly over the first 100 steps, or the first quarter of fewer than
        400 steps.
    schedule : {"cosine", "step", "constant"}, default="cosine"
        Learning rate schedule: half a period of the cosine down to 0, division by 10
        after 4/7, 17/21 and 20/21 of the epochs, or a constant rate.
    augment : {"flip", "shift", "flip+shift"}, callable or None, default=None
        Random augmentation of each batch. ``"flip"`` exchanges left and right of an
        image with probability 1/2, and ``"shift"`` moves it by up to an eighth of its
        size and repeats the border. A callable maps images (n, H, W, C), float32 or
        float64, and a RandomState to images of the same shape. Images are whitened
        before they are augmented.
    early_stopping : bool, default=True
        Whether to hold images out of the training, by which the epoch and alpha are
        chosen; see ``n_iter_no_change`` for an end before the last epoch. The
        final head is fitted to all images. If False, or if fewer than 10 images would
        be held out, the epoch with the lowest training objective is kept, and the
        probabilities are overconfident: they are calibrated on training images.
    validation_fraction : float, default=0.1
        Fraction of the images that ``early_stopping`` holds out.
    n_iter_no_change : int or None, default=None
        Number of epochs without improvement after which ``early_stopping`` ends the
        training. With None, it runs for ``n_epochs``: with a learning rate that falls,
        the accuracy often rises again only in the last third of the epochs.
    warm_start : bool, default=False
        Whether a second ``fit`` continues with the network of the first one.
    device : {"cpu", "cuda", "auto"}, default="cpu"
        Where a NumPy array X is computed: ``"cuda"`` needs CuPy and an NVIDIA GPU, and
        ``"auto"`` takes a GPU where CuPy sees one. An array of CuPy is computed on its
        own GPU, whatever ``device`` is. Results follow X: NumPy arrays for NumPy,
        arrays of CuPy on the same GPU for CuPy. Fitted attributes are NumPy arrays.
    verbose : int, default=0
        1 prints a line for each step and each epoch, with its seconds, 2 also one per
        k-means iteration.
    random_state : int, RandomState instance or None, default=None
        Seeds the start, the split, the batches and the augmentation. The same seed
        gives a bit-identical network with any number of threads, on the same kind of
        processor; a GPU rounds differently, and its epochs differ from those of a CPU.

    Attributes
    ----------
    features_ : CKNFeatures
        The fitted network, usable on its own. Its ``inertia_``, ``nystrom_residual_``
        and ``n_iter_`` describe the start.
    head_ : LinearPathClassifier
        The head, fitted to the output of ``features_``.
    history_ : dict of list
        One value per epoch, from epoch 0, the start: ``"epoch"``; ``"objective"`` on
        the training images without augmentation; ``"batch_loss"``, the mean over the
        epoch's batches; ``"validation_score"``, the accuracy on the held-out images;
        ``"learning_rate"`` at the end of the epoch; ``"seconds"``; with ``learn_beta``
        also ``"beta_0"`` and so on. Missing values are NaN.
    best_epoch_ : int
        The epoch that was kept.
    training_alpha_ : float
        The alpha of the objective.
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        Weights of the features before standardization; one row for two classes.
    intercept_ : ndarray of shape (n_classes,) or (1,)
    alpha_ : float
        The alpha of the head. It is relative to the root mean square norm of the final
        features, which training changes: it is not comparable to ``training_alpha_``.
    alphas_ : ndarray of shape (n_alphas,)
        The alphas that were tried, in descending order.
    alpha_scores_ : ndarray of shape (n_alphas,)
        Accuracy for each of ``alphas_``, on images that the head was not trained on. It
        is too high if no images were held out of the training of the network.
    alpha_scoring_ : {"leave_one_out", "cross_validation", "held_out"}
        How ``alpha_scores_`` was computed: each image left out on its own, images held
        out in several splits, or the images held out of the training.
    alpha_n_samples_ : int
        Number of images by which they were computed, see :class:`CKNClassifier`; 0 if
        none was held out of the training.
    temperature_ : float
        Probabilities are the softmax of the decisions divided by it.
    whitening_ : float or None
        The choice, or the parameter.
    flip_average_ : bool
        The choice, or the parameter.
    normalize_ : float
        The choice, or the parameter.
    map_results_ : dict of ndarray or None
        How the candidates compare: see :class:`CKNClassifier`.
    image_shape_ : tuple of int
        (H, W, C).
    n_iter_ : int
        Number of epochs of this fit; fewer than ``n_epochs`` if it stopped early.
    n_features_in_ : int
        H * W * C.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if X was a data frame with string column names.

    See Also
    --------
    CKNClassifier : The same without training on the labels.
    TrainingDisplay : Plots ``history_``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_ckn import SupervisedCKNClassifier
    >>> digits = load_digits()
    >>> classifier = SupervisedCKNClassifier((8, 16), n_epochs=3, random_state=0)
    >>> classifier.fit(digits.images[:1000], digits.target[:1000]).history_["epoch"]
    [0, 1, 2, 3]
    >>> bool(classifier.score(digits.images[1000:], digits.target[1000:]) > 0.9)
    True
    """

    _parameter_constraints = {  # noqa: RUF012
        name: constraint
        for name, constraint in (
            CKNClassifier._parameter_constraints | TRAINING_CONSTRAINTS
        ).items()
        # Training needs the features of all images after every epoch.
        if name not in ("streaming", *UNTRAINED)
    }

    # The values of UNTRAINED; also of models without these attributes.
    center_patches = False
    keep_norm = True

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
        image_shape: ImageShape = None,
        nystrom_reg: PerLayer[float] = 1e-3,
        n_patches: int = 100_000,
        kmeans_max_iter: int = 0,
        kmeans_tol: float = 1e-4,
        whitening: OrAuto[float | None] = "auto",
        flip_average: OrAuto[bool] = "auto",
        normalize: OrAuto[float] = "auto",
        memory: MemoryLike = None,
        head: Head = "ridge",
        alpha: Alpha = "auto",
        class_weight: ClassWeight = None,
        learn_beta: bool = False,
        n_epochs: int = 30,
        batch_size: int = 64,
        learning_rate: float = 0.01,
        schedule: Literal["cosine", "step", "constant"] = "cosine",
        augment: Augmentation = None,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int | None = None,
        warm_start: bool = False,
        device: Device = "cpu",
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        super().__init__(
            n_anchors,
            patch_size=patch_size,
            dilation=dilation,
            subsampling=subsampling,
            kernel=kernel,
            beta=beta,
            padding=padding,
            image_shape=image_shape,
            nystrom_reg=nystrom_reg,
            n_patches=n_patches,
            kmeans_max_iter=kmeans_max_iter,
            kmeans_tol=kmeans_tol,
            whitening=whitening,
            flip_average=flip_average,
            normalize=normalize,
            memory=memory,
            head=head,
            alpha=alpha,
            class_weight=class_weight,
            device=device,
            verbose=verbose,
            random_state=random_state,
        )
        self.learn_beta = learn_beta
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.augment = augment
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start

    @classmethod
    def _translate_state(cls, state):
        if "max_iter" in state and "history_" in state:
            # In version 0.1.0 it was the number of k-means iterations.
            state = {**state, "n_iter_": state["history_"]["epoch"][-1]}
        if state.get("learning_rate") == "auto":
            # In version 0.1.0 "auto" was the default.
            state = {**state, "learning_rate": 0.01}
        return super()._translate_state(state)

    @classmethod
    def from_preset(
        cls, name: Literal["mairal2016-5", "mairal2016-14"], **parameters: Any
    ) -> Self:
        """Return an estimator with the architecture of a published network.

        Parameters
        ----------
        name : {"mairal2016-5", "mairal2016-14"}
            5 or 14 layers, kernels, head, epochs and schedule of Mairal (NIPS 2016,
            sect. 4.1), for CIFAR-10 images after :class:`PatchWhitening`.
        **parameters
            Other parameters, or other values.

        Returns
        -------
        classifier : SupervisedCKNClassifier

        Raises
        ------
        ValueError
            ``name`` is not one of these.
        """
        if name not in PRESETS:
            raise ValueError(
                f"name must be one of {', '.join(map(repr, PRESETS))}, got {name!r}."
            )
        return cls(**{**PRESETS[name], **parameters})

    @fit_context
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Learn the start without labels, then train the network and the head.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
            Images, or rows with ``image_shape``, as for :meth:`CKNFeatures.fit`, but no
            Dask arrays. uint8 and float32 are computed in float32, all other dtypes in
            float64.
        y : array-like of shape (n,)
            Labels: numbers or strings, two classes or more.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the images as for :meth:`CKNClassifier.fit`, in the objective,
            the heads and the accuracy on held-out images. Images of weight 0 are left
            out completely. The weights do not affect the split or the batches.
        groups : array-like of shape (n,) or None, default=None
            Numbers or strings. Images of one group are held out together, also by
            ``early_stopping``. With None only equal images are held out together.

        Returns
        -------
        self : SupervisedCKNClassifier

        Raises
        ------
        ValueError
            X, y, a weight, a group or a parameter is not as described; ``augment``
            did not return finite images of the same shape; with ``warm_start``, the
            image shape, the classes or the layers are not those of the first fit.
        FloatingPointError
            A loss or gradient is not finite. The best epoch so far is kept as the fit.
        ImportError, RuntimeError
            ``device="cuda"`` without CuPy or a GPU.
        """
        task = start_task(self, self.n_epochs + 6, X, y)
        with keep_fitted_on_error(self), device_of(X):
            failure = fit_supervised(self, X, y, sample_weight, groups, task)
        if failure is not None:
            raise FloatingPointError(
                f"Training stopped in epoch {self.history_['epoch'][-1] + 1}: "
                f"{failure} is not finite. The estimator is fitted with epoch "
                f"{self.best_epoch_}; a smaller learning_rate, or images without "
                "extreme values, may help."
            ) from failure
        task.end()
        return self
