"""Limits on how much is computed at once, and what happens when memory runs out.

Computations on rows (images, points, pairs of images) are divided into parts by a
``Budget``. When memory runs out, the parts get half as many rows. Computations that
cannot be divided, those of heads and of the learning of layers, move from the GPU to
the CPU.
"""

from dataclasses import dataclass

import numpy as np
from sklearn import get_config

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._common.user_warnings import warn_user

# The memory pool of CuPy raises MemoryError. Pinned memory, modules and workspaces of
# libraries are allocated by CUDA. The classes of its errors have no common base class
# that exists without CuPy, so that the errors are recognised by their messages.
CUDA_MESSAGES = (
    "cudaErrorMemoryAllocation",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error):
    """Return whether an exception means that the CPU or a GPU is out of memory."""
    if isinstance(error, MemoryError):
        return True
    text = str(error) if isinstance(error, RuntimeError) else ""
    return any(message in text for message in CUDA_MESSAGES)


def working_memory_bytes():
    """Return scikit-learn's ``working_memory``, which is in MiB, in bytes."""
    return int(get_config()["working_memory"] * 2**20)


@dataclass
class Budget:
    """The memory that rows may take while they are computed together.

    Attributes
    ----------
    n_bytes : int
        Reduced when memory runs out, since what did not fit once would not fit again.
    """

    n_bytes: int

    def n_rows(self, row_bytes):
        """Return how many rows of ``row_bytes`` bytes fit, at least one."""
        return max(1, int(self.n_bytes // max(1, row_bytes)))

    def in_parts(self, n_rows, row_bytes, compute, engine=None, *, at_most=None):
        """Yield slices of rows and their results.

        When memory runs out, the rows that have no result yet are computed again, half
        as many at once.

        Parameters
        ----------
        n_rows : int
        row_bytes : int
            Memory of one row while it is computed.
        compute : callable
            Maps a list of slices to an iterator of one result for each.
        engine : Engine or None, default=None
            Its memory is given back before the next try; None if there is no engine.
        at_most : int or None, default=None
            Largest number of rows of a part for other reasons than memory.

        Yields
        ------
        rows : slice
        result : object
            Valid until the next one is requested.

        Raises
        ------
        MemoryError
            There is not enough memory for a single row.
        """
        start = 0
        while start < n_rows:
            step = min(self.n_rows(row_bytes), at_most or n_rows, n_rows)
            slices = [
                slice(i, min(i + step, n_rows)) for i in range(start, n_rows, step)
            ]
            try:
                for rows, result in zip(slices, compute(slices), strict=True):
                    yield rows, result
                    start = rows.stop
                return
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if step == 1:
                    raise MemoryError(str(error)) from error
            # Only after the "except" block are the arrays of the traceback released.
            result = None
            if engine is not None:
                engine.release_memory()
            self.n_bytes = -(-step // 2) * row_bytes


def fit_in_memory(fit, features, engine):
    """Fit a head on the device of the engine, or with less memory of it.

    When the GPU runs out of memory, the features are moved to the CPU, from where they
    are copied to the GPU block by block. If the matrices of the head alone are too
    large, the CPU fits it, with a warning.

    Parameters
    ----------
    fit : callable
        A function of an array of features and the namespace to compute with.
    features : list of one array
        A list, so that the array can be released when it is moved to the CPU: it is
        then replaced by the array of NumPy.
    engine : CPUEngine or ArrayEngine

    Returns
    -------
    head : object
        The result of ``fit``.

    Raises
    ------
    MemoryError
        There is not enough memory on the CPU either.
    """
    xp = engine.xp
    while True:
        try:
            return fit(features[0], xp)
        except Exception as error:
            if xp is np or not is_out_of_memory(error):
                raise
            reason = str(error)
        # Only after the "except" block are the arrays of the traceback released.
        if namespace(features[0]) is not np:
            features[0] = to_numpy(features[0])
        else:
            xp = np
            warn_of_the_cpu("The head is fitted", reason)
        engine.release_memory()


def warn_of_the_cpu(what, reason):
    """Warn that the CPU computes because arrays do not fit into the GPU's memory."""
    warn_user(
        f"{what} by the CPU, since its arrays do not fit into the memory of the GPU "
        f"({reason}).",
    )
