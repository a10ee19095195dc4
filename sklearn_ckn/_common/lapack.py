"""Functions of SciPy's BLAS and LAPACK that release Python's lock.

The Python wrappers of SciPy keep the lock: until they return, no other thread runs and
no interrupt is handled. SciPy also offers the functions to Cython. Called through
ctypes, which releases the lock, these compute the same bits.
"""

import ctypes
from ctypes import byref, c_char, c_int
from functools import cache

import numpy as np
from scipy.linalg import cython_blas, cython_lapack, lapack

#: Largest matrix for ``syevd``. LAPACK computes the size of its workspace, 1 + 6 n +
#: 2 n^2 numbers, as a 32-bit integer, and writes outside of it if it overflows.
LARGEST_SYEVD = 32_766

_get_name = ctypes.pythonapi.PyCapsule_GetName
_get_name.restype, _get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype = ctypes.c_void_p
_get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


@cache
def _function(module, name):
    capsule = module.__pyx_capi__[name]
    return ctypes.CFUNCTYPE(None)(_get_pointer(capsule, _get_name(capsule)))


def _data(array):
    return ctypes.c_void_p(array.ctypes.data)


def syevd(matrix):
    """Compute eigenvalues and eigenvectors like ``scipy.linalg.eigh(driver="evd")``.

    Parameters
    ----------
    matrix : ndarray of shape (n, n), float64
        Fortran-ordered. Only the lower triangle is read; the eigenvectors overwrite the
        matrix. n is at most ``LARGEST_SYEVD``.

    Returns
    -------
    eigenvalues : ndarray of shape (n,)
    eigenvectors : ndarray of shape (n, n)

    Raises
    ------
    numpy.linalg.LinAlgError
        The algorithm does not converge.
    """
    n = len(matrix)
    # The sizes that SciPy uses: with others LAPACK would divide the work differently.
    lwork, liwork, _ = lapack.dsyevd_lwork(n, compute_v=1, lower=1)
    lwork, liwork = int(lwork), int(liwork)
    eigenvalues, work = np.empty(n), np.empty(lwork)
    integer_work, info = np.empty(liwork, np.intc), c_int()
    _function(cython_lapack, "dsyevd")(
        byref(c_char(b"V")),
        byref(c_char(b"L")),
        byref(c_int(n)),
        _data(matrix),
        byref(c_int(n)),
        _data(eigenvalues),
        _data(work),
        byref(c_int(lwork)),
        _data(integer_work),
        byref(c_int(liwork)),
        byref(info),
    )
    if info.value:
        raise np.linalg.LinAlgError(
            f"the eigenvalues do not converge (LAPACK's dsyevd returns {info.value})"
        )
    return eigenvalues, matrix


def lower_syrk(columns, out):
    """Compute the lower triangle of X^T X.

    Parameters
    ----------
    columns : ndarray of shape (d, n), float32 or float64
        X^T, Fortran-ordered.
    out : ndarray of shape (d, d), dtype of the columns
        Fortran-ordered. Its lower triangle is overwritten.

    Returns
    -------
    out : ndarray of shape (d, d)
    """
    d, n = columns.shape
    is_double = columns.dtype == np.float64
    real = ctypes.c_double if is_double else ctypes.c_float
    _function(cython_blas, "dsyrk" if is_double else "ssyrk")(
        byref(c_char(b"L")),
        byref(c_char(b"N")),
        byref(c_int(d)),
        byref(c_int(n)),
        byref(real(1)),
        _data(columns),
        byref(c_int(d)),
        byref(real(0)),
        _data(out),
        byref(c_int(d)),
    )
    return out


def potrf(matrix):
    """Compute the Cholesky factor of a positive definite matrix.

    Parameters
    ----------
    matrix : ndarray of shape (n, n), float64
        Fortran-ordered. Its lower triangle is overwritten by the factor L; the upper
        one is neither read nor written.

    Returns
    -------
    matrix : ndarray of shape (n, n)

    Raises
    ------
    numpy.linalg.LinAlgError
        The matrix is not positive definite, to rounding.
    """
    n, info = len(matrix), c_int()
    _function(cython_lapack, "dpotrf")(
        byref(c_char(b"L")),
        byref(c_int(n)),
        _data(matrix),
        byref(c_int(n)),
        byref(info),
    )
    if info.value:
        raise np.linalg.LinAlgError(
            "the matrix is not positive definite "
            f"(LAPACK's dpotrf returns {info.value})"
        )
    return matrix


def lower_trsm(lower, right, transposed):
    """Solve L x = b or L^T x = b for several b.

    Parameters
    ----------
    lower : ndarray of shape (n, n), float32 or float64
        Fortran-ordered, with L in the lower triangle.
    right : ndarray of shape (n, m), dtype of ``lower``
        Fortran-ordered. The solutions overwrite it.
    transposed : bool
        Whether to solve with L^T.

    Returns
    -------
    right : ndarray of shape (n, m)
    """
    n, m = right.shape
    is_double = lower.dtype == np.float64
    real = ctypes.c_double if is_double else ctypes.c_float
    _function(cython_blas, "dtrsm" if is_double else "strsm")(
        byref(c_char(b"L")),
        byref(c_char(b"L")),
        byref(c_char(b"T" if transposed else b"N")),
        byref(c_char(b"N")),
        byref(c_int(n)),
        byref(c_int(m)),
        byref(real(1)),
        _data(lower),
        byref(c_int(n)),
        _data(right),
        byref(c_int(n)),
    )
    return right
