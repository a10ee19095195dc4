"""SupervisedCKNClassifier: anchors, betas and head learned together."""

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
    Padding,
    PerLayer,
    RandomState,
    Subsampling,
    fit_context,
)
from sklearn_ckn._training.constraints import TRAINING_CONSTRAINTS
from sklearn_ckn._training.fit import fit_supervised
from sklearn_ckn._training.presets import PRESETS


class SupervisedCKNClassifier(CKNClassifier):
    """Convolutional kernel network whose anchors are learned together with the head.

    Training starts from the network of :class:`CKNClassifier` and minimises

    (1/n) sum_i w_i loss(y_i, W x_i + b) + alpha/2 ||W||^2

    (Mairal, NIPS 2016, eq. 7) over the head, the anchors of all layers, which stay unit
    vectors, and on request the betas, by stochastic gradients. x are the features of
    the network minus a mean, over the root mean square norm of those that training
    starts with. After every epoch the head is fitted anew, and the best
    epoch is kept: with ``early_stopping`` the one of the highest accuracy on images
    held out of the training, the unsupervised start among them.

    Labels help where what tells the classes apart is not what k-means finds by itself:
    on ten thousand small photographs by 2.5 to 6 points of accuracy, the more the fewer
    anchors there are, on a few thousand digits not at all. An epoch takes about as long
    as five calls of ``transform`` on the training images.

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
        1 / sigma^2 of the kernel ``"exp"``, at the start.
    padding : {"same", "valid"} or tuple of these, default="same"
        Whether zeros surround the image.
    image_shape : tuple of int or None, default=None
        (height, width) or (height, width, channels) of images given as rows.
    nystrom_reg : float or tuple of float, default=1e-3
        Added to the eigenvalues of the anchors' kernel matrix.
    n_patches : int, default=100_000
        Patches sampled for the anchors of each layer at the start.
    kmeans_max_iter : int, default=0
        Largest number of k-means iterations after the seeding.
    kmeans_tol : float, default=1e-4
        Part of the inertia that a k-means iteration must gain to go on.
    flip_average : bool, default=False
        Whether to average the features of an image and of its mirror image, in
        training too.
    memory : str, path, joblib.Memory or None, default=None
        Where the unsupervised start is kept: see :class:`CKNClassifier`. Training
        itself is not looked up.
    head : {"ridge", "linear_svm", "logistic"}, default="ridge"
        The loss that all is trained for: squared error, squared hinge or log loss; that
        of :class:`LinearPathClassifier`, which says more.
    alpha : float, "auto" or array-like of float, default="auto"
        Regularization. ``"auto"`` or candidates: the head of the start chooses one of
        them as that of :class:`CKNClassifier` does, the network is trained with ten
        times as much, no less than 1e-5, and the head of the trained network chooses
        again, by the images held out; without any, it is that of the training.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, the choice of alpha and the probabilities.
    learn_beta : bool, default=False
        Whether to learn the betas of kernels ``"exp"`` too, by their logarithms. On
        photographs it added a point of accuracy.
    n_epochs : int, default=30
        Passes over the training images; 0 keeps the start.
    batch_size : int, default=64
        Images of a step.
    learning_rate : float, default=0.05
        Angle, in radians, by which an anchor turns at most in a step while its
        gradients agree. Steps have no other scale, so that neither the unit of the
        images nor the loss matters. It rises over the first 100 steps, or a quarter
        of all if they are fewer than 400.
    schedule : {"cosine", "step", "constant"}, default="cosine"
        How the rate changes over the epochs: falls to 0 as half a period of the
        cosine, or is divided by 10 after 4/7, 17/21 and 20/21 of them, or stays.
    augment : {"flip", "shift", "flip+shift"}, callable or None, default=None
        Random changes of the images of each step. ``"flip"`` exchanges left and right
        of every other image, ``"shift"`` moves images by up to an eighth of their
        size, repeating the border. A callable takes images (n, H, W, C), float32 or
        float64, and a RandomState, and returns as many.
    early_stopping : bool, default=True
        Whether to hold images out of the training, to choose the epoch and the alpha
        by them, and to stop after ``n_iter_no_change`` epochs without a better one.
        The final head is fitted on all images. Where this would hold out fewer than 10
        images, and without ``early_stopping``, the epoch of the lowest training
        objective is kept, and probabilities are too certain: they are calibrated on
        images that the network has seen.
    validation_fraction : float, default=0.1
        Part of the images held out with ``early_stopping``.
    n_iter_no_change : int, default=10
        Epochs to wait for a better one with ``early_stopping``.
    warm_start : bool, default=False
        Whether a second ``fit`` goes on from the network of the first one.
    device : {"cpu", "cuda", "auto"}, default="cpu"
        Where a NumPy array X is computed: ``"cuda"`` needs CuPy and an NVIDIA GPU, and
        ``"auto"`` takes a GPU where CuPy sees one. An array of CuPy is computed on its
        own GPU, whatever ``device`` is. Results follow X: NumPy arrays for NumPy,
        arrays of CuPy on the same GPU for CuPy. Fitted attributes are NumPy arrays.
        Sums are rounded otherwise on a GPU, so that a training does not repeat the
        epochs of another device.
    verbose : int, default=0
        1 prints a line per layer and per epoch, 2 one per k-means iteration.
    random_state : int, RandomState instance or None, default=None
        Seeds the start, the split, the order of the images and their changes. The same
        seed gives the same network to the bit, with any number of threads, on the same
        kind of processor.

    Attributes
    ----------
    features_ : CKNFeatures
        The network with its learned anchors, usable on its own. Its ``inertia_``,
        ``nystrom_residual_`` and ``n_iter_`` tell of the start.
    head_ : LinearPathClassifier
        The head on their features.
    history_ : dict of list
        One entry per epoch, the start as epoch 0, ready for a data frame: ``"epoch"``;
        ``"objective"``, on the training images as they are; ``"batch_loss"``, the mean
        of the epoch's steps; ``"validation_score"``, the accuracy on the held-out
        images; ``"learning_rate"`` at the epoch's end; ``"seconds"``; with
        ``learn_beta`` also ``"beta_0"`` and so on. NaN where there is none.
    best_epoch_ : int
        The epoch that was kept.
    training_alpha_ : float
        That of the objective.
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        Weights on the features as they come out of ``features_``; one row for two
        classes.
    intercept_ : ndarray of shape (n_classes,) or (1,)
    alpha_ : float
        The alpha of the head, in the unit of the root mean square norm of the features
        as they are now.
    alphas_ : ndarray of shape (n_alphas,)
        The alphas that were tried, in descending order.
    alpha_scores_ : ndarray of shape (n_alphas,)
        Accuracy for each of ``alphas_``, on images that the head was not trained on. It
        is too high where no images were held out of the training, since the network has
        then been trained on the labels of all images.
    alpha_scoring_ : {"leave_one_out", "cross_validation", "held_out"}
        How ``alpha_scores_`` was computed: each image left out on its own, images held
        out in several splits, or the images held out of the training.
    temperature_ : float
        Probabilities are the softmax of the decisions over it.
    image_shape_ : tuple of int
        (H, W, C).
    n_iter_ : int
        Epochs that were run in this fit; fewer than ``n_epochs`` if it stopped early.
    n_features_in_ : int
        H * W * C.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if X was a data frame with string column names.

    See Also
    --------
    CKNClassifier : The same without supervised training.
    TrainingDisplay : Plots ``history_``.

    References
    ----------
    J. Mairal, "End-to-End Kernel Learning with Supervised Convolutional Kernel
    Networks", NIPS 2016.

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
        **CKNClassifier._parameter_constraints,
        **TRAINING_CONSTRAINTS,
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
        learn_beta: bool = False,
        n_epochs: int = 30,
        batch_size: int = 64,
        learning_rate: float = 0.05,
        schedule: Literal["cosine", "step", "constant"] = "cosine",
        augment: Augmentation = None,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        device: Device = "cpu",
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        super().__init__(
            n_anchors,
            patch_size=patch_size,
            subsampling=subsampling,
            kernel=kernel,
            beta=beta,
            padding=padding,
            image_shape=image_shape,
            nystrom_reg=nystrom_reg,
            n_patches=n_patches,
            kmeans_max_iter=kmeans_max_iter,
            kmeans_tol=kmeans_tol,
            flip_average=flip_average,
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
            # Version 0.1.0 counted the rounds of k-means.
            state = {**state, "n_iter_": state["history_"]["epoch"][-1]}
        if state.get("learning_rate") == "auto":
            # It stood for this number and nothing else.
            state = {**state, "learning_rate": 0.05}
        return super()._translate_state(state)

    @classmethod
    def from_preset(
        cls, name: Literal["mairal2016-5", "mairal2016-14"], **parameters: Any
    ) -> Self:
        """Return an estimator with the architecture of a published network.

        Both are for CIFAR-10 and belong behind :class:`PatchWhitening`.

        Parameters
        ----------
        name : {"mairal2016-5", "mairal2016-14"}
            The networks of 5 and of 14 layers of Mairal (NIPS 2016, sect. 4.1), with
            their kernels, head, epochs and schedule.
        **parameters
            What is to be otherwise, or beside it.

        Returns
        -------
        classifier : SupervisedCKNClassifier

        Raises
        ------
        ValueError
            There is no such network.
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
        """Learn the start, then train network and head.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
            Images, or rows with ``image_shape``. uint8 and float32 are computed in
            float32, everything else in float64. An array of NumPy or CuPy.
        y : array-like of shape (n,)
            Labels: numbers or strings, two classes or more.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the images in the objective, the heads and the accuracy on
            held-out images, which are not negative; 0 leaves an image out altogether.
            Which images are held out, and in what order the others train, does not
            depend on them. See :meth:`CKNClassifier.fit`.
        groups : array-like of shape (n,) or None, default=None
            Numbers or strings: images of one group are held out together, by
            ``early_stopping`` too. None stands for images that are equal.

        Returns
        -------
        self : SupervisedCKNClassifier

        Raises
        ------
        ValueError
            X, y, a weight, a group or a parameter is not as described; ``augment``
            returned something else than images; with ``warm_start``, the images, the
            classes or the layers are not those of the first fit.
        FloatingPointError
            A loss was not finite. The estimator is fitted nevertheless, with the best
            epoch before.
        ImportError, RuntimeError
            ``device="cuda"`` without CuPy or a GPU.
        """
        task = start_task(self, self.n_epochs + 3, X, y)
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
