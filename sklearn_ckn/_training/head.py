"""The linear head in training, and how it follows the features between its refits."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.norms import square_sums
from sklearn_ckn._common.threads import single_threaded_blas

# Largest step of the weights between refits. Standardized features have a mean square
# norm of 1, so that a longer one would overshoot.
LARGEST_RATE = 0.5

# Steps of the intercepts on a batch. Decisions have the unit of the targets, +1 and
# -1: a shift of this size changes a loss by less than its square.
MAX_INTERCEPT_STEPS = 20
SMALLEST_SHIFT = 0.05


def _prior(weights):
    """Return the weight in a batch of n images of what was known before it.

    1/n of an image: nothing beside many, as much as the image if there is only one,
    which else would be right whatever its features.
    """
    return weights.sum() / len(weights) ** 2


@dataclass(frozen=True)
class Head:
    """A linear head on features minus their mean over a scale.

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
        """Return features minus the mean over the scale, in float64.

        There is no unit of float32 features for which float64 is too small.
        """
        rows = features.astype(np.float64)
        rows -= self.mean
        rows /= self.scale
        return rows

    def decisions(self, rows):
        """Return the decisions (n, m) of standardized features."""
        with single_threaded_blas():
            return rows @ self.theta[:-1] + self.theta[-1]

    def backward(self, slopes):
        """Return the gradient (n, d) of a function with ``slopes`` in decisions."""
        with single_threaded_blas():
            return slopes @ self.theta[:-1].T

    def in_original_units(self):
        """Return coef (m, d) and intercept (m,) on the features as they come."""
        coef = self.theta[:-1] / self.scale
        return coef.T, self.theta[-1] - self.mean @ coef

    def respond(self, rows, targets, weights, loss):
        """Let the intercepts follow a batch, and measure its loss there.

        What moves the anchors moves the mean of the features most, and by many times
        their scale where images have little contrast. The loss is therefore minimised
        over the intercepts before its slopes are taken, so that gradients tell of
        what the head cannot set right by itself. Every step minimises a quadratic upper
        bound, since the second derivative of every loss in the decisions is at most a
        sample's weight, or goes on twice as far as long as the loss falls.

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
        value, slopes, _ = loss(decisions, targets, weights)
        bound, factor = value, 1
        for _ in range(MAX_INTERCEPT_STEPS):
            step = (slopes.sum(axis=0) + prior * shift) / (total + prior)
            moved = shift - factor * step
            new_value, new_slopes, _ = loss(decisions + moved, targets, weights)
            new_bound = new_value + float(prior / 2 * (moved**2).sum())
            if factor > 1 and not new_bound < bound:
                factor = 1
                continue
            shift, value, slopes, bound = moved, new_value, new_slopes, new_bound
            # What is not finite ends the loop too.
            if not bool((abs(step) > SMALLEST_SHIFT).any()):
                break
            factor *= 2
        theta = self.theta.copy()
        theta[-1] += shift
        return BatchResponse(replace(self, theta=theta), rows, value, slopes)


@dataclass(frozen=True)
class BatchResponse:
    """A head whose intercepts have followed a batch.

    Attributes
    ----------
    head : Head
    rows : array of shape (n, d), float64
        Standardized features.
    value : float
        Weighted loss of the batch.
    slopes : array of shape (n, m), float64
        Of the loss in the decisions.
    """

    head: Head
    rows: np.ndarray
    value: float
    slopes: np.ndarray

    def moved_head(self, weights, alpha):
        """Return the head after a gradient step of its weights.

        With the intercepts at their minimum, the second derivative in the weights is
        at most X^T D X + alpha I, where X are the features minus any mean, as that of
        the batch. Its largest eigenvalue is no more than its trace, the mean square
        norm, plus alpha: a step of one over this lowers the loss of the batch,
        whatever the features have become since the last refit. The mean decision
        stays.

        Parameters
        ----------
        weights : array of shape (n, 1)
            Of the samples in the loss.
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
            move = rate * (centred.T @ self.slopes + alpha * coef)
            theta = self.head.theta.copy()
            theta[:-1] -= move
            theta[-1] += mean @ move
        return replace(self.head, theta=theta)
