"""The ridge solution of one alpha, by a Cholesky factor where that is accurate."""

import numpy as np

from sklearn_ckn._common.arrays import add_to_diagonal, cholesky_solver
from sklearn_ckn._heads.cholesky_path import (
    CholeskySolver,
    UncertainGramError,
    suits_cholesky,
)
from sklearn_ckn._heads.ridge import RidgePath

# Smallest alpha, as a fraction of the trace of X^T diag(w) X / n, for which a solution
# needs no knowledge of the rounding errors: ten times those of products in float32.
SMALLEST_SOLVED = 10 * float(np.finfo(np.float32).eps)


def solve_ridge(features, targets, alpha):
    """Return the solution of ridge for one alpha; see ``RidgeSolutions``.

    A Cholesky factor takes a tenth of the time of the eigendecomposition that a path of
    alphas needs.

    Parameters
    ----------
    features : StandardizedFeatures
        Of shape (n, d).
    targets : array of shape (n, m), float64
    alpha : float

    Returns
    -------
    coef : array of shape (m, d), float64
        On the standardized features.
    intercept : array of shape (m,)
    """
    n, d = features.shape
    primal = d <= n
    matrix = features.smaller_gram()
    if alpha < SMALLEST_SOLVED * float(matrix.trace()):
        path = _careful_path(features, targets, np.array([alpha]), matrix)
        return path.solve(0), path.intercept
    intercept = features.weights @ targets / n
    add_to_diagonal(matrix, alpha)
    solve = cholesky_solver(matrix)
    if primal:
        coef = solve(features.target_products(targets, intercept))
    else:
        dual = solve(features.root_weights * (targets - intercept))
        coef = features.transposed_product(features.root_weights * dual)
    return coef.T / n, intercept


def _careful_path(features, targets, alphas, matrix):
    """Return the path of an alpha (1,) that may be close to the rounding errors.

    ``matrix`` is the ``smaller_gram`` of the features, and may be overwritten.
    """
    if suits_cholesky(features):
        try:
            solver = CholeskySolver(features, targets, gram=matrix)
            return solver.path(alphas, n_directions=0)
        except UncertainGramError:
            pass
    return RidgePath.from_features(features, targets, alphas, matrix=matrix)
