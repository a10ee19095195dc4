"""Features standardized block by block, without a copy of the whole array."""

from dataclasses import dataclass
from functools import cached_property
from math import frexp, ldexp

import numpy as np

from sklearn_ckn._common.arrays import (
    matmul,
    namespace,
    to_namespace,
    to_numpy,
)
from sklearn_ckn._common.cache_blocks import product_blocks
from sklearn_ckn._common.lazy_array import largest_magnitude
from sklearn_ckn._common.lower_triangles import add_lower, lower_gram
from sklearn_ckn._heads.affine import stored_affine
from sklearn_ckn._heads.rounding import is_constant, smallest_spread


def unit_exponent(values):
    """Return the power of two by which features are divided before computing.

    It is 0 where products of three features neither overflow nor underflow: these are
    computed as they are. For others, the division brings the largest absolute value
    between 1/2 and 1.

    Parameters
    ----------
    values : array of shape (n, d), float32 or float64

    Returns
    -------
    exponent : int
    """
    return exponent_of(largest_magnitude(values), values.dtype)


def exponent_of(largest, dtype):
    """Return ``unit_exponent`` of values of a dtype and a largest absolute value."""
    exponent = frexp(largest)[1]
    return exponent if abs(exponent) > np.finfo(dtype).maxexp // 3 else 0


def scale_of(variances, mean, dtype, errors):
    """Return ``scale`` and ``varying`` of StandardizedFeatures.

    Parameters
    ----------
    variances : array of shape (d,)
        Of the columns; rounding may have made them negative.
    mean : array of shape (d,)
    dtype : dtype
        Of the values.
    errors : float or array of shape (d,)
    """
    xp = namespace(variances)
    variances = xp.maximum(variances, 0)
    varying = ~is_constant(variances, mean, dtype, errors)
    scale = float((variances * varying).sum()) ** 0.5
    return scale or float(xp.linalg.norm(mean)) or 1.0, varying


def read_rows(values, chosen, xp):
    """Return rows of features as an array of a namespace.

    Parameters
    ----------
    values : array of shape (n, d), or FeatureSource
    chosen : slice or array of positions
    xp : module
    """
    if not isinstance(chosen, slice):
        chosen = to_namespace(chosen, namespace(values))
    return to_namespace(values[chosen], xp)


