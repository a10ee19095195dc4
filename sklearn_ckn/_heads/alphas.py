"""The parameter ``alpha``, and the attributes about the alpha that was chosen."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from sklearn_ckn._common.parameters import plain_value
from sklearn_ckn._common.types import FloatArray

ALPHA_CONSTRAINT = [
    Interval(Real, 0, None, closed="neither"),
    StrOptions({"auto"}),
    "array-like",
]

#: The candidates of ``alpha="auto"``, by loss. Ridge takes one decomposition for all of
#: them. The others compute a solution for each, and stop once smaller ones do not help.
GRIDS = {
    "ridge": np.logspace(-1, -10, 19),
    "linear_svm": np.logspace(-2, -9, 15),
    "logistic": np.logspace(-2, -9, 15),
}

# Far outside these limits, 1 / alpha, or sums of squares over it, leave the range of
# float64. Standardized features have a mean square norm of 1, and decisions hardly
# change any more long before alpha gets there.
SMALLEST_ALPHA = 1e-100
LARGEST_ALPHA = 1e100


def resolve_alphas(alpha):
    """Return the candidates that the parameter ``alpha`` specifies.

    Parameters
    ----------
    alpha : float, "auto" or array-like of float

    Returns
    -------
    alphas : ndarray of shape (A,) or None
        Distinct, in descending order; None stands for ``"auto"``.

    Raises
    ------
    ValueError
        A candidate is not a number between the limits, or there is no candidate.
    """
    alpha = plain_value("alpha", alpha)
    if isinstance(alpha, str):
        return None
    values = [alpha] if isinstance(alpha, Real) else list(alpha)
    if not values or not all(
        isinstance(value, Real) and SMALLEST_ALPHA <= value <= LARGEST_ALPHA
        for value in values
    ):
        raise ValueError(
            f'alpha must be "auto", a positive number or several, between '
            f"{SMALLEST_ALPHA} and {LARGEST_ALPHA}, got {alpha!r}."
        )
    return np.unique(np.asarray(values, dtype=np.float64))[::-1]


class AlphaPathMixin:
    """The attributes of estimators that choose one of several alphas."""

    alpha_: float
    alphas_: FloatArray
    alpha_scores_: FloatArray
    alpha_scoring_: str
    alpha_n_samples_: int

    def _set_alphas(self, fitted):
        """Set them from a FittedHead."""
        self.alphas_ = fitted.alphas
        self.alpha_ = float(fitted.alphas[fitted.best])
        self.alpha_scores_ = fitted.scores
        self.alpha_scoring_ = fitted.scoring
        self.alpha_n_samples_ = fitted.n_scored

    @classmethod
    def _translate_state(cls, state):
        # Version 0.1.0 named the scores by what was held out, and did not keep the
        # number of splits.
        scorings = {"loo_score_": "leave_one_out", "validation_score_": "held_out"}
        state = dict(state)
        for name, scoring in scorings.items():
            if name in state:
                state["alpha_scores_"] = state.pop(name)
                state["alpha_scoring_"] = scoring
        return super()._translate_state(state)
