"""What counts as zero where numbers are rounded."""

import numpy as np

from sklearn_ckn._arrays import namespace

# Units in the last place of the mean by which constant numbers may differ: those of
# two or three operations, each rounded by half a unit.
SPREAD = 2


def is_constant(variances, means, dtype, exponents=0):
    """Return which columns are constant but for their rounding.

    Parameters
    ----------
    variances, means : array of shape (d,), float64
        Of the columns.
    dtype : dtype
        In which their numbers were rounded.
    exponents : int or array of shape (d,), int, default=0
        The numbers were divided by two to these powers after that.

    Returns
    -------
    constant : array of shape (d,), bool
    """
    xp = namespace(variances)
    limits = np.finfo(dtype)
    spacing = float(limits.eps) * xp.abs(means)
    # Below the smallest normal number all have the same distance from the next.
    with np.errstate(over="ignore"):
        smallest = xp.ldexp(xp.full_like(means, limits.smallest_subnormal), -exponents)
    return xp.sqrt(variances) <= SPREAD * xp.maximum(spacing, smallest)
