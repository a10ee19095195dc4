"""What the solutions of ridge have in common, however they are computed."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import namespace


@dataclass(frozen=True, kw_only=True)
class LeftOutTargets:
    """What is left out together with each sample: samples of equal features are one.

    Attributes
    ----------
    means : array of shape (n, m)
        For each sample, the weighted mean of the targets that are left out with it: its
        own, and those of the other samples with the same features.
    weights : array of shape (n,)
        The sum of the weights of these targets.
    """

    means: np.ndarray
    weights: np.ndarray

    @classmethod
    def of_units(cls, targets, weights, units):
        """Take the samples with the same number in ``units`` (n,) together.

        None means that no two samples have the same features.
        """
        if units is None or int(units.max()) + 1 == len(units):
            return cls(means=targets, weights=weights)
        xp = namespace(targets)
        total = xp.bincount(units, weights)
        sums = [xp.bincount(units, weights * column) for column in targets.T]
        means = xp.stack(sums, axis=1) / total[:, np.newaxis]
        return cls(means=means[units], weights=total[units])


@dataclass(frozen=True, kw_only=True)
class RidgeSolutions:
    """The solutions of (1/n) sum_i w_i |y_i - W x_i - b|^2 / 2 + alpha/2 ||W||^2.

    With the features centred, b is the weighted mean of the targets.

    Attributes
    ----------
    features : StandardizedFeatures
        Of shape (n, d).
    targets : array of shape (n, m), float64
    alphas : array of shape (A,)
    intercept : array of shape (m,)
    left_out : LeftOutTargets
    """

    features: object
    targets: np.ndarray
    alphas: np.ndarray
    intercept: np.ndarray
    left_out: LeftOutTargets

    @staticmethod
    def _without(targets, fitted, leverages):
        """Return leave-one-out predictions, of the shape (samples, A, m) of fitted."""
        targets = targets[:, np.newaxis]
        # A sample with the leverage 1 cannot be predicted from the others.
        rest = namespace(leverages).maximum(1 - leverages, np.finfo(np.float64).eps)
        return targets - (targets - fitted) / rest[:, :, np.newaxis]

    def _standardized(self, chosen):
        """Yield blocks of some rows of the features, standardized."""
        for _, block in self.features.row_blocks(chosen):
            yield block

    def leave_one_out_of(self, index, leverages, chosen=None):
        """Return the leave-one-out predictions of one of the alphas, (k, m).

        Parameters
        ----------
        index : int
        leverages : array of shape (k,)
            Of this alpha, by ``leave_one_out``: computing them takes a large product.
        chosen : ndarray of shape (k,) or None, default=None
            See ``leave_one_out``.
        """
        fitted = self._products(index, chosen) + self.intercept
        targets = self.left_out.means
        targets = targets if chosen is None else targets[chosen]
        fitted, leverages = fitted[:, np.newaxis], leverages[:, np.newaxis]
        return self._without(targets, fitted, leverages)[:, 0]

    def _products(self, index, chosen):
        """Return the products of rows and the solution of an alpha, (k, m)."""
        raise NotImplementedError

    def noise_variance(self, predictions, leverages, chosen=slice(None)):
        """Return the variance of the targets around the regression function, (m,).

        Sample i has the residual e_i, the leverage h_i and the weight w_i, and weights
        have the mean 1. Then w_i e_i^2 / (1 - h_i) has the noise variance as its
        expected value. For samples with equal features, it is computed for their mean
        target, and the variance around that mean is added.

        Parameters
        ----------
        predictions : array of shape (k, m)
            Leave-one-out predictions of one alpha.
        leverages : array of shape (k,)
        chosen : ndarray of shape (k,) or slice, default=slice(None)
            Positions of the samples that were predicted.
        """
        weights = self.features.weights[chosen]
        targets, left_out = self.targets[chosen], self.left_out.means[chosen]
        rest = namespace(leverages).maximum(1 - leverages, 0)
        squares = (weights * rest) @ (left_out - predictions) ** 2
        squares = squares + weights @ (targets - left_out) ** 2
        return squares / weights.sum()
