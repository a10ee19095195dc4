# cython: language_level=3, boundscheck=False, wraparound=False
"""Images multiplied by powers of two that bring their largest values to about 1."""

from cython cimport floating
from libc.math cimport frexp, ldexp

include "share.pxi"

# Values whose maxima are taken side by side, so that the compiler uses vectors.
cdef enum:
    LANES = 16


cdef double largest_magnitude(const floating* values, Py_ssize_t n) noexcept nogil:
    """Return the largest absolute value."""
    cdef floating lanes[LANES]
    cdef floating value
    cdef Py_ssize_t i, lane
    for lane in range(LANES):
        lanes[lane] = 0
    for i in range(n // LANES):
        for lane in range(LANES):
            value = values[i * LANES + lane]
            value = -value if value < 0 else value
            lanes[lane] = value if value > lanes[lane] else lanes[lane]
    for i in range(n - n % LANES, n):
        value = values[i]
        value = -value if value < 0 else value
        lanes[0] = value if value > lanes[0] else lanes[0]
    for lane in range(1, LANES):
        lanes[0] = lanes[lane] if lanes[lane] > lanes[0] else lanes[0]
    return lanes[0]


cdef floating scale_image(
    const floating* image,   # IN (n,)
    floating* scaled,        # OUT (n,)
    Py_ssize_t n,
    int largest_exponent,
) noexcept nogil:
    """Multiply the values of an image by 2^-e; return 2^e."""
    cdef int exponent
    cdef floating scale
    cdef Py_ssize_t i
    frexp(largest_magnitude(image, n), &exponent)
    exponent = min(max(exponent, -largest_exponent), largest_exponent)
    scale = <floating> ldexp(1, -exponent)
    for i in range(n):
        scaled[i] = scale * image[i]
    return <floating> ldexp(1, exponent)


cdef struct scaling:
    const void* images
    void* scaled
    void* inverse
    Py_ssize_t n_values
    int largest_exponent
    bint is_double


cdef void scale_several(
    void* argument, Py_ssize_t first, Py_ssize_t last, int thread
) noexcept nogil:
    cdef scaling* work = <scaling*> argument
    cdef Py_ssize_t n = work.n_values
    cdef Py_ssize_t i
    for i in range(first, last):
        if work.is_double:
            (<double*> work.inverse)[i] = scale_image(
                <const double*> work.images + i * n,
                <double*> work.scaled + i * n,
                n,
                work.largest_exponent,
            )
        else:
            (<float*> work.inverse)[i] = scale_image(
                <const float*> work.images + i * n,
                <float*> work.scaled + i * n,
                n,
                work.largest_exponent,
            )


def scale_images(
    const floating[:, ::1] images not None,   # IN (n, values)
    floating[:, ::1] scaled not None,         # OUT (n, values)
    floating[::1] inverse not None,           # OUT (n,)
    int largest_exponent,                     # 2^e and 2^-e are normal numbers
    int n_threads,
):
    """Multiply each image by the power of two that brings it to about 1."""
    cdef Py_ssize_t n_images = images.shape[0], n_values = images.shape[1]
    if (
        scaled.shape[0] != n_images
        or inverse.shape[0] != n_images
        or scaled.shape[1] != n_values
    ):
        raise ValueError("images, scaled and inverse must be of matching shapes")
    cdef scaling work = scaling(
        &images[0, 0],
        &scaled[0, 0],
        &inverse[0],
        n_values,
        largest_exponent,
        floating is double,
    )
    with nogil:
        share(&scale_several, &work, n_images, n_images, n_threads)
