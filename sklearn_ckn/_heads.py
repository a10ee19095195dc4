"""Linear heads: ridge and one-vs-rest squared hinge on wide float32 features.

The objective is (1/n) sum_i w_i loss(y_i, W x_i + b) + alpha/2 ||W||^2 (Mairal, NIPS
2016, eq. 7), where x are the features centred and divided by their root mean square
norm, y is +1 for the sample's class and -1 for the others, and the loss, summed over
the classes, is (y - f)^2 / 2 or max(0, 1 - y f)^2 / 2.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import (
    LinAlgError,
    cho_factor,
    cho_solve,
    cholesky,
    eigh,
    solve_triangular,
)
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import gen_batches

# Values in a block of features: 32 MB of float32.
BLOCK_VALUES = 2**23

MAX_ITER = 1000

# Largest derivative at which the squared hinge counts as minimised, in variables
# scaled to make the curvature about 1 and with a loss of about 1.
GRADIENT_TOLERANCE = 1e-5


def _blocks(length, row_values):
    return gen_batches(length, max(1, BLOCK_VALUES // row_values))


@dataclass(frozen=True)
class StandardizedFeatures:
    """Features seen centred and scaled, never copied as a whole.

    Attributes
    ----------
    values : ndarray of shape (n, d), float32 or float64
    weights : ndarray of shape (n,), float64
        Sample weights of mean 1.
    mean : ndarray of shape (d,), float64
        Weighted mean of the rows.
    scale : float
        Weighted root mean square norm of the centred rows; 1 where that is 0.
    """

    values: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    scale: float

    @classmethod
    def from_values(cls, values, weights):
        """Measure the mean and the scale in two passes over blocks of rows."""
        n, d = values.shape
        mean = np.zeros(d)
        for rows in _blocks(n, d):
            mean += weights[rows] @ values[rows]
        mean /= n
        standardized = cls(values, weights, mean, 1.0)
        mean_square = (
            sum(
                weights[rows] @ np.einsum("ij,ij->i", block, block, dtype=np.float64)
                for rows, block in standardized.row_blocks()
            )
            / n
        )
        return cls(values, weights, mean, float(np.sqrt(mean_square)) or 1.0)

    def row_blocks(self):
        """Yield slices of rows and these rows, centred and scaled."""
        n, d = self.values.shape
        dtype = self.values.dtype
        for rows in _blocks(n, d):
            block = self.values[rows] - self.mean.astype(dtype)
            block /= dtype.type(self.scale)
            yield rows, block

    def gram(self):
        """Return X^T diag(w) X / n: products in the features' dtype, float64 sums."""
        n, d = self.values.shape
        total = np.zeros((d, d))
        for rows, block in self.row_blocks():
            block *= np.sqrt(self.weights[rows, np.newaxis]).astype(block.dtype)
            total += block.T @ block
        return total / n

    def outer_gram(self):
        """Return X X^T: products in the features' dtype, summed in float64."""
        n, d = self.values.shape
        dtype = self.values.dtype
        total = np.zeros((n, n))
        for columns in _blocks(d, n):
            block = self.values[:, columns] - self.mean[columns].astype(dtype)
            block /= dtype.type(self.scale)
            total += block @ block.T
        return total

    def transposed_product(self, right):
        """Return X^T right, (d, m), for a ``right`` of shape (n, m), in float64.

        Dual coefficients are of the order 1 / alpha and cancel in this product,
        which float32 would not survive.
        """
        total = np.zeros((self.values.shape[1], right.shape[1]))
        for rows, block in self.row_blocks():
            total += block.T.astype(np.float64) @ right[rows]
        return total


def fit_head(features, targets, weights, *, head, alpha):
    """Fit a linear head.

    Parameters
    ----------
    features : ndarray of shape (n, d), float32 or float64
        Not changed and not copied as a whole.
    targets : ndarray of shape (n, m), float64
        +1 and -1, a column per one-vs-rest problem.
    weights : ndarray of shape (n,), float64
        Positive; their scale is divided out.
    head : {"ridge", "linear_svm"}
    alpha : float
        Positive.

    Returns
    -------
    coef : ndarray of shape (m, d), dtype of ``features``
        In terms of the features as they came.
    intercept : ndarray of shape (m,), dtype of ``features``
    """
    weights = weights / weights.mean()
    standardized = StandardizedFeatures.from_values(features, weights)
    fit = _fit_ridge if head == "ridge" else _fit_squared_hinge
    coef, intercept = fit(standardized, targets, alpha)
    coef = coef / standardized.scale
    intercept = intercept - coef @ standardized.mean
    return coef.astype(features.dtype), intercept.astype(features.dtype)


def _solve_regularized(matrix, alpha, right):
    """Solve (matrix + alpha I) x = right for a positive semi-definite matrix.

    Where alpha is below the rounding of a matrix of float32 products, the matrix
    can have negative eigenvalues. These tell the size of the rounding, and
    directions no larger than ten times that hold nothing else: they are left out.
    """
    diagonal = matrix.diagonal().copy()
    np.fill_diagonal(matrix, diagonal + alpha)
    try:
        return cho_solve(cho_factor(matrix), right)
    except LinAlgError:
        np.fill_diagonal(matrix, diagonal)
        eigenvalues, eigenvectors = eigh(matrix)
        kept = eigenvalues > 10 * np.abs(eigenvalues[0])
        eigenvectors = eigenvectors[:, kept]
        scales = 1 / (eigenvalues[kept, np.newaxis] + alpha)
        return eigenvectors @ (scales * (eigenvectors.T @ right))


