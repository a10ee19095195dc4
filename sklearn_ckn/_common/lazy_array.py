"""Images that are read from a file where they are used: HDF5, Zarr and the like."""

import hashlib
from math import prod

import numpy as np
from sklearn.utils import gen_batches

from sklearn_ckn._common.arrays import namespace

#: Bytes of images that are read at a time where all images are read in turn.
BLOCK_BYTES = 2**24

#: Images are read together with those between them if these take at most so many bytes:
#: files store blocks of images, and seeking takes time.
GAP_BYTES = 2**20


def is_lazy(X):
    """Return whether X is an array that is read when it is sliced.

    That is any object with a shape of two axes or more, a NumPy dtype of real numbers
    and slicing that is neither an array of NumPy or CuPy nor sparse.
    """
    if isinstance(X, np.ndarray | LazyArray) or namespace(X) is not np:
        return False
    shape, dtype = getattr(X, "shape", None), getattr(X, "dtype", None)
    return (
        isinstance(shape, tuple)
        and len(shape) > 1
        and isinstance(dtype, np.dtype)
        and dtype.kind in "buif"
        and dtype.itemsize <= 8
        and hasattr(X, "__getitem__")
        and not hasattr(X, "tocsr")
    )


class LazyArray:
    """Rows of a file, read when they are indexed, with some of an array's interface.

    Parameters
    ----------
    source : object
        With ``shape``, ``dtype`` and slices along the first axis.
    row_shape : tuple of int or None, default=None
        Shape of a row; None stands for that of the source.
    positions : ndarray of shape (n,), intp, or None, default=None
        Ascending positions of the rows in the source; None takes all.
    """

    def __init__(self, source, row_shape=None, positions=None):
        self._source = source
        self._positions = positions
        n = source.shape[0] if positions is None else len(positions)
        rest = source.shape[1:] if row_shape is None else row_shape
        self.shape = (int(n), *map(int, rest))
        self.dtype = source.dtype

    @property
    def ndim(self):
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self):
        """Number of values."""
        return prod(self.shape)

    @property
    def _row_bytes(self):
        return max(1, self.dtype.itemsize * prod(self.shape[1:]))

    @property
    def _rows_of_block(self):
        return max(1, BLOCK_BYTES // self._row_bytes)

    def __len__(self):
        return self.shape[0]

    def __array__(self, dtype=None, copy=None):
        """Read all rows."""
        return np.asarray(self[:], dtype=dtype)

    def reshape(self, n, *row_shape):
        """Return the same rows with another shape of each row."""
        return type(self)(self._source, row_shape, self._positions)

    def take(self, positions):
        """Return the rows at ascending positions, which are read when indexed."""
        if self._positions is not None:
            positions = self._positions[positions]
        return type(self)(self._source, self.shape[1:], positions)

    def __getitem__(self, index):
        """Read rows by a slice or an array of positions; later axes may follow."""
        rows, *others = index if isinstance(index, tuple) else (index,)
        if self._positions is None and isinstance(rows, slice) and rows.step is None:
            start, stop, _ = rows.indices(len(self))
            read = self._read(start, max(start, stop))
        else:
            places = np.arange(len(self))[rows]
            if self._positions is not None:
                places = self._positions[places]
            read = self._gather(places)
        return read[(slice(None), *others)] if others else read

    def _read(self, start, stop):
        try:
            rows = np.asarray(self._source[int(start) : int(stop)])
        except MemoryError:
            # The caller tries again with fewer rows.
            raise
        except Exception as error:
            raise OSError(
                f"The images {start} to {stop - 1} of X cannot be read: {error}"
            ) from error
        return rows.reshape(stop - start, *self.shape[1:])

    def _gather(self, places):
        """Return rows of the source at positions in any order."""
        result = np.empty((len(places), *self.shape[1:]), self.dtype)
        order = np.argsort(places, kind="stable")
        ordered = places[order]
        gap = GAP_BYTES // self._row_bytes
        for part in _runs(ordered, gap, self._rows_of_block):
            start, stop = ordered[part.start], ordered[part.stop - 1] + 1
            result[order[part]] = self._read(start, stop)[ordered[part] - start]
        return result

    def map_blocks(self, function, *arguments):
        """Apply a function to all rows, block by block.

        Parameters
        ----------
        function : callable
            Of a module. It gets a block, an array of NumPy, the position of the block's
            first row, and the other arguments.
        *arguments

        Returns
        -------
        results : iterable
            Of the blocks in their order.
        """
        for rows in gen_batches(len(self), self._rows_of_block):
            yield function(self[rows], rows.start, *arguments)

    def largest_magnitude(self):
        """Return a bound on the absolute values; NaN if one is NaN.

        Short integers are not read: their dtype is the bound.
        """
        if self.dtype.kind == "b":
            return 1.0
        if self.dtype.kind in "iu" and self.dtype.itemsize <= 2:
            limits = np.iinfo(self.dtype)
            return float(max(limits.max, -limits.min))
        return float(np.max(list(self.map_blocks(_largest_of_block))))

    def digest(self):
        """Return a hash of the shape, the dtype, all values, and the size of blocks."""
        found = hashlib.blake2b(repr((self.shape, self.dtype.str)).encode())
        for digest in self.map_blocks(_digest):
            found.update(digest)
        return found.hexdigest()


def largest_magnitude(X):
    """Return the largest absolute value of an array as a float; NaN if it holds NaN.

    Without an array of booleans or of absolute values, as large as X. Of a LazyArray it
    may be a larger bound.
    """
    if isinstance(X, LazyArray):
        return X.largest_magnitude()
    return max(float(X.max()), -float(X.min()))


def _largest_of_block(block, start):
    return largest_magnitude(block)


def _digest(block, start):
    """Return a hash of the values of a block."""
    return hashlib.blake2b(np.ascontiguousarray(block).data).digest()


def _runs(ordered, gap, length):
    """Yield slices of ascending positions that are read together.

    Parameters
    ----------
    ordered : ndarray of shape (n,)
    gap : int
        Largest number of positions that may be missing between two.
    length : int
        Largest number of rows of the file that are read together.
    """
    start = 0
    while start < len(ordered):
        last = ordered[start] + length
        stop = int(np.searchsorted(ordered, last))
        missing = np.diff(ordered[start:stop]) - 1
        wide = np.flatnonzero(missing > gap)
        stop = start + int(wide[0]) + 1 if len(wide) else stop
        yield slice(start, stop)
        start = stop
