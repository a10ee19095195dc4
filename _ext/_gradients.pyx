# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Gradients of one layer in its anchors, projection, kernel parameter and images."""

from cython cimport floating
from cython.parallel cimport prange, threadid
from libc.string cimport memset

from layer_geometry cimport (
    POSITIONS_PER_BLOCK,
    SMALLEST_NORM,
    Geometry,
    gather_block,
    make_geometry,
    n_positions,
    patch_length,
    patch_norms,
    pixel_squares,
)
from matrix_products cimport add_transposed_product, multiply, multiply_transposed
from patch_copies cimport add_patch
from pooling cimport unpool_row, unpool_rows
from vector_loops cimport add_scaled, respond_backward

# Groups of images whose gradients are summed apart and then added in order: the
# result does not depend on the number of threads, of which no more are used.
cdef enum:
    N_GROUPS = 16


def n_groups():
    """Return the number of groups of images that gradients are summed in."""
    return N_GROUPS


def scratch_sizes(sizes):
    """Return the scratch that a thread needs: floats of the images' type, doubles."""
    cdef Geometry geometry = make_geometry(sizes)
    n = n_positions(&geometry)
    row_length = geometry.pooled_width * geometry.n_anchors
    length = patch_length(&geometry)
    return (
        min(n, POSITIONS_PER_BLOCK) * (2 * length + geometry.n_anchors)
        + (geometry.pooled_height + 1) * row_length,
        2 * geometry.height * geometry.width + n,
    )


cdef void scatter_block(
    const floating* patches,     # IN (stop - start, patch_length)
    floating* image,             # INOUT (height, width, n_channels)
    Py_ssize_t start,
    Py_ssize_t stop,
    const Geometry* geometry,
) noexcept nogil:
    """Add consecutive positions' patches to the image."""
    cdef Py_ssize_t position
    for position in range(start, stop):
        add_patch(
            patches + (position - start) * patch_length(geometry),
            image,
            geometry.height,
            geometry.width,
            geometry.n_channels,
            geometry.patch_size,
            position // geometry.response_width - geometry.pad_top,
            position % geometry.response_width - geometry.pad_left,
        )


cdef void add_radial(
    double weight,
    double* pixel_weights,       # INOUT (height, width)
    Py_ssize_t position,
    const Geometry* geometry,
) noexcept nogil:
    """Add a weight to the pixels of a patch."""
    cdef Py_ssize_t top = position // geometry.response_width - geometry.pad_top
    cdef Py_ssize_t left = position % geometry.response_width - geometry.pad_left
    cdef Py_ssize_t row, column
    for row in range(max(0, top), min(geometry.height, top + geometry.patch_size)):
        for column in range(
            max(0, left), min(geometry.width, left + geometry.patch_size)
        ):
            pixel_weights[row * geometry.width + column] += weight


