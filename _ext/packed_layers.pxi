# Layers packed for one instruction set, encoded and differentiated; a part of _cpu.pyx.

# Groups of images whose gradients are summed apart and then added in order: the
# result does not depend on the number of threads, of which no more are used.
cdef enum:
    N_GROUPS = 8


def n_groups():
    """Return the number of groups of images that gradients are summed in."""
    return N_GROUPS


cdef const void* address(name, array, dtype, shape) except NULL:
    """Return where the data of an array start that the kernels will read or write."""
    if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
        raise ValueError(
            f"{name} must be C-ordered, {dtype} and of shape {shape}, not "
            f"{array.dtype} and of shape {array.shape}"
        )
    # A view, as the array is contiguous: the address outlives it.
    cdef const unsigned char[::1] data = array.reshape(-1).view(np.uint8)
    return &data[0]


cdef struct encoding:
    const ckn_functions* functions
    const ckn_layer* layers
    Py_ssize_t n_layers
    const char* images
    char* output
    char* pooled
    unsigned char* scratch
    Py_ssize_t image_bytes
    Py_ssize_t map_bytes
    Py_ssize_t scratch_bytes


cdef void encode_block(
    void* argument, Py_ssize_t first, Py_ssize_t last, int thread
) noexcept nogil:
    cdef encoding* work = <encoding*> argument
    work.functions.encode(
        work.layers,
        work.n_layers,
        work.images + first * work.image_bytes,
        last - first,
        work.output + first * work.map_bytes,
        NULL if work.pooled == NULL else work.pooled + first * work.map_bytes,
        work.scratch + thread * work.scratch_bytes,
        NULL,
    )


cdef struct differentiation:
    const ckn_functions* functions
    const ckn_layer* layer
    const char* images
    const char* pooled
    const char* output_gradients
    char* anchor_gradients
    char* projection_gradients
    double* beta_gradients
    char* image_gradients
    unsigned char* scratch
    Py_ssize_t n_images
    Py_ssize_t n_groups
    Py_ssize_t n_block
    Py_ssize_t image_bytes
    Py_ssize_t map_bytes
    Py_ssize_t anchors_bytes
    Py_ssize_t projection_bytes
    Py_ssize_t scratch_bytes


cdef void differentiate_groups(
    void* argument, Py_ssize_t first, Py_ssize_t last, int thread
) noexcept nogil:
    cdef differentiation* work = <differentiation*> argument
    cdef Py_ssize_t group, start, stop
    for group in range(first, last):
        start = group * work.n_images // work.n_groups
        stop = (group + 1) * work.n_images // work.n_groups
        while start < stop:
            work.beta_gradients[group] += work.functions.gradients(
                work.layer,
                work.images + start * work.image_bytes,
                work.pooled + start * work.map_bytes,
                work.output_gradients + start * work.map_bytes,
                min(work.n_block, stop - start),
                work.anchor_gradients + group * work.anchors_bytes,
                work.projection_gradients + group * work.projection_bytes,
                NULL
                if work.image_gradients == NULL
                else work.image_gradients + start * work.image_bytes,
                work.scratch + thread * work.scratch_bytes,
            )
            start += work.n_block


