"""Ridge for a path of alphas, with leave-one-out predictions in closed form."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import add_to_diagonal, cholesky_solver, namespace
from sklearn_ckn._heads.spectrum import Spectrum

# Smallest alpha, as a fraction of the trace of X^T diag(w) X / n, for which a solution
# needs no eigenvalues: ten times the rounding errors of products in float32. Below it,
# directions that hold only rounding errors must be left out, see ``Spectrum``.
SMALLEST_SOLVED = 10 * float(np.finfo(np.float32).eps)


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
    left_out_targets : array of shape (n, m)
        For each sample, the weighted mean of the targets that are left out with it: its
        own, and those of the other samples with the same features.
    left_out_weights : array of shape (n,)
        The sum of the weights of these targets.
    """

    spectrum: Spectrum
    targets: np.ndarray
    alphas: np.ndarray
    intercept: np.ndarray
    projected: np.ndarray
    left_out_targets: np.ndarray
    left_out_weights: np.ndarray

    @classmethod
    def from_features(cls, features, targets, alphas, units=None):
        """Decompose standardized features and project the targets.

        Samples with the same number in ``units`` (n,) have the same features and are
        left out together. None means that no two samples have the same features.
        """
        spectrum = Spectrum.from_features(features)
        weights = features.weights
        intercept = weights @ targets / len(targets)
        projected = spectrum.target_products(targets, intercept) / len(targets)
        alphas = features.xp.asarray(alphas)
        left_out = (targets, weights)
        if units is not None and int(units.max()) + 1 < len(units):
            left_out = _unit_means(targets, weights, units)
        return cls(spectrum, targets, alphas, intercept, projected, *left_out)

    def _inverse(self, alphas):
        """Return 1 / (e + alpha), (r, number of alphas)."""
        return 1 / (self.spectrum.eigenvalues[:, np.newaxis] + alphas)

    def leave_one_out(self, chosen=None):
        """Predict each sample by the solution that is fitted without it.

        The leave-one-out residual of sample i is its residual divided by 1 - h_i, with
        the leverage h_i = w_i / n (1 + x_i^T (X^T diag(w) X / n + alpha I)^(-1) x_i)
        (Allen's PRESS; Golub, Heath and Wahba, Technometrics 1979). The mean and the
        scale are those of all samples; they are not computed again without the sample.

        Samples with equal features count as one. Up to a constant, their part of the
        loss is that of one sample with their mean target and the sum of their weights,
        so the formula holds with these in place of y_i and w_i.

        Parameters
        ----------
        chosen : ndarray of shape (k,) or None, default=None
            Positions of the samples that are predicted; None predicts all.

        Yields
        ------
        rows : slice or ndarray
            Positions of samples.
        predictions : ndarray of shape (number of rows, A, m)
            For every alpha.
        leverages : ndarray of shape (number of rows, A)
        """
        n, m = self.targets.shape
        inverse = self._inverse(self.alphas)
        solutions = inverse[:, :, np.newaxis] * self.projected[:, np.newaxis]
        solutions = solutions.reshape(len(inverse), len(self.alphas) * m)
        for rows, block in self.spectrum.row_blocks(chosen):
            dtype = block.dtype
            fitted = block @ solutions.astype(dtype, copy=False)
            fitted = fitted.reshape(-1, len(self.alphas), m) + self.intercept
            block *= block
            leverages = 1.0 + block @ inverse.astype(dtype, copy=False)
            leverages *= self.left_out_weights[rows, np.newaxis] / n
            left_out = self.left_out_targets[rows]
            yield rows, self._without(left_out, fitted, leverages), leverages

    @staticmethod
    def _without(targets, fitted, leverages):
        """Return leave-one-out predictions, of the shape (samples, A, m) of fitted."""
        targets = targets[:, np.newaxis]
        # A sample with the leverage 1 cannot be predicted from the others.
        rest = namespace(leverages).maximum(1 - leverages, np.finfo(np.float64).eps)
        return targets - (targets - fitted) / rest[:, :, np.newaxis]

    def predict(self, chosen):
        """Return the predictions of every alpha for some rows of the features.

        Parameters
        ----------
        chosen : array of shape (k,)
            Positions of rows, whose weights were 0 in the fit.

        Returns
        -------
        predictions : array of shape (k, A, m)
        """
        n_alphas, m = len(self.alphas), self.targets.shape[1]
        solutions = self._inverse(self.alphas)[:, :, np.newaxis]
        solutions = solutions * self.projected[:, np.newaxis]
        coef = self.spectrum.expand(solutions.reshape(len(solutions), n_alphas * m))
        coef = coef.astype(self.spectrum.features.dtype)
        parts = [block @ coef for block in self._standardized(chosen)]
        products = namespace(coef).concatenate(parts)
        return products.reshape(-1, n_alphas, m) + self.intercept

    def spreads(self, chosen):
        """Return x^T (X^T diag(w) X / n + alpha I)^(-1) x of some rows, (k, A)."""
        directions = self.spectrum.directions()
        inverse = self._inverse(self.alphas)
        spreads = []
        for block in self._standardized(chosen):
            block = block.astype(np.float64)
            captured = (block @ directions) ** 2
            # Rounding can make the difference slightly negative.
            rest = (block**2).sum(axis=1) - captured.sum(axis=1)
            rest = namespace(rest).maximum(rest, 0)[:, np.newaxis]
            spreads.append(captured @ inverse + rest / self.alphas)
        return namespace(directions).concatenate(spreads)

    def _standardized(self, chosen):
        """Yield blocks of some rows of the features, standardized."""
        for _, block in self.spectrum.features.row_blocks(chosen):
            yield block

    def solve(self, index):
        """Return the solution of one of the alphas on the standardized features.

        Returns
        -------
        coef : ndarray of shape (m, d), float64
        """
        return self.spectrum.expand(self._rotated(index)).T

    def _rotated(self, index):
        return self._inverse(self.alphas[index : index + 1]) * self.projected

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
        fitted = self.spectrum.products(self._rotated(index), chosen) + self.intercept
        targets = self.left_out_targets
        targets = targets if chosen is None else targets[chosen]
        fitted, leverages = fitted[:, np.newaxis], leverages[:, np.newaxis]
        return self._without(targets, fitted, leverages)[:, 0]

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
        weights = self.spectrum.features.weights[chosen]
        targets, left_out = self.targets[chosen], self.left_out_targets[chosen]
        rest = namespace(leverages).maximum(1 - leverages, 0)
        squares = (weights * rest) @ (left_out - predictions) ** 2
        squares = squares + weights @ (targets - left_out) ** 2
        return squares / weights.sum()


def solve_ridge(features, targets, alpha):
    """Return the solution of ``RidgePath`` for one alpha, by a Cholesky factor.

    It takes a tenth of the time of the eigendecomposition that a path needs.

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
    matrix = features.gram() if primal else features.outer_gram()
    if alpha < SMALLEST_SOLVED * float(matrix.trace()):
        del matrix
        path = RidgePath.from_features(features, targets, np.array([alpha]))
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


def _unit_means(targets, weights, units):
    """Return the mean target (n, m) and the weight (n,) of each sample's unit."""
    xp = namespace(targets)
    total = xp.bincount(units, weights)
    sums = [xp.bincount(units, weights * column) for column in targets.T]
    means = xp.stack(sums, axis=1) / total[:, np.newaxis]
    return means[units], total[units]
