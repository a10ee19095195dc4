/* Maps a block of images through all layers, in working memory of its own: by one
 * thread, or by several, each of which computes some of the anchors of a layer. The
 * results are the same to the bit. */

/* Products of a layer below which threads would wait for each other longer than they
 * save. */
#define CKN_SHARED_PRODUCTS 1500000

/* Working memory. All layers use the same, except for the maps. */
typedef struct {
    CKN_REAL **maps; /* padded input of each layer */
    CKN_POSITIONS positions;
    CKN_STRIP strip;
    CKN_REAL *responses;      /* (positions together, CKN_PANEL) */
    void *pooled;             /* (n_images, pooled positions, pooled stride) */
    const void **pooled_rows; /* (n_images * pooled positions,) */
    CKN_REAL **destinations;  /* the same: where projected rows go */
} CKN_ENCODER;

/* Pooled rows are as long as whole panels. */
CKN_INLINE ptrdiff_t CKN(pooled_stride)(const ckn_layer *layer) {
    return CKN(n_panels)(layer->patches.n_filters) * CKN_PANEL;
}

CKN_INLINE ptrdiff_t CKN(n_pooled)(const ckn_layer *layer, ptrdiff_t n_images) {
    return n_images * layer->pooled_height * layer->pooled_width;
}

/* Whether rows of positions are so long that a strip is computed in parts, whose
 * responses stay in the L2 cache. Layers with a single output have them; for others,
 * the parts of a row would overlap in what they are pooled to. */
CKN_INLINE int CKN(has_parts)(const ckn_layer *layer) {
    return layer->pooled_height * layer->pooled_width == 1 &&
           layer->patches.tile == 1 &&
           layer->patches.response_width > CKN_STRIP_POSITIONS;
}

/* Positions whose responses to a panel are computed together, before they are
 * pooled. */
CKN_INLINE ptrdiff_t CKN(positions_together)(const ckn_layer *layer,
                                             ptrdiff_t n_images) {
    return CKN(has_parts)(layer) ? CKN_STRIP_POSITIONS
                                 : CKN(strip_positions)(&layer->patches, n_images);
}

/* Layers are computed one after another, so that everything but their maps lies in the
 * same place. */
static CKN_ENCODER CKN(take_encoder)(const ckn_layer *layers, ptrdiff_t n_layers,
                                     ptrdiff_t layer, ptrdiff_t n_images,
                                     ckn_arena *arena) {
    CKN_ENCODER encoder;
    encoder.maps = ckn_take(arena, n_layers, sizeof(CKN_REAL *));
    for (ptrdiff_t i = 0; i < n_layers; i++) {
        CKN_REAL *maps = CKN(take_maps)(&layers[i].patches, n_images, arena);
        if (encoder.maps)
            encoder.maps[i] = maps;
    }
    const ckn_layer *current = layers + layer;
    const ptrdiff_t n_pooled = CKN(n_pooled)(current, n_images);
    encoder.positions = CKN(take_positions)(&current->patches, n_images, arena);
    encoder.strip = CKN(take_strip)(&current->patches, n_images, arena);
    encoder.responses =
        ckn_take(arena, CKN(positions_together)(current, n_images) * CKN_PANEL,
                 sizeof(CKN_REAL));
    encoder.pooled = ckn_take(arena, n_pooled * CKN(pooled_stride)(current),
                              CKN(pooled_size)(current));
    encoder.pooled_rows = ckn_take(arena, n_pooled, sizeof(void *));
    encoder.destinations = ckn_take(arena, n_pooled, sizeof(CKN_REAL *));
    return encoder;
}

static size_t CKN(encode_scratch)(const ckn_layer *layers, ptrdiff_t n_layers,
                                  ptrdiff_t n_images) {
    size_t largest = 0;
    for (ptrdiff_t i = 0; i < n_layers; i++) {
        ckn_arena arena = ckn_open_arena(NULL);
        CKN(take_encoder)(layers, n_layers, i, n_images, &arena);
        largest = arena.used > largest ? arena.used : largest;
    }
    return largest + 64;
}

