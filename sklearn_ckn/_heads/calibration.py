"""Probabilities from decisions: one factor, fitted on held-out samples."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from sklearn_ckn._common.arrays import namespace, special_functions

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
    scores = _two_sided(decisions.astype(np.float64))
    n = len(scores)
    own = scores[np.arange(n), labels]
    # What the factor multiplies are differences, so that losses far below the rounding
    # of the decisions keep their digits.
    rivals = scores - own[:, np.newaxis]
    rivals[np.arange(n), labels] = -np.inf
    # The mean over all classes of what the sample more adds to each sample's loss.
    doubt = (own - scores.mean(axis=1)) / (n + 1)

    def log_loss(logarithm):
        factor = np.exp(logarithm)
        losses = np.logaddexp(0, logsumexp(factor * rivals, axis=1))
        return weights @ (losses + factor * doubt)

    weights = weights / weights.sum()
    best = minimize_scalar(log_loss, bounds=LOG_FACTORS, method="bounded")
    return float(np.exp(best.x)), float(best.fun)


def _odds(decisions, factor):
    """Return decisions times the factor, in float64, of finite differences."""
    limit = float(np.finfo(np.float64).max) / 4 / max(factor, 1)
    decisions = decisions.astype(np.float64)
    return factor * namespace(decisions).clip(decisions, -limit, limit)


def probabilities(decisions, factor):
    """Return the probabilities of the classes, (n, n_classes), summing to 1."""
    xp = namespace(decisions)
    special = special_functions(xp)
    odds = _odds(decisions, factor)
    if odds.shape[1] == 1:
        return xp.hstack([special.expit(-odds), special.expit(odds)])
    return special.softmax(odds, axis=1)


def log_probabilities(decisions, factor):
    """Return the logarithms of ``probabilities``, also of those that are rounded to 0.

    They are finite for all finite decisions.
    """
    xp = namespace(decisions)
    special = special_functions(xp)
    odds = _odds(decisions, factor)
    if odds.shape[1] == 1:
        return xp.hstack([special.log_expit(-odds), special.log_expit(odds)])
    return special.log_softmax(odds, axis=1)
