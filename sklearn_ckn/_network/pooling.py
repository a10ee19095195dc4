"""Gaussian pooling along one axis: its weights (taps) and its matrix."""

from functools import lru_cache
from math import erf, exp, pi, sqrt

import numpy as np

# Up to this stride, the taps of a Gaussian are added one by one, in an array of some
# megabytes.
LARGEST_TAP_SUM = 2**17


@lru_cache(maxsize=1024)
def _sum_of_taps(subsampling):
    """Return the sum of exp(-d^2 / s^2) over d = -s..s."""
    if subsampling <= LARGEST_TAP_SUM:
        offsets = np.arange(-subsampling, subsampling + 1)
        return np.exp(-((offsets / subsampling) ** 2)).sum()
    # Euler-Maclaurin formula: the integral, half of the values at both ends, and the
    # difference of the derivatives at the ends divided by 12. The next term is below
    # 1 / s^3, less than the rounding error.
    edge = exp(-1)
    return subsampling * sqrt(pi) * erf(1) + edge - edge / (3 * subsampling)


def pooling_taps(subsampling, size):
    """Return the Gaussian taps exp(-d^2 / s^2), divided by their sum over d = -s..s.

    Only the taps that are needed are returned: distances d between two positions of an
    axis are below its length, however large the stride is.

    Parameters
    ----------
    subsampling : int
        The stride s; 1 gives the identity, a single tap.
    size : int
        Number of positions along the longest axis that is pooled.

    Returns
    -------
    taps : ndarray of shape (2 * min(s, size - 1) + 1,), float64
        The tap of d = 0 is in the middle. The shape is (1,) for a stride of 1.
    """
    if subsampling == 1:
        return np.ones(1)
    radius = min(subsampling, size - 1)
    offsets = np.arange(-radius, radius + 1)
    return np.exp(-((offsets / subsampling) ** 2)) / _sum_of_taps(subsampling)


def pooling_matrix(size, subsampling):
    """Return the Gaussian pooling of an axis as a matrix.

    Parameters
    ----------
    size : int
        Number of positions along the axis.
    subsampling : int
        The stride.

    Returns
    -------
    matrix : ndarray of shape (ceil(size / subsampling), size), float64
    """
    taps = pooling_taps(subsampling, size)
    radius = len(taps) // 2
    offsets = np.arange(size) - np.arange(0, size, subsampling)[:, np.newaxis]
    inside = np.abs(offsets) <= radius
    return np.where(inside, taps[np.clip(offsets + radius, 0, 2 * radius)], 0)
