# The sizes of a correlation, read and checked; a part of _cpu.pyx.


cdef Py_ssize_t span(const ckn_correlation* correlation, Py_ssize_t n) noexcept nogil:
    """Return how many pixels of the map n pixels of a patch span."""
    return (n - 1) * correlation.dilation + 1


cdef int read_sizes(ckn_correlation* correlation, name, sizes) except -1:
    """Read the sizes, a dict by the names of the fields, and check them."""
    correlation.height = sizes["height"]
    correlation.width = sizes["width"]
    correlation.n_channels = sizes["n_channels"]
    correlation.patch_height = sizes["patch_height"]
    correlation.patch_width = sizes["patch_width"]
    correlation.dilation = sizes["dilation"]
    correlation.pad_top = sizes["pad_top"]
    correlation.pad_left = sizes["pad_left"]
    correlation.padded_height = sizes["padded_height"]
    correlation.padded_width = sizes["padded_width"]
    correlation.response_height = sizes["response_height"]
    correlation.response_width = sizes["response_width"]
    correlation.n_filters = sizes["n_filters"]
    correlation.tile = sizes["tile"]
    cdef Py_ssize_t tile = correlation.tile
    check_tile(
        tile,
        correlation.patch_height == correlation.patch_width == 3
        and correlation.dilation == 1,
    )
    # Tiles reach over the last positions, and their patches beyond those.
    cdef Py_ssize_t n_rows = (correlation.response_height + tile - 1) // tile * tile
    cdef Py_ssize_t n_columns = (correlation.response_width + tile - 1) // tile * tile
    if not (
        correlation.height >= 1
        and correlation.width >= 1
        and correlation.n_channels >= 1
        and min(correlation.patch_height, correlation.patch_width) >= 1
        and correlation.dilation >= 1
        and correlation.response_height >= 1
        and correlation.response_width >= 1
        and correlation.n_filters >= 1
        and correlation.pad_top >= 0
        and correlation.pad_left >= 0
        and correlation.pad_top + correlation.height <= correlation.padded_height
        and correlation.pad_left + correlation.width <= correlation.padded_width
        and n_rows + span(correlation, correlation.patch_height) - 1
        <= correlation.padded_height
        and n_columns + span(correlation, correlation.patch_width) - 1
        <= correlation.padded_width
    ):
        raise ValueError(f"{name} do not fit together: {sizes}")
    return 0


cdef Py_ssize_t patch_length(const ckn_correlation* correlation) noexcept nogil:
    return correlation.patch_height * correlation.patch_width * correlation.n_channels