@dataclass(frozen=True)
class StandardizedFeatures:
    """Features minus their mean, divided by their root mean square norm.

    Columns that are constant apart from rounding are standardized to 0.

    Attributes
    ----------
    values : array of shape (n, d), float32 or float64
        The features over 2^exponent, a copy of them only if the exponent is not 0. Of
        the namespace of all other arrays, or NumPy's: features that do not fit into
        the memory of a GPU are sent there block by block.
    weights : array of shape (n,), float64
        Sample weights of mean 1.
    mean : array of shape (d,), float64
        Weighted mean of the values' rows.
    scale : float
        Weighted root mean square norm of the centred rows of the values; the norm of
        the mean, or 1, where all columns are constant.
    varying : array of shape (d,), bool
        Which columns are not constant.
    exponent : int
    errors : float or array of shape (d,)
        Columns of the values count as constant up to these standard deviations, in
        addition to the rounding of their numbers.
    """

    values: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    scale: float
    varying: np.ndarray
    exponent: int = 0
    errors: np.ndarray | float = 0.0

    @classmethod
    def from_values(cls, values, weights, errors=0.0):
        """Compute mean and scale in two passes over blocks of rows.

        Parameters
        ----------
        values : array of shape (n, d), float32 or float64
        weights : array of shape (n,)
            Their namespace is the one that computes.
        errors : float or array of shape (d,), default=0.0
            Columns count as constant up to these standard deviations, in addition to
            the rounding of their numbers.

        Returns
        -------
        features : StandardizedFeatures
        """
        exponent = unit_exponent(values)
        smallest = smallest_spread(values.dtype, exponent)
        if exponent:
            values = namespace(values).ldexp(values, -exponent)
        xp = namespace(weights)
        errors = xp.maximum(xp.asarray(errors), smallest)
        return cls._measured(values, weights, exponent, errors)

    def weighted(self, weights):
        """Return the same features standardized with other weights (n,)."""
        return self._measured(self.values, weights, self.exponent, self.errors)

    @classmethod
    def _measured(cls, values, weights, exponent, errors):
        n, d = values.shape
        weights = weights / weights.mean()
        xp = namespace(weights)
        mean = xp.zeros(d)
        for rows in product_blocks(n, d):
            mean += weights[rows] @ xp.asarray(values[rows])
        mean /= n
        everything = xp.ones(d, dtype=bool)
        centred = cls(values, weights, mean, 1.0, everything)
        # The mean is rounded, so the mean of the centred rows is not exactly 0.
        rest, squares = xp.zeros((2, d))
        for rows, block in centred.row_blocks():
            rest += weights[rows] @ block
            block *= block
            squares += weights[rows] @ block
        rest /= n
        if values.dtype == np.float64:
            # In float32, the centred rows are less precise than the mean is already.
            mean += rest
        variances = squares / n - rest**2
        scale, varying = scale_of(variances, mean, values.dtype, errors)
        return cls(values, weights, mean, scale, varying, exponent, errors)

    @property
    def shape(self):
        """(n, d)."""
        return self.values.shape

    @property
    def dtype(self):
        """The dtype of the values."""
        return self.values.dtype

    @property
    def original_scale(self):
        """The scale in the original unit of the features."""
        return ldexp(self.scale, self.exponent)

    @property
    def original_mean(self):
        """The mean in the original unit of the features, (d,)."""
        return self.xp.ldexp(self.mean, self.exponent)

    @property
    def xp(self):
        """The namespace that computes."""
        return namespace(self.weights)

    @cached_property
    def column_scales(self):
        """Divisors of the centred columns, (d,): infinite for constant columns."""
        return self.xp.where(self.varying, self.scale, np.inf)

    @cached_property
    def root_weights(self):
        """Square roots of the weights, (n, 1)."""
        return self.xp.sqrt(self.weights[:, np.newaxis])

    def rows(self, chosen):
        """Return rows of the values by a slice or an array of positions."""
        return read_rows(self.values, chosen, self.xp)

    def products(self, right):
        """Return the values, not standardized, times ``right`` (d, m)."""
        if namespace(self.values) is self.xp:
            return self.values @ right
        parts = [self.rows(rows) @ right for rows in product_blocks(*self.shape)]
        return self.xp.concatenate(parts)

    def raw_transposed_product(self, right):
        """Return the transposed values, not standardized, times ``right`` (n, m)."""
        if namespace(self.values) is self.xp:
            return self.values.T @ right
        parts = (
            self.rows(rows).T @ right[rows] for rows in product_blocks(*self.shape)
        )
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
        # A given scale may be beyond the dtype: divided by infinity, all is zero.
        with np.errstate(over="ignore"):
            scales = self.column_scales[columns].astype(values.dtype)
        block /= scales
        return block

    def row_blocks(self, chosen=None):
        """Yield positions of rows and these rows, standardized.

        Parameters
        ----------
        chosen : ndarray of shape (k,) or None, default=None
            Positions of some rows; None yields slices of all rows.
        """
        n, d = self.shape
        for part in product_blocks(n if chosen is None else len(chosen), d):
            rows = part if chosen is None else chosen[part]
            yield rows, self.standardize(self.rows(rows))

    def gram(self):
        """Return the lower triangle of X^T diag(w) X / n, (d, d), in Fortran order.

        Products are computed in the dtype of the features and summed in float64.
        LAPACK reads only one triangle.
        """
        n, d = self.shape
        total = self.xp.zeros((d, d), order="F")
        product = None
        for rows, block in self.row_blocks():
            block *= self.root_weights[rows].astype(block.dtype)
            product = lower_gram(block, product)
            add_lower(total, product)
        total /= n
        return total

    def outer_gram(self):
        """Return diag(w)^(1/2) X X^T diag(w)^(1/2) / n, in float64.

        It is computed where n < d. There, small alphas fit every sample, and the
        residuals and leverages are differences too small for float32.
        """
        n, d = self.shape
        total = self.xp.zeros((n, n))
        for columns in product_blocks(d, n):
            block = self.xp.asarray(self.values[:, columns]).astype(np.float64)
            block = self.standardize(block, columns)
            total += matmul(block, block.T)
        total *= self.root_weights / n
        total *= self.root_weights.T
        return total

    def smaller_gram(self):
        """Return ``gram``, or where n < d ``outer_gram``, in Fortran order."""
        n, d = self.shape
        return self.gram() if d <= n else self.outer_gram().T

    def transposed_product(self, right):
        """Return X^T right, (d, m), for a ``right`` of shape (n, m), in float64.

        ``right`` may hold dual coefficients, which are of the order 1 / alpha and
        cancel in this product. Features standardized in float32 are too imprecise for
        that.
        """
        total = self.xp.zeros((self.shape[1], right.shape[1]))
        for rows in product_blocks(*self.shape):
            block = self.standardize(self.rows(rows).astype(np.float64))
            total += block.T @ right[rows]
        return total

    def of_values(self, coef, intercept):
        """Convert a linear function of standardized features to one of the values.

        Parameters
        ----------
        coef : array of shape (m, d), float64
        intercept : array of shape (m,), float64

        Returns
        -------
        coef : array of shape (m, d), float64
        intercept : array of shape (m,), float64
        """
        coef = coef / self.column_scales
        return coef, intercept - coef @ self.mean

    def target_products(self, targets, intercept):
        """Return X^T diag(w) (targets - intercept), (d, m), in float64.

        Parameters
        ----------
        targets : array of shape (n, m)
        intercept : array of shape (m,)
            The weighted mean of the targets.
        """
        weighted = self.weights[:, np.newaxis] * (targets - intercept)
        return self.transposed_product(weighted)

    def original_units(self, coef, intercept, target_exponents=0):
        """Convert a linear function of standardized features to one of the features.

        Parameters
        ----------
        coef : array of shape (m, d), float64
        intercept : array of shape (m,), float64
        target_exponents : int or array of shape (m,), int, default=0
            The values of the function are multiplied by two to these powers.

        Returns
        -------
        coef : ndarray of shape (m, d)
        intercept : ndarray of shape (m,)
            In the dtype of the features, or in float64 where float32 cannot represent
            them.

        Raises
        ------
        ValueError
            The weights are beyond the range of float64.
        """
        coef, intercept = self.of_values(coef, intercept)
        return stored_affine(
            to_numpy(coef),
            to_numpy(intercept),
            self.dtype,
            self.scale,
            to_numpy(target_exponents) - self.exponent,
            to_numpy(target_exponents),
        )