cdef double backward_image(
    const floating* image,          # IN (height, width, n_channels)
    const floating* products,       # IN (n_positions, n_anchors)
    const floating* pooled,         # IN (pooled_height, pooled_width, n_anchors)
    const floating* slopes,         # IN like pooled: in the layer's output
    const floating* anchors,        # IN (n_anchors, patch_length)
    const floating* projection,     # IN (n_anchors, n_anchors), symmetric
    const floating* taps,           # IN (2 * radius + 1,)
    floating* anchor_slopes,        # INOUT (n_anchors, patch_length)
    floating* projection_slopes,    # INOUT (n_anchors, n_anchors)
    floating* image_slopes,         # OUT (height, width, n_channels), or NULL
    floating* scratch,              # see scratch_sizes
    double* double_scratch,
    int kernel,
    floating beta,
    const Geometry* geometry,
) noexcept nogil:
    """Add one image's part of the gradients; return that in beta."""
    cdef Py_ssize_t p = geometry.n_anchors
    cdef Py_ssize_t length = patch_length(geometry)
    cdef Py_ssize_t response_width = geometry.response_width
    cdef Py_ssize_t n = n_positions(geometry)
    cdef Py_ssize_t n_pixels = geometry.height * geometry.width
    cdef Py_ssize_t n_block = min(n, <Py_ssize_t> POSITIONS_PER_BLOCK)
    cdef Py_ssize_t row_length = geometry.pooled_width * p
    cdef Py_ssize_t n_pooled = geometry.pooled_height * geometry.pooled_width

    cdef double* pixel_weights = double_scratch + n_pixels
    cdef double* norms = pixel_weights + n_pixels
    cdef floating* patches = scratch
    cdef floating* patch_slopes = patches + n_block * length
    cdef floating* responses = patch_slopes + n_block * length
    cdef floating* pooled_row = responses + n_block * p
    cdef floating* pooled_slopes = pooled_row + row_length

    cdef const floating* block_patches
    cdef floating* row
    cdef Py_ssize_t block, start, stop, position, y, x, n_columns, i
    cdef double norm
    cdef double beta_slope = 0
    cdef double[2] sums

    pixel_squares(image, double_scratch, geometry)
    patch_norms(double_scratch, norms, geometry)
    if image_slopes != NULL:
        memset(image_slopes, 0, n_pixels * geometry.n_channels * sizeof(floating))
        memset(pixel_weights, 0, n_pixels * sizeof(double))

    add_transposed_product(pooled, slopes, projection_slopes, p, p, n_pooled)
    multiply_transposed(slopes, projection, pooled_slopes, n_pooled, p, p)

    for block in range((n + POSITIONS_PER_BLOCK - 1) // POSITIONS_PER_BLOCK):
        start = block * POSITIONS_PER_BLOCK
        stop = min(start + POSITIONS_PER_BLOCK, n)
        memset(responses, 0, (stop - start) * p * sizeof(floating))
        position = start
        while position < stop:
            y = position // response_width
            x = position % response_width
            n_columns = min(response_width - x, stop - position)
            if x == 0:
                memset(pooled_row, 0, row_length * sizeof(floating))
                unpool_rows(pooled_slopes, taps, pooled_row, y, geometry)
            unpool_row(
                pooled_row, taps, responses + (position - start) * p, x, n_columns,
                geometry,
            )
            position += n_columns
        for position in range(start, stop):
            row = responses + (position - start) * p
            norm = norms[position]
            if norm > SMALLEST_NORM:
                respond_backward(
                    row, products + position * p, p, kernel, beta,
                    <floating> (1 / norm), sums,
                )
                beta_slope += norm * sums[1]
                if image_slopes != NULL:
                    add_radial(sums[0] / norm, pixel_weights, position, geometry)
            else:
                memset(row, 0, p * sizeof(floating))
        block_patches = gather_block(image, patches, start, stop, geometry)
        add_transposed_product(
            responses, block_patches, anchor_slopes, p, length, stop - start
        )
        if image_slopes != NULL:
            multiply(responses, anchors, patch_slopes, stop - start, length, p)
            scatter_block(patch_slopes, image_slopes, start, stop, geometry)

    if image_slopes != NULL:
        for i in range(n_pixels):
            add_scaled(
                image_slopes + i * geometry.n_channels,
                image + i * geometry.n_channels,
                geometry.n_channels,
                <floating> pixel_weights[i],
            )
    return beta_slope


def backward_layer(
    const floating[:, :, :, ::1] images,      # IN (n, height, width, n_channels)
    const floating[:, :, ::1] products,       # IN (n, n_positions, p)
    const floating[:, :, :, ::1] pooled,      # IN (n, pooled_height, pooled_width, p)
    const floating[:, :, :, ::1] slopes,      # IN like pooled
    const floating[:, ::1] anchors,           # IN (n_anchors, patch_length)
    const floating[:, ::1] projection,        # IN (n_anchors, n_anchors)
    const floating[::1] taps,                 # IN (2 * radius + 1,)
    floating[:, :, ::1] anchor_slopes,        # OUT (n_groups, p, patch_length)
    floating[:, :, ::1] projection_slopes,    # OUT (n_groups, p, p)
    double[::1] beta_slopes,                  # OUT (n_groups,)
    floating[:, :, :, ::1] image_slopes,      # OUT like images, or None
    floating[:, ::1] scratch,                 # (n_threads, ...), see scratch_sizes
    double[:, ::1] double_scratch,            # (n_threads, ...)
    int kernel,
    double beta,
    sizes,
):
    """Sum the gradients of every group of images, each by one thread in order."""
    cdef Py_ssize_t n_images = images.shape[0]
    cdef Py_ssize_t n_groups = anchor_slopes.shape[0]
    cdef int n_threads = scratch.shape[0]
    cdef bint to_images = image_slopes is not None
    cdef Py_ssize_t group, i
    cdef int thread
    cdef Geometry geometry = make_geometry(sizes)
    cdef Py_ssize_t p = geometry.n_anchors
    cdef Py_ssize_t length = patch_length(&geometry)

    for group in prange(
        n_groups, nogil=True, schedule="dynamic", num_threads=n_threads
    ):
        thread = threadid()
        memset(&anchor_slopes[group, 0, 0], 0, p * length * sizeof(floating))
        memset(&projection_slopes[group, 0, 0], 0, p * p * sizeof(floating))
        beta_slopes[group] = 0
        for i in range(
            group * n_images // n_groups, (group + 1) * n_images // n_groups
        ):
            beta_slopes[group] += backward_image(
                &images[i, 0, 0, 0],
                &products[i, 0, 0],
                &pooled[i, 0, 0, 0],
                &slopes[i, 0, 0, 0],
                &anchors[0, 0],
                &projection[0, 0],
                &taps[0],
                &anchor_slopes[group, 0, 0],
                &projection_slopes[group, 0, 0],
                &image_slopes[i, 0, 0, 0] if to_images else NULL,
                &scratch[thread, 0],
                &double_scratch[thread, 0],
                kernel,
                <floating> beta,
                &geometry,
            )
