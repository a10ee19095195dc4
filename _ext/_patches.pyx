# cython: language_level=3, boundscheck=False, wraparound=False
"""Patches gathered as rows, and rows summed by groups."""

from cython cimport floating
from libc.string cimport memcpy, memset

include "share.pxi"


cdef struct gathering:
    const char* images
    char* patches
    const Py_ssize_t* indices
    const Py_ssize_t* tops
    const Py_ssize_t* lefts
    Py_ssize_t height
    Py_ssize_t width
    Py_ssize_t pixel_bytes
    Py_ssize_t patch_height
    Py_ssize_t patch_width
    Py_ssize_t dilation


cdef void copy_dilated_patch(const gathering* work, Py_ssize_t i) noexcept nogil:
    """Copy patch number i pixel by pixel; zeros outside its image."""
    cdef Py_ssize_t n_pixels = work.patch_height * work.patch_width
    cdef Py_ssize_t first_row = work.indices[i] * work.height
    cdef char* patch = work.patches + i * n_pixels * work.pixel_bytes
    cdef Py_ssize_t pixel, row, column
    memset(patch, 0, n_pixels * work.pixel_bytes)
    for pixel in range(n_pixels):
        row = work.tops[i] + pixel // work.patch_width * work.dilation
        column = work.lefts[i] + pixel % work.patch_width * work.dilation
        if 0 <= row < work.height and 0 <= column < work.width:
            memcpy(
                patch + pixel * work.pixel_bytes,
                work.images
                + ((first_row + row) * work.width + column) * work.pixel_bytes,
                work.pixel_bytes,
            )


cdef void copy_patch(const gathering* work, Py_ssize_t i) noexcept nogil:
    """Copy patch number i, without gaps, row by row; zeros outside its image."""
    cdef Py_ssize_t row_bytes = work.patch_width * work.pixel_bytes
    cdef Py_ssize_t top = work.tops[i], left = work.lefts[i]
    cdef Py_ssize_t first = max(0, -left)
    cdef Py_ssize_t last = min(work.patch_width, work.width - left)
    cdef Py_ssize_t image_row = work.indices[i] * work.height + top
    cdef char* patch = work.patches + i * work.patch_height * row_bytes
    cdef Py_ssize_t row
    memset(patch, 0, work.patch_height * row_bytes)
    if last <= first:
        return
    for row in range(max(0, -top), min(work.patch_height, work.height - top)):
        memcpy(
            patch + row * row_bytes + first * work.pixel_bytes,
            work.images
            + ((image_row + row) * work.width + left + first) * work.pixel_bytes,
            (last - first) * work.pixel_bytes,
        )


cdef void copy_patches(
    void* argument, Py_ssize_t first, Py_ssize_t last, int thread
) noexcept nogil:
    cdef const gathering* work = <gathering*> argument
    cdef Py_ssize_t i
    for i in range(first, last):
        if work.dilation > 1:
            copy_dilated_patch(work, i)
        else:
            copy_patch(work, i)


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
    Py_ssize_t dilation,                           # pixels from one to the next
    int n_threads,
):
    """Copy patches as rows; what lies outside an image is zero."""
    cdef Py_ssize_t n_patches = patches.shape[0]
    cdef Py_ssize_t patch_height, patch_width
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
    if dilation < 1:
        raise ValueError(f"dilation must be at least 1, not {dilation}")
    check_range("indices", indices, images.shape[0])
    cdef gathering work = gathering(
        <const char*> &images[0, 0, 0, 0],
        <char*> &patches[0, 0],
        &indices[0],
        &tops[0],
        &lefts[0],
        images.shape[1],
        images.shape[2],
        images.shape[3] * sizeof(floating),
        patch_height,
        patch_width,
        dilation,
    )
    with nogil:
        share(&copy_patches, &work, n_patches, n_patches, n_threads)


cdef struct summing:
    const void* points
    const Py_ssize_t* order
    const Py_ssize_t* starts
    double* sums
    Py_ssize_t length
    bint is_double


cdef void sum_group(
    const floating* points, const summing* work, Py_ssize_t group
) noexcept nogil:
    cdef Py_ssize_t length = work.length
    cdef double* total = work.sums + group * length
    cdef Py_ssize_t i, j
    memset(total, 0, length * sizeof(double))
    for i in range(work.starts[group], work.starts[group + 1]):
        for j in range(length):
            total[j] += points[work.order[i] * length + j]


cdef void sum_several(
    void* argument, Py_ssize_t first, Py_ssize_t last, int thread
) noexcept nogil:
    cdef summing* work = <summing*> argument
    cdef Py_ssize_t group
    for group in range(first, last):
        if work.is_double:
            sum_group(<const double*> work.points, work, group)
        else:
            sum_group(<const float*> work.points, work, group)


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
    if sums.shape[1] != length or starts.shape[0] != n_groups + 1:
        raise ValueError(
            f"sums must be of shape (n_groups, {length}), starts of one more than groups"
        )
    check_range("order", order, points.shape[0])
    check_range("starts", starts, order.shape[0] + 1)
    cdef summing work = summing(
        &points[0, 0], &order[0], &starts[0], &sums[0, 0], length, floating is double
    )
    with nogil:
        share(&sum_several, &work, n_groups, 1, n_threads)
