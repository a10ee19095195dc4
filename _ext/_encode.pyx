# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""One layer of the network applied to a block of images, on the CPU."""

from cython cimport floating
from cython.parallel cimport prange, threadid
from libc.math cimport sqrt
from libc.string cimport memset

from matrix_products cimport multiply_transposed
from patch_copies cimport copy_patch
from vector_loops cimport add_scaled, respond, sum_squares

# Positions that go through one matrix product: enough rows for BLAS to run at
# full speed, few enough for patches and responses to stay in the L2 cache. A
# constant, so the products of an image have the same shapes in every batch.
cdef enum:
    POSITIONS_PER_BLOCK = 256

# Patches with a smaller norm count as zero. The caller scales every image to a
# largest value between 1/2 and 1, so this is far below rounding.
cdef double SMALLEST_NORM = 1e-37

cdef struct Geometry:
    Py_ssize_t height, width, n_channels
    Py_ssize_t patch_size, pad_top, pad_left
    Py_ssize_t response_height, response_width
    Py_ssize_t n_anchors
    Py_ssize_t subsampling, radius
    Py_ssize_t pooled_height, pooled_width


def scratch_sizes(
    Py_ssize_t height,
    Py_ssize_t width,
    Py_ssize_t patch_length,
    Py_ssize_t n_anchors,
    Py_ssize_t n_positions,
    Py_ssize_t pooled_height,
    Py_ssize_t pooled_width,
):
    """Return the scratch that a thread needs: floats of the images' type, doubles."""
    n_block = min(n_positions, POSITIONS_PER_BLOCK)
    return (
        n_block * (patch_length + n_anchors)
        + (pooled_height + 1) * pooled_width * n_anchors,
        height * width + n_positions,
    )


cdef void pixel_squares(
    const floating* image, double* squares, const Geometry* geometry
) noexcept nogil:
    """Compute the squared norm of every pixel."""
    cdef Py_ssize_t i
    for i in range(geometry.height * geometry.width):
        squares[i] = sum_squares(
            image + i * geometry.n_channels, geometry.n_channels
        )


