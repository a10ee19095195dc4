"""Operations whose names differ between NumPy with SciPy and CuPy.

The namespace of an array is the module that computes with it: ``numpy`` or ``cupy``.
Most algorithms need only the namespace and the methods of the array.
"""

import sys
from importlib import import_module

import numpy as np
import scipy.linalg

from sklearn_ckn._common.background_calls import each_in_threads
from sklearn_ckn._common.interrupts import interruptible
from sklearn_ckn._common.lapack import potrf, syevd

# Largest matrix on a GPU that the CPU decomposes: it needs 1 ms for 128 rows and 20 ms
# for 512, where cuSOLVER launches hundreds of small kernels one after the other.
LARGEST_ON_CPU = 512

# Sum of the cubes of the sizes of all matrices but the largest, which take about a
# millisecond together, from which on several threads are faster.
MIN_SHARED_CUBES = 120**3


def namespace(*arrays):
    """Return ``cupy`` if one of the arrays is on a GPU, else ``numpy``."""
    # Where there is an array of CuPy, CuPy has been imported.
    cupy = sys.modules.get("cupy")
    device_type = getattr(cupy, "ndarray", None)
    if device_type is None:
        return np
    return cupy if any(isinstance(each, device_type) for each in arrays) else np


def to_numpy(array):
    """Return an array of CuPy as one of NumPy, and anything else as it is."""
    return array if namespace(array) is np else array.get()


def to_namespace(array, xp):
    """Return an array of the namespace ``xp``, without a copy if it already is one."""
    return to_numpy(array) if xp is np else xp.asarray(array)


def special_functions(xp):
    """Return the module with ``expit``, ``softmax`` and their logarithms."""
    return import_module("scipy.special" if xp is np else "cupyx.scipy.special")


def take_labels(labels, positions):
    """Return labels at positions, on the device of the positions if CuPy can hold them.

    Parameters
    ----------
    labels : ndarray of shape (n_classes,)
    positions : array of shape (n,), int or bool

    Returns
    -------
    taken : array of shape (n,), dtype of ``labels``
        For strings and other objects always an array of NumPy.
    """
    xp = namespace(positions)
    # CuPy holds numbers of up to 64 bits in the byte order of the machine.
    dtype = labels.dtype.newbyteorder("=")
    if xp is np or dtype.kind not in "buif" or dtype.itemsize > 8:
        return labels[to_numpy(positions).astype(np.intp)]
    return xp.asarray(labels.astype(dtype))[positions.astype(np.intp)]


def _raising_errors():
    """Make failures of cuSOLVER raise LinAlgError; by default CuPy ignores them."""
    return import_module("cupyx").errstate(linalg="raise")


def _check_finite(array):
    """Return an array of CuPy; raise LinAlgError where a decomposition failed."""
    if not bool(namespace(array).isfinite(array).all()):
        raise np.linalg.LinAlgError(
            "a decomposition by cuSOLVER is not finite: the matrix holds NaN or "
            "infinity, or is singular to rounding"
        )
    return array


def eigh(matrix, **options):
    """Compute eigenvalues and eigenvectors of a symmetric matrix.

    Parameters
    ----------
    matrix : array of shape (n, n)
        Only the lower triangle is read.
    **options
        Options of :func:`scipy.linalg.eigh`, used for arrays of NumPy.

    Returns
    -------
    eigenvalues : array of shape (n,)
        In ascending order.
    eigenvectors : array of shape (n, n)
        As columns.

    Raises
    ------
    numpy.linalg.LinAlgError
        The decomposition failed.
    """
    xp = namespace(matrix)
    if xp is np:
        if options.get("driver") == "evd" and options.get("overwrite_a"):
            # The same computation, called in a way that Ctrl-C can interrupt.
            return interruptible(syevd, 4 * len(matrix) ** 3)(matrix)
        return scipy.linalg.eigh(matrix, lower=True, **options)
    with _raising_errors():
        eigenvalues, eigenvectors = xp.linalg.eigh(matrix)
    return _check_finite(eigenvalues), eigenvectors


def eigh_each(matrices):
    """Compute eigenvalues and eigenvectors of small symmetric matrices in float64.

    The matrices are decomposed at the same time, each by one thread, if that is faster.
    Those of a GPU are copied to the CPU and back.

    Parameters
    ----------
    matrices : list of array of shape (n, n), float64
        Only the lower triangles are read.

    Returns
    -------
    pairs : list of (array of shape (n,), array of shape (n, n))
        Eigenvalues in ascending order and eigenvectors as columns.

    Raises
    ------
    numpy.linalg.LinAlgError
        A decomposition failed.
    """
    xp = namespace(*matrices)
    if xp is not np and max(map(len, matrices)) > LARGEST_ON_CPU:
        return [eigh(matrix) for matrix in matrices]
    copies = [np.array(to_numpy(matrix), order="F") for matrix in matrices]
    if not all(np.isfinite(matrix).all() for matrix in copies):
        raise np.linalg.LinAlgError("a matrix to decompose holds NaN or infinity")
    sizes = sorted(map(len, copies))
    if sum(size**3 for size in sizes[:-1]) < MIN_SHARED_CUBES:
        pairs = map(syevd, copies)
    else:
        pairs = each_in_threads(syevd, copies)
    return [tuple(to_namespace(each, xp) for each in pair) for pair in pairs]


def add_to_diagonal(matrix, values):
    """Add values to the diagonal of a matrix in place."""
    diagonal = namespace(matrix).arange(len(matrix))
    matrix[diagonal, diagonal] += values


def cholesky_solver(matrix):
    """Factorise a positive definite matrix and return a function that solves with it.

    Parameters
    ----------
    matrix : array of shape (n, n), float64
        Only the lower triangle is read; the matrix is overwritten.

    Returns
    -------
    solve : callable
        Maps a right-hand side of shape (n,) or (n, m) to the solution.

    Raises
    ------
    numpy.linalg.LinAlgError
        The matrix is not positive definite.
    """
    xp = namespace(matrix)
    if xp is np:
        work = len(matrix) ** 3 / 6
        factor = interruptible(potrf, work)(np.asfortranarray(matrix)), True
        return lambda right: scipy.linalg.cho_solve(factor, right, check_finite=False)
    with _raising_errors():
        lower = xp.linalg.cholesky(matrix)
    # NaN or infinity anywhere in a factor also reaches its diagonal.
    _check_finite(lower.diagonal())
    solve_triangular = import_module("cupyx.scipy.linalg").solve_triangular

    def solve(right):
        half = solve_triangular(lower, right, lower=True)
        return solve_triangular(lower, half, trans=1, lower=True)

    return solve


def matmul(left, right):
    """Return the product of two matrices; Ctrl-C can interrupt it."""
    xp = namespace(left)
    if xp is not np:
        return left @ right
    return interruptible(np.matmul, left.size * right.shape[1])(left, right)
