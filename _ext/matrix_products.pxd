"""Matrix products of C-ordered arrays, on the BLAS that SciPy was built with."""

from cython cimport floating
from scipy.linalg.cython_blas cimport dgemm, sgemm


cdef inline void _gemm(
    char* transpose_first,
    char* transpose_second,
    int n_rows,
    int n_columns,
    int depth,
    const floating* first,
    int first_stride,
    const floating* second,
    int second_stride,
    floating beta,
    floating* product,
) noexcept nogil:
    """Call BLAS for a product of Fortran-ordered arrays, plus beta times it."""
    # The prototypes of BLAS lack const; it only reads its inputs.
    cdef floating one = 1
    if floating is float:
        sgemm(
            transpose_first, transpose_second, &n_rows, &n_columns, &depth, &one,
            <float*> first, &first_stride, <float*> second, &second_stride, &beta,
            product, &n_rows,
        )
    else:
        dgemm(
            transpose_first, transpose_second, &n_rows, &n_columns, &depth, &one,
            <double*> first, &first_stride, <double*> second, &second_stride, &beta,
            product, &n_rows,
        )


# BLAS reads C-ordered arrays as their transposes: each function asks it for the
# transposed product, the factors exchanged.


cdef inline void multiply(
    const floating* left,    # IN (n_rows, depth)
    const floating* right,   # IN (depth, n_columns)
    floating* product,       # OUT (n_rows, n_columns)
    int n_rows,
    int n_columns,
    int depth,
) noexcept nogil:
    """Compute product = left right."""
    _gemm(
        "N", "N", n_columns, n_rows, depth, right, n_columns, left, depth,
        <floating> 0, product,
    )


cdef inline void multiply_transposed(
    const floating* left,    # IN (n_rows, depth)
    const floating* right,   # IN (n_columns, depth)
    floating* product,       # OUT (n_rows, n_columns)
    int n_rows,
    int n_columns,
    int depth,
) noexcept nogil:
    """Compute product = left right^T."""
    _gemm(
        "T", "N", n_columns, n_rows, depth, right, depth, left, depth,
        <floating> 0, product,
    )


cdef inline void add_transposed_product(
    const floating* left,    # IN (depth, n_rows)
    const floating* right,   # IN (depth, n_columns)
    floating* total,         # INOUT (n_rows, n_columns)
    int n_rows,
    int n_columns,
    int depth,
) noexcept nogil:
    """Compute total += left^T right."""
    _gemm(
        "N", "T", n_columns, n_rows, depth, right, n_columns, left, n_rows,
        <floating> 1, total,
    )
