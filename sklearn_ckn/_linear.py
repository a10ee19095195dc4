"""The heads as estimators of their own, for wide features from anywhere."""

from numbers import Real
from typing import Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import MultiOutputMixin
from sklearn.utils._param_validation import Interval, StrOptions
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
    Head,
    fit_context,
)
from sklearn_ckn._heads.affine import affine
from sklearn_ckn._heads.alphas import resolve_alphas
from sklearn_ckn._heads.decisions import DecisionsMixin
from sklearn_ckn._heads.held_out import prepare_samples
from sklearn_ckn._heads.path import LOSSES, fit_classifier
from sklearn_ckn._heads.regression import fit_ridge_regressor
from sklearn_ckn._heads.scores import R2ScoreMixin
from sklearn_ckn._input.labels import encode_labels
from sklearn_ckn._input.rows import validate_rows
from sklearn_ckn._input.sample_weight import check_sample_weight

ALPHA_CONSTRAINT = [
    Interval(Real, 0, None, closed="neither"),
    StrOptions({"auto"}),
    "array-like",
]
HEAD_CONSTRAINTS = {
    "head": [StrOptions({"ridge", *LOSSES})],
    "alpha": ALPHA_CONSTRAINT,
    "class_weight": [dict, StrOptions({"balanced"}), None],
}


class LinearPathClassifier(DecisionsMixin, VersionedEstimator):
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
    head : {"ridge", "linear_svm", "logistic"}, default="ridge"
        The loss. ``"ridge"`` is (y - f)^2 / 2, summed over the classes: one
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
    loo_score_ : ndarray of shape (n_alphas,)
        Leave-one-out accuracy of each; only with ``"ridge"``, and neither ``cv`` nor
        ``groups``.
    validation_score_ : ndarray of shape (n_alphas,)
        Accuracy of each on the held-out folds, where there is no ``loo_score_``.
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

    _parameter_constraints = {  # noqa: RUF012
        **HEAD_CONSTRAINTS,
        "cv": ["cv_object"],
    }

    def __init__(
        self,
        head: Head = "ridge",
        *,
        alpha: Alpha = "auto",
        class_weight: ClassWeight = None,
        cv: CrossValidation = None,
    ) -> None:
        self.head = head
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
        return self._fit(X, y, namespace(X), sample_weight, groups)

    def _fit(self, X, y, xp, sample_weight=None, groups=None, copies=None):
        """Fit with the namespace ``xp``; ``copies`` are those of ``first_copies``."""
        with keep_fitted_on_error(self), device_of(X):
            alphas = resolve_alphas(self.alpha)
            X, y = validate_rows(self, X, y, reset=True)
            held_out = {"cv": self.cv, "groups": groups, "copies": copies}
            self._fit_features(X, y, alphas, xp, sample_weight, **held_out)
        return self

    def _fit_features(self, X, y, alphas, xp, sample_weight=None, **held_out):
        """Fit validated features; ``held_out`` are arguments of ``prepare_samples``."""
        sample_weight = check_sample_weight(sample_weight, len(y))
        self.classes_, labels, weights = encode_labels(
            y, self.class_weight, sample_weight
        )
        samples = prepare_samples(X, y, labels, weights, **held_out)
        self.n_features_in_ = X.shape[1]
        fitted = fit_classifier(
            samples.values,
            samples.answers,
            samples.weights,
            head=self.head,
            xp=xp,
            alphas=alphas,
            units=samples.units,
            splits=samples.splits,
        )
        self.coef_, self.intercept_ = fitted.coef, fitted.intercept
        _set_alphas(self, fitted, self.head == "ridge" and samples.splits is None)
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
        X = validate_rows(self, X, reset=False)
        decisions = affine(X, self.coef_, self.intercept_, X.dtype)
        return decisions.ravel() if len(self.classes_) == 2 else decisions


def _set_alphas(estimator, fitted, left_out_one):
    """Set what tells of the choice of alpha."""
    estimator.alphas_ = fitted.alphas
    estimator.alpha_ = float(fitted.alphas[fitted.best])
    for name in ("loo_score_", "validation_score_"):
        vars(estimator).pop(name, None)
    name = "loo_score_" if left_out_one else "validation_score_"
    setattr(estimator, name, fitted.scores)


