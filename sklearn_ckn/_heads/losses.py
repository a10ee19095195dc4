"""Losses of linear decisions: value, slopes and curvature.

Decisions and targets are (n, m) arrays; targets are +1 for a sample's class and -1 for
the others, in one column per class, or one column for two classes. Weights are those
of the samples, (n, 1), and sum to one. A loss returns its value, its derivative in the
decisions, and a curvature object for ``product`` and ``diagonal``.
"""

from sklearn_ckn._common.arrays import namespace, special_functions


class SquaredError:
    """(y - f)^2 / 2, summed over the columns."""

    def __call__(self, decisions, targets, weights):
        """Return value, slopes (n, m) and curvature (n, m)."""
        residual = decisions - targets
        slopes = weights * residual
        curvature = namespace(weights).broadcast_to(weights, residual.shape)
        return float((slopes * residual).sum()) / 2, slopes, curvature


class SquaredHinge:
    """max(0, 1 - y f)^2 / 2, summed over the columns."""

    def __call__(self, decisions, targets, weights):
        """Return value, slopes (n, m) and curvature (n, m)."""
        slack = namespace(decisions).maximum(1 - targets * decisions, 0)
        slopes = -weights * targets * slack
        value = float((weights * slack * slack).sum()) / 2
        return value, slopes, weights * (slack > 0)

    @staticmethod
    def product(curvature, moves):
        """Return the second derivative times ``moves``, (n, m)."""
        return curvature * moves

    @staticmethod
    def diagonal(curvature):
        """Return the second derivative in each decision, (n, m)."""
        return curvature


class Logistic:
    """-log of the softmax probability of the class; of expit(y f) for one column."""

    def __call__(self, decisions, targets, weights):
        """Return value, slopes (n, m) and (weights, probabilities)."""
        xp = namespace(decisions)
        special = special_functions(xp)
        if decisions.shape[1] == 1:
            probabilities = special.expit(decisions)
            value = -(weights * special.log_expit(targets * decisions)).sum()
        else:
            logarithms = special.log_softmax(decisions, axis=1)
            probabilities = xp.exp(logarithms)
            value = -(weights * logarithms * (targets > 0)).sum()
        slopes = weights * (probabilities - (targets > 0))
        return float(value), slopes, (weights, probabilities)

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
        """Return the second derivative in each decision, (n, m)."""
        weights, probabilities = curvature
        return weights * probabilities * (1 - probabilities)


#: Losses that are minimised by Newton's method.
LOSSES = {"linear_svm": SquaredHinge(), "logistic": Logistic()}
