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


cdef int check_range(name, const Py_ssize_t[::1] values, Py_ssize_t end) except -1:
    """Raise unless all values are at least 0 and less than end."""
    cdef Py_ssize_t i
    cdef bint inside = True
    for i in range(values.shape[0]):
        inside &= 0 <= values[i] < end
    if not inside:
        raise ValueError(f"{name} must be from 0 to {end - 1}")
    return 0


def gather_patches(
    const floating[:, :, :, ::1] images not None,  # IN (n, height, width, n_channels)
    const Py_ssize_t[::1] indices not None,        # IN (n_patches,) their images
    const Py_ssize_t[::1] tops not None,           # IN (n_patches,) their first rows
    const Py_ssize_t[::1] lefts not None,          # IN (n_patches,) and columns
    floating[:, ::1] patches not None,             # OUT (n_patches, patch_length)
    patch_shape,                                   # (height, width)
    int n_threads,
):
    """Copy patches as rows; what lies outside an image is zero."""
    cdef Py_ssize_t n_patches = patches.shape[0]
    cdef Py_ssize_t i, patch_height, patch_width
    patch_height, patch_width = patch_shape
    if not (indices.shape[0] == tops.shape[0] == lefts.shape[0] == n_patches):
        raise ValueError("indices, tops, lefts and patches must be of one length")
    if min(patch_height, patch_width) < 1 or (
        patches.shape[1] != patch_height * patch_width * images.shape[3]
    ):
        raise ValueError(
            f"patches of length {patches.shape[1]} are not {patch_height} x "
            f"{patch_width} pixels of {images.shape[3]} values"
        )
    check_range("indices", indices, images.shape[0])
    for i in prange(
        n_patches, nogil=True, schedule="static", num_threads=n_threads
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
    const floating[:, ::1] points not None,  # IN (n_points, length)
    const Py_ssize_t[::1] order not None,    # IN (n_points,) points sorted by group
    const Py_ssize_t[::1] starts not None,   # IN (n_groups + 1,) each group's in order
    double[:, ::1] sums not None,            # OUT (n_groups, length)
    int n_threads,
):
    """Add the points of every group, each group on one thread in a fixed order."""
    cdef Py_ssize_t n_groups = sums.shape[0]
    cdef Py_ssize_t length = points.shape[1]
    cdef Py_ssize_t group, i, j
    if sums.shape[1] != length or starts.shape[0] != n_groups + 1:
        raise ValueError(
            f"sums must be of shape (n_groups, {length}), starts of one more than groups"
        )
    check_range("order", order, points.shape[0])
    check_range("starts", starts, order.shape[0] + 1)
    for group in prange(n_groups, nogil=True, schedule="dynamic", num_threads=n_threads):
        memset(&sums[group, 0], 0, length * sizeof(double))
        for i in range(starts[group], starts[group + 1]):
            for j in range(length):
                sums[group, j] += points[order[i], j]
