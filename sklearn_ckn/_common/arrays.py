"""What NumPy with SciPy and CuPy offer under different names.

The namespace of an array is the module that computes with it: ``numpy`` or ``cupy``.
Most algorithms need nothing but this module and the array's own methods.
"""

import sys
from importlib import import_module

import numpy as np
import scipy.linalg

from sklearn_ckn._common.interrupts import interruptible
from sklearn_ckn._common.lapack import lower_syrk, syevd


def namespace(*arrays):
    """Return ``cupy`` if one of the arrays is on a GPU, else ``numpy``."""
    # Whoever holds an array of CuPy has imported it.
    cupy = sys.modules.get("cupy")
    device_type = getattr(cupy, "ndarray", None)
    if device_type is None:
        return np
    return cupy if any(isinstance(each, device_type) for each in arrays) else np


def to_numpy(array):
    """Return an array of CuPy as one of NumPy, and anything else as it is."""
    return array if namespace(array) is np else array.get()


def to_namespace(array, xp):
    """Return an array as one of the namespace ``xp``, without a copy if it is one."""
    return to_numpy(array) if xp is np else xp.asarray(array)


def special_functions(xp):
    """Return the module of ``expit``, ``softmax`` and their logarithms."""
    return import_module("scipy.special" if xp is np else "cupyx.scipy.special")


def take_labels(labels, positions):
    """Return labels at positions, where the positions are if CuPy has their dtype.

    Parameters
    ----------
    labels : ndarray of shape (n_classes,)
    positions : array of shape (n,), int or bool

    Returns
    -------
    taken : array of shape (n,), dtype of ``labels``
        NumPy's for strings and other objects, wherever the positions are.
    """
    xp = namespace(positions)
    # CuPy has numbers of up to 64 bits, in the byte order of the machine.
    dtype = labels.dtype.newbyteorder("=")
    if xp is np or dtype.kind not in "buif" or dtype.itemsize > 8:
        return labels[to_numpy(positions).astype(np.intp)]
    return xp.asarray(labels.astype(dtype))[positions.astype(np.intp)]


def _raising_errors():
    """Let cuSOLVER's failures raise LinAlgError, which CuPy else ignores."""
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
    """Decompose a symmetric matrix, of which the lower triangle is read.

    Parameters
    ----------
    matrix : array of shape (n, n)
    **options
        Of :func:`scipy.linalg.eigh`, for arrays of NumPy.

    Returns
    -------
    eigenvalues : array of shape (n,)
        Ascending.
    eigenvectors : array of shape (n, n)
        In the columns.

    Raises
    ------
    numpy.linalg.LinAlgError
        The decomposition failed.
    """
    xp = namespace(matrix)
    if xp is np:
        if options.get("driver") == "evd" and options.get("overwrite_a"):
            # The same by other ways, which Ctrl-C can leave.
            return interruptible(syevd, 4 * len(matrix) ** 3)(matrix)
        return scipy.linalg.eigh(matrix, lower=True, **options)
    with _raising_errors():
        eigenvalues, eigenvectors = xp.linalg.eigh(matrix)
    return _check_finite(eigenvalues), eigenvectors


def cholesky_solver(matrix):
    """Factor a positive definite matrix and return a function that solves with it.

    Parameters
    ----------
    matrix : array of shape (n, n), float64
        The lower triangle is read; overwritten.

    Returns
    -------
    solve : callable
        From a right-hand side of shape (n,) or (n, m) to the solution.

    Raises
    ------
    numpy.linalg.LinAlgError
        The matrix is not positive definite.
    """
    xp = namespace(matrix)
    if xp is np:
        factor = scipy.linalg.cho_factor(
            matrix, lower=True, overwrite_a=True, check_finite=False
        )
        return lambda right: scipy.linalg.cho_solve(factor, right, check_finite=False)
    with _raising_errors():
        lower = xp.linalg.cholesky(matrix)
    # What is wrong anywhere in a factor reaches its diagonal.
    _check_finite(lower.diagonal())
    solve_triangular = import_module("cupyx.scipy.linalg").solve_triangular

    def solve(right):
        half = solve_triangular(lower, right, lower=True)
        return solve_triangular(lower, half, trans=1, lower=True)

    return solve


def lower_gram(rows, out=None):
    """Return X^T X, (d, d), of X of shape (n, d); only the lower triangle need be set.

    NumPy's product of a matrix with its own transpose would mirror the triangle, which
    takes as long as a small product.

    Parameters
    ----------
    rows : array of shape (n, d)
    out : array of shape (d, d) or None, default=None
        What an earlier call returned, whose memory may be overwritten.
    """
    if namespace(rows) is not np:
        return rows.T @ rows
    d = rows.shape[1]
    if out is None:
        out = np.zeros((d, d), rows.dtype, order="F")
    multiply = interruptible(lower_syrk, rows.size * d // 2)
    return multiply(np.ascontiguousarray(rows).T, out)


def matmul(left, right):
    """Return the product of two matrices, which Ctrl-C leaves at any time."""
    xp = namespace(left)
    if xp is not np:
        return left @ right
    return interruptible(np.matmul, left.size * right.shape[1])(left, right)
