"""Newton's method with conjugate gradients for smooth losses on wide features.

theta has the shape (d + 1, m): the weights of the standardized features and, in the
last row, the intercepts. The objective is loss(X theta) + alpha/2 ||theta[:-1]||^2,
where X has a last column of ones.
"""

from functools import cached_property, partial

import numpy as np
from scipy.optimize import brentq
from sklearn.exceptions import ConvergenceWarning

from sklearn_ckn._common.arrays import add_to_diagonal, cholesky_solver, namespace
from sklearn_ckn._common.user_warnings import warn_user

MAX_ITER = 100
MAX_CG_ITER = 200

# The method stops where the objective f exceeds its minimum by at most this fraction of
# f. f is alpha-strongly convex in the weights, so a squared norm of the gradient of at
# most 2 alpha f TOLERANCE is sufficient. The intercepts have no penalty, and the second
# derivative with respect to them is at most 1, whatever alpha.
TOLERANCE = 1e-4

# Relative residual of the linear systems for Newton's directions. The rough one is the
# cheapest as long as full steps succeed. When they fail, rough directions alternate
# between two sets of samples inside their margins, and finer ones are needed.
ROUGH, FINE = 1e-1, 1e-3

# A full step is taken if it lowers the objective by at least this fraction of what the
# derivative predicts (Armijo's condition).
SUFFICIENT = 1e-4

# Tolerances of the search for a shorter step: absolute, as a fraction of the full step,
# and relative.
SMALLEST_STEP = 1e-30
STEP_PRECISION = 1e-2

# Samples whose second derivative is below this fraction of the largest one are left out
# of the preconditioner.
NEGLIGIBLE_CURVATURE = 1e-3


class Products:
    """Products with the standardized features and a column of ones, without a copy.

    The mean is subtracted from the products instead of the features: a centred copy of
    the features in every iteration would cost more than the products.
    """

    def __init__(self, features):
        self.features = features
        self._penalty = self._solve = None

    def decisions(self, theta):
        """Return X theta, (n, m) in float64."""
        features = self.features
        coef = theta[:-1] / features.column_scales[:, np.newaxis]
        products = features.products(coef.astype(features.dtype))
        return products + (theta[-1] - features.mean @ coef)

    def transposed(self, right):
        """Return X^T right, (d + 1, m) in float64, for a ``right`` of shape (n, m)."""
        features = self.features
        total = right.sum(axis=0)
        xp = features.xp
        products = features.raw_transposed_product(right.astype(features.dtype))
        products -= xp.outer(features.mean, total)
        products = products / features.column_scales[:, np.newaxis]
        return xp.vstack([products, total])

    @cached_property
    def _gram(self):
        return self.features.gram()

    def gram_solver(self, penalty):
        """Return a solver of systems with X^T diag(w) X / n + penalty I, (d, d).

        X is meant without the column of ones, and the penalty is rounded to a power of
        4. This is good enough for a preconditioner, and allows to use one Cholesky
        factor in many iterations.
        """
        rounding = np.finfo(self.features.dtype).eps
        penalty = 4.0 ** np.round(np.log(max(penalty, rounding)) / np.log(4))
        if penalty != self._penalty:
            matrix = self._gram.copy(order="F")
            add_to_diagonal(matrix, penalty)
            self._solve = cholesky_solver(matrix)
            self._penalty = penalty
        return self._solve


class Preconditioner:
    """Approximate inverses of the diagonal blocks of the second derivative.

    The block of class c is X^T D_c X + alpha I, where the diagonal matrix D_c holds
    the second derivatives with respect to the decisions. There are three cases:

    - Few samples have a second derivative, such as the support vectors of an SVM: the
      block is inverted by Woodbury's identity, through their inner products.
    - Many have one: D_c is replaced by its mean, so that one Cholesky factor of the
      Gram matrix serves all such classes.
    - None has one, since every sample is beyond its margin: the block is alpha I, and
      the loss does not depend on the intercept.
    """

    def __init__(self, products, curvatures, alpha):
        self._features = products.features
        self._alpha = alpha
        self._few, self._many, self._none = {}, [], []
        for column, curvature in enumerate(curvatures.T):
            largest = float(curvature.max())
            chosen = namespace(curvature).flatnonzero(
                curvature >= NEGLIGIBLE_CURVATURE * largest
            )
            if largest == 0:
                self._none.append(column)
            elif 2 * len(chosen) <= self._features.shape[1]:
                self._few[column] = self._factor_few(chosen, curvature[chosen])
            else:
                self._many.append(column)
        if self._many:
            mean = float(curvatures[:, self._many].sum(axis=0).mean())
            self._curvature = max(mean, alpha)
            # The intercept has no penalty, and its second derivative is at most 1.
            self._intercept_curvature = max(mean, min(alpha, 1.0))
            self._solve = products.gram_solver(alpha / self._curvature)

    def _rows(self, chosen):
        """Return the chosen rows, in float64: Woodbury's identity cancels digits."""
        rows = self._features.rows(chosen)
        return self._features.standardize(rows.astype(np.float64))

    def _factor_few(self, chosen, curvature):
        # The column of ones needs a penalty too; a small one hardly changes anything.
        penalty = 1e-3 * curvature.sum()
        rows = self._rows(chosen)
        matrix = rows @ rows.T / self._alpha + 1 / penalty
        add_to_diagonal(matrix, 1 / curvature)
        return chosen, penalty, cholesky_solver(matrix)

    def _apply_few(self, residual, chosen, penalty, solve):
        rows = self._rows(chosen)
        scaled = residual / self._alpha
        scaled[-1] = residual[-1] / penalty
        dual = solve(rows @ scaled[:-1] + scaled[-1])
        scaled[:-1] -= rows.T @ dual / self._alpha
        scaled[-1] -= dual.sum() / penalty
        return scaled

    def __call__(self, residual):
        """Return the preconditioned residual, (d + 1, m)."""
        result = namespace(residual).empty_like(residual)
        if self._none:
            result[:, self._none] = residual[:, self._none] / self._alpha
        for column, parts in self._few.items():
            result[:, column] = self._apply_few(residual[:, column], *parts)
        if self._many:
            result[:, self._many] = residual[:, self._many] / self._curvature
            result[:-1, self._many] = self._solve(result[:-1, self._many])
            result[-1, self._many] = (
                residual[-1, self._many] / self._intercept_curvature
            )
        return result


