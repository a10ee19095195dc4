"""What counts as zero where numbers are rounded."""

import numpy as np

from sklearn_ckn._common.arrays import namespace

# Units in the last place by which constant numbers may differ: those of two or three
# operations, each rounded by half a unit.
SPREAD = 2


def smallest_spread(dtype, exponents):
    """Return by what constants may differ that are among the smallest numbers.

    Below the smallest normal number all have the same distance from the next one.

    Parameters
    ----------
    dtype : dtype
        In which the numbers were rounded.
    exponents : int or array of shape (d,), int
        Two to these powers is the unit of what is returned.

    Returns
    -------
    spread : float or array of shape (d,), float64
    """
    smallest = float(np.finfo(dtype).smallest_subnormal)
    return SPREAD * namespace(exponents).ldexp(smallest, -exponents)


def is_constant(variances, means, dtype, errors):
    """Return which columns are constant but for their rounding.

    Parameters
    ----------
    variances, means : array of shape (d,), float64
        Of the columns.
    dtype : dtype
        In which their numbers were rounded.
    errors : float or array of shape (d,)
        What columns may vary by beside that.

    Returns
    -------
    constant : array of shape (d,), bool
    """
    xp = namespace(variances)
    rounding = SPREAD * float(np.finfo(dtype).eps) * xp.abs(means)
    return xp.sqrt(variances) <= xp.maximum(rounding, errors)
