"""Probabilities from decisions: one factor, fitted on held-out samples."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from sklearn_ckn._arrays import namespace, special_functions

# Bounds of the factor's logarithm; decisions are of order 1.
LOG_FACTORS = (-7, 7)


def _two_sided(decisions):
    """Return a column for each class, also where two classes share one."""
    if decisions.shape[1] == 1:
        return np.hstack([-decisions, decisions]) / 2
    return decisions


def fit_factor(decisions, labels, weights):
    """Fit the factor that makes the decisions the logarithms of odds.

    The log loss of softmax(factor * decisions) is minimised (temperature scaling, Guo,
    Pleiss, Sun and Weinberger, ICML 2017, eq. 9, of which this is 1 / T). A single
    factor never changes the order of the classes. One sample more, which could be of
    any class, keeps the probabilities from becoming certain where all held-out samples
    are right; Platt's method (1999) has the same aim.

    Parameters
    ----------
    decisions : ndarray of shape (n, m)
        Of samples that their model has not seen; m is 1 for two classes.
    labels : ndarray of shape (n,)
        Positions of the classes.
    weights : ndarray of shape (n,)

    Returns
    -------
    factor : float
    log_loss : float
        Mean log loss of the probabilities, the sample more included.
    """
    scores = _two_sided(decisions)
    n = len(scores)
    own = scores[np.arange(n), labels]
    expected = (n * own + scores.mean(axis=1)) / (n + 1)

    def log_loss(logarithm):
        factor = np.exp(logarithm)
        return weights @ (logsumexp(factor * scores, axis=1) - factor * expected)

    weights = weights / weights.sum()
    best = minimize_scalar(log_loss, bounds=LOG_FACTORS, method="bounded")
    return float(np.exp(best.x)), float(best.fun)


def probabilities(decisions, factor):
    """Return the probabilities of the classes, (n, n_classes), summing to 1."""
    xp = namespace(decisions)
    special = special_functions(xp)
    if decisions.shape[1] == 1:
        second = special.expit(factor * decisions)
        return xp.hstack([1 - second, second])
    return special.softmax(factor * decisions, axis=1)
