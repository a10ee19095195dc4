"""Pooling, Gaussian or by the mean: its weights (taps), and its matrix for one axis."""

from functools import lru_cache
from math import erf, exp, pi, prod, sqrt

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


def pooling_of_maps(subsampling, shape):
    """Return the pooling of maps as a stride and taps, the same for both axes.

    Parameters
    ----------
    subsampling : int or "global"
    shape : tuple of int
        (height, width) of the map of positions.

    Returns
    -------
    stride : int
        For ``"global"`` so large that there is one output.
    taps : ndarray of shape (2 * radius + 1,), float64
        See ``pooling_taps``. For ``"global"`` all are the square root of 1 / (height *
        width): a position has the product of two of them as its weight.
    """
    longest = max(shape)
    if subsampling == "global":
        return longest, np.full(2 * longest - 1, prod(shape) ** -0.5)
    return subsampling, pooling_taps(subsampling, longest)


def pooling_matrix(size, subsampling):
    """Return the pooling of an axis as a matrix.

    Parameters
    ----------
    size : int
        Number of positions along the axis.
    subsampling : int or "global"
        The stride, or the mean.

    Returns
    -------
    matrix : ndarray of shape (n_outputs, size), float64
        ``n_outputs`` is ceil(size / subsampling), or 1 for the mean.
    """
    if subsampling == "global":
        return np.full((1, size), 1 / size)
    taps = pooling_taps(subsampling, size)
    radius = len(taps) // 2
    offsets = np.arange(size) - np.arange(0, size, subsampling)[:, np.newaxis]
    inside = np.abs(offsets) <= radius
    return np.where(inside, taps[np.clip(offsets + radius, 0, 2 * radius)], 0)