cdef class PackedLayers:
    """Layers as the kernels take them.

    Parameters
    ----------
    layers : list of PackedLayer
        See ``sklearn_ckn._engine.packing``; at least one, all of ``dtype``, each for
        the maps of the one before.
    dtype : dtype
        float32 or float64.
    instruction_set : str
        One of ``instruction_sets()``, that the layers were packed for.

    Raises
    ------
    ValueError
        An array or a size is not as described, or layers do not follow each other.
    """

    cdef ckn_layer* layers
    cdef const ckn_functions* functions
    cdef const ckn_functions* double_functions
    cdef list owners
    cdef readonly Py_ssize_t n_layers
    cdef readonly object dtype

    def __cinit__(self, layers, dtype, instruction_set):
        self.n_layers = len(layers)
        self.dtype = np.dtype(dtype)
        if self.n_layers == 0 or self.dtype not in (np.float32, np.float64):
            raise ValueError("layers of float32 or float64 are needed, at least one")
        self.functions = find_functions(instruction_set, self.dtype == np.float64)
        self.double_functions = find_functions(instruction_set, True)
        self.layers = <ckn_layer*> calloc(self.n_layers, sizeof(ckn_layer))
        if self.layers == NULL:
            raise MemoryError("no memory for the layers' descriptions")
        self.owners = list(layers)
        for i, layer in enumerate(layers):
            self._describe(&self.layers[i], layer)
            if i > 0:
                self._check_sequence(&self.layers[i - 1], &self.layers[i])

    cdef const void* _panels(
        self, name, array, Py_ssize_t n_filters, Py_ssize_t depth, bint is_double=False
    ) except NULL:
        """Return the address of packed filters."""
        functions = self.double_functions if is_double else self.functions
        cdef Py_ssize_t width = functions.panel_width
        shape = (n_panels(n_filters, width), depth, width)
        return address(name, array, np.dtype("f8") if is_double else self.dtype, shape)

    cdef int _describe(self, ckn_layer* place, layer) except -1:
        cdef ckn_correlation* patches = &place.patches
        read_sizes(patches, "forward_sizes", layer.forward_sizes)
        cdef Py_ssize_t length = patch_length(patches)
        cdef Py_ssize_t p = patches.n_filters
        patches.panels = self._panels(
            "anchors", layer.anchors, p, packed_depth(length, patches.tile)
        )
        if patches.tile > 1:
            patches.direct_panels = self._panels(
                "direct_anchors", layer.direct_anchors, p, length
            )
        place.mean = address("mean", layer.mean, self.dtype, (length,))
        place.wide = layer.wide
        place.projection = self._panels("projection", layer.projection, p, p, place.wide)
        if layer.real_projection is not None:
            place.real_projection = self._panels(
                "real_projection", layer.real_projection, p, p
            )
        place.radius = len(layer.taps) // 2
        place.taps = <const double*> address(
            "taps", layer.taps, np.dtype("f8"), (2 * place.radius + 1,)
        )
        place.subsampling = layer.subsampling
        place.pooled_height, place.pooled_width = layer.pooled_shape
        place.kernel = layer.kernel
        place.beta = layer.beta
        place.center = layer.center
        place.keep_norm = layer.keep_norm
        if (
            place.subsampling < 1
            or place.pooled_height < 1
            or place.pooled_width < 1
            or not CKN_EXP <= place.kernel <= CKN_ARCCOS1
        ):
            raise ValueError(
                f"subsampling {place.subsampling}, pooled_shape {layer.pooled_shape} "
                f"and kernel {place.kernel} are not those of a layer"
            )
        self._describe_input_gradient(place, layer)

    cdef int _describe_input_gradient(self, ckn_layer* place, layer) except -1:
        """Describe the correlation that gives the gradient in the layer's input."""
        cdef const ckn_correlation* patches = &place.patches
        cdef ckn_correlation* back = &place.input_gradient
        cdef Py_ssize_t width = self.functions.panel_width
        read_sizes(back, "backward_sizes", layer.backward_sizes)
        if not (
            back.height == patches.response_height
            and back.width == patches.response_width
            and back.n_channels == n_panels(patches.n_filters, width) * width
            and back.patch_height == patches.patch_height
            and back.patch_width == patches.patch_width
            and back.dilation == patches.dilation
            and back.response_height == patches.height
            and back.response_width == patches.width
            and back.n_filters == patches.n_channels
        ):
            raise ValueError("backward_sizes are not forward_sizes reversed")
        if layer.flipped is not None:
            back.panels = self._panels(
                "flipped",
                layer.flipped,
                back.n_filters,
                packed_depth(patch_length(back), back.tile),
            )

    cdef int _check_sequence(
        self, const ckn_layer* layer, const ckn_layer* following
    ) except -1:
        if not (
            following.patches.height == layer.pooled_height
            and following.patches.width == layer.pooled_width
            and following.patches.n_channels == layer.patches.n_filters
        ):
            raise ValueError("a layer is not for the maps of the one before")

    def __dealloc__(self):
        free(self.layers)

    cdef int _check_one_layer(self) except -1:
        if self.n_layers != 1:
            raise ValueError(f"a single layer is needed, not {self.n_layers}")

    cdef int _check_images(
        self, size_t itemsize, const Py_ssize_t* shape, Py_ssize_t n_images=-1
    ) except -1:
        cdef const ckn_correlation* patches = &self.layers.patches
        if itemsize != <size_t> self.dtype.itemsize:
            raise ValueError(f"images must be {self.dtype}, as the layers are")
        check_shape(
            "images",
            shape,
            shape[0] if n_images < 0 else n_images,
            patches.height,
            patches.width,
            patches.n_channels,
        )

    cdef int _check_maps(
        self, name, const Py_ssize_t* shape, Py_ssize_t n_images
    ) except -1:
        cdef const ckn_layer* last = &self.layers[self.n_layers - 1]
        check_shape(
            name,
            shape,
            n_images,
            last.pooled_height,
            last.pooled_width,
            last.patches.n_filters,
        )

    cdef int _check_sums(
        self,
        const Py_ssize_t* anchors,
        const Py_ssize_t* projection,
        Py_ssize_t n_groups,
    ) except -1:
        cdef const ckn_correlation* patches = &self.layers.patches
        cdef Py_ssize_t p = patches.n_filters
        cdef Py_ssize_t width = self.functions.panel_width
        cdef Py_ssize_t n = n_panels(p, width)
        check_shape(
            "anchor_gradients", anchors, n_groups, n, patch_length(patches), width
        )
        check_shape("projection_gradients", projection, n_groups, n, p, width)
        if n_groups < 1:
            raise ValueError("gradients are added in one group at least")

    def encode_scratch(self, Py_ssize_t n_block):
        """Return the bytes of scratch that a thread needs for n_block images."""
        return self.functions.encode_scratch(self.layers, self.n_layers, n_block)

    def gradient_scratch(self, Py_ssize_t n_block):
        """Return the same for the gradients of the first layer."""
        return self.functions.gradient_scratch(&self.layers[0], n_block)

    def encode(
        self,
        const floating[:, :, :, ::1] images not None,  # IN (n, height, width, channels)
        floating[:, :, :, ::1] output not None,  # OUT (n, height, width, p) of the last
        floating[:, :, :, ::1] pooled,           # OUT like output, of one layer, or None
        unsigned char[:, ::1] scratch not None,  # (n_threads, encode_scratch)
        Py_ssize_t n_block,
        Py_ssize_t images_per_check,             # images between looks at signals
        bint together=False,
    ):
        """Encode blocks of images; each is the work of one thread from start to end.

        A block has n_block images, and fewer towards the end. If ``together``, all
        threads work on a single block of all images.
        """
        cdef Py_ssize_t n_images = images.shape[0]
        self._check_images(sizeof(floating), images.shape)
        self._check_maps("output", output.shape, n_images)
        if pooled is not None:
            self._check_one_layer()
            self._check_maps("pooled", pooled.shape, n_images)
        check_work(
            min(n_block, images_per_check),
            scratch.shape[0],
            scratch.shape[1],
            self.encode_scratch(n_block),
        )
        cdef Py_ssize_t n_together, first = 0
        cdef int n_threads = scratch.shape[0]
        cdef Py_ssize_t itemsize = sizeof(floating)
        cdef encoding work = encoding(
            self.functions,
            self.layers,
            self.n_layers,
            <const char*> &images[0, 0, 0, 0],
            <char*> &output[0, 0, 0, 0],
            NULL,
            &scratch[0, 0],
            itemsize * images.shape[1] * images.shape[2] * images.shape[3],
            itemsize * output.shape[1] * output.shape[2] * output.shape[3],
            scratch.shape[1],
        )
        cdef ckn_team team = ckn_team(share, n_threads, scratch.shape[1])
        if pooled is not None:
            work.pooled = <char*> &pooled[0, 0, 0, 0]
        if together:
            if not 0 < n_images <= n_block:
                raise ValueError(
                    f"n_block must be at least {n_images}, the number of images, which "
                    "is at least 1"
                )
            with nogil:
                work.functions.encode(
                    work.layers,
                    work.n_layers,
                    work.images,
                    n_images,
                    work.output,
                    work.pooled,
                    work.scratch,
                    &team,
                )
            PyErr_CheckSignals()
            return
        while first < n_images:
            n_together = min(images_per_check, n_images - first)
            with nogil:
                share(&encode_block, &work, n_together, n_block, n_threads)
            PyErr_CheckSignals()
            first += n_together
            work.images += n_together * work.image_bytes
            work.output += n_together * work.map_bytes
            if work.pooled != NULL:
                work.pooled += n_together * work.map_bytes

    def gradients(
        self,
        const floating[:, :, :, ::1] images not None,  # IN (n, height, width, channels)
        const floating[:, :, :, ::1] pooled not None,  # IN (n, pooled shape, p)
        const floating[:, :, :, ::1] output_gradients not None,  # IN like pooled
        # INOUT (groups, panels, patch length, width), (groups, panels, p, width), (groups,)
        floating[:, :, :, ::1] anchor_gradients not None,
        floating[:, :, :, ::1] projection_gradients not None,
        double[::1] beta_gradients not None,
        floating[:, :, :, ::1] image_gradients,  # OUT like images, or None
        unsigned char[:, ::1] scratch not None,  # (n_threads, gradient_scratch)
        Py_ssize_t n_block,
    ):
        """Add the gradients of groups of images, each by one thread, of a single layer."""
        cdef Py_ssize_t n_images = images.shape[0]
        cdef Py_ssize_t n_groups = beta_gradients.shape[0]
        self._check_one_layer()
        self._check_images(sizeof(floating), images.shape)
        self._check_maps("pooled", pooled.shape, n_images)
        self._check_maps("output_gradients", output_gradients.shape, n_images)
        self._check_sums(anchor_gradients.shape, projection_gradients.shape, n_groups)
        if self.layers.real_projection == NULL:
            raise ValueError("the layer was not packed for gradients")
        if image_gradients is not None:
            self._check_images(sizeof(floating), image_gradients.shape, n_images)
            if self.layers.input_gradient.panels == NULL:
                raise ValueError("the layer was not packed for gradients in its input")
        check_work(
            n_block, scratch.shape[0], scratch.shape[1], self.gradient_scratch(n_block)
        )
        cdef int n_threads = scratch.shape[0]
        cdef Py_ssize_t itemsize = sizeof(floating)
        cdef differentiation work = differentiation(
            self.functions,
            self.layers,
            <const char*> &images[0, 0, 0, 0],
            <const char*> &pooled[0, 0, 0, 0],
            <const char*> &output_gradients[0, 0, 0, 0],
            <char*> &anchor_gradients[0, 0, 0, 0],
            <char*> &projection_gradients[0, 0, 0, 0],
            &beta_gradients[0],
            NULL,
            &scratch[0, 0],
            n_images,
            n_groups,
            n_block,
            itemsize * images.shape[1] * images.shape[2] * images.shape[3],
            itemsize * pooled.shape[1] * pooled.shape[2] * pooled.shape[3],
            itemsize
            * anchor_gradients.shape[1]
            * anchor_gradients.shape[2]
            * anchor_gradients.shape[3],
            itemsize
            * projection_gradients.shape[1]
            * projection_gradients.shape[2]
            * projection_gradients.shape[3],
            scratch.shape[1],
        )
        if image_gradients is not None:
            work.image_gradients = <char*> &image_gradients[0, 0, 0, 0]
        with nogil:
            share(&differentiate_groups, &work, n_groups, 1, n_threads)
        PyErr_CheckSignals()
