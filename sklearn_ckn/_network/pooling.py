"""Gaussian pooling: its taps and, along one axis, its matrix."""

from functools import lru_cache
from math import erf, exp, pi, sqrt

import numpy as np

# Up to this stride the taps of a Gaussian are added one by one, in some megabytes.
LARGEST_TAP_SUM = 2**17


@lru_cache(maxsize=1024)
def _sum_of_taps(subsampling):
    """Return the sum of exp(-d^2 / s^2) over d = -s..s."""
    if subsampling <= LARGEST_TAP_SUM:
        offsets = np.arange(-subsampling, subsampling + 1)
        return np.exp(-((offsets / subsampling) ** 2)).sum()
    # Euler and Maclaurin: the integral, half of both ends, and their slopes over 12.
    # What follows is below 1 / s^3, and rounding adds more.
    edge = exp(-1)
    return subsampling * sqrt(pi) * erf(1) + edge - edge / (3 * subsampling)


def pooling_taps(subsampling, size):
    """Return the Gaussian taps exp(-d^2 / s^2), over their sum for d = -s..s.

    Only those that an axis has positions for: no distance is longer than the axis,
    however large the stride.

    Parameters
    ----------
    subsampling : int
        The stride s; 1 gives the identity, a single tap.
    size : int
        Positions along the longest axis that is pooled.

    Returns
    -------
    taps : ndarray of shape (2 * min(s, size - 1) + 1,), float64
        The tap of d = 0 is in the middle; (1,) for a stride of 1.
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
        Positions along the axis.
    subsampling : int

    Returns
    -------
    matrix : ndarray of shape (ceil(size / subsampling), size), float64
    """
    taps = pooling_taps(subsampling, size)
    radius = len(taps) // 2
    offsets = np.arange(size) - np.arange(0, size, subsampling)[:, np.newaxis]
    inside = np.abs(offsets) <= radius
    return np.where(inside, taps[np.clip(offsets + radius, 0, 2 * radius)], 0)
