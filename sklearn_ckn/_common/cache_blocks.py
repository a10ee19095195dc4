"""Blocks of rows that stay in the cache of the processor."""

import numpy as np
from sklearn.utils import gen_batches

from sklearn_ckn._common.arrays import namespace

# Values in a block: half a megabyte of float32.
BLOCK_VALUES = 2**17


# The same for arrays on a GPU, whose operations all go through memory: enough for
# every multiprocessor, and with its temporary arrays small beside the memory.
GPU_BLOCK_VALUES = 2**24


def cache_blocks(rows):
    """Return slices of rows that stay in the cache through several operations."""
    if len(rows) == 0:
        return ()
    n_values = BLOCK_VALUES if namespace(rows) is np else GPU_BLOCK_VALUES
    return gen_batches(len(rows), max(1, n_values // rows.shape[1]))
