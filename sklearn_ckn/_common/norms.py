"""Norms of rows and images, computed without overflow or underflow in any unit."""

from functools import cache

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.cache_blocks import cache_blocks


def powers_of_two(largest):
    """Return powers of two that scale values to between 1/2 and 1, and their inverses.

    Parameters
    ----------
    largest : array of float32 or float64
        Largest absolute values, of any shape.

    Returns
    -------
    scale, inverse : array of the shape and dtype of ``largest``
        Multiplication by them is exact except for subnormal numbers. 1 for the value 0.
        At the ends of the range of exponents they are the nearest normal powers of two.
    """
    xp = namespace(largest)
    limit = largest_exponent(largest.dtype)
    exponents = xp.frexp(largest)[1]
    exponents = xp.minimum(xp.maximum(exponents, -limit), limit)
    one = xp.ones((), dtype=largest.dtype)
    return xp.ldexp(one, -exponents), xp.ldexp(one, exponents)


@cache
def largest_number(dtype):
    """Return the largest finite number of a dtype as a float."""
    return float(np.finfo(dtype).max)


@cache
def largest_exponent(dtype):
    """Return the largest e for which 2^e and 2^-e are normal numbers of a dtype."""
    return -int(np.finfo(dtype).minexp)


def image_scales(images):
    """Return the powers of two that bring images to about 1, and their inverses.

    Parameters
    ----------
    images : array of shape (n, H, W, C), float32 or float64

    Returns
    -------
    scale, inverse : array of shape (n, 1, 1, 1), dtype of ``images``
        See ``powers_of_two``.
    """
    largest = namespace(images).maximum(
        images.max(axis=(1, 2, 3)), -images.min(axis=(1, 2, 3))
    )
    return powers_of_two(largest[:, np.newaxis, np.newaxis, np.newaxis])


def square_sums(rows):
    """Return the sums of the squares of each row, added in float64."""
    xp = namespace(rows)
    if xp is np:
        return np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    # The einsum of CuPy would convert both operands to float64; this converts one.
    return xp.square(rows, dtype=np.float64).sum(axis=1)


def row_norms(rows):
    """Return the norms of rows, computed in float64."""
    return namespace(rows).sqrt(square_sums(rows))


def scaled_rows(rows):
    """Return rows times the powers of two that bring their largest values near 1."""
    largest = namespace(rows).maximum(rows.max(axis=1), -rows.min(axis=1))
    return rows * powers_of_two(largest)[0][:, np.newaxis]


def unit_rows(rows):
    """Return rows divided by their norms; rows of zeros stay zero.

    Parameters
    ----------
    rows : array of shape (n, length), float32 or float64

    Returns
    -------
    unit : array of shape (n, length), dtype of ``rows``, C-ordered
    """
    xp = namespace(rows)
    unit = xp.empty(rows.shape, rows.dtype)
    for part in cache_blocks(rows):
        block = scaled_rows(rows[part])
        norms = row_norms(block)
        norms = xp.where(norms > 0, norms, 1).astype(rows.dtype)
        xp.divide(block, norms[:, np.newaxis], out=unit[part])
    return unit
