"""A head at a fixed alpha, fitted again whenever the network has changed."""

from dataclasses import replace
from math import ldexp

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._heads.losses import LOSSES, SquaredError
from sklearn_ckn._heads.newton import Products, minimize_loss
from sklearn_ckn._heads.one_alpha import solve_ridge
from sklearn_ckn._heads.standardize import StandardizedFeatures

#: The losses of all heads, for the gradients of a training.
TRAINING_LOSSES = {"ridge": SquaredError(), **LOSSES}


def refit_head(values, targets, weights, *, head, alpha, scale, theta=None):
    """Minimise (1/n) sum_i w_i loss(y_i, W x_i + b) + alpha/2 ||W||^2 in W and b.

    x are the features minus their mean over ``scale``. Ridge is solved in closed form,
    the others by Newton's method from ``theta``.

    Parameters
    ----------
    values : array of shape (n, d), float32 or float64
        Of the namespace of the other arrays, or NumPy's.
    targets : array of shape (n, m)
    weights : array of shape (n,)
        Only their ratios matter; 0 leaves a row out.
    head : {"ridge", "linear_svm", "logistic"}
    alpha : float
    scale : float or None
        None computes it: the root mean square norm of the centred features.
    theta : ndarray of shape (d + 1, m) or None
        The start; intercepts in the last row. None starts with zeros.

    Returns
    -------
    theta : array of shape (d + 1, m), float64
    mean : array of shape (d,), float64
        Of the features.
    scale : float
    objective : float
    decisions : array of shape (n, m), float64
        Of all rows.
    """
    features = StandardizedFeatures.from_values(values, weights)
    if scale is not None:
        features = replace(features, scale=ldexp(scale, -features.exponent))
    products = Products(features)
    shares = features.weights[:, np.newaxis] / len(values)
    if head == "ridge":
        coef, intercept = solve_ridge(features, targets, alpha)
        theta = namespace(weights).vstack([coef.T, intercept])
        decisions = products.decisions(theta)
    else:
        if theta is None:
            theta = namespace(weights).zeros((values.shape[1] + 1, targets.shape[1]))
        theta, decisions = minimize_loss(
            products, LOSSES[head], targets, shares, alpha, theta
        )
    value, _, _ = TRAINING_LOSSES[head](decisions, targets, shares)
    return (
        theta,
        features.original_mean,
        features.original_scale,
        value + alpha / 2 * float((theta[:-1] ** 2).sum()),
        decisions,
    )
