"""Sizes of one layer on one image, its patches and their norms."""

from cython cimport floating
from libc.math cimport sqrt

from patch_copies cimport copy_patch
from vector_loops cimport sum_squares

# Positions that go through one matrix product: enough rows for BLAS to run at
# full speed, few enough for patches and responses to stay in the L2 cache. A
# constant, so the products of an image have the same shapes in every batch.
cdef enum:
    POSITIONS_PER_BLOCK = 256

# Patches with a smaller norm count as zero. The caller scales every image to a
# largest value between 1/2 and 1, so this is far below rounding.
cdef extern from *:
    """
    #define CKN_SMALLEST_NORM 1e-37
    """
    const double SMALLEST_NORM "CKN_SMALLEST_NORM"

cdef struct Geometry:
    Py_ssize_t height, width, n_channels
    Py_ssize_t patch_size, pad_top, pad_left
    Py_ssize_t response_height, response_width
    Py_ssize_t n_anchors
    Py_ssize_t subsampling, radius
    Py_ssize_t pooled_height, pooled_width


cdef inline Geometry make_geometry(sizes):
    """Read the sizes, a dict by the names of the fields."""
    return sizes


cdef inline Py_ssize_t patch_length(const Geometry* geometry) noexcept nogil:
    return geometry.patch_size * geometry.patch_size * geometry.n_channels


cdef inline Py_ssize_t n_positions(const Geometry* geometry) noexcept nogil:
    return geometry.response_height * geometry.response_width


cdef inline void pixel_squares(
    const floating* image, double* squares, const Geometry* geometry
) noexcept nogil:
    """Compute the squared norm of every pixel."""
    cdef Py_ssize_t i
    for i in range(geometry.height * geometry.width):
        squares[i] = sum_squares(
            image + i * geometry.n_channels, geometry.n_channels
        )


cdef inline void patch_norms(
    const double* squares, double* norms, const Geometry* geometry
) noexcept nogil:
    """Compute the norm of the patch at every position from the pixels' squares."""
    cdef Py_ssize_t y, x, row, column, top, left, bottom, right
    cdef double total
    for y in range(geometry.response_height):
        top = max(0, y - geometry.pad_top)
        bottom = min(geometry.height, y - geometry.pad_top + geometry.patch_size)
        for x in range(geometry.response_width):
            left = max(0, x - geometry.pad_left)
            right = min(geometry.width, x - geometry.pad_left + geometry.patch_size)
            total = 0
            for row in range(top, bottom):
                for column in range(left, right):
                    total += squares[row * geometry.width + column]
            norms[y * geometry.response_width + x] = sqrt(total)


cdef inline const floating* gather_block(
    const floating* image,   # IN (height, width, n_channels)
    floating* patches,       # OUT (stop - start, patch_length), unused for k = 1
    Py_ssize_t start,
    Py_ssize_t stop,
    const Geometry* geometry,
) noexcept nogil:
    """Return consecutive positions' patches as rows: the pixels where k is 1."""
    cdef Py_ssize_t position
    if geometry.patch_size == 1:
        return image + start * geometry.n_channels
    for position in range(start, stop):
        copy_patch(
            image,
            patches + (position - start) * patch_length(geometry),
            geometry.height,
            geometry.width,
            geometry.n_channels,
            geometry.patch_size,
            position // geometry.response_width - geometry.pad_top,
            position % geometry.response_width - geometry.pad_left,
        )
    return patches
