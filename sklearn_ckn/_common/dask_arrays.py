"""Dask arrays: images whose blocks are computed by other threads, processes, machines.

Dask is imported only where a user's array is one of its own.
"""

import sys
from contextlib import contextmanager
from functools import partial
from math import isnan

import numpy as np
from sklearn.utils import gen_batches

from sklearn_ckn._common.lazy_array import LazyArray
from sklearn_ckn._common.threads import single_threaded_blas

#: Bytes of chosen images that are fetched together.
FETCH_BYTES = 2**26

#: Number of results that one task of a reduction combines: large matrices, of which a
#: worker should hold few.
FAN_IN = 2


def is_dask(X):
    """Return whether X is a Dask array."""
    arrays = sys.modules.get("dask.array")
    return arrays is not None and isinstance(X, arrays.Array)


def check_chunks(X, X_name="X"):
    """Raise unless a Dask array has blocks of whole rows, and of known sizes.

    Raises
    ------
    ValueError
        With the call that mends it.
    """
    if any(isnan(size) for axis in X.chunks for size in axis):
        raise ValueError(
            f"The sizes of the chunks of {X_name} are not known: call "
            f"{X_name}.compute_chunk_sizes() first."
        )
    if any(len(axis) > 1 for axis in X.chunks[1:]):
        axes = ", ".join(f"{axis}: -1" for axis in range(1, X.ndim))
        raise ValueError(
            f"{X_name} must be cut into chunks along its first axis only, got "
            f"{X.numblocks} of them along its axes: call "
            f"{X_name}.rechunk({{0: 'auto', {axes}}})."
        )


