"""Real targets: one column each, centred and divided by a power of two."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._heads.rounding import is_constant, smallest_spread


def target_columns(y):
    """Return targets (n,) or (n, m) as (n, m), in float32 if they are, or float64."""
    columns = y.reshape(len(y), -1)
    dtype = np.float32 if y.dtype == np.float32 else np.float64
    return columns.astype(dtype, copy=False)


@dataclass(frozen=True)
class CentredTargets:
    """Targets minus their mean, each column divided by a power of two of its size.

    Computations with them neither overflow nor underflow, and a large mean costs no
    digits.

    Attributes
    ----------
    values : array of shape (n, m), float64
        At most 2; 0 in columns that are constant apart from rounding.
    mean : array of shape (m,), float64
        In the unit of the values.
    exponents : array of shape (m,), int
        The targets are (values + mean) times two to these powers.
    """

    values: np.ndarray
    mean: np.ndarray
    exponents: np.ndarray

    @classmethod
    def from_values(cls, targets, weights):
        """Centre targets (n, m), float32 or float64, by weights (n,)."""
        xp = namespace(targets)
        dtype = targets.dtype
        targets = targets.astype(np.float64)
        exponents = xp.frexp(abs(targets).max(axis=0))[1]
        values = xp.ldexp(targets, -exponents)
        shares = weights / weights.sum()
        mean = shares @ values
        values -= mean
        # The mean was rounded, so the mean of the centred values is not exactly 0.
        rest = shares @ values
        values -= rest
        mean += rest
        errors = smallest_spread(dtype, exponents)
        constant = is_constant(shares @ values**2, mean, dtype, errors)
        values *= ~constant
        return cls(values, mean, exponents)
