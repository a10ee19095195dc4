"""Which variances count as zero, given the rounding of the numbers."""

import numpy as np

from sklearn_ckn._common.arrays import namespace

# Units in the last place by which numbers may differ that should be constant. They come
# from two or three operations, each rounded by half a unit.
SPREAD = 2


def smallest_spread(dtype, exponents):
    """Return the largest difference of constant numbers that are subnormal.

    All subnormal numbers have the same distance from the next one.

    Parameters
    ----------
    dtype : dtype
        The dtype in which the numbers were rounded.
    exponents : int or array of shape (d,), int
        The result is in units of two to these powers.

    Returns
    -------
    spread : float or array of shape (d,), float64
    """
    smallest = float(np.finfo(dtype).smallest_subnormal)
    return SPREAD * namespace(exponents).ldexp(smallest, -exponents)


def is_constant(variances, means, dtype, errors):
    """Return which columns are constant, apart from rounding.

    Parameters
    ----------
    variances, means : array of shape (d,), float64
        Of the columns.
    dtype : dtype
        The dtype in which their numbers were rounded.
    errors : float or array of shape (d,)
        Other errors: standard deviations up to these count as zero too.

    Returns
    -------
    constant : array of shape (d,), bool
    """
    xp = namespace(variances)
    rounding = SPREAD * float(np.finfo(dtype).eps) * xp.abs(means)
    return xp.sqrt(variances) <= xp.maximum(rounding, errors)
