# cython: language_level=3, boundscheck=False, wraparound=False
"""The two halves of a k-means iteration on the sphere: assignment and sums."""

from cython cimport floating
from cython.parallel cimport prange, threadid
from libc.string cimport memset

from matrix_products cimport multiply_transposed
from vector_loops cimport add_to_double, argmax

# Rows that go through one matrix product. A constant, so a row's similarities do
# not depend on the number of threads.
cdef enum:
    ROWS_PER_CHUNK = 512


def chunk_rows():
    """Return the number of rows of a chunk; scratch holds that many for a thread."""
    return ROWS_PER_CHUNK


def nearest_anchors(
    const floating[:, ::1] points,    # IN (n_points, length)
    const floating[:, ::1] anchors,   # IN (n_anchors, length)
    Py_ssize_t[::1] nearest,          # OUT (n_points,)
    floating[::1] similarity,         # OUT (n_points,)
    floating[:, ::1] scratch,         # (n_threads, ROWS_PER_CHUNK * n_anchors)
):
    """Find for every point the anchor of largest inner product, and that product."""
    cdef Py_ssize_t n_points = points.shape[0]
    cdef Py_ssize_t length = points.shape[1]
    cdef Py_ssize_t n_anchors = anchors.shape[0]
    cdef Py_ssize_t n_chunks = (n_points + ROWS_PER_CHUNK - 1) // ROWS_PER_CHUNK
    cdef int n_threads = scratch.shape[0]
    cdef Py_ssize_t chunk, start, stop, i
    cdef floating* products
    for chunk in prange(n_chunks, nogil=True, schedule="dynamic", num_threads=n_threads):
        products = &scratch[threadid(), 0]
        start = chunk * ROWS_PER_CHUNK
        stop = min(start + ROWS_PER_CHUNK, n_points)
        multiply_transposed(
            &points[start, 0], &anchors[0, 0], products, stop - start, n_anchors, length
        )
        for i in range(start, stop):
            nearest[i] = argmax(products + (i - start) * n_anchors, n_anchors)
            similarity[i] = products[(i - start) * n_anchors + nearest[i]]


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
    cdef Py_ssize_t group, i
    for group in prange(n_groups, nogil=True, schedule="dynamic", num_threads=n_threads):
        memset(&sums[group, 0], 0, length * sizeof(double))
        for i in range(starts[group], starts[group + 1]):
            add_to_double(&sums[group, 0], &points[order[i], 0], length)