/* Compute the responses of a strip, or of a part of one, to panel number `panel` and
 * add them to encoder->pooled. */
static void CKN(pool_strip)(const ckn_layer *layer, const CKN_STRIP *strip,
                            ptrdiff_t panel, const CKN_ENCODER *encoder) {
    const ckn_correlation *patches = &layer->patches;
    const ptrdiff_t height = patches->response_height;
    const ptrdiff_t stride = CKN(pooled_stride)(layer);
    const ptrdiff_t per_image = CKN(n_pooled)(layer, 1) * stride;
    const ptrdiff_t n_filters = patches->n_filters - panel * CKN_PANEL;
    const CKN_POSITIONS *p = &encoder->positions;
    CKN(respond_strip)(patches, strip, panel, p->scale, p->shift, p->norm,
                       layer->kernel, n_filters, encoder->responses);
    for (ptrdiff_t row = 0; row < strip->n_rows; row++) {
        const ptrdiff_t image = (strip->first_row + row) / height;
        CKN(pool_row)(layer, encoder->responses + row * strip->n_columns * CKN_PANEL,
                      (strip->first_row + row) % height, strip->first_column,
                      strip->n_columns,
                      CKN(pooled_at)(layer, encoder->pooled,
                                     image * per_image + panel * CKN_PANEL),
                      stride, n_filters);
    }
}

/* Compute the responses of all patches to panels `begin` to `end` - 1 and add them to
 * encoder->pooled. */
static void CKN(pool_responses)(const ckn_layer *layer, const CKN_REAL *maps,
                                ptrdiff_t n_images, ptrdiff_t begin, ptrdiff_t end,
                                const CKN_ENCODER *encoder) {
    const ckn_correlation *patches = &layer->patches;
    const CKN_POSITIONS *p = &encoder->positions;
    const int has_parts = CKN(has_parts)(layer);
    CKN_STRIP strip = encoder->strip;

    CKN(compute_positions)(layer, maps, n_images, p);
    for (ptrdiff_t i = 0; i < CKN(n_strips)(patches, n_images); i++) {
        CKN(prepare_strip)(patches, maps, p->norm, n_images, i, &strip);
        for (ptrdiff_t panel = begin; panel < end; panel++) {
            if (!has_parts) {
                CKN(pool_strip)(layer, &strip, panel, encoder);
                continue;
            }
            for (ptrdiff_t x = 0; x < strip.n_columns; x += CKN_STRIP_POSITIONS) {
                const CKN_STRIP part = CKN(strip_part)(&strip, x);
                CKN(pool_strip)(layer, &part, panel, encoder);
            }
        }
    }
}

#if CKN_REAL_IS_DOUBLE
#define CKN_MULTIPLY_WIDE_ROWS ckn_multiply_rows_double
#else
#define CKN_MULTIPLY_WIDE_ROWS ckn_multiply_rows_to_float
#endif

/* destinations (n_rows,) of n_anchors reals <- rows (n_anchors,) times panels `begin` to
 * `end` - 1 of a square matrix */
static void CKN(multiply_square)(const CKN_REAL *const *rows, ptrdiff_t n_rows,
                                 ptrdiff_t n_anchors, const CKN_REAL *panels,
                                 ptrdiff_t begin, ptrdiff_t end,
                                 CKN_REAL *const *destinations) {
    const ckn_runs runs = {.n_runs = 1, .length = n_anchors};
    for (ptrdiff_t first = begin * CKN_PANEL; first < end * CKN_PANEL;
         first += CKN_PANEL)
        CKN(multiply_rows)(rows, n_rows, &runs, panels + first * n_anchors, first,
                           n_anchors, destinations);
}

/* The same for the projection; the rows and the panels are of doubles if the layer is
 * wide. */
