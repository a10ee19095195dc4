"""The linear head during training: its steps between the refits after each epoch."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.norms import square_sums
from sklearn_ckn._common.threads import single_threaded_blas

# Largest learning rate of the weights. Standardized features have a mean square norm
# of 1, so that a larger one would overshoot.
LARGEST_RATE = 0.5

# Maximum number of steps of the intercepts per batch, and the shift at which they
# stop. Decisions have the scale of the targets, +1 and -1: such a shift changes a loss
# by less than its square.
MAX_INTERCEPT_STEPS = 20
SMALLEST_SHIFT = 0.05


def _prior(weights):
    """Return the weight of the previous intercepts against a batch of n images.

    It is 1/n of the mean weight of an image. For large batches it is negligible. For a
    single image it is as large as that of the image: without it, the intercepts alone
    would fit the image, whatever its features are.
    """
    return weights.sum() / len(weights) ** 2


@dataclass(frozen=True)
class Head:
    """A linear head on standardized features, (features - mean) / scale.

    Attributes
    ----------
    theta : array of shape (d + 1, m), float64
        Weights on the standardized features and, in the last row, the intercepts.
    mean : array of shape (d,), float64
    scale : float
    """

    theta: np.ndarray
    mean: np.ndarray
    scale: float

    def standardize(self, features):
        """Return (features - mean) / scale, in float64.

        Float64 represents the results for float32 features of any scale.
        """
        rows = features.astype(np.float64)
        rows -= self.mean
        rows /= self.scale
        return rows

    def decisions(self, rows):
        """Return the decisions (n, m) of standardized features."""
        with single_threaded_blas():
            return rows @ self.theta[:-1] + self.theta[-1]

    def backward(self, gradients):
        """Return gradients in the rows, (n, d), from those in the decisions, (n, m)."""
        with single_threaded_blas():
            return gradients @ self.theta[:-1].T

    def in_original_units(self):
        """Return coef (m, d) and intercept (m,) for features before standardization."""
        coef = self.theta[:-1] / self.scale
        return coef.T, self.theta[-1] - self.mean @ coef

    def respond(self, rows, targets, weights, loss):
        """Minimise the loss of a batch over the intercepts, and compute its gradients.

        A step of the anchors mainly changes the mean of the features, for images with
        little contrast by many times their scale. The loss is therefore minimised over
        the intercepts first, so that the gradients contain only what the intercepts
        cannot correct. Each step minimises a quadratic upper bound: the second
        derivative of every loss in a decision is at most the sample's weight. As long
        as the loss decreases, the next step is twice as long.

        Parameters
        ----------
        rows : array of shape (n, d), float64
            Standardized features.
        targets : array of shape (n, m)
        weights : array of shape (n, 1)
        loss : SquaredError, SquaredHinge or Logistic

        Returns
        -------
        batch : BatchResponse
        """
        decisions = self.decisions(rows)
        total = weights.sum()
        prior = _prior(weights)
        shift = namespace(rows).zeros(decisions.shape[1])
        value, gradients, _ = loss(decisions, targets, weights)
        bound, factor = value, 1
        for _ in range(MAX_INTERCEPT_STEPS):
            step = (gradients.sum(axis=0) + prior * shift) / (total + prior)
            moved = shift - factor * step
            new_value, new_gradients, _ = loss(decisions + moved, targets, weights)
            new_bound = new_value + float(prior / 2 * (moved**2).sum())
            if factor > 1 and not new_bound < bound:
                factor = 1
                continue
            shift, value, gradients, bound = moved, new_value, new_gradients, new_bound
            # Values that are not finite also end the loop.
            if not bool((abs(step) > SMALLEST_SHIFT).any()):
                break
            factor *= 2
        theta = self.theta.copy()
        theta[-1] += shift
        return BatchResponse(replace(self, theta=theta), rows, value, gradients)


@dataclass(frozen=True)
class BatchResponse:
    """A head with intercepts adapted to a batch, and the loss of the batch.

    Attributes
    ----------
    head : Head
    rows : array of shape (n, d), float64
        Standardized features.
    value : float
        Weighted loss of the batch.
    decision_gradients : array of shape (n, m), float64
        Gradients of the loss in the decisions.
    """

    head: Head
    rows: np.ndarray
    value: float
    decision_gradients: np.ndarray

    def moved_head(self, weights, alpha):
        """Return the head after a gradient step of its weights.

        If the intercepts minimise the loss, the second derivative in the weights is at
        most X^T D X + alpha I, where D holds the sample weights and X are the features
        minus any mean, here that of the batch. Its largest eigenvalue is at most the
        trace of X^T D X, the mean square norm, plus alpha. A step with the inverse of
        this bound as its learning rate decreases the loss of the batch, however the
        features have changed since the last refit. The mean decision does not change.

        Parameters
        ----------
        weights : array of shape (n, 1)
            Sample weights in the loss.
        alpha : float

        Returns
        -------
        head : Head
        """
        coef = self.head.theta[:-1]
        total = weights.sum() + _prior(weights)
        with single_threaded_blas():
            mean = weights[:, 0] @ self.rows / total
            centred = self.rows - mean
            bound = float(weights[:, 0] @ square_sums(centred)) + alpha
            rate = min(LARGEST_RATE, 1 / bound)
            move = rate * (centred.T @ self.decision_gradients + alpha * coef)
            theta = self.head.theta.copy()
            theta[:-1] -= move
            theta[-1] += mean @ move
        return replace(self.head, theta=theta)
