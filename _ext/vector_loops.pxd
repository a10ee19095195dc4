"""vector_loops.h by fused type."""

from cython cimport floating

cdef extern from "vector_loops.h" nogil:
    void ckn_respond_float(float*, Py_ssize_t, int, float, float, float)
    void ckn_respond_double(double*, Py_ssize_t, int, double, double, double)
    void ckn_respond_backward_float(
        float*, const float*, Py_ssize_t, int, float, float, double*
    )
    void ckn_respond_backward_double(
        double*, const double*, Py_ssize_t, int, double, double, double*
    )
    void ckn_add_scaled_float(float*, const float*, Py_ssize_t, float)
    void ckn_add_scaled_double(double*, const double*, Py_ssize_t, double)
    void ckn_add_to_double_float(double*, const float*, Py_ssize_t)
    void ckn_add_to_double_double(double*, const double*, Py_ssize_t)
    double ckn_sum_squares_float(const float*, Py_ssize_t)
    double ckn_sum_squares_double(const double*, Py_ssize_t)
    Py_ssize_t ckn_argmax_float(const float*, Py_ssize_t)
    Py_ssize_t ckn_argmax_double(const double*, Py_ssize_t)


cdef inline void respond(
    floating* row,
    Py_ssize_t n,
    int kernel,
    floating beta,
    floating norm,
    floating inverse_norm,
) noexcept nogil:
    if floating is float:
        ckn_respond_float(row, n, kernel, beta, norm, inverse_norm)
    else:
        ckn_respond_double(row, n, kernel, beta, norm, inverse_norm)


cdef inline void respond_backward(
    floating* row,
    const floating* products,
    Py_ssize_t n,
    int kernel,
    floating beta,
    floating inverse_norm,
    double* sums,
) noexcept nogil:
    if floating is float:
        ckn_respond_backward_float(row, products, n, kernel, beta, inverse_norm, sums)
    else:
        ckn_respond_backward_double(row, products, n, kernel, beta, inverse_norm, sums)


cdef inline void add_scaled(
    floating* total, const floating* row, Py_ssize_t n, floating weight
) noexcept nogil:
    if floating is float:
        ckn_add_scaled_float(total, row, n, weight)
    else:
        ckn_add_scaled_double(total, row, n, weight)


cdef inline void add_to_double(
    double* total, const floating* row, Py_ssize_t n
) noexcept nogil:
    if floating is float:
        ckn_add_to_double_float(total, row, n)
    else:
        ckn_add_to_double_double(total, row, n)


cdef inline double sum_squares(const floating* row, Py_ssize_t n) noexcept nogil:
    if floating is float:
        return ckn_sum_squares_float(row, n)
    else:
        return ckn_sum_squares_double(row, n)


cdef inline Py_ssize_t argmax(const floating* row, Py_ssize_t n) noexcept nogil:
    if floating is float:
        return ckn_argmax_float(row, n)
    else:
        return ckn_argmax_double(row, n)
