"""Matrix products of C-ordered arrays, on the BLAS that SciPy was built with."""

from cython cimport floating
from scipy.linalg.cython_blas cimport dgemm, sgemm


cdef inline void multiply_transposed(
    const floating* left,    # IN (n_rows, depth)
    const floating* right,   # IN (n_columns, depth)
    floating* product,       # OUT (n_rows, n_columns)
    int n_rows,
    int n_columns,
    int depth,
) noexcept nogil:
    """Compute product = left right^T."""
    # BLAS reads C-ordered arrays as their transposes: it is asked for
    # product^T = right left^T. Its prototypes lack const; it only reads these.
    cdef floating one = 1
    cdef floating zero = 0
    if floating is float:
        sgemm(
            "T", "N", &n_columns, &n_rows, &depth, &one, <float*> right, &depth,
            <float*> left, &depth, &zero, product, &n_columns,
        )
    else:
        dgemm(
            "T", "N", &n_columns, &n_rows, &depth, &one, <double*> right, &depth,
            <double*> left, &depth, &zero, product, &n_columns,
        )
