"""LinearPathClassifier: a linear classifier that chooses its regularization."""

from typing import Self

from numpy.typing import ArrayLike
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.devices import computed_where_x_is, device_of
from sklearn_ckn._common.fitting import keep_fitted_on_error
from sklearn_ckn._common.pickles import VersionedEstimator
from sklearn_ckn._common.types import (
    Alpha,
    ClassWeight,
    CrossValidation,
    FloatArray,
    Loss,
    fit_context,
)
from sklearn_ckn._heads.affine import affine
from sklearn_ckn._heads.alphas import ALPHA_CONSTRAINT, AlphaPathMixin, resolve_alphas
from sklearn_ckn._heads.classification import ClassifierProblem
from sklearn_ckn._heads.decisions import DecisionsMixin
from sklearn_ckn._heads.held_out import HoldOut
from sklearn_ckn._heads.losses import LOSSES
from sklearn_ckn._input.labels import CLASS_WEIGHT_CONSTRAINT, encode_labels
from sklearn_ckn._input.rows import validate_rows
from sklearn_ckn._input.sample_weight import check_sample_weight

LOSS_CONSTRAINT = [StrOptions({"ridge", *LOSSES})]


class LinearPathClassifier(DecisionsMixin, AlphaPathMixin, VersionedEstimator):
    """Linear classifier for wide features that chooses its regularization.

    The features are centred and divided by their root mean square norm, without a
    copy, and the classifier minimises

    (1/n) sum_i w_i loss(y_i, W x_i + b) + alpha/2 ||W||^2

    (Mairal, NIPS 2016, eq. 7), where y_i is +1 for the class of sample i and -1 for the
    others. The meaning of ``alpha`` therefore does not depend on the unit or the number
    of the features. Products are computed in the dtype of the features. In addition to
    the n x d features, memory holds a few matrices of size n x n or d x d, whichever is
    smaller.

    Parameters
    ----------
    loss : {"ridge", "linear_svm", "logistic"}, default="ridge"
        ``"ridge"`` is the squared error (y - f)^2 / 2, summed over the classes. One
        eigendecomposition gives the solutions and the leave-one-out predictions for
        all alphas. On the CPU, with 4,096 features or more and twice as many samples,
        Cholesky factors take less time: a search tries some of the candidates, see
        :ref:`the guide <wide-heads>`. ``"linear_svm"`` is the squared hinge loss
        max(0, 1 - y f)^2 / 2 of each class against the rest, and ``"logistic"`` is the
        multinomial log loss. These two are minimised by Newton's method along the path
        of alphas.
    alpha : float, "auto" or array-like of float, default="auto"
        Regularization, or candidates for it. ``"auto"`` is a grid from 0.1 to 1e-10
        with ``"ridge"``, and from 0.01 to 1e-9 with the others, which end the grid
        earlier if the held-out loss does not decrease any more. The choice is by the
        accuracy on held-out samples: the loss would choose a larger alpha where many
        classes overlap. Candidates within one standard error of the highest accuracy
        count as tied, and the one with the lowest log loss is chosen.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, the choice of alpha and the probabilities.
    cv : int, cross-validation splitter, iterable or None, default=None
        Which samples are held out to choose alpha and the temperature. None is
        leave-one-out with ``"ridge"``. With the other losses, and with ``groups`` in
        ``fit``, None is five stratified folds; with more than 2,000 samples or groups,
        only the first of the five is held out. Otherwise ``cv`` is a number of
        stratified folds, a splitter, which receives ``groups``, or an iterable of pairs
        of training rows and held-out rows.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        Weights of the features before standardization; one row for two classes. In
        the dtype of the features, or in float64 where float32 cannot represent them.
    intercept_ : ndarray of shape (n_classes,) or (1,)
    alpha_ : float
        The alpha that was chosen.
    alphas_ : ndarray of shape (n_alphas,)
        The alphas that were tried, in descending order.
    alpha_scores_ : ndarray of shape (n_alphas,)
        Accuracy for each of ``alphas_``, on samples that the classifier was not trained
        on.
    alpha_scoring_ : {"leave_one_out", "cross_validation", "held_out"}
        How ``alpha_scores_`` was computed: each sample left out on its own, samples
        held out in several splits, or samples held out in one split.
    alpha_n_samples_ : int
        Number of samples by which they were computed: all that are held out, or 50,000
        of these, chosen by their number alone, if there are more.
    temperature_ : float
        Probabilities are the softmax of the decisions divided by it. It is fitted to
        the same held-out predictions.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if X was a data frame with string column names.

    See Also
    --------
    CKNClassifier : Convolutional kernel features and this classifier.
    RidgePathRegressor : Ridge for real targets.

    Notes
    -----
    Leave-one-out predictions use the mean and the scale of all samples; these are not
    computed again without the sample that is left out. With float32 features,
    directions that contain only rounding errors are ignored.

    Samples with equal features and labels are merged to one sample with the sum of
    their weights, and samples with equal features are held out together. Repeated
    samples, from oversampling, a bootstrap or duplicates in the data, therefore do not
    make the scores too high. If there are any, memory holds a copy of the distinct
    rows. For samples that are similar without being equal, such as shifted images or
    several pictures of one object, use ``groups`` in ``fit``.

    References
    ----------
    G. Golub, M. Heath and G. Wahba, "Generalized Cross-Validation as a Method for
    Choosing a Good Ridge Parameter", Technometrics 1979.

    O. Chapelle, "Training a Support Vector Machine in the Primal", Neural Computation
    2007.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_ckn import LinearPathClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> classifier = LinearPathClassifier().fit(X[:1000], y[:1000])
    >>> bool(classifier.score(X[1000:], y[1000:]) > 0.85)
    True
    """

    _renamed_attributes = {"head": "loss"}  # noqa: RUF012
    _parameter_constraints = {  # noqa: RUF012
        "loss": LOSS_CONSTRAINT,
        "alpha": ALPHA_CONSTRAINT,
        "class_weight": CLASS_WEIGHT_CONSTRAINT,
        "cv": ["cv_object"],
    }

    def __init__(
        self,
        loss: Loss = "ridge",
        *,
        alpha: Alpha = "auto",
        class_weight: ClassWeight = None,
        cv: CrossValidation = None,
    ) -> None:
        self.loss = loss
        self.alpha = alpha
        self.class_weight = class_weight
        self.cv = cv

    @fit_context
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Choose alpha and fit the classifier and its probabilities.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            float32 stays float32. An array of CuPy is computed on its own GPU,
            whichever is current, a NumPy array on the CPU, and results follow X:
            NumPy arrays for NumPy, arrays of CuPy on the same GPU for CuPy.
        y : array-like of shape (n,)
            Labels: numbers or strings, two classes or more.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the samples, not negative. A sample with an integer weight counts
            as that many equal samples, a common factor of all weights changes nothing,
            and a sample with the weight 0 is left out.
        groups : array-like of shape (n,) or None, default=None
            Numbers or strings. Samples of one group, such as copies of one image, are
            held out together.

        Returns
        -------
        self : LinearPathClassifier

        Raises
        ------
        ValueError
            X, y, a weight, a group or a parameter is not as described; a split of
            ``cv`` does not train all classes.

        Warns
        -----
        ConvergenceWarning
            A minimum was not reached, with ``"linear_svm"`` or ``"logistic"``.
        """
        with keep_fitted_on_error(self), device_of(X):
            alphas = resolve_alphas(self.alpha)
            X, y = validate_rows(self, X, y, reset=True)
            weights = check_sample_weight(sample_weight, len(y))
            labels = encode_labels(y, self.class_weight, weights)
            hold_out = HoldOut.of_rows(X, y, self.cv, groups, classifier=True)
            problem = ClassifierProblem(self.loss, labels, hold_out, alphas)
            self._set_fitted(problem.fit(X, namespace(X)), labels)
        return self

    def _set_fitted(self, fitted, labels):
        """Set the fitted attributes from a FittedHead and the Labels of its samples."""
        self.classes_ = labels.classes
        self.coef_, self.intercept_ = fitted.coef, fitted.intercept
        self.n_features_in_ = fitted.coef.shape[1]
        self._set_alphas(fitted)
        self.temperature_ = 1 / fitted.factor
        return self

    @computed_where_x_is
    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return the scores of the classes.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        decisions : array of shape (n, n_classes), or (n,) for two classes
            In the dtype of X: float32 or else float64. An array of CuPy on the GPU of X
            if X is one, else of NumPy.
        """
        check_is_fitted(self)
        return self._decisions(validate_rows(self, X, reset=False))

    def _decisions(self, features):
        """Return the decisions of validated features."""
        decisions = affine(features, self.coef_, self.intercept_, features.dtype)
        return decisions.ravel() if len(self.classes_) == 2 else decisions
