"""Equal rows, found without comparing all pairs of rows."""

from hashlib import blake2b
from math import prod

import numpy as np
from sklearn.utils import gen_batches

from sklearn_ckn._common.arrays import namespace, to_namespace, to_numpy
from sklearn_ckn._common.cache_blocks import cache_rows
from sklearn_ckn._common.lazy_array import LazyArray

# Number of values of each row that are compared first, which distinguishes most rows.
FEW_VALUES = 16

# Number of rows whose few values are compared at a time: 32 MiB of float64.
ROWS_OF_KEYS = 2**18

# Among a million different rows, two have the same digest with a probability of 1e-27.
DIGEST_BYTES = 16


def first_copies(rows):
    """Return the position of the first row that equals each row.

    A few values of every row are compared first. Only the rows that agree in these are
    read completely.

    Parameters
    ----------
    rows : array of shape (n, ...)
        Finite real numbers. An array of NumPy or CuPy; the CPU computes the digests.

    Returns
    -------
    first : ndarray of shape (n,), intp
        ``first[i]`` is i if no earlier row equals row i.
    """
    first = np.arange(len(rows))
    alike = _alike(rows)
    seen = {}
    for position, digest in zip(alike, row_digests(rows, alike), strict=True):
        first[position] = seen.setdefault(digest, position)
    return first


def merge_copies(first, weights):
    """Keep one of the rows that are equal, with the sum of their weights.

    Parameters
    ----------
    first : ndarray of shape (n,)
        See ``first_copies``.
    weights : ndarray of shape (n,)
        0 leaves a row out.

    Returns
    -------
    kept : ndarray of shape (k,), intp
        Positions of the rows that are kept.
    weights : ndarray of shape (k,), float64
        Sums of the weights of the rows that equal them.
    """
    positive = np.flatnonzero(weights > 0)
    _, index, inverse = np.unique(
        first[positive], return_index=True, return_inverse=True
    )
    return positive[index], np.bincount(inverse, weights[positive])


def distinct_rows(rows, weights):
    """Return the positions of the distinct rows, and the sums of equal rows' weights.

    The positions are in the order of the rows if all these sums are equal, and
    otherwise in an order that depends only on the values of the rows.

    Parameters
    ----------
    rows : array of shape (n, ...)
    weights : ndarray of shape (n,)
        Rows of weight 0 are left out.

    Returns
    -------
    kept : ndarray of shape (k,), intp
    weights : ndarray of shape (k,), float64
    """
    kept, weights = merge_copies(first_copies(rows), weights)
    if (weights != weights[0]).any():
        order = np.argsort(list(row_digests(rows, kept)), kind="stable")
        kept, weights = kept[order], weights[order]
    return kept, weights


def _alike(rows):
    """Return the positions of rows that agree with another row in a few values."""
    shape = rows.shape[1:]
    places = np.linspace(0, prod(shape) - 1, FEW_VALUES).astype(np.intp)
    places = np.unravel_index(np.unique(places), shape)
    if isinstance(rows, LazyArray):
        keys = np.concatenate(list(rows.map_blocks(_keys_of_block, places)))
    else:
        parts = gen_batches(len(rows), ROWS_OF_KEYS)
        keys = np.concatenate([_keys(rows[part], places) for part in parts])
    in_order = np.sort(keys)
    if (in_order[1:] != in_order[:-1]).all():
        # The usual case, in which positions need not be sorted.
        return np.arange(0)
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return np.flatnonzero(counts[inverse] > 1)


def _keys(rows, places):
    """Return a number for each row that depends on its values at some places."""
    xp = namespace(rows)
    few = to_numpy(rows[(slice(None), *map(xp.asarray, places))])
    # Adding 0 turns -0 into 0, which it equals.
    bits = np.ascontiguousarray(few, dtype=np.float64) + 0.0
    bits = bits.view(np.uint64)
    # Small integers differ only in the high bits, which are lost in the products below.
    bits ^= bits >> np.uint64(32)
    factors = np.random.RandomState(0).randint(2**62, size=bits.shape[1], dtype="u8")
    return bits @ (2 * factors + 1)


def _keys_of_block(block, start, places):
    return _keys(block, places)


def row_digests(rows, chosen):
    """Yield a digest of each of the chosen rows; equal rows have equal digests.

    Parameters
    ----------
    rows : array of shape (n, ...)
    chosen : ndarray of shape (k,), intp

    Yields
    ------
    digest : bytes
    """
    if len(chosen) == 0:
        return
    xp, length = namespace(rows), prod(rows.shape[1:])
    for part in gen_batches(len(chosen), cache_rows(length, xp)):
        block = rows[to_namespace(chosen[part], xp)]
        block = np.ascontiguousarray(to_numpy(block).reshape(-1, length)) + 0
        for row in block:
            yield blake2b(row, digest_size=DIGEST_BYTES).digest()