cdef void patch_norms(
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


cdef void pool_row(
    const floating* responses,   # IN (n_columns, n_anchors)
    const floating* taps,        # IN (2 * radius + 1,)
    floating* pooled_row,        # INOUT (pooled_width, n_anchors)
    Py_ssize_t first_column,
    Py_ssize_t n_columns,
    const Geometry* geometry,
) noexcept nogil:
    """Add the responses of consecutive columns to a row pooled along the width."""
    cdef Py_ssize_t p = geometry.n_anchors
    cdef Py_ssize_t s = geometry.subsampling
    cdef Py_ssize_t radius = geometry.radius
    cdef Py_ssize_t x, i, first, last
    for x in range(first_column, first_column + n_columns):
        first = (x - radius + s - 1) // s if x > radius else 0
        last = min(geometry.pooled_width - 1, (x + radius) // s)
        for i in range(first, last + 1):
            add_scaled(
                pooled_row + i * p,
                responses + (x - first_column) * p,
                p,
                taps[x - i * s + radius],
            )


cdef void pool_rows(
    const floating* pooled_row,  # IN (pooled_width, n_anchors)
    const floating* taps,        # IN (2 * radius + 1,)
    floating* pooled,            # INOUT (pooled_height, pooled_width, n_anchors)
    Py_ssize_t y,
    const Geometry* geometry,
) noexcept nogil:
    """Add row y, already pooled along the width, to the rows that it reaches."""
    cdef Py_ssize_t s = geometry.subsampling
    cdef Py_ssize_t radius = geometry.radius
    cdef Py_ssize_t length = geometry.pooled_width * geometry.n_anchors
    cdef Py_ssize_t first = (y - radius + s - 1) // s if y > radius else 0
    cdef Py_ssize_t last = min(geometry.pooled_height - 1, (y + radius) // s)
    cdef Py_ssize_t i
    for i in range(first, last + 1):
        add_scaled(pooled + i * length, pooled_row, length, taps[y - i * s + radius])


cdef void encode_image(
    const floating* image,       # IN (height, width, n_channels)
    const floating* anchors,     # IN (n_anchors, patch_length)
    const floating* projection,  # IN (n_anchors, n_anchors), symmetric
    const floating* taps,        # IN (2 * radius + 1,)
    floating* output,            # OUT (pooled_height, pooled_width, n_anchors)
    floating* scratch,           # see scratch_sizes
    double* double_scratch,
    int kernel,
    floating beta,
    const Geometry* geometry,
) noexcept nogil:
    cdef Py_ssize_t p = geometry.n_anchors
    cdef Py_ssize_t k = geometry.patch_size
    cdef Py_ssize_t patch_length = k * k * geometry.n_channels
    cdef Py_ssize_t response_width = geometry.response_width
    cdef Py_ssize_t n_positions = geometry.response_height * response_width
    cdef Py_ssize_t n_block = min(n_positions, <Py_ssize_t> POSITIONS_PER_BLOCK)
    cdef Py_ssize_t row_length = geometry.pooled_width * p
    cdef Py_ssize_t pooled_length = geometry.pooled_height * row_length

    cdef double* norms = double_scratch + geometry.height * geometry.width
    cdef floating* patches = scratch
    cdef floating* responses = patches + n_block * patch_length
    cdef floating* pooled_row = responses + n_block * p
    cdef floating* pooled = pooled_row + row_length

    cdef const floating* block_patches
    cdef Py_ssize_t block, start, stop, position, y, x, n_columns
    cdef double norm

    pixel_squares(image, double_scratch, geometry)
    patch_norms(double_scratch, norms, geometry)
    memset(pooled, 0, pooled_length * sizeof(floating))

    for block in range((n_positions + POSITIONS_PER_BLOCK - 1) // POSITIONS_PER_BLOCK):
        start = block * POSITIONS_PER_BLOCK
        stop = min(start + POSITIONS_PER_BLOCK, n_positions)
        if k == 1:
            block_patches = image + start * geometry.n_channels
        else:
            for position in range(start, stop):
                copy_patch(
                    image,
                    patches + (position - start) * patch_length,
                    geometry.height,
                    geometry.width,
                    geometry.n_channels,
                    k,
                    position // response_width - geometry.pad_top,
                    position % response_width - geometry.pad_left,
                )
            block_patches = patches
        multiply_transposed(
            block_patches, anchors, responses, stop - start, p, patch_length
        )
        for position in range(start, stop):
            norm = norms[position]
            if norm > SMALLEST_NORM:
                respond(
                    responses + (position - start) * p, p, kernel, beta,
                    <floating> norm, <floating> (1 / norm),
                )
            else:
                memset(responses + (position - start) * p, 0, p * sizeof(floating))
        position = start
        while position < stop:
            y = position // response_width
            x = position % response_width
            n_columns = min(response_width - x, stop - position)
            if x == 0:
                memset(pooled_row, 0, row_length * sizeof(floating))
            pool_row(
                responses + (position - start) * p, taps, pooled_row, x, n_columns,
                geometry,
            )
            if x + n_columns == response_width:
                pool_rows(pooled_row, taps, pooled, y, geometry)
            position += n_columns

    multiply_transposed(
        pooled, projection, output, geometry.pooled_height * geometry.pooled_width,
        p, p,
    )


def encode_layer(
    const floating[:, :, :, ::1] images,   # IN (n, height, width, n_channels)
    const floating[:, ::1] anchors,        # IN (n_anchors, patch_length)
    const floating[:, ::1] projection,     # IN (n_anchors, n_anchors), symmetric
    const floating[::1] taps,              # IN (2 * radius + 1,)
    floating[:, :, :, ::1] output,         # OUT (n, pooled_height, pooled_width, p)
    floating[:, ::1] scratch,              # (n_threads, ...), see scratch_sizes
    double[:, ::1] double_scratch,         # (n_threads, ...)
    int kernel,
    double beta,
    Py_ssize_t patch_size,
    Py_ssize_t pad_top,
    Py_ssize_t pad_left,
    Py_ssize_t response_height,
    Py_ssize_t response_width,
    Py_ssize_t subsampling,
):
    """Encode every image; each is the work of one thread from start to end."""
    cdef Py_ssize_t n_images = images.shape[0]
    cdef int n_threads = scratch.shape[0]
    cdef Py_ssize_t i
    cdef int thread
    cdef Geometry geometry
    geometry.height = images.shape[1]
    geometry.width = images.shape[2]
    geometry.n_channels = images.shape[3]
    geometry.patch_size = patch_size
    geometry.pad_top = pad_top
    geometry.pad_left = pad_left
    geometry.response_height = response_height
    geometry.response_width = response_width
    geometry.n_anchors = anchors.shape[0]
    geometry.subsampling = subsampling
    geometry.radius = taps.shape[0] // 2
    geometry.pooled_height = output.shape[1]
    geometry.pooled_width = output.shape[2]

    for i in prange(n_images, nogil=True, schedule="dynamic", num_threads=n_threads):
        thread = threadid()
        encode_image(
            &images[i, 0, 0, 0],
            &anchors[0, 0],
            &projection[0, 0],
            &taps[0],
            &output[i, 0, 0, 0],
            &scratch[thread, 0],
            &double_scratch[thread, 0],
            kernel,
            <floating> beta,
            &geometry,
        )
