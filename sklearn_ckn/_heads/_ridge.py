"""Ridge for a whole path of alphas, with leave-one-out predictions in closed form."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._arrays import namespace
from sklearn_ckn._heads._spectrum import Spectrum
from sklearn_ckn._heads._standardize import blocks


@dataclass(frozen=True)
class RidgePath:
    """The solutions of (1/n) sum_i w_i |y_i - W x_i - b|^2 / 2 + alpha/2 ||W||^2.

    With the features centred, b is the weighted mean of the targets, and with the
    eigendecomposition V diag(e) V^T of X^T diag(w) X / n, W^T is
    V (e + alpha)^(-1) V^T X^T diag(w) y / n for every alpha.

    Attributes
    ----------
    spectrum : Spectrum
        Of rank r.
    targets : array of shape (n, m), float64
    alphas : array of shape (A,)
    intercept : array of shape (m,)
    projected : array of shape (r, m)
        V^T X^T diag(w) y / n.
    """

    spectrum: Spectrum
    targets: np.ndarray
    alphas: np.ndarray
    intercept: np.ndarray
    projected: np.ndarray

    @classmethod
    def from_features(cls, features, targets, alphas):
        """Decompose standardized features and project the targets."""
        spectrum = Spectrum.from_features(features)
        weights = features.weights
        intercept = weights @ targets / len(targets)
        projected = spectrum.transposed_product(targets - intercept) / len(targets)
        alphas = features.xp.asarray(alphas)
        return cls(spectrum, targets, alphas, intercept, projected)

    def _inverse(self, alphas):
        """Return 1 / (e + alpha), (r, number of alphas)."""
        return 1 / (self.spectrum.eigenvalues[:, np.newaxis] + alphas)

    def leave_one_out(self, alphas):
        """Predict each sample by the solution fitted without it.

        The residual without sample i is its residual over 1 - h_i, with the leverage
        h_i = w_i / n (1 + x_i^T (X^T diag(w) X / n + alpha I)^(-1) x_i) (Allen's
        PRESS; Golub, Heath and Wahba, Technometrics 1979), where the mean
        and the scale of all features are kept.

        Parameters
        ----------
        alphas : ndarray of shape (A,)

        Yields
        ------
        rows : slice
        predictions : ndarray of shape (length of rows, A, m)
        leverages : ndarray of shape (length of rows, A)
        """
        n, m = self.targets.shape
        inverse = self._inverse(alphas)
        solutions = inverse[:, :, np.newaxis] * self.projected[:, np.newaxis]
        solutions = solutions.reshape(len(inverse), len(alphas) * m)
        for rows, block in self.spectrum.row_blocks():
            dtype = block.dtype
            fitted = block @ solutions.astype(dtype, copy=False)
            fitted = fitted.reshape(-1, len(alphas), m) + self.intercept
            block *= block
            leverages = 1.0 + block @ inverse.astype(dtype, copy=False)
            leverages *= self.spectrum.features.weights[rows, np.newaxis] / n
            yield rows, self._without(self.targets[rows], fitted, leverages), leverages

    @staticmethod
    def _without(targets, fitted, leverages):
        """Return leave-one-out predictions, of the shape (samples, A, m) of fitted."""
        targets = targets[:, np.newaxis]
        # A leverage of 1 is a sample that nothing but itself can predict.
        rest = namespace(leverages).maximum(1 - leverages, np.finfo(np.float64).eps)
        return targets - (targets - fitted) / rest[:, :, np.newaxis]

    def summarize(self, statistic):
        """Sum a statistic of the leave-one-out predictions over the samples.

        Parameters
        ----------
        statistic : callable
            Of rows and the predictions (length of rows, A, m) for them; returns an
            array.

        Returns
        -------
        total : ndarray
        leverages : ndarray of shape (n, A)
        """
        leverages = namespace(self.targets).empty((len(self.targets), len(self.alphas)))
        total = 0
        for rows, predictions, block_leverages in self.leave_one_out(self.alphas):
            total = total + statistic(rows, predictions)
            leverages[rows] = block_leverages
        return total, leverages

    def predict(self, values):
        """Return the predictions of every alpha for new rows, (n, A, m)."""
        n_alphas, m = len(self.alphas), self.targets.shape[1]
        solutions = self._inverse(self.alphas)[:, :, np.newaxis]
        solutions = solutions * self.projected[:, np.newaxis]
        coef = self.spectrum.expand(solutions.reshape(len(solutions), -1))
        features = self.spectrum.features
        parts = [
            features.standardize(features.xp.asarray(values[rows]))
            @ coef.astype(features.dtype)
            for rows in blocks(*values.shape)
        ]
        return features.xp.concatenate(parts).reshape(-1, n_alphas, m) + self.intercept

    def solve(self, index):
        """Return the solution of one of the alphas on the standardized features.

        Returns
        -------
        coef : ndarray of shape (m, d), float64
        """
        return self.spectrum.expand(self._rotated(index)).T

    def _rotated(self, index):
        return self._inverse(self.alphas[index : index + 1]) * self.projected

    def leave_one_out_of(self, index, leverages):
        """Return the leave-one-out predictions of one of the alphas, (n, m).

        ``leverages`` are those of ``summarize``, which spare the large product.
        """
        fitted = self.spectrum.products(self._rotated(index)) + self.intercept
        leverages = leverages[:, index : index + 1]
        return self._without(self.targets, fitted[:, np.newaxis], leverages)[:, 0]