static void CKN(project_pooled)(const ckn_layer *layer, const void *const *rows,
                                ptrdiff_t n_rows, ptrdiff_t begin, ptrdiff_t end,
                                CKN_REAL *const *destinations) {
    const ptrdiff_t p = layer->patches.n_filters;
    if (!layer->wide) {
        CKN(multiply_square)((const CKN_REAL *const *)rows, n_rows, p,
                             layer->projection, begin, end, destinations);
        return;
    }
    const ckn_runs runs = {.n_runs = 1, .length = p};
    for (ptrdiff_t first = begin * CKN_DOUBLE_PANEL; first < end * CKN_DOUBLE_PANEL;
         first += CKN_DOUBLE_PANEL)
        CKN_MULTIPLY_WIDE_ROWS((const double *const *)rows, n_rows, &runs,
                               (const double *)layer->projection + first * p, first, p,
                               destinations);
}

CKN_INLINE ptrdiff_t CKN(n_projection_panels)(const ckn_layer *layer) {
    const ptrdiff_t p = layer->patches.n_filters;
    return layer->wide ? (p + CKN_DOUBLE_PANEL - 1) / CKN_DOUBLE_PANEL
                       : CKN(n_panels)(p);
}

#undef CKN_MULTIPLY_WIDE_ROWS

/* Where the output of a layer is written: into the padded input of the next layer, or
 * into the output of the network. */
static void CKN(find_destinations)(const ckn_layer *layer, const ckn_layer *next,
                                   CKN_REAL *maps, ptrdiff_t n_images,
                                   CKN_REAL **destinations) {
    const ptrdiff_t height = layer->pooled_height, width = layer->pooled_width;
    const ptrdiff_t p = layer->patches.n_filters;
    ptrdiff_t i = 0;
    for (ptrdiff_t image = 0; image < n_images; image++)
        for (ptrdiff_t y = 0; y < height; y++)
            for (ptrdiff_t x = 0; x < width; x++, i++) {
                if (next) {
                    const ckn_correlation *c = &next->patches;
                    destinations[i] =
                        maps +
                        ((image * c->padded_height + y + c->pad_top) * c->padded_width +
                         x + c->pad_left) *
                            p;
                } else {
                    destinations[i] = maps + i * p;
                }
            }
}

/* kept (n_pooled, n_anchors) <- pooled rows */
static void CKN(keep_pooled)(const ckn_layer *layer, const void *const *rows,
                             ptrdiff_t n_pooled, CKN_REAL *kept) {
    const ptrdiff_t p = layer->patches.n_filters;
    for (ptrdiff_t row = 0; row < n_pooled; row++)
        for (ptrdiff_t j = 0; j < p; j++)
            kept[row * p + j] = layer->wide ? (CKN_REAL)((const double *)rows[row])[j]
                                            : ((const CKN_REAL *)rows[row])[j];
}

/* A layer's work on a block, as parts of about equal numbers of panels. */
typedef struct {
    const ckn_layer *layers;
    ptrdiff_t n_layers, layer, n_images, n_panels, n_parts;
    CKN_ENCODER encoder; /* what all threads read and write */
    const CKN_REAL *maps;
    char *scratch;
    size_t scratch_bytes;
} CKN_PARTS;

static void CKN(pool_parts)(void *argument, ptrdiff_t first, ptrdiff_t last,
                            int thread) {
    const CKN_PARTS *parts = argument;
    ckn_arena arena = ckn_open_arena(parts->scratch + thread * parts->scratch_bytes);
    CKN_ENCODER encoder = CKN(take_encoder)(parts->layers, parts->n_layers,
                                            parts->layer, parts->n_images, &arena);
    encoder.pooled = parts->encoder.pooled;
    CKN(pool_responses)(parts->layers + parts->layer, parts->maps, parts->n_images,
                        first * parts->n_panels / parts->n_parts,
                        last * parts->n_panels / parts->n_parts, &encoder);
}

