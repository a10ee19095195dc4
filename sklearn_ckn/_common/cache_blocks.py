"""Sizes of blocks that are fast because they stay in a cache of the processor.

Limits on blocks because of memory are in ``memory_limits``.
"""

import numpy as np
from sklearn.utils import gen_batches

from sklearn_ckn._common.arrays import namespace

#: Values of a block that several operations use one after the other: half a MiB of
#: float32.
CACHE_BLOCK_VALUES = 2**17

#: The same for arrays on a GPU, where every operation reads and writes memory: enough
#: work for all multiprocessors, with temporary arrays that are small compared to the
#: memory.
GPU_BLOCK_VALUES = 2**24

#: Values of a block of features in a matrix product: 32 MiB of float32. With blocks of
#: this size products run at full speed.
PRODUCT_BLOCK_VALUES = 2**23

#: Sums of d x d products of wider features take as many rows at once as those of this
#: width: compared to the product of few rows, adding it takes long.
WIDE_FEATURES = 4096

#: Values of the arrays for a block of pairs of images in the exact kernel: two MiB. The
#: allocator reuses memory of this size. Larger arrays are returned to the operating
#: system, and the page faults of the next ones double the time.
PAIR_BLOCK_VALUES = 2**18


def rows_of_block(row_values, block_values):
    """Return how many rows of ``row_values`` values a block holds, at least one."""
    return max(1, block_values // max(1, row_values))


def cache_rows(row_values, xp):
    """Return how many rows stay in the cache through several operations.

    Parameters
    ----------
    row_values : int
        Values of a row.
    xp : module
        Namespace of the arrays.
    """
    values = CACHE_BLOCK_VALUES if xp is np else GPU_BLOCK_VALUES
    return rows_of_block(row_values, values)


def cache_blocks(rows):
    """Return slices of rows that stay in the cache through several operations.

    Parameters
    ----------
    rows : array of shape (n, ...)
    """
    if len(rows) == 0:
        return ()
    return gen_batches(len(rows), cache_rows(rows[0].size, namespace(rows)))


def product_blocks(length, row_values):
    """Return slices of rows, or columns, for matrix products at full speed.

    Parameters
    ----------
    length : int
        Number of rows, or columns.
    row_values : int
        Values of each.
    """
    return gen_batches(length, rows_of_block(row_values, PRODUCT_BLOCK_VALUES))


def gram_blocks(n, d):
    """Return slices of rows whose d x d products are added to sums, where n >= d.

    Wide blocks have more than ``PRODUCT_BLOCK_VALUES`` values, but less than the sums.
    """
    return gen_batches(n, rows_of_block(min(d, WIDE_FEATURES), PRODUCT_BLOCK_VALUES))
