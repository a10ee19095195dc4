"""The parameter ``alpha``: a number, candidates, or the grid of a head."""

from numbers import Real

import numpy as np

#: What ``alpha="auto"`` chooses from, by head. Ridge takes one decomposition for all;
#: the others take a solution for each, and stop beyond the best.
GRIDS = {
    "ridge": np.logspace(-1, -10, 19),
    "linear_svm": np.logspace(-2, -9, 15),
    "logistic": np.logspace(-2, -9, 15),
}


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
        A candidate is not a positive finite number, or less than the smallest normal
        one, or there is none.
    """
    if isinstance(alpha, str):
        return None
    smallest = float(np.finfo(np.float64).smallest_normal)
    values = [alpha] if isinstance(alpha, Real) else list(alpha)
    if not values or not all(
        isinstance(value, Real) and smallest <= value < np.inf for value in values
    ):
        raise ValueError(
            f'alpha must be "auto", a positive number or several, finite and no less '
            f"than {smallest:.1e}, got {alpha!r}."
        )
    return np.unique(np.asarray(values, dtype=np.float64))[::-1]
