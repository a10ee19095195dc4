"""The eigendecomposition that all alphas of a path share."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import eigh, matmul
from sklearn_ckn._common.cache_blocks import product_blocks
from sklearn_ckn._common.lapack import LARGEST_SYEVD
from sklearn_ckn._heads.standardize import StandardizedFeatures


def _rounding(eigenvalues, size):
    """Return the rounding error of eigenvalues, ascending, of a matrix of a size."""
    return np.finfo(np.float64).eps * size * eigenvalues[-1]


@dataclass(frozen=True)
class Spectrum:
    """The eigenvectors V and eigenvalues e > 0 of X^T diag(w) X / n.

    With n < d they come from the n x n matrix diag(w)^(1/2) X X^T diag(w)^(1/2) / n,
    whose eigenvectors are U = diag(w)^(1/2) X V (n e)^(-1/2).

    Attributes
    ----------
    features : StandardizedFeatures
        The matrix X, of shape (n, d).
    eigenvalues : ndarray of shape (r,), float64
        Ascending.
    vectors : ndarray of shape (d, r) or (n, r), float64
        V if ``primal``, else U.
    primal : bool
    """

    features: StandardizedFeatures
    eigenvalues: np.ndarray
    vectors: np.ndarray
    primal: bool

    @classmethod
    def from_features(cls, features, matrix=None):
        """Decompose the smaller of the two matrices.

        It is computed, or the ``smaller_gram`` that is given is overwritten.

        Products computed in float32 may have negative eigenvalues, whose size shows the
        size of the rounding errors. Directions with eigenvalues up to ten times that
        size contain only rounding errors and are left out. So are those below the
        rounding error of float64.
        """
        n, d = features.shape
        primal = d <= n
        # LAPACK overwrites a matrix in Fortran order, without a copy.
        matrix = features.smaller_gram() if matrix is None else matrix
        # "evd" is faster. SciPy before 1.13 gives it too small a workspace for a 1 x 1
        # matrix.
        driver = "evd" if 1 < len(matrix) <= LARGEST_SYEVD else "evr"
        eigenvalues, vectors = eigh(
            matrix, overwrite_a=True, check_finite=False, driver=driver
        )
        rounding = _rounding(eigenvalues, len(eigenvalues))
        kept = eigenvalues > max(-10 * eigenvalues[0], rounding)
        if not kept.all():
            eigenvalues, vectors = eigenvalues[kept], vectors[:, kept]
        return cls(features, eigenvalues, vectors, primal)

    @property
    def _dual_scales(self):
        return self.features.xp.sqrt(self.features.shape[0] * self.eigenvalues)

    def row_blocks(self, chosen=None):
        """Yield positions of rows and these rows of X V.

        They have the dtype of the features where d <= n, and else float64: with n < d
        and a small alpha, residuals are small differences.

        Parameters
        ----------
        chosen : ndarray of shape (k,) or None, default=None
            Positions of some rows; None yields slices of all rows.
        """
        if self.primal:
            vectors = self.vectors.astype(self.features.dtype, copy=False)
            for rows, block in self.features.row_blocks(chosen):
                yield rows, matmul(block, vectors)
        else:
            n, d = self.features.shape
            for part in product_blocks(n if chosen is None else len(chosen), d):
                rows = part if chosen is None else chosen[part]
                block = self.vectors[rows] * self._dual_scales
                block /= self.features.root_weights[rows]
                yield rows, block

    def coordinates(self):
        """Return X V, (n, r)."""
        return self.features.xp.concatenate([block for _, block in self.row_blocks()])

    def coordinate_errors(self):
        """Return the standard deviation that rounding alone can give coordinates, (r,).

        The mean square of column k of the coordinates is e_k, and the rounding error of
        e_k is part of it.
        """
        rounding = _rounding(self.eigenvalues, len(self.vectors))
        return rounding / self.features.xp.sqrt(self.eigenvalues)

    def products(self, values, chosen=None):
        """Return X V values, (n, m) or (k, m), for ``values`` of shape (r, m).

        See ``row_blocks`` for ``chosen``.
        """
        if self.primal:
            values = self.expand(values).astype(self.features.dtype)
            parts = self.features.row_blocks(chosen)
        else:
            parts = self.row_blocks(chosen)
        return self.features.xp.concatenate([block @ values for _, block in parts])

    def target_products(self, targets, intercept):
        """Return V^T X^T diag(w) (targets - intercept), (r, m).

        See ``StandardizedFeatures.target_products``.
        """
        features = self.features
        if self.primal:
            return self.vectors.T @ features.target_products(targets, intercept)
        weighted = features.root_weights * (targets - intercept)
        return self._dual_scales[:, np.newaxis] * (self.vectors.T @ weighted)

    def directions(self):
        """Return V, (d, r)."""
        if self.primal:
            return self.vectors
        dual = self.vectors / self._dual_scales
        return self.features.transposed_product(self.features.root_weights * dual)

    def expand(self, values):
        """Return V values, (d, m), for ``values`` of shape (r, m)."""
        if self.primal:
            return self.vectors @ values
        dual = self.vectors @ (values / self._dual_scales[:, np.newaxis])
        return self.features.transposed_product(self.features.root_weights * dual)
