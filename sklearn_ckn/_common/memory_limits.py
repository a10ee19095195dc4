"""How much is computed at once, and what is done when memory runs out.

Whatever comes in rows, images or points, is computed in parts that a ``Budget`` makes,
with half as many rows whenever memory runs out. What cannot be divided, a head or the
learning of a layer, leaves the GPU instead.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn import get_config

from sklearn_ckn._common.arrays import namespace, to_numpy

# CuPy's own pool raises MemoryError. Pinned memory, modules and the workspace of
# libraries are allocated by CUDA, whose errors have no class in common that could be
# named without CuPy; this is what they say.
CUDA_MESSAGES = (
    "cudaErrorMemoryAllocation",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error):
    """Return whether an exception says that memory ran out, of the CPU or a GPU."""
    if isinstance(error, MemoryError):
        return True
    text = str(error) if isinstance(error, RuntimeError) else ""
    return any(message in text for message in CUDA_MESSAGES)


def working_memory_bytes():
    """Return scikit-learn's ``working_memory``, which is in MiB, in bytes."""
    return int(get_config()["working_memory"] * 2**20)


@dataclass
class Budget:
    """Memory for rows that are computed together.

    Attributes
    ----------
    n_bytes : int
        Less once memory has run out: what did not fit would not fit again.
    """

    n_bytes: int

    def n_rows(self, row_bytes):
        """Return how many rows of ``row_bytes`` each fit, at least one."""
        return max(1, int(self.n_bytes // max(1, row_bytes)))

    def in_parts(self, n_rows, row_bytes, compute, engine=None, *, at_most=None):
        """Yield slices of rows and their results.

        When memory runs out, the rows that have no result yet are tried again, half as
        many at once.

        Parameters
        ----------
        n_rows : int
        row_bytes : int
            What one more row takes while it is computed.
        compute : callable
            From a list of slices to an iterator of as many results.
        engine : Engine or None, default=None
            Its memory is given back before the next try; None if there is no engine.
        at_most : int or None, default=None
            Rows of a part, for other reasons than memory.

        Yields
        ------
        rows : slice
        result : object
            Valid until the next one is asked for.

        Raises
        ------
        MemoryError
            A single row takes more memory than there is.
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
            # Only here are the arrays gone that the error's traceback holds.
            result = None
            if engine is not None:
                engine.release_memory()
            self.n_bytes = -(-step // 2) * row_bytes


def fit_in_memory(fit, features, engine):
    """Fit a head where the engine computes, or else with less of it there.

    When memory runs out, the features go to the CPU and visit the GPU block by block;
    if the head's matrices alone are too large, the CPU fits it, with a warning.

    Parameters
    ----------
    fit : callable
        Of an array of features and the namespace to compute with.
    features : list of one array
        A list, so that nothing else holds the array when it leaves the GPU; it is
        replaced by the one that the head was fitted on.
    engine : CPUEngine or ArrayEngine

    Returns
    -------
    head : object
        What ``fit`` returned.

    Raises
    ------
    MemoryError
        The memory of the CPU is too small as well.
    """
    xp = engine.xp
    while True:
        try:
            return fit(features[0], xp)
        except Exception as error:
            if xp is np or not is_out_of_memory(error):
                raise
            reason = str(error)
        # Only here are the arrays gone that the error's traceback holds.
        if namespace(features[0]) is not np:
            features[0] = to_numpy(features[0])
        else:
            xp = np
            warn_of_the_cpu("The head is fitted", reason, stacklevel=5)
        engine.release_memory()


def warn_of_the_cpu(what, reason, stacklevel):
    """Warn that the CPU computes what does not fit into the memory of the GPU."""
    warnings.warn(
        f"{what} by the CPU, since its arrays do not fit into the memory of the GPU "
        f"({reason}).",
        UserWarning,
        stacklevel=stacklevel,
    )
