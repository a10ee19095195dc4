# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""One layer of the network applied to a block of images, on the CPU."""

from cython cimport floating
from cython.parallel cimport prange, threadid
from libc.string cimport memcpy, memset

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
from matrix_products cimport multiply_transposed
from pooling cimport pool_row, pool_rows
from vector_loops cimport respond


def scratch_sizes(sizes):
    """Return the scratch that a thread needs: floats of the images' type, doubles."""
    cdef Geometry geometry = make_geometry(sizes)
    n = n_positions(&geometry)
    row_length = geometry.pooled_width * geometry.n_anchors
    return (
        min(n, POSITIONS_PER_BLOCK) * (patch_length(&geometry) + geometry.n_anchors)
        + (geometry.pooled_height + 1) * row_length,
        geometry.height * geometry.width + n,
    )


cdef void encode_image(
    const floating* image,       # IN (height, width, n_channels)
    const floating* anchors,     # IN (n_anchors, patch_length)
    const floating* projection,  # IN (n_anchors, n_anchors), symmetric
    const floating* taps,        # IN (2 * radius + 1,)
    floating* output,            # OUT (pooled_height, pooled_width, n_anchors)
    floating* kept_products,     # OUT (n_positions, n_anchors), or NULL
    floating* kept_pooled,       # OUT (pooled_height, pooled_width, p), or NULL
    floating* scratch,           # see scratch_sizes
    double* double_scratch,
    int kernel,
    floating beta,
    const Geometry* geometry,
) noexcept nogil:
    cdef Py_ssize_t p = geometry.n_anchors
    cdef Py_ssize_t k = geometry.patch_size
    cdef Py_ssize_t length = patch_length(geometry)
    cdef Py_ssize_t response_width = geometry.response_width
    cdef Py_ssize_t n = n_positions(geometry)
    cdef Py_ssize_t n_block = min(n, <Py_ssize_t> POSITIONS_PER_BLOCK)
    cdef Py_ssize_t row_length = geometry.pooled_width * p
    cdef Py_ssize_t pooled_length = geometry.pooled_height * row_length

    cdef double* norms = double_scratch + geometry.height * geometry.width
    cdef floating* patches = scratch
    cdef floating* responses = patches + n_block * length
    cdef floating* pooled_row = responses + n_block * p
    cdef floating* pooled = pooled_row + row_length

    cdef const floating* block_patches
    cdef Py_ssize_t block, start, stop, position, y, x, n_columns
    cdef double norm

    if kept_pooled != NULL:
        pooled = kept_pooled
    pixel_squares(image, double_scratch, geometry)
    patch_norms(double_scratch, norms, geometry)
    memset(pooled, 0, pooled_length * sizeof(floating))

    for block in range((n + POSITIONS_PER_BLOCK - 1) // POSITIONS_PER_BLOCK):
        start = block * POSITIONS_PER_BLOCK
        stop = min(start + POSITIONS_PER_BLOCK, n)
        block_patches = gather_block(image, patches, start, stop, geometry)
        multiply_transposed(
            block_patches, anchors, responses, stop - start, p, length
        )
        if kept_products != NULL:
            memcpy(
                kept_products + start * p,
                responses,
                (stop - start) * p * sizeof(floating),
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
    floating[:, :, ::1] products,          # OUT (n, n_positions, p), or None
    floating[:, :, :, ::1] pooled,         # OUT like output, or None
    floating[:, ::1] scratch,              # (n_threads, ...), see scratch_sizes
    double[:, ::1] double_scratch,         # (n_threads, ...)
    int kernel,
    double beta,
    sizes,
):
    """Encode every image; each is the work of one thread from start to end.

    With ``products`` and ``pooled``, the inner products of patches and anchors and
    the pooled responses are kept, for the gradients.
    """
    cdef Py_ssize_t n_images = images.shape[0]
    cdef int n_threads = scratch.shape[0]
    cdef bint keep = products is not None
    cdef Py_ssize_t i
    cdef int thread
    cdef Geometry geometry = make_geometry(sizes)

    for i in prange(n_images, nogil=True, schedule="dynamic", num_threads=n_threads):
        thread = threadid()
        encode_image(
            &images[i, 0, 0, 0],
            &anchors[0, 0],
            &projection[0, 0],
            &taps[0],
            &output[i, 0, 0, 0],
            &products[i, 0, 0] if keep else NULL,
            &pooled[i, 0, 0, 0] if keep else NULL,
            &scratch[thread, 0],
            &double_scratch[thread, 0],
            kernel,
            <floating> beta,
            &geometry,
        )
