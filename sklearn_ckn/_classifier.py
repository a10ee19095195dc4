"""CKNClassifier: convolutional kernel features and a linear head."""

from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils import compute_class_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from sklearn_ckn._features import CKNFeatures
from sklearn_ckn._heads import fit_head
from sklearn_ckn._images import check_images, keep_fitted_on_error


class CKNClassifier(ClassifierMixin, BaseEstimator):
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
        ``tol`` are those of :class:`CKNFeatures`, which says more.
    patch_size : int or tuple of int, default=3
        Side of the patches in pixels of the layer's input.
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
    max_iter : int, default=0
        Largest number of k-means iterations after the seeding.
    tol : float, default=1e-4
        Part of the inertia that a k-means iteration must gain to go on.
    head : {"ridge", "linear_svm"}, default="ridge"
        The loss: ``"ridge"`` is (y - f)^2 / 2, solved in closed form;
        ``"linear_svm"`` is the squared hinge max(0, 1 - y f)^2 / 2, minimised by
        L-BFGS, which takes many times longer.
    alpha : float, default=1e-7
        Regularization. Good values fall as the number of images grows: search
        1e-8 to 1e-3.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, as elsewhere in scikit-learn.
    device : {"cpu", "cuda"}, default="cpu"
        Where features are computed; ``"cuda"`` needs CuPy and an NVIDIA GPU. The
        head is fitted on the CPU.
    verbose : int, default=0
        1 prints a line per layer, 2 one per k-means iteration.
    random_state : int, RandomState instance or None, default=None
        Seeds the sampling of patches and the k-means.

    Attributes
    ----------
    features_ : CKNFeatures
        The fitted network, usable on its own.
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        Weights on the features as they come out of ``features_``; one row for two
        classes.
    intercept_ : ndarray of shape (n_classes,) or (1,)
    image_shape_ : tuple of int
        (H, W, C).
    n_iter_ : int
        That of ``features_``.
    n_features_in_ : int
        H * W * C.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if X was a data frame with string column names.

    See Also
    --------
    CKNFeatures : The features alone, for another head.

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
        "head": [StrOptions({"ridge", "linear_svm"})],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        n_anchors=(64, 256),
        *,
        patch_size=3,
        subsampling="auto",
        kernel="exp",
        beta=2.8,
        padding="same",
        image_shape=None,
        nystrom_reg=1e-3,
        n_patches=100_000,
        max_iter=0,
        tol=1e-4,
        head="ridge",
        alpha=1e-7,
        class_weight=None,
        device="cpu",
        verbose=0,
        random_state=None,
    ):
        self.n_anchors = n_anchors
        self.patch_size = patch_size
        self.subsampling = subsampling
        self.kernel = kernel
        self.beta = beta
        self.padding = padding
        self.image_shape = image_shape
        self.nystrom_reg = nystrom_reg
        self.n_patches = n_patches
        self.max_iter = max_iter
        self.tol = tol
        self.head = head
        self.alpha = alpha
        self.class_weight = class_weight
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Learn the network and the head.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
            Images, or rows with ``image_shape``. uint8 and float32 are computed in
            float32, everything else in float64.
        y : array-like of shape (n,)
            Labels: numbers or strings, two classes or more.

        Returns
        -------
        self : CKNClassifier

        Raises
        ------
        ValueError
            X, y or a parameter is not as described.
        ImportError, RuntimeError
            ``device="cuda"`` without CuPy or a GPU.
        """
        with keep_fitted_on_error(self):
            images, y = check_images(self, X, y, reset=True)
            check_classification_targets(y)
            self.image_shape_ = images.shape[1:]
            self.classes_, labels = np.unique(y, return_inverse=True)
            if len(self.classes_) < 2:
                raise ValueError(
                    "y has one class only; a classifier needs samples of two classes "
                    "or more."
                )
            class_weights = compute_class_weight(
                self.class_weight, classes=self.classes_, y=y
            )
            if not (np.isfinite(class_weights).all() and (class_weights > 0).all()):
                raise ValueError(
                    f"class_weight must give every class a positive weight, got "
                    f"{self.class_weight!r}. Leave the samples of a class out of X "
                    "and y to give them none."
                )
            parameters = {
                name: getattr(self, name) for name in CKNFeatures().get_params()
            }
            parameters["image_shape"] = self.image_shape_
            # The features see X itself, for its column names if it has any.
            self.features_ = CKNFeatures(**parameters).fit(X)
            self.n_iter_ = self.features_.n_iter_
            features = self.features_.transform(X)
            self.coef_, self.intercept_ = fit_head(
                features,
                self._targets(labels),
                class_weights[labels],
                head=self.head,
                alpha=self.alpha,
            )
        return self

    def _targets(self, labels):
        """Return +1 and -1: a column per class, or the second class's of two."""
        targets = 2.0 * (labels[:, np.newaxis] == np.arange(len(self.classes_))) - 1
        return targets[:, 1:] if len(self.classes_) == 2 else targets

    def decision_function(self, X):
        """Return the scores of the classes.

        Features are computed and used block by block, so memory does not grow with
        their number.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)

        Returns
        -------
        decisions : ndarray of shape (n, n_classes), or (n,) for two classes
            In the dtype of the features: float64 for float64 images, else float32.

        Raises
        ------
        ValueError
            X is not as described.
        """
        check_is_fitted(self)
        images = check_images(self, X, reset=False)
        decisions = [
            features @ self.coef_.T.astype(features.dtype, copy=False)
            + self.intercept_.astype(features.dtype, copy=False)
            for _, features in self.features_._feature_blocks(images)
        ]
        decisions = np.concatenate(decisions)
        return decisions.ravel() if len(self.classes_) == 2 else decisions

    def predict(self, X):
        """Return the label of the highest score.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)

        Returns
        -------
        labels : ndarray of shape (n,), dtype of ``classes_``
        """
        decisions = self.decision_function(X)
        if decisions.ndim == 1:
            return self.classes_[(decisions > 0).astype(np.intp)]
        return self.classes_[decisions.argmax(axis=1)]
