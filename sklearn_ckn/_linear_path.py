"""LinearPathClassifier: a linear classifier that chooses its regularization."""

from typing import Self

from numpy.typing import ArrayLike
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from sklearn_ckn._common.arrays import namespace
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

    (Mairal, NIPS 2016, eq. 7) over targets of +1 for a sample's class and -1 for the
    others. ``alpha`` so means the same whatever the unit and the number of features.
    Products are computed in the features' own dtype; beside the features, memory holds
    some matrices of the smaller of n x n and d x d.

    Parameters
    ----------
    loss : {"ridge", "linear_svm", "logistic"}, default="ridge"
        ``"ridge"`` is (y - f)^2 / 2, summed over the classes: one
        eigendecomposition gives the solutions and the leave-one-out predictions for
        all alphas. ``"linear_svm"`` is max(0, 1 - y f)^2 / 2, one class against the
        rest, and ``"logistic"`` the multinomial log loss; both are minimised by
        Newton's method along the path of alphas.
    alpha : float, "auto" or array-like of float, default="auto"
        Regularization, or candidates for it; ``"auto"`` stands for a grid from 0.1 to
        1e-10 with ``"ridge"``, and from 0.01 down to 1e-9 with the others, which stop
        where the held-out loss falls no more. The candidate of the highest accuracy on
        samples not trained on is taken, since the loss prefers a larger alpha than
        the accuracy where many classes overlap; of those within a standard error of
        it, the one with the best probabilities (log loss).
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, the choice of alpha and the probabilities.
    cv : int, cross-validation splitter, iterable or None, default=None
        What is held out to choose alpha and the temperature. None: samples one by one
        with ``"ridge"``; with the others, and with ``groups`` in ``fit``, five
        stratified folds, or with more than 2,000 samples, or groups, the first of the
        five. Others are what scikit-learn's tools take: a number of stratified folds,
        a splitter, which is given ``groups``, or pairs of rows that train and rows
        held out.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        Weights on the features as they come; one row for two classes. In their dtype,
        or in float64 where float32 cannot hold them.
    intercept_ : ndarray of shape (n_classes,) or (1,)
    alpha_ : float
        The alpha that was chosen.
    alphas_ : ndarray of shape (n_alphas,)
        Those tried, from the largest.
    alpha_scores_ : ndarray of shape (n_alphas,)
        Accuracy of each on samples that it was not trained on.
    alpha_scoring_ : {"leave_one_out", "cross_validation", "held_out"}
        Which samples these are: each one alone, those of every fold, or those of a
        single split.
    temperature_ : float
        Probabilities are the softmax of the decisions over it; fitted on the same
        held-out predictions.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if X was a data frame with string column names.

    See Also
    --------
    CKNClassifier : Convolutional kernel features and this classifier.
    RidgePathRegressor : Ridge for real targets.

    Notes
    -----
    Leave-one-out predictions are those of the same mean, scale and therefore alpha.
    With float32 features, directions that hold rounding only are left out.

    Samples that are equal in features and label count as one of their joint weight,
    and samples of equal features are held out together: copies that oversampling, a
    bootstrap or a careless data set left in do not make a head look better than it is.
    Where there are any, memory holds a copy of the distinct rows. Copies that are
    changed a little, such as shifted images, or several pictures of one object, are
    for ``groups`` in ``fit``.

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
            float32 stays float32. The head is fitted where an array of CuPy is.
        y : array-like of shape (n,)
            Labels: numbers or strings, two classes or more.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the samples, which are not negative. They mean repetitions: what
            is fitted is the same as with each row as often as its weight says, but
            for a common factor, and a weight of 0 leaves a row out.
        groups : array-like of shape (n,) or None, default=None
            Numbers or strings: samples of one group, such as copies of one image, are
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
        with keep_fitted_on_error(self):
            alphas = resolve_alphas(self.alpha)
            X, y = validate_rows(self, X, y, reset=True)
            weights = check_sample_weight(sample_weight, len(y))
            labels = encode_labels(y, self.class_weight, weights)
            hold_out = HoldOut.of_rows(X, y, self.cv, groups, classifier=True)
            problem = ClassifierProblem(self.loss, labels, hold_out, alphas)
            self._set_fitted(problem.fit(X, namespace(X)), labels)
        return self

    def _set_fitted(self, fitted, labels):
        """Set the fitted attributes from a FittedHead and the Labels it belongs to."""
        self.classes_ = labels.classes
        self.coef_, self.intercept_ = fitted.coef, fitted.intercept
        self.n_features_in_ = fitted.coef.shape[1]
        self._set_alphas(fitted)
        self.temperature_ = 1 / fitted.factor
        return self

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return the scores of the classes.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        decisions : array of shape (n, n_classes), or (n,) for two classes
            In the dtype of X: float32 or else float64. An array of CuPy if X is one.
        """
        check_is_fitted(self)
        return self._decisions(validate_rows(self, X, reset=False))

    def _decisions(self, features):
        """Return the decisions of validated features."""
        decisions = affine(features, self.coef_, self.intercept_, features.dtype)
        return decisions.ravel() if len(self.classes_) == 2 else decisions