def _fit_ridge(features, targets, alpha):
    """Solve the normal equations, of size d or n, whichever is less."""
    n, d = features.values.shape
    weights = features.weights[:, np.newaxis]
    intercept = np.mean(weights * targets, axis=0)
    residuals = targets - intercept
    if d <= n:
        right = features.transposed_product(weights * residuals) / n
        return _solve_regularized(features.gram(), alpha, right).T, intercept
    root = np.sqrt(weights)
    matrix = root * features.outer_gram() * root.T / n
    dual = _solve_regularized(matrix, alpha, root * residuals / n)
    return features.transposed_product(root * dual).T, intercept


def _fit_squared_hinge(features, targets, alpha):
    """Minimise the squared hinge by L-BFGS in variables of about equal curvature.

    With d <= n the variables are W L, where L L^T = X^T X / n + alpha I, alpha no
    less than rounding. Otherwise W lies in the span of the rows, X is replaced by
    its coordinates there, from the eigenvectors of X X^T, and L is diagonal.
    """
    n, d = features.values.shape
    if d <= n:
        matrix = features.gram()
        matrix.flat[:: d + 1] += max(alpha, np.finfo(features.values.dtype).eps)
        factor = cholesky(matrix, lower=True, overwrite_a=True)

        def solve(right, trans):
            return solve_triangular(
                factor, right.T, lower=True, trans=trans, check_finite=False
            ).T

        return _minimize_squared_hinge(
            features, targets, alpha, lambda x: solve(x, 1), lambda x: solve(x, 0)
        )
    eigenvalues, eigenvectors = eigh(features.outer_gram())
    kept = eigenvalues > eigenvalues[-1] * np.finfo(features.values.dtype).eps
    roots = np.sqrt(eigenvalues[kept])
    coordinates = StandardizedFeatures(
        eigenvectors[:, kept] * roots, features.weights, np.zeros(len(roots)), 1.0
    )
    scales = 1 / np.sqrt(roots**2 / n + alpha)
    coef, intercept = _minimize_squared_hinge(
        coordinates, targets, alpha, lambda x: x * scales, lambda x: x * scales
    )
    dual = eigenvectors[:, kept] @ (coef / roots).T
    return features.transposed_product(dual).T, intercept


def squared_hinge_objective(features, targets, weights, coef, intercept, alpha):
    """Return the objective of the linear SVM and its derivatives.

    Parameters
    ----------
    features : ndarray of shape (n, d)
        As they are, neither centred nor scaled.
    targets : ndarray of shape (n, m)
    weights : ndarray of shape (n,)
    coef : ndarray of shape (m, d), float64
    intercept : ndarray of shape (m,), float64
    alpha : float

    Returns
    -------
    value : float
    coef_gradient : ndarray of shape (m, d), float64
    intercept_gradient : ndarray of shape (m,), float64
    """
    weights = weights[:, np.newaxis] / len(targets)
    decisions = features @ coef.T.astype(features.dtype) + intercept
    slack = np.maximum(1 - targets * decisions, 0)
    slopes = -targets * slack * weights
    value = (np.sum(weights * slack * slack) + alpha * np.sum(coef * coef)) / 2
    coef_gradient = slopes.T.astype(features.dtype) @ features + alpha * coef
    return float(value), coef_gradient, slopes.sum(axis=0)


def _minimize_squared_hinge(features, targets, alpha, to_coef, to_gradient):
    """Run L-BFGS on the one-vs-rest problems together.

    Parameters
    ----------
    features : StandardizedFeatures
        Of shape (n, d).
    targets : ndarray of shape (n, m)
    alpha : float
    to_coef, to_gradient : callable
        From the variables to W, and from the derivative in W to that in the
        variables, (m, d) arrays.

    Returns
    -------
    coef : ndarray of shape (m, d)
    intercept : ndarray of shape (m,)
    """
    m = targets.shape[1]
    d = features.values.shape[1]

    def objective(flat):
        # The mean is taken off the products rather than off the features: a
        # centred copy of these in every iteration would cost more than they do.
        variables = flat.reshape(m, d + 1)
        coef = to_coef(variables[:, :d]) / features.scale
        value, coef_gradient, intercept_gradient = squared_hinge_objective(
            features.values,
            targets,
            features.weights,
            coef,
            variables[:, d] - coef @ features.mean,
            alpha * features.scale**2,
        )
        coef_gradient -= np.outer(intercept_gradient, features.mean)
        gradient = to_gradient(coef_gradient / features.scale)
        return value, np.column_stack([gradient, intercept_gradient]).ravel()

    result = minimize(
        objective,
        np.zeros(m * (d + 1)),
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": MAX_ITER,
            "maxfun": 2 * MAX_ITER,
            "gtol": GRADIENT_TOLERANCE,
            "ftol": 1e-10,
        },
    )
    if result.status == 1:
        warnings.warn(
            f"The linear SVM did not converge in {MAX_ITER} iterations: a larger alpha "
            "makes the problem easier.",
            ConvergenceWarning,
            stacklevel=2,
        )
    variables = result.x.reshape(m, d + 1)
    return to_coef(variables[:, :d]), variables[:, d]
