# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Layers packed for one instruction set, encoded and differentiated on threads."""

from cpython.exc cimport PyErr_CheckSignals
from cython cimport floating
from cython.parallel cimport prange, threadid
from libc.stdlib cimport calloc, free
from libc.string cimport memset

import numpy as np

from layers cimport (
    ckn_available_set,
    ckn_correlation,
    ckn_functions,
    ckn_instruction_set,
    ckn_layer,
)

# Groups of images whose gradients are summed apart and then added in order: the
# result does not depend on the number of threads, of which no more are used.
cdef enum:
    N_GROUPS = 8

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


def n_groups():
    """Return the number of groups of images that gradients are summed in."""
    return N_GROUPS


def points_per_chunk():
    """Return how many points a thread finds the nearest anchors of in one go."""
    return POINTS_PER_CHUNK


def panel_width(instruction_set, dtype):
    """Return how many anchors of a dtype lie side by side in a panel."""
    return find_functions(instruction_set, np.dtype(dtype) == np.float64).panel_width


cdef Py_ssize_t n_panels(Py_ssize_t n_filters, Py_ssize_t width) noexcept nogil:
    return (n_filters + width - 1) // width


cdef void pack_panels(
    const ckn_functions* functions,
    const void* filters,         # IN (n_filters, depth)
    void* panels,                # OUT (n_panels, packed depth, panel_width)
    Py_ssize_t n_filters,
    Py_ssize_t depth,
    Py_ssize_t tile,
    int n_threads,
) noexcept:
    cdef Py_ssize_t panel
    for panel in prange(
        n_panels(n_filters, functions.panel_width), nogil=True, num_threads=n_threads
    ):
        if tile > 1:
            functions.pack_winograd(filters, n_filters, depth // 9, tile, panel, panels)
        else:
            functions.pack(filters, n_filters, depth, panel, panels)


def pack(const floating[:, ::1] filters, Py_ssize_t tile, instruction_set, int n_threads):
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
    packed_depth = depth if tile == 1 else depth // 9 * (tile + 2) ** 2
    packed = np.empty(
        (
            n_panels(filters.shape[0], functions.panel_width),
            packed_depth,
            functions.panel_width,
        ),
        np.float64 if floating is double else np.float32,
    )
    cdef floating[:, :, ::1] panels = packed
    pack_panels(
        functions, &filters[0, 0], &panels[0, 0, 0], filters.shape[0], depth, tile,
        n_threads,
    )
    return packed


cdef ckn_correlation make_correlation(sizes, const void* panels, const void* direct):
    """Read the sizes, a dict by the names of the fields."""
    cdef ckn_correlation correlation
    memset(&correlation, 0, sizeof(correlation))
    correlation.height = sizes["height"]
    correlation.width = sizes["width"]
    correlation.n_channels = sizes["n_channels"]
    correlation.patch_size = sizes["patch_size"]
    correlation.pad_top = sizes["pad_top"]
    correlation.pad_left = sizes["pad_left"]
    correlation.padded_height = sizes["padded_height"]
    correlation.padded_width = sizes["padded_width"]
    correlation.response_height = sizes["response_height"]
    correlation.response_width = sizes["response_width"]
    correlation.n_filters = sizes["n_filters"]
    correlation.tile = sizes["tile"]
    correlation.panels = panels
    correlation.direct_panels = direct
    return correlation


cdef const void* address(array) except? NULL:
    """Return where the data of a C-ordered array start."""
    cdef const unsigned char[::1] data = array.reshape(-1).view(np.uint8)
    return &data[0]


cdef const void* optional(array) except? NULL:
    """Return where the data of an array start, NULL for None."""
    if array is None:
        return NULL
    return address(array)


cdef class PackedLayers:
    """Layers as the kernels take them.

    Parameters
    ----------
    layers : list of PackedLayer
        See ``sklearn_ckn._engine.packing``; all of ``dtype``.
    dtype : dtype
        float32 or float64.
    instruction_set : str
        One of ``instruction_sets()``, that the layers were packed for.
    """

    cdef ckn_layer* layers
    cdef const ckn_functions* functions
    cdef list owners
    cdef readonly Py_ssize_t n_layers
    cdef readonly object dtype
    cdef readonly bint has_flipped

    def __cinit__(self, layers, dtype, instruction_set):
        self.n_layers = len(layers)
        self.dtype = np.dtype(dtype)
        self.functions = find_functions(instruction_set, self.dtype == np.float64)
        self.layers = <ckn_layer*> calloc(self.n_layers, sizeof(ckn_layer))
        if self.layers == NULL:
            raise MemoryError("no memory for the layers' descriptions")
        self.owners = list(layers)
        self.has_flipped = all(layer.flipped is not None for layer in layers)
        for i, layer in enumerate(layers):
            self._describe(&self.layers[i], layer)

    cdef _describe(self, ckn_layer* place, layer):
        place.patches = make_correlation(
            layer.patches, address(layer.anchors), optional(layer.direct_anchors)
        )
        place.input_gradient = make_correlation(layer.input_gradient, optional(layer.flipped), NULL)
        place.mean = address(layer.mean)
        place.projection = address(layer.projection)
        place.real_projection = optional(layer.real_projection)
        place.wide = layer.wide
        place.taps = <const double*> address(layer.taps)
        place.subsampling = layer.subsampling
        place.radius = len(layer.taps) // 2
        place.pooled_height = layer.pooled_shape[0]
        place.pooled_width = layer.pooled_shape[1]
        place.kernel = layer.kernel
        place.beta = layer.beta

    def __dealloc__(self):
        free(self.layers)

    def encode_scratch(self, Py_ssize_t n_block):
        """Return the bytes of scratch that a thread needs for n_block images."""
        return self.functions.encode_scratch(self.layers, self.n_layers, n_block)

    def gradient_scratch(self, Py_ssize_t n_block):
        """Return the same for the gradients of the first layer."""
        return self.functions.gradient_scratch(&self.layers[0], n_block)

    def encode(
        self,
        const floating[:, :, :, ::1] images,   # IN (n, height, width, n_channels)
        floating[:, :, :, ::1] output,         # OUT (n, height, width, p) of the last
        floating[:, :, :, ::1] pooled,         # OUT like output, or None
        unsigned char[:, ::1] scratch,         # (n_threads, encode_scratch)
        Py_ssize_t n_block,
        Py_ssize_t blocks_per_check,           # blocks between looks at signals
    ):
        """Encode blocks of images; each is the work of one thread from start to end."""
        cdef Py_ssize_t n_images = images.shape[0]
        cdef Py_ssize_t n_blocks = (n_images + n_block - 1) // n_block
        cdef Py_ssize_t first, last, block, start
        cdef int thread, n_threads = scratch.shape[0]
        cdef bint keep = pooled is not None
        for first in range(0, n_blocks, blocks_per_check):
            last = min(first + blocks_per_check, n_blocks)
            for block in prange(
                first, last, nogil=True, schedule="dynamic", num_threads=n_threads
            ):
                start = block * n_block
                thread = threadid()
                self.functions.encode(
                    self.layers,
                    self.n_layers,
                    &images[start, 0, 0, 0],
                    min(n_block, n_images - start),
                    &output[start, 0, 0, 0],
                    <void*> &pooled[start, 0, 0, 0] if keep else NULL,
                    &scratch[thread, 0],
                )
            PyErr_CheckSignals()

    def gradients(
        self,
        const floating[:, :, :, ::1] images,      # IN (n, height, width, n_channels)
        const floating[:, :, :, ::1] pooled,      # IN (n, pooled shape, p)
        const floating[:, :, :, ::1] gradients,      # IN like pooled: in the output
        floating[:, :, :, ::1] anchor_gradients,     # INOUT (groups, panels, length, width)
        floating[:, :, :, ::1] projection_gradients, # INOUT (groups, panels, p, width)
        double[::1] beta_gradients,                  # INOUT (groups,)
        floating[:, :, :, ::1] image_gradients,      # OUT like images, or None
        unsigned char[:, ::1] scratch,            # (n_threads, gradient_scratch)
        Py_ssize_t n_block,
    ):
        """Add the first layer's gradients of groups of images, each by one thread."""
        cdef Py_ssize_t n_images = images.shape[0]
        cdef Py_ssize_t n_groups = anchor_gradients.shape[0]
        cdef Py_ssize_t group, start, stop
        cdef int thread, n_threads = scratch.shape[0]
        cdef bint to_images = image_gradients is not None
        for group in prange(
            n_groups, nogil=True, schedule="dynamic", num_threads=n_threads
        ):
            thread = threadid()
            start = group * n_images // n_groups
            stop = (group + 1) * n_images // n_groups
            while start < stop:
                beta_gradients[group] += self.functions.gradients(
                    self.layers,
                    &images[start, 0, 0, 0],
                    &pooled[start, 0, 0, 0],
                    &gradients[start, 0, 0, 0],
                    min(n_block, stop - start),
                    &anchor_gradients[group, 0, 0, 0],
                    &projection_gradients[group, 0, 0, 0],
                    <void*> &image_gradients[start, 0, 0, 0] if to_images else NULL,
                    &scratch[thread, 0],
                )
                start = start + n_block
        PyErr_CheckSignals()


def nearest_scratch(instruction_set, dtype):
    """Return the bytes of scratch that a thread of nearest_anchors needs."""
    cdef const ckn_functions* functions = find_functions(
        instruction_set, np.dtype(dtype) == np.float64
    )
    return functions.nearest_scratch(POINTS_PER_CHUNK)


def nearest_anchors(
    const floating[:, ::1] points,       # IN (n_points, length)
    const floating[:, :, ::1] panels,    # IN from pack
    Py_ssize_t n_anchors,
    Py_ssize_t[::1] nearest,             # OUT (n_points,)
    floating[::1] similarity,            # OUT (n_points,)
    unsigned char[:, ::1] scratch,       # (n_threads, nearest_scratch)
    Py_ssize_t chunks_per_check,         # chunks between looks at signals
    instruction_set,
):
    """Find for every point the anchor of largest inner product, and that product."""
    cdef const ckn_functions* functions = find_functions(
        instruction_set, floating is double
    )
    cdef Py_ssize_t n_points = points.shape[0]
    cdef Py_ssize_t n_chunks = (n_points + POINTS_PER_CHUNK - 1) // POINTS_PER_CHUNK
    cdef Py_ssize_t first, last, chunk, start
    cdef int n_threads = scratch.shape[0]
    for first in range(0, n_chunks, chunks_per_check):
        last = min(first + chunks_per_check, n_chunks)
        for chunk in prange(
            first, last, nogil=True, schedule="dynamic", num_threads=n_threads
        ):
            start = chunk * POINTS_PER_CHUNK
            functions.nearest(
                &points[start, 0],
                min(<Py_ssize_t> POINTS_PER_CHUNK, n_points - start),
                points.shape[1],
                &panels[0, 0, 0],
                n_anchors,
                &nearest[start],
                &similarity[start],
                &scratch[threadid(), 0],
            )
        PyErr_CheckSignals()
