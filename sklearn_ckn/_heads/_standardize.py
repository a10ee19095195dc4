"""Features seen centred and scaled, block by block, never copied as a whole."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.utils import gen_batches

from sklearn_ckn._arrays import (
    lower_gram,
    matmul,
    namespace,
    to_namespace,
    to_numpy,
)
from sklearn_ckn._norms import square_sums

# Values in a block of features: 32 MB of float32.
BLOCK_VALUES = 2**23


def blocks(length, row_values):
    """Return slices of rows, or columns, of ``row_values`` values each."""
    return gen_batches(length, max(1, BLOCK_VALUES // max(1, row_values)))


@dataclass(frozen=True)
class StandardizedFeatures:
    """Features minus their mean, over their root mean square norm.

    Attributes
    ----------
    values : array of shape (n, d), float32 or float64
        Of the namespace of all other arrays, or NumPy's: features that are too many
        for a GPU go there block by block.
    weights : array of shape (n,), float64
        Sample weights of mean 1.
    mean : array of shape (d,), float64
        Weighted mean of the rows.
    scale : float
        Weighted root mean square norm of the centred rows; 1 where that is 0, or no
        more than the rounding of the mean.
    """

    values: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    scale: float

    @classmethod
    def from_values(cls, values, weights):
        """Measure the mean and the scale in two passes over blocks of rows.

        The weights say with which namespace all is computed.
        """
        n, d = values.shape
        weights = weights / weights.mean()
        xp = namespace(weights)
        mean = xp.zeros(d)
        for rows in blocks(n, d):
            mean += weights[rows] @ xp.asarray(values[rows])
        mean /= n
        centred = cls(values, weights, mean, 1.0)
        mean_square = (
            sum(
                weights[rows] @ square_sums(block)
                for rows, block in centred.row_blocks()
            )
            / n
        )
        scale = float(mean_square) ** 0.5
        rounding = np.finfo(values.dtype).eps * float(xp.linalg.norm(mean))
        return cls(values, weights, mean, scale if scale > rounding else 1.0)

    @property
    def shape(self):
        """(n, d)."""
        return self.values.shape

    @property
    def dtype(self):
        """That of the values."""
        return self.values.dtype

    @property
    def xp(self):
        """Namespace of what is computed."""
        return namespace(self.weights)

    @cached_property
    def root_weights(self):
        """Square roots of the weights, (n, 1)."""
        return self.xp.sqrt(self.weights[:, np.newaxis])

    def rows(self, chosen):
        """Return rows of the values by a slice or an array of positions."""
        if not isinstance(chosen, slice):
            chosen = to_namespace(chosen, namespace(self.values))
        return self.xp.asarray(self.values[chosen])

    def products(self, right):
        """Return the values as they came times ``right`` (d, m)."""
        if namespace(self.values) is self.xp:
            return self.values @ right
        parts = [self.rows(rows) @ right for rows in blocks(*self.shape)]
        return self.xp.concatenate(parts)

    def raw_transposed_product(self, right):
        """Return the transposed values as they came times ``right`` (n, m)."""
        if namespace(self.values) is self.xp:
            return self.values.T @ right
        parts = (self.rows(rows).T @ right[rows] for rows in blocks(*self.shape))
        return sum(parts)

    def standardize(self, values, columns=slice(None)):
        """Return rows like those of ``values``, or ``columns`` of them, standardized.

        Parameters
        ----------
        values : ndarray of shape (m, d), or (m, number of columns)
        columns : slice

        Returns
        -------
        block : ndarray of the shape and dtype of ``values``
        """
        block = values - self.mean[columns].astype(values.dtype)
        block /= values.dtype.type(self.scale)
        return block

    def row_blocks(self):
        """Yield slices of rows and these rows, standardized."""
        for rows in blocks(*self.shape):
            yield rows, self.standardize(self.rows(rows))

    def gram(self):
        """Return the lower triangle of X^T diag(w) X / n, (d, d), in Fortran order.

        Products are in the features' dtype, summed in float64. What LAPACK takes is
        one triangle.
        """
        n, d = self.shape
        total = self.xp.zeros((d, d), order="F")
        product = None
        for rows, block in self.row_blocks():
            block *= self.root_weights[rows].astype(block.dtype)
            product = lower_gram(block, product)
            total += product
        total /= n
        return total

    def outer_gram(self):
        """Return diag(w)^(1/2) X X^T diag(w)^(1/2) / n, in float64.

        It is computed where n < d: small alphas then fit every sample, and what is
        left of residuals and leverages would not survive float32.
        """
        n, d = self.shape
        total = self.xp.zeros((n, n))
        for columns in blocks(d, n):
            block = self.xp.asarray(self.values[:, columns]).astype(np.float64)
            block = self.standardize(block, columns)
            total += matmul(block, block.T)
        total *= self.root_weights / n
        total *= self.root_weights.T
        return total

    def transposed_product(self, right):
        """Return X^T right, (d, m), for a ``right`` of shape (n, m), in float64.

        Dual coefficients are of the order 1 / alpha and cancel in this product,
        which float32 would not survive.
        """
        total = self.xp.zeros((self.shape[1], right.shape[1]))
        for rows, block in self.row_blocks():
            total += block.T.astype(np.float64) @ right[rows]
        return total

    def original_units(self, coef, intercept):
        """Turn a linear function of standardized features into one of the values.

        Parameters
        ----------
        coef : array of shape (m, d), float64
        intercept : array of shape (m,), float64

        Returns
        -------
        coef : ndarray of shape (m, d), dtype of the values
        intercept : ndarray of shape (m,), dtype of the values
        """
        coef = coef / self.scale
        intercept = intercept - coef @ self.mean
        return to_numpy(coef.astype(self.dtype)), to_numpy(intercept.astype(self.dtype))
