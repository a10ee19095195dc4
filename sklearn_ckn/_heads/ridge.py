"""Ridge for a path of alphas, with leave-one-out predictions in closed form."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._heads.ridge_solutions import LeftOutTargets, RidgeSolutions
from sklearn_ckn._heads.spectrum import Spectrum


@dataclass(frozen=True, kw_only=True)
class RidgePath(RidgeSolutions):
    """The solutions for all alphas, from one eigendecomposition.

    With the features centred and the eigendecomposition V diag(e) V^T of
    X^T diag(w) X / n, W^T is V (e + alpha)^(-1) V^T X^T diag(w) y / n for every alpha.

    Attributes
    ----------
    spectrum : Spectrum
        Of rank r.
    projected : array of shape (r, m)
        V^T X^T diag(w) y / n.

    See ``RidgeSolutions`` for the other attributes.
    """

    spectrum: Spectrum
    projected: np.ndarray

    @classmethod
    def from_features(cls, features, targets, alphas, units=None, matrix=None):
        """Decompose standardized features and project the targets.

        Samples with the same number in ``units`` (n,) have the same features and are
        left out together. None means that no two samples have the same features.
        See ``Spectrum.from_features`` for ``matrix``.
        """
        spectrum = Spectrum.from_features(features, matrix)
        weights = features.weights
        intercept = weights @ targets / len(targets)
        projected = spectrum.target_products(targets, intercept) / len(targets)
        return cls(
            features=features,
            targets=targets,
            alphas=features.xp.asarray(alphas),
            intercept=intercept,
            left_out=LeftOutTargets.of_units(targets, weights, units),
            spectrum=spectrum,
            projected=projected,
        )

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
            leverages *= self.left_out.weights[rows, np.newaxis] / n
            left_out = self.left_out.means[rows]
            yield rows, self._without(left_out, fitted, leverages), leverages

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
        coef = coef.astype(self.features.dtype)
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

    def solve(self, index):
        """Return the solution of one of the alphas on the standardized features.

        Returns
        -------
        coef : ndarray of shape (m, d), float64
        """
        return self.spectrum.expand(self._rotated(index)).T

    def _rotated(self, index):
        return self._inverse(self.alphas[index : index + 1]) * self.projected

    def _products(self, index, chosen):
        return self.spectrum.products(self._rotated(index), chosen)

    def inverse_factor(self, index):
        """Return F of the inverse I / alpha - F F^T, (d, r), and True.

        See ``Posterior``.
        """
        alpha, eigenvalues = self.alphas[index], self.spectrum.eigenvalues
        # 1 / alpha - 1 / (e + alpha)
        lost = eigenvalues / (eigenvalues + alpha) / alpha
        return self.spectrum.directions() * namespace(lost).sqrt(lost), True
