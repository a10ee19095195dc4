# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The CPU kernels on threads, each with its checks of shapes and dtypes.

The kernels trust what they are given: what does not fit would be read or written
outside of its array.
"""

from cpython.exc cimport PyErr_CheckSignals
from cython cimport floating
from libc.stdlib cimport calloc, free

import numpy as np

from layers cimport (
    CKN_ARCCOS1,
    CKN_EXP,
    ckn_available_set,
    ckn_correlation,
    ckn_functions,
    ckn_instruction_set,
    ckn_layer,
    ckn_team,
)

include "share.pxi"

# Points whose similarities to a panel of anchors are computed in one go.
cdef enum:
    POINTS_PER_CHUNK = 512


def instruction_sets():
    """Return the names of the instruction sets that this machine has, fastest first."""
    names = []
    while ckn_available_set(len(names)) != NULL:
        names.append(ckn_available_set(len(names)).name.decode())
    return names


cdef const ckn_functions* find_functions(name, is_double) except NULL:
    cdef int rank = 0
    cdef const ckn_instruction_set* candidate = ckn_available_set(rank)
    while candidate != NULL:
        if candidate.name.decode() == name:
            return &candidate.real[1 if is_double else 0]
        rank += 1
        candidate = ckn_available_set(rank)
    raise ValueError(f"no instruction set {name!r}: there are {instruction_sets()}")


def points_per_chunk():
    """Return how many points a thread finds the nearest anchors of in one go."""
    return POINTS_PER_CHUNK


def panel_width(instruction_set, dtype):
    """Return how many anchors of a dtype lie side by side in a panel."""
    return find_functions(instruction_set, np.dtype(dtype) == np.float64).panel_width


cdef Py_ssize_t n_panels(Py_ssize_t n_filters, Py_ssize_t width) noexcept nogil:
    return (n_filters + width - 1) // width


cdef Py_ssize_t packed_depth(Py_ssize_t depth, Py_ssize_t tile) noexcept nogil:
    """Return the lines of a panel of filters of this depth."""
    return depth if tile == 1 else depth // 9 * (tile + 2) * (tile + 2)


cdef int check_tile(Py_ssize_t tile, bint is_3_by_3) except -1:
    """Raise unless filters can be packed for tiles of this side."""
    if not (tile == 1 or is_3_by_3 and (tile == 2 or tile == 4)):
        raise ValueError(
            f"tile must be 1, or 2 or 4 with 3 x 3 filters without gaps, not {tile}"
        )
    return 0


cdef int check_shape(
    name,
    const Py_ssize_t* shape,
    Py_ssize_t size0,
    Py_ssize_t size1,
    Py_ssize_t size2,
    Py_ssize_t size3,
) except -1:
    """Raise unless an array of four axes has these sizes."""
    if (
        shape[0] != size0 or shape[1] != size1 or shape[2] != size2 or shape[3] != size3
    ):
        actual = (shape[0], shape[1], shape[2], shape[3])
        raise ValueError(
            f"{name} must be of shape {(size0, size1, size2, size3)}, not {actual}"
        )
    return 0


cdef int check_work(
    Py_ssize_t n_together, Py_ssize_t n_threads, Py_ssize_t n_bytes, size_t needed
) except -1:
    """Raise unless scratch (n_threads, n_bytes) suffices for n_together at a time."""
    if n_together < 1:
        raise ValueError(f"at least one must be computed at a time, not {n_together}")
    if n_threads < 1 or <size_t> n_bytes < needed:
        raise ValueError(
            f"scratch must be of shape (n_threads, {needed}) at least, not "
            f"{(n_threads, n_bytes)}"
        )
    return 0


cdef struct packing:
    const ckn_functions* functions
    const void* filters
    void* panels
    Py_ssize_t n_filters
    Py_ssize_t depth
    Py_ssize_t tile


cdef void pack_panels(
    void* argument, Py_ssize_t first, Py_ssize_t last, int thread
) noexcept nogil:
    cdef packing* work = <packing*> argument
    cdef Py_ssize_t n = work.n_filters
    cdef Py_ssize_t panel
    for panel in range(first, last):
        if work.tile > 1:
            work.functions.pack_winograd(
                work.filters, n, work.depth // 9, work.tile, panel, work.panels
            )
        else:
            work.functions.pack(work.filters, n, work.depth, panel, work.panels)


def pack(
    const floating[:, ::1] filters not None,
    Py_ssize_t tile,
    instruction_set,
    int n_threads,
):
    """Lay filters out as panels.

    Parameters
    ----------
    filters : ndarray of shape (n_filters, depth), float32 or float64
    tile : int
        1, or 2 and 4 for 3 x 3 filters as Winograd's algorithm takes them.
    instruction_set : str
    n_threads : int

    Returns
    -------
    panels : ndarray of shape (n_panels, packed depth, panel width)
    """
    cdef const ckn_functions* functions = find_functions(
        instruction_set, floating is double
    )
    cdef Py_ssize_t depth = filters.shape[1]
    if filters.shape[0] == 0 or depth == 0:
        raise ValueError("there are no filters to pack")
    check_tile(tile, depth % 9 == 0)
    packed = np.empty(
        (
            n_panels(filters.shape[0], functions.panel_width),
            packed_depth(depth, tile),
            functions.panel_width,
        ),
        np.float64 if floating is double else np.float32,
    )
    cdef floating[:, :, ::1] panels = packed
    cdef packing work = packing(
        functions, &filters[0, 0], &panels[0, 0, 0], filters.shape[0], depth, tile
    )
    with nogil:
        share(&pack_panels, &work, panels.shape[0], 1, n_threads)
    return packed


include "correlation_sizes.pxi"
include "packed_layers.pxi"


def nearest_scratch(instruction_set, dtype):
    """Return the bytes of scratch that a thread of nearest_anchors needs."""
    cdef const ckn_functions* functions = find_functions(
        instruction_set, np.dtype(dtype) == np.float64
    )
    return functions.nearest_scratch(POINTS_PER_CHUNK)


cdef struct assignment:
    const ckn_functions* functions
    const char* points
    const void* panels
    Py_ssize_t* nearest
    char* similarity
    unsigned char* scratch
    Py_ssize_t scratch_bytes
    Py_ssize_t first
    Py_ssize_t n_points
    Py_ssize_t length
    Py_ssize_t n_anchors
    size_t itemsize


cdef void assign_chunks(
    void* argument, Py_ssize_t first, Py_ssize_t last, int thread
) noexcept nogil:
    cdef assignment* work = <assignment*> argument
    cdef Py_ssize_t chunk, start
    for chunk in range(work.first + first, work.first + last):
        start = chunk * POINTS_PER_CHUNK
        work.functions.nearest(
            work.points + start * work.length * work.itemsize,
            min(<Py_ssize_t> POINTS_PER_CHUNK, work.n_points - start),
            work.length,
            work.panels,
            work.n_anchors,
            work.nearest + start,
            work.similarity + start * work.itemsize,
            work.scratch + thread * work.scratch_bytes,
        )


def nearest_anchors(
    const floating[:, ::1] points not None,     # IN (n_points, length)
    const floating[:, :, ::1] panels not None,  # IN from pack
    Py_ssize_t n_anchors,
    Py_ssize_t[::1] nearest not None,           # OUT (n_points,)
    floating[::1] similarity not None,          # OUT (n_points,)
    unsigned char[:, ::1] scratch not None,     # (n_threads, nearest_scratch)
    Py_ssize_t chunks_per_check,                # chunks between looks at signals
    instruction_set,
):
    """Find for every point the anchor of largest inner product, and that product."""
    cdef const ckn_functions* functions = find_functions(
        instruction_set, floating is double
    )
    cdef Py_ssize_t n_points = points.shape[0]
    cdef Py_ssize_t width = functions.panel_width
    if n_anchors < 1 or points.shape[1] < 1:
        raise ValueError("points and anchors of one value at least are needed")
    if (
        panels.shape[0] != n_panels(n_anchors, width)
        or panels.shape[1] != points.shape[1]
        or panels.shape[2] != width
    ):
        raise ValueError(
            f"panels must be those of {n_anchors} anchors of length {points.shape[1]}, "
            f"{width} to a panel"
        )
    if nearest.shape[0] != n_points or similarity.shape[0] != n_points:
        raise ValueError(f"nearest and similarity must be of length {n_points}")
    check_work(
        chunks_per_check,
        scratch.shape[0],
        scratch.shape[1],
        functions.nearest_scratch(POINTS_PER_CHUNK),
    )
    cdef Py_ssize_t n_chunks = (n_points + POINTS_PER_CHUNK - 1) // POINTS_PER_CHUNK
    cdef Py_ssize_t n_together
    cdef int n_threads = scratch.shape[0]
    cdef assignment work = assignment(
        functions,
        <const char*> &points[0, 0],
        &panels[0, 0, 0],
        &nearest[0],
        <char*> &similarity[0],
        &scratch[0, 0],
        scratch.shape[1],
        0,
        n_points,
        points.shape[1],
        n_anchors,
        sizeof(floating),
    )
    while work.first < n_chunks:
        n_together = min(chunks_per_check, n_chunks - work.first)
        with nogil:
            share(&assign_chunks, &work, n_together, 1, n_threads)
        PyErr_CheckSignals()
        work.first += n_together