def _inner(left, right):
    """Return the inner product of two arrays, whatever their memory order."""
    return float((left * right).sum())


def conjugate_gradients(multiply, precondition, right, tolerance):
    """Solve a positive definite system approximately, all columns as one vector.

    Parameters
    ----------
    multiply, precondition : callable
        Of an array like ``right``.
    right : ndarray
    tolerance : float
        Norm of the residual over that of ``right``, both in the norm of the
        preconditioner.

    Returns
    -------
    solution : ndarray
    """
    solution = namespace(right).zeros_like(right)
    residual = right.copy()
    preconditioned = precondition(residual)
    direction = preconditioned.copy()
    norm = first = _inner(residual, preconditioned)
    for _ in range(MAX_CG_ITER):
        product = multiply(direction)
        curvature = _inner(direction, product)
        if curvature <= 0:
            break
        step = norm / curvature
        solution += step * direction
        residual -= step * product
        preconditioned = precondition(residual)
        previous, norm = norm, _inner(residual, preconditioned)
        if norm <= tolerance**2 * first:
            break
        direction *= norm / previous
        direction += preconditioned
    return solution


def _minimize_along(derivative):
    """Return the minimum of a convex function on [0, 1], given its derivative.

    Halving the step until it is good enough is not sufficient: with a small alpha, such
    a step may end just where a sample gets inside its margin. The next direction does
    not take that sample into account, and no step along it is good enough.
    """
    if derivative(0.0) >= 0:
        return 0.0
    if derivative(1.0) <= 0:
        return 1.0
    return brentq(derivative, 0, 1, xtol=SMALLEST_STEP, rtol=STEP_PRECISION)


def minimize_loss(products, loss, targets, weights, alpha, theta):
    """Minimise loss(X theta) + alpha/2 ||theta[:-1]||^2.

    Parameters
    ----------
    products : Products
    loss : SquaredHinge or Logistic
    targets : ndarray of shape (n, m)
        +1 and -1.
    weights : ndarray of shape (n, 1)
        Of sum 1; 0 leaves a sample out.
    alpha : float
    theta : ndarray of shape (d + 1, m)
        Where to start.

    Returns
    -------
    theta : ndarray of shape (d + 1, m)
    decisions : ndarray of shape (n, m)
        X theta.

    Warns
    -----
    ConvergenceWarning
        The gradient is still too large after MAX_ITER iterations, or where rounding
        prevents any further decrease.
    """
    xp, alpha = namespace(theta), float(alpha)
    penalty = xp.full((len(theta), 1), alpha)
    penalty[-1] = 0
    convexity = xp.maximum(penalty, min(alpha, 1.0))

    def evaluate(theta, decisions):
        value, decision_gradient, curvature = loss(decisions, targets, weights)
        return value + _inner(theta, penalty * theta) / 2, decision_gradient, curvature

    def derivative(theta, decisions, direction, moves, step):
        _, decision_gradient, _ = loss(decisions + step * moves, targets, weights)
        theta = theta + step * direction
        return _inner(decision_gradient, moves) + _inner(penalty * theta, direction)

    decisions = products.decisions(theta)
    value, decision_gradient, curvature = evaluate(theta, decisions)
    precision = ROUGH
    nothing = xp.zeros_like(theta), xp.zeros_like(decisions)
    if not value <= evaluate(*nothing)[0]:
        # Far from the minimum, the second derivatives of the losses vanish.
        theta, decisions = nothing
        value, decision_gradient, curvature = evaluate(theta, decisions)
    for _ in range(MAX_ITER):
        gradient = products.transposed(decision_gradient) + penalty * theta
        if _inner(gradient / convexity, gradient) <= 2 * value * TOLERANCE:
            return theta, decisions

        def multiply(direction, curvature=curvature):
            moves = loss.product(curvature, products.decisions(direction))
            return products.transposed(moves) + penalty * direction

        precondition = Preconditioner(products, loss.diagonal(curvature), alpha)
        direction = conjugate_gradients(multiply, precondition, -gradient, precision)
        moves = products.decisions(direction)
        # A quadratic objective would decrease by half of this.
        decrease = -_inner(gradient, direction)
        new_theta, new_decisions = theta + direction, decisions + moves
        new_value, decision_gradient, curvature = evaluate(new_theta, new_decisions)
        if not new_value <= value - SUFFICIENT * decrease:
            precision = max(precision / 10, FINE)
            step = _minimize_along(
                partial(derivative, theta, decisions, direction, moves)
            )
            new_theta = theta + step * direction
            new_decisions = decisions + step * moves
            new_value, decision_gradient, curvature = evaluate(new_theta, new_decisions)
            if not new_value < value:
                if decrease <= 2 * TOLERANCE * value:
                    # A further decrease is smaller than the rounding errors.
                    return theta, decisions
                break
        theta, decisions, value = new_theta, new_decisions, new_value
    warn_user(
        f"The linear head did not converge at alpha={alpha:.1e}, within "
        f"{MAX_ITER} iterations and the precision of {products.features.dtype}: a "
        "larger alpha makes the problem easier.",
        ConvergenceWarning,
    )
    return theta, decisions
