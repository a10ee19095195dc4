"""layers.h: what the kernels are told, and their table."""

from team cimport ckn_share_function

cdef extern from "layers.h" nogil:
    enum:
        CKN_EXP
        CKN_ARCCOS1

    ctypedef struct ckn_correlation:
        Py_ssize_t height, width, n_channels
        Py_ssize_t patch_height, patch_width, pad_top, pad_left, dilation
        Py_ssize_t padded_height, padded_width
        Py_ssize_t response_height, response_width
        Py_ssize_t n_filters
        Py_ssize_t tile
        const void* panels
        const void* direct_panels

    ctypedef struct ckn_layer:
        ckn_correlation patches
        ckn_correlation input_gradient
        const void* mean
        const void* projection
        const void* real_projection
        int wide
        const double* taps
        Py_ssize_t subsampling, radius, pooled_height, pooled_width
        int kernel
        double beta
        int center, keep_norm

    ctypedef struct ckn_team:
        ckn_share_function share
        int n_threads
        size_t scratch_bytes

    ctypedef struct ckn_functions:
        Py_ssize_t panel_width
        void (*pack)(const void*, Py_ssize_t, Py_ssize_t, Py_ssize_t, void*) noexcept nogil
        void (*pack_winograd)(
            const void*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, void*
        ) noexcept nogil
        size_t (*encode_scratch)(const ckn_layer*, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*encode)(
            const ckn_layer*, Py_ssize_t, const void*, Py_ssize_t, void*, void*, void*,
            const ckn_team*
        ) noexcept nogil
        size_t (*gradient_scratch)(const ckn_layer*, Py_ssize_t) noexcept nogil
        double (*gradients)(
            const ckn_layer*, const void*, const void*, const void*, Py_ssize_t,
            void*, void*, void*, void*
        ) noexcept nogil
        size_t (*nearest_scratch)(Py_ssize_t) noexcept nogil
        void (*nearest)(
            const void*, Py_ssize_t, Py_ssize_t, const void*, Py_ssize_t, Py_ssize_t*,
            void*, void*
        ) noexcept nogil

    ctypedef struct ckn_instruction_set:
        const char* name
        ckn_functions real[2]

    const ckn_instruction_set* ckn_available_set(int)
