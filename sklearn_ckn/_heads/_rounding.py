"""What counts as zero where numbers are rounded."""

import numpy as np

from sklearn_ckn._arrays import namespace

# Units in the last place of the mean by which constant numbers may differ: those of
# two or three operations, each rounded by half a unit.
SPREAD = 2


def is_constant(variances, means, dtype):
    """Return which columns are constant but for their rounding.

    Parameters
    ----------
    variances, means : array of shape (d,), float64
        Of the columns.
    dtype : dtype
        In which their numbers were rounded.

    Returns
    -------
    constant : array of shape (d,), bool
    """
    xp = namespace(variances)
    return xp.sqrt(variances) <= SPREAD * np.finfo(dtype).eps * xp.abs(means)
