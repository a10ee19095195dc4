"""Lower triangles of symmetric matrices: Gram matrices, and sums of them."""

import numpy as np
from sklearn.utils import gen_batches

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.background_calls import each_in_threads
from sklearn_ckn._common.cache_blocks import cache_rows
from sklearn_ckn._common.interrupts import interruptible
from sklearn_ckn._common.lapack import lower_syrk


def lower_gram(rows, out=None):
    """Return X^T X, (d, d), for X of shape (n, d); the upper triangle may be unset.

    NumPy's product of a matrix with its own transpose also copies the lower triangle to
    the upper one, which takes as long as a small product.

    Parameters
    ----------
    rows : array of shape (n, d)
    out : array of shape (d, d) or None, default=None
        The result of an earlier call, whose memory is used again.
    """
    if namespace(rows) is not np:
        return rows.T @ rows
    d = rows.shape[1]
    if out is None:
        out = np.zeros((d, d), rows.dtype, order="F")
    multiply = interruptible(lower_syrk, rows.size * d // 2)
    return multiply(np.ascontiguousarray(rows).T, out)


def each_lower_block(function, d, xp):
    """Call a function for each block of the lower triangle of a matrix.

    On a CPU, all threads call it at the same time.

    Parameters
    ----------
    function : callable
        Of a slice of rows and one of columns. It changes the block in place.
    d : int
        Number of rows, and of columns.
    xp : module
        Namespace of the matrix, which is in Fortran order.
    """

    def call(columns):
        function(slice(columns.start, d), columns)

    blocks = list(gen_batches(d, cache_rows(d, xp)))
    if xp is np:
        each_in_threads(call, blocks)
    else:
        # A new thread would have another device of CuPy.
        for columns in blocks:
            call(columns)


def add_lower(total, matrix):
    """Add the lower triangle of a matrix to that of another in place.

    Parameters
    ----------
    total, matrix : array of shape (d, d)
        Fortran-ordered. The upper triangles are added in part.
    """

    def add(rows, columns):
        total[rows, columns] += matrix[rows, columns]

    each_lower_block(add, len(total), namespace(total))
