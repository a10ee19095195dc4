"""Losses of linear decisions: value, gradient and second derivative.

Decisions and targets are arrays of shape (n, m). Targets are +1 for the class of a
sample and -1 for the others, with one column per class, or one column for two classes.
Weights are those of the samples, of shape (n, 1) and sum 1. A loss returns its value,
its gradient with respect to the decisions, and an object that holds its second
derivative, for ``product`` and ``diagonal``.
"""

from sklearn_ckn._common.arrays import namespace, special_functions


class SquaredError:
    """The squared error (y - f)^2 / 2, summed over the columns."""

    def __call__(self, decisions, targets, weights):
        """Return the value, the gradient (n, m) and the second derivative (n, m)."""
        residual = decisions - targets
        gradient = weights * residual
        curvature = namespace(weights).broadcast_to(weights, residual.shape)
        return float((gradient * residual).sum()) / 2, gradient, curvature


class SquaredHinge:
    """The squared hinge loss max(0, 1 - y f)^2 / 2, summed over the columns."""

    def __call__(self, decisions, targets, weights):
        """Return the value, the gradient (n, m) and the second derivative (n, m)."""
        slack = namespace(decisions).maximum(1 - targets * decisions, 0)
        gradient = -weights * targets * slack
        value = float((weights * slack * slack).sum()) / 2
        return value, gradient, weights * (slack > 0)

    @staticmethod
    def product(curvature, moves):
        """Return the second derivative times ``moves``, (n, m)."""
        return curvature * moves

    @staticmethod
    def diagonal(curvature):
        """Return the second derivative with respect to each decision, (n, m)."""
        return curvature


class Logistic:
    """The log loss -log softmax(f) of the class, or -log expit(y f) for one column."""

    def __call__(self, decisions, targets, weights):
        """Return the value, the gradient (n, m) and (weights, probabilities)."""
        xp = namespace(decisions)
        special = special_functions(xp)
        if decisions.shape[1] == 1:
            probabilities = special.expit(decisions)
            value = -(weights * special.log_expit(targets * decisions)).sum()
        else:
            logarithms = special.log_softmax(decisions, axis=1)
            probabilities = xp.exp(logarithms)
            value = -(weights * logarithms * (targets > 0)).sum()
        gradient = weights * (probabilities - (targets > 0))
        return float(value), gradient, (weights, probabilities)

    @staticmethod
    def product(curvature, moves):
        """Return the second derivative times ``moves``, (n, m)."""
        weights, probabilities = curvature
        scaled = probabilities * moves
        if moves.shape[1] == 1:
            return weights * (1 - probabilities) * scaled
        return weights * (scaled - probabilities * scaled.sum(axis=1, keepdims=True))

    @staticmethod
    def diagonal(curvature):
        """Return the second derivative with respect to each decision, (n, m)."""
        weights, probabilities = curvature
        return weights * probabilities * (1 - probabilities)


#: Losses that are minimised by Newton's method.
LOSSES = {"linear_svm": SquaredHinge(), "logistic": Logistic()}
