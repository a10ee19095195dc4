# cython: language_level=3, boundscheck=False, wraparound=False
"""Patches gathered as rows, and rows summed by groups."""

from cython cimport floating
from cython.parallel cimport prange
from libc.string cimport memcpy, memset


cdef void copy_patch(
    const floating* image,   # IN (height, width, n_channels)
    floating* patch,         # OUT (patch_height, patch_width, n_channels)
    Py_ssize_t height,
    Py_ssize_t width,
    Py_ssize_t n_channels,
    Py_ssize_t patch_height,
    Py_ssize_t patch_width,
    Py_ssize_t top,
    Py_ssize_t left,
) noexcept nogil:
    """Copy the patch whose first pixel is (top, left); zeros outside the image."""
    cdef Py_ssize_t row_length = patch_width * n_channels
    cdef Py_ssize_t first = max(0, -left)
    cdef Py_ssize_t last = min(patch_width, width - left)
    cdef Py_ssize_t row
    memset(patch, 0, patch_height * row_length * sizeof(floating))
    if last <= first:
        return
    for row in range(max(0, -top), min(patch_height, height - top)):
        memcpy(
            patch + row * row_length + first * n_channels,
            image + ((top + row) * width + left + first) * n_channels,
            (last - first) * n_channels * sizeof(floating),
        )


def gather_patches(
    const floating[:, :, :, ::1] images,   # IN (n, height, width, n_channels)
    const Py_ssize_t[::1] indices,         # IN (n_patches,) image of each patch
    const Py_ssize_t[::1] tops,            # IN (n_patches,) its first row
    const Py_ssize_t[::1] lefts,           # IN (n_patches,) its first column
    floating[:, ::1] patches,              # OUT (n_patches, patch_length)
    patch_shape,                           # (height, width)
    int n_threads,
):
    """Copy patches as rows; what lies outside an image is zero."""
    cdef Py_ssize_t i, patch_height, patch_width
    patch_height, patch_width = patch_shape
    for i in prange(
        indices.shape[0], nogil=True, schedule="static", num_threads=n_threads
    ):
        copy_patch(
            &images[indices[i], 0, 0, 0],
            &patches[i, 0],
            images.shape[1],
            images.shape[2],
            images.shape[3],
            patch_height,
            patch_width,
            tops[i],
            lefts[i],
        )


def sum_groups(
    const floating[:, ::1] points,    # IN (n_points, length)
    const Py_ssize_t[::1] order,      # IN (n_points,) points sorted by group
    const Py_ssize_t[::1] starts,     # IN (n_groups + 1,) each group's part of order
    double[:, ::1] sums,              # OUT (n_groups, length)
    int n_threads,
):
    """Add the points of every group, each group on one thread in a fixed order."""
    cdef Py_ssize_t n_groups = sums.shape[0]
    cdef Py_ssize_t length = points.shape[1]
    cdef Py_ssize_t group, i, j
    for group in prange(n_groups, nogil=True, schedule="dynamic", num_threads=n_threads):
        memset(&sums[group, 0], 0, length * sizeof(double))
        for i in range(starts[group], starts[group + 1]):
            for j in range(length):
                sums[group, j] += points[order[i], j]
