"""Probabilities from decisions, by one factor fitted on held-out samples."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from sklearn_ckn._common.arrays import namespace, special_functions

# Bounds of the logarithm of the factor; decisions are of order 1.
LOG_FACTORS = (-7, 7)


def _two_sided(decisions):
    """Return decisions with one column per class, also for two classes."""
    if decisions.shape[1] == 1:
        return np.hstack([-decisions, decisions]) / 2
    return decisions


def fit_factor(decisions, labels, weights):
    """Fit the factor that turns decisions into logits.

    It minimises the log loss of softmax(factor * decisions). This is temperature
    scaling (Guo, Pleiss, Sun and Weinberger, ICML 2017, eq. 9), with the temperature
    1 / factor. A single factor never changes the order of the classes. One additional
    sample, with the same weight for every class, keeps probabilities below 1 where all
    held-out samples are classified correctly; Platt's method (1999) has the same aim.

    Parameters
    ----------
    decisions : ndarray of shape (n, m)
        Of samples that the head was not trained on; m is 1 for two classes.
    labels : ndarray of shape (n,)
        Positions of the classes.
    weights : ndarray of shape (n,)

    Returns
    -------
    factor : float
    log_loss : float
        Mean log loss of the probabilities, including the additional sample.
    """
    scores = _two_sided(decisions.astype(np.float64))
    n = len(scores)
    own = scores[np.arange(n), labels]
    # The factor multiplies differences of decisions: losses that are far smaller than
    # the rounding of the decisions keep their digits.
    rivals = scores - own[:, np.newaxis]
    rivals[np.arange(n), labels] = -np.inf
    # The part of the additional sample in the loss of each sample.
    doubt = (own - scores.mean(axis=1)) / (n + 1)

    def log_loss(logarithm):
        factor = np.exp(logarithm)
        losses = np.logaddexp(0, logsumexp(factor * rivals, axis=1))
        return weights @ (losses + factor * doubt)

    weights = weights / weights.sum()
    best = minimize_scalar(log_loss, bounds=LOG_FACTORS, method="bounded")
    return float(np.exp(best.x)), float(best.fun)


def _odds(decisions, factor):
    """Return decisions times the factor, in float64, with finite differences."""
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
    """Return the logarithms of the probabilities of the classes, (n, n_classes).

    They are finite for all finite decisions, also where a probability is rounded to 0.
    """
    xp = namespace(decisions)
    special = special_functions(xp)
    odds = _odds(decisions, factor)
    if odds.shape[1] == 1:
        return xp.hstack([special.log_expit(-odds), special.log_expit(odds)])
    return special.log_softmax(odds, axis=1)
