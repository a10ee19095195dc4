"""Gaussian pooling along rows and columns of a map of responses, and its transpose."""

from cython cimport floating

from layer_geometry cimport Geometry
from vector_loops cimport add_scaled


cdef inline Py_ssize_t first_pooled(
    Py_ssize_t position, const Geometry* geometry
) noexcept nogil:
    """Return the first pooled position that a position along an axis reaches."""
    cdef Py_ssize_t s = geometry.subsampling
    if position <= geometry.radius:
        return 0
    return (position - geometry.radius + s - 1) // s


cdef inline Py_ssize_t last_pooled(
    Py_ssize_t position, Py_ssize_t size, const Geometry* geometry
) noexcept nogil:
    """Return the last pooled position, of ``size``, that a position reaches."""
    return min(size - 1, (position + geometry.radius) // geometry.subsampling)


cdef inline void pool_row(
    const floating* responses,   # IN (n_columns, n_anchors)
    const floating* taps,        # IN (2 * radius + 1,)
    floating* pooled_row,        # INOUT (pooled_width, n_anchors)
    Py_ssize_t first_column,
    Py_ssize_t n_columns,
    const Geometry* geometry,
) noexcept nogil:
    """Add the responses of consecutive columns to a row pooled along the width."""
    cdef Py_ssize_t p = geometry.n_anchors
    cdef Py_ssize_t x, i
    for x in range(first_column, first_column + n_columns):
        for i in range(
            first_pooled(x, geometry),
            last_pooled(x, geometry.pooled_width, geometry) + 1,
        ):
            add_scaled(
                pooled_row + i * p,
                responses + (x - first_column) * p,
                p,
                taps[x - i * geometry.subsampling + geometry.radius],
            )


cdef inline void pool_rows(
    const floating* pooled_row,  # IN (pooled_width, n_anchors)
    const floating* taps,        # IN (2 * radius + 1,)
    floating* pooled,            # INOUT (pooled_height, pooled_width, n_anchors)
    Py_ssize_t y,
    const Geometry* geometry,
) noexcept nogil:
    """Add row y, already pooled along the width, to the rows that it reaches."""
    cdef Py_ssize_t length = geometry.pooled_width * geometry.n_anchors
    cdef Py_ssize_t i
    for i in range(
        first_pooled(y, geometry),
        last_pooled(y, geometry.pooled_height, geometry) + 1,
    ):
        add_scaled(
            pooled + i * length,
            pooled_row,
            length,
            taps[y - i * geometry.subsampling + geometry.radius],
        )


cdef inline void unpool_rows(
    const floating* pooled,      # IN (pooled_height, pooled_width, n_anchors)
    const floating* taps,        # IN (2 * radius + 1,)
    floating* pooled_row,        # INOUT (pooled_width, n_anchors)
    Py_ssize_t y,
    const Geometry* geometry,
) noexcept nogil:
    """Add to row y, pooled along the width, the rows that it reaches."""
    cdef Py_ssize_t length = geometry.pooled_width * geometry.n_anchors
    cdef Py_ssize_t i
    for i in range(
        first_pooled(y, geometry),
        last_pooled(y, geometry.pooled_height, geometry) + 1,
    ):
        add_scaled(
            pooled_row,
            pooled + i * length,
            length,
            taps[y - i * geometry.subsampling + geometry.radius],
        )


cdef inline void unpool_row(
    const floating* pooled_row,  # IN (pooled_width, n_anchors)
    const floating* taps,        # IN (2 * radius + 1,)
    floating* responses,         # INOUT (n_columns, n_anchors)
    Py_ssize_t first_column,
    Py_ssize_t n_columns,
    const Geometry* geometry,
) noexcept nogil:
    """Add to consecutive columns the pooled columns that each reaches."""
    cdef Py_ssize_t p = geometry.n_anchors
    cdef Py_ssize_t x, i
    for x in range(first_column, first_column + n_columns):
        for i in range(
            first_pooled(x, geometry),
            last_pooled(x, geometry.pooled_width, geometry) + 1,
        ):
            add_scaled(
                responses + (x - first_column) * p,
                pooled_row + i * p,
                p,
                taps[x - i * geometry.subsampling + geometry.radius],
            )