static void CKN(project_parts)(void *argument, ptrdiff_t first, ptrdiff_t last,
                               int thread) {
    const CKN_PARTS *parts = argument;
    const ckn_layer *layer = parts->layers + parts->layer;
    (void)thread;
    CKN(project_pooled)(
        layer, parts->encoder.pooled_rows, CKN(n_pooled)(layer, parts->n_images),
        first * parts->n_panels / parts->n_parts,
        last * parts->n_panels / parts->n_parts, parts->encoder.destinations);
}

/* Run a task on all panels, on a team if there is one and enough to do. */
static void CKN(run_parts)(const ckn_team *team, ckn_task task, ptrdiff_t n_panels,
                           ptrdiff_t n_products, CKN_PARTS *parts) {
    const int is_shared = team && n_products >= CKN_SHARED_PRODUCTS;
    parts->n_panels = n_panels;
    parts->n_parts = !is_shared                   ? 1
                     : n_panels < team->n_threads ? n_panels
                                                  : team->n_threads;
    if (is_shared)
        team->share(task, parts, parts->n_parts, 1, team->n_threads);
    else
        task(parts, 0, 1, 0);
}

/* output (n_images, pooled_height, pooled_width, n_anchors) is that of the last layer.
 * If pooled is not NULL, it gets the same values before the projection; there must be a
 * single layer then. Without a team, the calling thread works alone. */
static void CKN(encode)(const ckn_layer *layers, ptrdiff_t n_layers, const void *images,
                        ptrdiff_t n_images, void *output, void *pooled, void *scratch,
                        const ckn_team *team) {
    for (ptrdiff_t i = 0; i < n_layers; i++) {
        const ckn_layer *layer = layers + i;
        const ckn_layer *next = i + 1 < n_layers ? layer + 1 : NULL;
        const ckn_correlation *patches = &layer->patches;
        const ptrdiff_t n_pooled = CKN(n_pooled)(layer, n_images);
        const ptrdiff_t stride = CKN(pooled_stride)(layer);
        ckn_arena arena = ckn_open_arena(scratch);
        const CKN_ENCODER encoder =
            CKN(take_encoder)(layers, n_layers, i, n_images, &arena);
        if (i == 0) {
            for (ptrdiff_t j = 0; j < n_layers; j++)
                CKN(clear_maps)(&layers[j].patches, n_images, encoder.maps[j]);
            CKN(copy_images)(patches, images, n_images, encoder.maps[0]);
        }
        CKN_PARTS parts = {.layers = layers,
                           .n_layers = n_layers,
                           .layer = i,
                           .n_images = n_images,
                           .encoder = encoder,
                           .maps = encoder.maps[i],
                           .scratch = scratch,
                           .scratch_bytes = team ? team->scratch_bytes : 0};
        memset(encoder.pooled, 0,
               (size_t)(n_pooled * stride) * CKN(pooled_size)(layer));
        const ptrdiff_t patch_length =
            patches->patch_height * patches->patch_width * patches->n_channels;
        CKN(run_parts)(team, CKN(pool_parts), CKN(n_panels)(patches->n_filters),
                       n_images * patches->response_height * patches->response_width *
                           patch_length * patches->n_filters,
                       &parts);

        CKN(find_destinations)(layer, next, next ? encoder.maps[i + 1] : output,
                               n_images, encoder.destinations);
        for (ptrdiff_t row = 0; row < n_pooled; row++)
            encoder.pooled_rows[row] =
                CKN(pooled_at)(layer, encoder.pooled, row * stride);
        CKN(run_parts)(team, CKN(project_parts), CKN(n_projection_panels)(layer),
                       n_pooled * patches->n_filters * patches->n_filters, &parts);
        if (pooled)
            CKN(keep_pooled)(layer, encoder.pooled_rows, n_pooled, pooled);
    }
}

#undef CKN_STRIP_POSITIONS
#undef CKN_SHARED_PRODUCTS