class RidgePathRegressor(R2ScoreMixin, MultiOutputMixin, VersionedEstimator):
    """Ridge regression on wide features that chooses its regularization.

    Minimises ``(1/n) sum_i w_i |y_i - W x_i - b|^2 / 2 + alpha/2 ||W||^2`` over
    features that are centred and divided by their root mean square norm, without a
    copy. One eigendecomposition gives the solutions and the leave-one-out predictions
    for all alphas, and the standard deviation of predictions.

    Parameters
    ----------
    alpha : float, "auto" or array-like of float, default="auto"
        Regularization, or candidates for it; ``"auto"`` stands for a grid from 0.1 to
        1e-10. The candidate of the highest leave-one-out R2 is taken, averaged over
        the targets: the smallest squared error.
    cv : int, cross-validation splitter, iterable or None, default=None
        What is held out to choose alpha and the noise variance. None: samples one by
        one, or with ``groups`` in ``fit`` five folds of groups, with more than 2,000
        groups the first of the five. Others: see :class:`LinearPathClassifier`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Weights on the features as they come; float64 where float32 cannot hold them.
    intercept_ : float or ndarray of shape (n_targets,)
    alpha_ : float
        The alpha that was chosen.
    alphas_ : ndarray of shape (n_alphas,)
        Those tried, from the largest.
    loo_score_ : ndarray of shape (n_alphas,)
        Leave-one-out R2 of each, 1 for constants; only without ``cv`` and ``groups``.
    validation_score_ : ndarray of shape (n_alphas,)
        R2 of each on the held-out folds, where there is no ``loo_score_``.
    noise_variance_ : float or ndarray of shape (n_targets,)
        Variance of the targets around the regression function, in squared units of
        y. With residuals e_i, leverages h_i and weights w_i, of mean 1, it is the mean
        of w_i e_i^2 / (1 - h_i), which makes the variance of standardized
        leave-one-out residuals 1; on folds it is found in the same way.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if X was a data frame with string column names.

    See Also
    --------
    CKNRegressor : Convolutional kernel features and this regressor.
    LinearPathClassifier : The same for classes.

    Notes
    -----
    The model keeps a matrix of float64 of n_features x min(n, n_features) for the
    standard deviations.

    Equal rows are treated as by :class:`LinearPathClassifier`; the n of the standard
    deviations counts the distinct ones.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_ckn import RidgePathRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = RidgePathRegressor().fit(X, y)
    >>> mean, deviation = regressor.predict(X[:5], return_std=True)
    >>> mean.shape, deviation.shape
    ((5,), (5,))
    """

    _parameter_constraints = {  # noqa: RUF012
        "alpha": ALPHA_CONSTRAINT,
        "cv": ["cv_object"],
    }

    def __init__(self, alpha: Alpha = "auto", *, cv: CrossValidation = None) -> None:
        self.alpha = alpha
        self.cv = cv

    @fit_context
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Choose alpha and fit.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            float32 stays float32. An array of CuPy is computed on its own GPU,
            whichever is current, a NumPy array on the CPU, and results follow X:
            NumPy arrays for NumPy, arrays of CuPy on the same GPU for CuPy.
        y : array-like of shape (n,) or (n, n_targets)
            Real numbers.
        sample_weight : array-like of shape (n,) or None, default=None
            Not negative: repetitions, as in :meth:`LinearPathClassifier.fit`.
        groups : array-like of shape (n,) or None, default=None
            Samples of one group are held out together.

        Returns
        -------
        self : RidgePathRegressor

        Raises
        ------
        ValueError
            X, y or a parameter is not as described.
        """
        return self._fit(X, y, namespace(X), sample_weight, groups)

    def _fit(self, X, y, xp, sample_weight=None, groups=None, copies=None):
        """Fit with the namespace ``xp``; ``copies`` are those of ``first_copies``."""
        with keep_fitted_on_error(self), device_of(X):
            alphas = resolve_alphas(self.alpha)
            X, y = validate_rows(
                self, X, y, reset=True, multi_output=True, y_numeric=True
            )
            targets = y.reshape(len(y), -1)
            if targets.dtype != np.float32:
                targets = targets.astype(np.float64)
            samples = prepare_samples(
                X,
                targets,
                None,
                check_sample_weight(sample_weight, len(y)),
                cv=self.cv,
                groups=groups,
                copies=copies,
            )
            fitted, self._posterior = fit_ridge_regressor(
                samples.values,
                samples.answers,
                alphas,
                xp=xp,
                weights=samples.weights,
                units=samples.units,
                splits=samples.splits,
            )
            self.coef_, self.intercept_ = fitted.coef, fitted.intercept
            self.noise_variance_ = self._posterior.original_noise_variance
            if y.ndim == 1:
                self.coef_ = self.coef_[0]
                self.intercept_ = self.intercept_[0]
                self.noise_variance_ = self.noise_variance_[0]
            _set_alphas(self, fitted, samples.splits is None)
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
        X : array-like of shape (n, n_features)
        return_std : bool, default=False
            Whether to return standard deviations too.

        Returns
        -------
        mean : array of shape (n,) or (n, n_targets)
            float32 if X is and can hold numbers like the y of the fit, or else
            float64. An array of CuPy on the GPU of X if X is one, else of NumPy.
        deviation : array of the shape of ``mean``, float64
            Standard deviation of a new target, noise included: that of the Gaussian
            process whose mean ridge is (Rasmussen and Williams, Gaussian Processes
            for Machine Learning, 2006, eq. 2.9), with ``noise_variance_`` and a prior
            variance of W of ``noise_variance_`` / (n alpha). Only if ``return_std``.
        """
        check_is_fitted(self)
        X = validate_rows(self, X, reset=False)
        coef, intercept = np.atleast_2d(self.coef_), np.atleast_1d(self.intercept_)
        dtype = X.dtype if self._posterior.targets_fit(X.dtype) else np.float64
        mean = affine(X, coef, intercept, dtype)
        if self.coef_.ndim == 1:
            mean = mean[:, 0]
        if not return_std:
            return mean
        deviation = self._posterior.deviation(X)
        return mean, deviation.reshape(mean.shape)
