"""RidgePathRegressor: ridge regression that chooses its regularization."""

from typing import Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import MultiOutputMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.devices import computed_where_x_is, device_of
from sklearn_ckn._common.fitting import keep_fitted_on_error
from sklearn_ckn._common.pickles import VersionedEstimator
from sklearn_ckn._common.types import Alpha, CrossValidation, FloatArray, fit_context
from sklearn_ckn._heads.affine import affine
from sklearn_ckn._heads.alphas import ALPHA_CONSTRAINT, AlphaPathMixin, resolve_alphas
from sklearn_ckn._heads.held_out import HoldOut
from sklearn_ckn._heads.regression import RegressionProblem
from sklearn_ckn._heads.scores import R2ScoreMixin
from sklearn_ckn._heads.targets import target_columns
from sklearn_ckn._input.rows import validate_rows
from sklearn_ckn._input.sample_weight import check_sample_weight


class RidgePathRegressor(
    R2ScoreMixin, MultiOutputMixin, AlphaPathMixin, VersionedEstimator
):
    """Ridge regression on wide features that chooses its regularization.

    The features are centred and divided by their root mean square norm, without a
    copy, and the regression minimises

    (1/n) sum_i w_i ||y_i - W x_i - b||^2 / 2 + alpha/2 ||W||^2.

    One eigendecomposition gives the solutions and the leave-one-out predictions for
    all alphas, and the standard deviations of predictions. On the CPU, with 4,096
    features or more and twice as many samples, Cholesky factors take less time: a
    search tries some of the candidates, see :ref:`the guide <wide-heads>`.

    Parameters
    ----------
    alpha : float, "auto" or array-like of float, default="auto"
        Regularization, or candidates for it. ``"auto"`` is a grid from 0.1 to 1e-10.
        The candidate with the highest R2 on held-out samples, averaged over the
        targets, is chosen.
    cv : int, cross-validation splitter, iterable or None, default=None
        Which samples are held out to choose alpha and to estimate the noise variance.
        None is leave-one-out. With ``groups`` in ``fit``, None is five folds of groups;
        with more than 2,000 groups, only the first of the five is held out. For other
        values, see :class:`LinearPathClassifier`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Weights of the features before standardization. In the dtype of the features, or
        in float64 where float32 cannot represent them.
    intercept_ : float or ndarray of shape (n_targets,)
    alpha_ : float
        The alpha that was chosen.
    alphas_ : ndarray of shape (n_alphas,)
        The alphas that were tried, in descending order.
    alpha_scores_ : ndarray of shape (n_alphas,)
        R2 for each of ``alphas_``, on samples that the regression was not trained on,
        averaged over the targets. A constant target counts as R2 = 1.
    alpha_scoring_ : {"leave_one_out", "cross_validation", "held_out"}
        How ``alpha_scores_`` was computed: see :class:`LinearPathClassifier`.
    alpha_n_samples_ : int
        Number of samples by which they were computed: all that are held out, or 50,000
        of these, chosen by their number alone, if there are more.
    noise_variance_ : float or ndarray of shape (n_targets,)
        Variance of the targets around the regression function, in squared units of y.
        With residuals e_i, leverages h_i and weights w_i of mean 1, it is the mean of
        w_i e_i^2 / (1 - h_i). The standardized leave-one-out residuals then have the
        variance 1. With folds, it is estimated in the same way.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if X was a data frame with string column names.

    See Also
    --------
    CKNRegressor : Convolutional kernel features and this regressor.
    LinearPathClassifier : The same for classes.

    Notes
    -----
    For the standard deviations, the model keeps a float64 matrix of shape
    (n_features, min(n, n_features)).

    Equal rows are merged as by :class:`LinearPathClassifier`. In the standard
    deviations, n is the number of distinct rows.

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
            Weights of the samples, not negative: see :meth:`LinearPathClassifier.fit`.
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
        with keep_fitted_on_error(self), device_of(X):
            alphas = resolve_alphas(self.alpha)
            X, y = validate_rows(
                self, X, y, reset=True, multi_output=True, y_numeric=True
            )
            weights = check_sample_weight(sample_weight, len(y))
            hold_out = HoldOut.of_rows(X, y, self.cv, groups, classifier=False)
            problem = RegressionProblem(target_columns(y), weights, hold_out, alphas)
            fitted, posterior = problem.fit(X, namespace(X))
            self._set_fitted(fitted, posterior, y.ndim)
        return self

    def _set_fitted(self, fitted, posterior, n_axes):
        """Set the fitted attributes; ``n_axes`` are those of y, 1 for one target."""
        self._posterior = posterior
        self.coef_, self.intercept_ = fitted.coef, fitted.intercept
        self.noise_variance_ = posterior.original_noise_variance
        self.n_features_in_ = fitted.coef.shape[1]
        if n_axes == 1:
            self.coef_ = self.coef_[0]
            self.intercept_ = self.intercept_[0]
            self.noise_variance_ = self.noise_variance_[0]
        self._set_alphas(fitted)
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
        return self._predict(validate_rows(self, X, reset=False), return_std)

    def _predict(self, X, return_std=False):
        """Predict targets of validated features."""
        coef, intercept = np.atleast_2d(self.coef_), np.atleast_1d(self.intercept_)
        dtype = X.dtype if self._posterior.targets_fit(X.dtype) else np.float64
        mean = affine(X, coef, intercept, dtype)
        if self.coef_.ndim == 1:
            mean = mean[:, 0]
        if not return_std:
            return mean
        deviation = self._posterior.deviation(X)
        return mean, deviation.reshape(mean.shape)
