"""Patches of an image as rows of a matrix."""

from cython cimport floating
from libc.string cimport memcpy, memset

from vector_loops cimport add_scaled


cdef inline void copy_patch(
    const floating* image,   # IN (height, width, n_channels)
    floating* patch,         # OUT (patch_size, patch_size, n_channels)
    Py_ssize_t height,
    Py_ssize_t width,
    Py_ssize_t n_channels,
    Py_ssize_t patch_size,
    Py_ssize_t top,
    Py_ssize_t left,
) noexcept nogil:
    """Copy the patch whose first pixel is (top, left); zeros outside the image."""
    cdef Py_ssize_t row_length = patch_size * n_channels
    cdef Py_ssize_t first = max(0, -left)
    cdef Py_ssize_t last = min(patch_size, width - left)
    cdef Py_ssize_t row
    if last <= first or top >= height or top + patch_size <= 0:
        memset(patch, 0, patch_size * row_length * sizeof(floating))
        return
    cdef Py_ssize_t n_before = first * n_channels
    cdef Py_ssize_t n_inside = (last - first) * n_channels
    cdef Py_ssize_t n_after = row_length - n_before - n_inside
    for row in range(top, top + patch_size):
        if row < 0 or row >= height:
            memset(patch, 0, row_length * sizeof(floating))
        else:
            if n_before > 0:
                memset(patch, 0, n_before * sizeof(floating))
            memcpy(
                patch + n_before,
                image + (row * width + left + first) * n_channels,
                n_inside * sizeof(floating),
            )
            if n_after > 0:
                memset(
                    patch + n_before + n_inside, 0, n_after * sizeof(floating)
                )
        patch += row_length


cdef inline void add_patch(
    const floating* patch,   # IN (patch_size, patch_size, n_channels)
    floating* image,         # INOUT (height, width, n_channels)
    Py_ssize_t height,
    Py_ssize_t width,
    Py_ssize_t n_channels,
    Py_ssize_t patch_size,
    Py_ssize_t top,
    Py_ssize_t left,
) noexcept nogil:
    """Add a patch at (top, left) to an image; what lies outside is dropped."""
    cdef Py_ssize_t row_length = patch_size * n_channels
    cdef Py_ssize_t first = max(0, -left)
    cdef Py_ssize_t last = min(patch_size, width - left)
    cdef Py_ssize_t row
    if last <= first:
        return
    for row in range(max(0, -top), min(patch_size, height - top)):
        add_scaled(
            image + ((top + row) * width + left + first) * n_channels,
            patch + row * row_length + first * n_channels,
            (last - first) * n_channels,
            <floating> 1,
        )
