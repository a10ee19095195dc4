"""The parameter ``alpha``, and the attributes that tell which one was chosen."""

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

#: What ``alpha="auto"`` chooses from, by head. Ridge takes one decomposition for all;
#: the others take a solution for each, and stop beyond the best.
GRIDS = {
    "ridge": np.logspace(-1, -10, 19),
    "linear_svm": np.logspace(-2, -9, 15),
    "logistic": np.logspace(-2, -9, 15),
}

# Far beyond these, 1 / alpha and sums of squares over it leave the range of float64;
# features have unit variance, and decisions change no more long before.
SMALLEST_ALPHA = 1e-100
LARGEST_ALPHA = 1e100


def resolve_alphas(alpha):
    """Return the candidates that the parameter ``alpha`` stands for.

    Parameters
    ----------
    alpha : float, "auto" or array-like of float

    Returns
    -------
    alphas : ndarray of shape (A,) or None
        Distinct, from the largest; None stands for ``"auto"``.

    Raises
    ------
    ValueError
        A candidate is no positive number in the range of what can be computed, or
        there is none.
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

    def _set_alphas(self, fitted):
        """Set them from a FittedHead."""
        self.alphas_ = fitted.alphas
        self.alpha_ = float(fitted.alphas[fitted.best])
        self.alpha_scores_ = fitted.scores
        self.alpha_scoring_ = fitted.scoring

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