class DaskImages(LazyArray):
    """Rows of a Dask array; functions of its blocks run where the blocks are.

    Parameters
    ----------
    source : dask.array.Array
        See ``check_chunks``.
    row_shape, positions
        See ``LazyArray``.
    """

    def __init__(self, source, row_shape=None, positions=None):
        super().__init__(source, row_shape, positions)
        self._fetched = slice(0, 0), None

    def __getitem__(self, index):
        """Read rows; of consecutive slices, several are fetched at a time."""
        if not isinstance(index, slice) or index.step is not None:
            return super().__getitem__(index)
        start, stop, _ = index.indices(len(self))
        known, rows = self._fetched
        if start < known.start or stop > known.stop:
            n_rows = max(FETCH_BYTES // self._row_bytes, stop - start)
            known = slice(start, min(start + n_rows, len(self)))
            rows = super().__getitem__(known)
            self._fetched = known, rows
        return rows[start - known.start : stop - known.start]

    @property
    def _starts(self):
        """Numbers of the first images of the blocks, and that of all images."""
        return np.cumsum([0, *self._source.chunks[0]])

    def _read(self, start, stop):
        rows = self._compute(self._source[start:stop])
        return rows.reshape(stop - start, *self.shape[1:])

    def _gather(self, places):
        distinct, inverse = np.unique(places, return_inverse=True)
        rows = self._compute(self._source[distinct])
        return rows.reshape(-1, *self.shape[1:])[inverse]

    def _compute(self, rows):
        with self._naming_blocks():
            return np.asarray(rows.compute())

    def map_blocks(self, function, *arguments):
        """Apply a function to all rows, block by block; see ``LazyArray``."""
        with self._naming_blocks():
            return list(dask().compute(*self._tasks(function, None, arguments)))

    def reduce_blocks(self, function, combine, arrays, *arguments):
        """Apply a function to all rows, block by block, and combine the results.

        They are combined in a tree that depends only on the number of the blocks.

        Parameters
        ----------
        function : callable
            It gets a block, the position of the block's first row, a list of the rows
            of the arrays that belong to the block, and the other arguments.
        combine : callable
            From a list of results, in the order of the blocks, to a new result.
        arrays : tuple of ndarray of shape (n, ...)
        *arguments

        Returns
        -------
        result : object
        """
        tasks = self._tasks(function, arrays, arguments)
        combine = dask().delayed(combine, pure=False)
        while len(tasks) > 1:
            tasks = [combine(tasks[part]) for part in gen_batches(len(tasks), FAN_IN)]
        with self._naming_blocks():
            return dask().compute(*tasks)[0]

    def _tasks(self, function, arrays, arguments):
        """Return delayed results of a function, one for each block with rows."""
        delayed = partial(dask().delayed, pure=False, traverse=False)
        # One task holds the arguments, and not every task a copy of them.
        arguments = [delayed(each) for each in arguments]
        call = dask().delayed(_call_with_block, pure=False)
        starts = ends = self._starts
        if self._positions is not None:
            ends = np.searchsorted(self._positions, starts)
        tasks = []
        for i, block in enumerate(self._source.to_delayed().ravel()):
            rows = slice(int(ends[i]), int(ends[i + 1]))
            if rows.start == rows.stop:
                continue
            own = None
            if self._positions is not None:
                own = self._positions[rows] - starts[i]
            given = [rows.start, *arguments]
            if arrays is not None:
                given.insert(1, [delayed(array[rows]) for array in arrays])
            tasks.append(call(function, block, own, self.shape[1:], *given))
        return tasks

    @contextmanager
    def _naming_blocks(self):
        """Name the block that cannot be read, if this is why a computation fails."""
        try:
            yield
        except Exception as error:
            if type(error).__name__ == "KilledWorker":
                size = max(self._source.chunks[0]) * self._row_bytes / 2**20
                raise RuntimeError(
                    "Workers died, again and again, while they computed blocks of X "
                    f"of up to {size:.0f} MiB, perhaps for lack of memory: cut X into "
                    "smaller chunks, or use workers with more memory."
                ) from error
            is_of_cluster = type(error).__module__.startswith("distributed")
            if not (is_of_cluster or isinstance(error, MemoryError)):
                self._raise_unreadable()
            raise

    def _raise_unreadable(self):
        starts = self._starts
        for i in range(len(starts) - 1):
            try:
                self._source.blocks[i].compute()
            except Exception as error:
                raise OSError(
                    f"Block {i} of X, with the images {starts[i]} to "
                    f"{starts[i + 1] - 1}, cannot be read: {error}"
                ) from error


def _call_with_block(function, block, chosen, row_shape, *arguments):
    """Call a function in a task, with bits that do not depend on the cores."""
    block = np.asarray(block)
    block = block if chosen is None else block[chosen]
    with single_threaded_blas():
        return function(block.reshape(-1, *row_shape), *arguments)


def dask():
    """Return the module, which a user of Dask arrays has imported."""
    return sys.modules["dask"]


def map_rows(model, method, X, options):
    """Return a lazy result of a method of an estimator that maps rows to rows.

    Parameters
    ----------
    model : estimator
    method : callable
        Of the estimator, to be called with it, an array and options.
    X : dask.array.Array
        See ``check_chunks``.
    options : dict

    Returns
    -------
    result : dask.array.Array, or tuple of them
        With the chunks of X along the first axis.

    Raises
    ------
    ValueError
        The chunks are refused, or there is an option ``out``.
    Exception
        What the method raises for images of this shape and dtype.
    """
    check_chunks(X)
    if options.get("out") is not None:
        raise ValueError(
            "The result for a Dask array is lazy and cannot be written to out: call "
            "its method to_zarr, or dask.array.store."
        )
    # One blank image shows errors at once, and the shape and the dtype of the result.
    sample = method(model, np.zeros((1, *X.shape[1:]), X.dtype), **options)
    if not isinstance(sample, tuple):
        return _mapped(model, method, X, options, sample)
    # One pass for all results.
    stacked = _mapped(model, _stacked(method), X, options, np.stack(sample, axis=1))
    return tuple(
        stacked[:, i].astype(each.dtype, copy=False) for i, each in enumerate(sample)
    )


def _mapped(model, method, X, options, sample):
    delayed = dask().delayed(model, pure=False, traverse=False)
    return X.map_blocks(
        _call_method,
        model=delayed,
        method=method,
        options=options,
        nothing=sample[:0],
        dtype=sample.dtype,
        chunks=(X.chunks[0], *((size,) for size in sample.shape[1:])),
        drop_axis=list(range(sample.ndim, X.ndim)),
        new_axis=list(range(X.ndim, sample.ndim)) or None,
        meta=sample[:0],
    )


def _call_method(block, model, method, options, nothing):
    # scikit-learn refuses arrays without rows, which a filter of rows can leave.
    return method(model, block, **options) if len(block) else nothing


class _stacked:  # noqa: N801
    """A method whose results are stacked along the second axis; it can be pickled."""

    def __init__(self, method):
        self._method = method

    def __call__(self, *arguments, **options):
        """Call the method."""
        return np.stack(self._method(*arguments, **options), axis=1)
