"""The objective of the linear heads in plain float64, and how far from its minimum.

All is in the unit of standardized features: rows minus their weighted mean, over their
weighted root mean square norm, whose second moments so have a largest eigenvalue of
at most 1.

Ridge. The solution of (G + alpha I) W = b from a decomposition of G, (d, d) or (n, n),
whose entries are rounded in the type of the features, is that of matrices off by
c eps, c = 10 (n + d). Values with a mean of M in this unit come out of centring with an
error of M eps each. With e = c (1 + M) eps the gradient at W is within

    e (2 |W| + |Y|) + sqrt(e) |Y|,

the last term for the directions in which the features have no more than rounding, of
second moment e: they are left out, and their part of b is at most sqrt(e) |Y|.

Newton's method ends where half the squared gradient over alpha is TOLERANCE of the
objective's value, or the next step would gain no more than twice that, when the
squared gradient is at most 4 (1 + alpha) TOLERANCE times the value, the largest
curvature of the losses being 1 and that of the column of ones another 1.
"""

from dataclasses import dataclass

import numpy as np
from checks import require
from scipy.special import log_softmax, softmax

from sklearn_ckn._heads.newton import TOLERANCE


@dataclass
class Standardized:
    """Rows in the unit of the heads, with weights of mean 1.

    Rows that differ by a few units in the last place, or of the smallest numbers, may
    count as equal or not: ``is_known`` is False, and no minimum is compared.
    """

    rows: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    scale: float
    unit: float
    rounding: float
    is_known: bool

    @classmethod
    def of(cls, X, weights):
        """Standardize rows of any magnitude.

        Parameters
        ----------
        X : ndarray of shape (n, d), float32 or float64
        weights : ndarray of shape (n,)
        """
        eps = np.finfo(X.dtype).eps
        largest = float(np.abs(X).max())
        unit = 2.0 ** np.frexp(largest)[1] if largest > 0 else 1.0
        rows = X.astype("f8") / unit
        weights = weights / weights.mean()
        mean = weights @ rows / len(rows)
        rows = rows - mean
        scale = float(np.sqrt(weights @ (rows**2).sum(axis=1) / len(rows)))
        offset = float(np.linalg.norm(mean))
        spacing = float(np.finfo(X.dtype).smallest_subnormal) / unit
        is_known = not 0 < scale <= 8 * (eps * offset + X.shape[1] ** 0.5 * spacing)
        if scale == 0 or not is_known:
            scale = 1.0
        rounding = 10 * sum(X.shape) * (1 + offset / scale) * eps
        return cls(rows / scale, weights, mean / scale, scale, unit, rounding, is_known)

    def weights_of(self, coef, intercept):
        """Return W and b of standardized rows from those of rows as they come."""
        # Where both are at the ends of the range, the product alone may be inside.
        coef = coef.astype(np.longdouble).reshape(-1, self.rows.shape[1])
        W = (coef * self.unit * self.scale).astype("f8")
        return W, np.atleast_1d(intercept) + W @ self.mean


def _losses(head, decisions, targets):
    """Return the values of a loss for each row, and its slopes."""
    if head == "ridge":
        residual = decisions - targets
        return (residual**2).sum(axis=1) / 2, residual
    if head == "linear_svm":
        slack = np.maximum(1 - targets * decisions, 0)
        return (slack**2).sum(axis=1) / 2, -targets * slack
    if decisions.shape[1] == 1:
        decisions = np.hstack([np.zeros_like(decisions), decisions])
        positive = (targets > 0) * 1.0
        values = -(
            log_softmax(decisions, axis=1) * np.hstack([1 - positive, positive])
        ).sum(axis=1)
        return values, softmax(decisions, axis=1)[:, 1:] - positive
    chosen = (targets > 0) * 1.0
    values = -(log_softmax(decisions, axis=1) * chosen).sum(axis=1)
    return values, softmax(decisions, axis=1) - chosen


def check_optimal(head, standardized, targets, coef, intercept, alpha):
    """Check that a head is at the minimum of its objective.

    Parameters
    ----------
    head : str
    standardized : Standardized
    targets : ndarray of shape (n, m)
    coef, intercept : ndarray
        Of the fitted estimator.
    alpha : float
    """
    W, b = standardized.weights_of(coef, intercept)
    require(np.isfinite(W).all() and np.isfinite(b).all(), "weights are not finite")
    if not standardized.is_known:
        return
    decisions = standardized.rows @ W.T + b
    values, slopes = _losses(head, decisions, targets)
    shares = standardized.weights / len(targets)
    value = shares @ values + alpha / 2 * np.sum(W**2)
    weighted = shares[:, np.newaxis] * slopes
    gradient = weighted.T @ standardized.rows + alpha * W
    by_intercept = weighted.sum(axis=0)
    size = np.sqrt(np.sum(gradient**2) + np.sum(by_intercept**2))
    e = standardized.rounding
    norm, largest = np.linalg.norm(W), np.sqrt(shares @ np.sum(targets**2, axis=1))
    bound = e * (2 * norm + largest + np.linalg.norm(b)) + np.sqrt(e) * largest
    if head != "ridge":
        bound += np.sqrt(8 * (1 + alpha) * TOLERANCE * value)
    require(
        size <= bound,
        f"gradient of {size:.2g} at alpha={alpha:.1e}, bound {bound:.2g}, "
        f"weights {norm:.2g}",
    )
