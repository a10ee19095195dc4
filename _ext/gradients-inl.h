/* The gradients of an objective with respect to one layer and its input, for a block of
 * images, by one thread.
 *
 * The gradient with respect to the output goes back through the projection and the
 * pooling to the responses. The products of patches and anchors are computed again, one
 * panel at a time, and the derivative of the kernel function gives the gradient with
 * respect to the products. This is stored as a padded map: multiplied with the patches
 * it gives the gradient with respect to the anchors, and correlated with the flipped
 * anchors that with respect to the input. */

typedef struct {
    CKN_REAL *maps; /* padded input */
    CKN_POSITIONS positions;
    CKN_STRIP strip;                     /* of the patches */
    CKN_STRIP input_strip;               /* of the correlation with flipped anchors */
    CKN_REAL *products;                  /* (strip positions, CKN_PANEL) */
    CKN_REAL *output_gradients;          /* (n_pooled, pooled stride): of the output */
    CKN_REAL *pooled_gradients;          /* the same: of the pooled responses */
    CKN_REAL **destinations;             /* (n_pooled,) */
    const CKN_REAL **rows;               /* (n_pooled,) */
    const CKN_REAL **gradient_rows;      /* (n_pooled,) */
    CKN_REAL *unpooled;                  /* (pooled_width, CKN_PANEL) */
    CKN_REAL *product_gradients;         /* padded map: of the products */
    const CKN_REAL **position_gradients; /* (strip positions,): rows of that map */
    const CKN_REAL **tile_rows;          /* (tiles,), and */
    CKN_REAL *elements;    /* (elements, channels together, CKN_PANEL), with tiles */
    double *radial;        /* (positions): of the norms */
    double *pixel_weights; /* (padded_height, padded_width) */
} CKN_GRADIENT_SPACE;

static CKN_GRADIENT_SPACE CKN(take_gradient_space)(const ckn_layer *layer,
                                                   ptrdiff_t n_images,
                                                   ckn_arena *arena) {
    const ckn_correlation *c = &layer->patches;
    const ptrdiff_t n_pooled = CKN(n_pooled)(layer, n_images);
    const ptrdiff_t stride = CKN(pooled_stride)(layer);
    const ptrdiff_t strip = CKN(strip_positions)(c, n_images);
    const ptrdiff_t input_strip =
        CKN(strip_positions)(&layer->input_gradient, n_images);
    CKN_GRADIENT_SPACE space;
    space.maps = CKN(take_maps)(c, n_images, arena);
    space.product_gradients = CKN(take_maps)(&layer->input_gradient, n_images, arena);
    space.positions = CKN(take_positions)(c, n_images, arena);
    space.strip = CKN(take_strip)(c, n_images, arena);
    space.input_strip = CKN(take_strip)(&layer->input_gradient, n_images, arena);
    space.products =
        ckn_take(arena, (strip > input_strip ? strip : input_strip) * CKN_PANEL,
                 sizeof(CKN_REAL));
    space.output_gradients = ckn_take(arena, n_pooled * stride, sizeof(CKN_REAL));
    space.pooled_gradients = ckn_take(arena, n_pooled * stride, sizeof(CKN_REAL));
    space.destinations = ckn_take(arena, n_pooled, sizeof(CKN_REAL *));
    space.rows = ckn_take(arena, n_pooled, sizeof(CKN_REAL *));
    space.gradient_rows = ckn_take(arena, n_pooled, sizeof(CKN_REAL *));
    space.unpooled = ckn_take(arena, layer->pooled_width * CKN_PANEL, sizeof(CKN_REAL));
    space.tile_rows = ckn_take(arena, strip, sizeof(CKN_REAL *));
    space.elements = ckn_take(arena,
                              c->tile > 1 ? (c->tile + 2) * (c->tile + 2) *
                                                CKN(channels_together)(c) * CKN_PANEL
                                          : 0,
                              sizeof(CKN_REAL));
    space.position_gradients = ckn_take(arena, strip, sizeof(CKN_REAL *));
    space.radial = ckn_take(arena, n_images * c->response_height * c->response_width,
                            sizeof(double));
    space.pixel_weights =
        ckn_take(arena, c->padded_height * c->padded_width, sizeof(double));
    return space;
}

static size_t CKN(gradient_scratch)(const ckn_layer *layer, ptrdiff_t n_images) {
    ckn_arena arena = ckn_open_arena(NULL);
    CKN(take_gradient_space)(layer, n_images, &arena);
    return arena.used + 64;
}

/* Add to the gradient with respect to the projection; compute that with respect to the
 * pooled responses. */
static void CKN(project_back)(const ckn_layer *layer, const CKN_REAL *pooled,
                              const CKN_REAL *gradients, ptrdiff_t n_images,
                              const CKN_GRADIENT_SPACE *space, CKN_REAL *sums) {
    const ptrdiff_t p = layer->patches.n_filters, stride = CKN(pooled_stride)(layer);
    const ptrdiff_t n_pooled = CKN(n_pooled)(layer, n_images);
    /* the columns that fill up the last panel have gradients of zero */
    memset(space->output_gradients, 0, (size_t)(n_pooled * stride) * sizeof(CKN_REAL));
    memset(space->pooled_gradients, 0, (size_t)(n_pooled * stride) * sizeof(CKN_REAL));
    for (ptrdiff_t row = 0; row < n_pooled; row++) {
        CKN_REAL *output_gradients = space->output_gradients + row * stride;
        memcpy(output_gradients, gradients + row * p, (size_t)p * sizeof(CKN_REAL));
        space->rows[row] = pooled + row * p;
        space->gradient_rows[row] = output_gradients;
        space->destinations[row] = space->pooled_gradients + row * stride;
    }
    const ckn_runs runs = {.n_runs = 1, .length = p};
    for (ptrdiff_t panel = 0; panel < CKN(n_panels)(p); panel++)
        CKN(add_outer)(space->rows, 0, &runs, space->gradient_rows, panel * CKN_PANEL,
                       n_pooled, sums + panel * p * CKN_PANEL);
    CKN(multiply_square)(space->gradient_rows, n_pooled, p, layer->real_projection, 0,
                         CKN(n_panels)(p), space->destinations);
}

CKN_INLINE double CKN(differentiate_row_inline)(const ckn_layer *layer,
                                                const CKN_REAL *products, ptrdiff_t at,
                                                CKN_REAL *gradients,
                                                const CKN_GRADIENT_SPACE *space,
                                                int kernel) {
    const CKN_POSITIONS *p = &space->positions;
    double by_beta = 0;
    for (ptrdiff_t x = 0; x < layer->patches.response_width; x++) {
        const ptrdiff_t first = CKN(first_pooled)(layer, x);
        const ptrdiff_t last = CKN(last_pooled)(layer, x, layer->pooled_width);
        CKN_REAL *out = gradients + x * layer->input_gradient.n_channels;
        CKN_VECTOR radial = CKN(splat)(0), beta_sum = CKN(splat)(0);
        for (int j = 0; j < CKN_PANEL; j += CKN_LANES) {
            CKN_VECTOR gradient = CKN(splat)(0);
            if (p->norm[at + x] > 0)
                gradient = CKN(kernel_response_gradient)(
                    CKN(unpool_vector)(layer, space->unpooled, first, last, x, j),
                    CKN(load_vector)(products + x * CKN_PANEL + j), p->scale[at + x],
                    p->shift[at + x], (CKN_REAL)layer->beta, kernel, &radial,
                    &beta_sum);
            CKN(store_vector)(out + j, gradient);
        }
        space->radial[at + x] += CKN(sum_lanes)(radial);
        by_beta += p->norm[at + x] * CKN(sum_lanes)(beta_sum);
    }
    return by_beta;
}

/* gradients (response_width, n_anchors) <- those of the products of one row of
 * positions with a panel; returned is the contribution of the row to the gradient with
 * respect to beta */
static CKN_NO_INLINE double CKN(differentiate_row)(const ckn_layer *layer,
                                                   const CKN_REAL *products,
                                                   ptrdiff_t at, CKN_REAL *gradients,
                                                   const CKN_GRADIENT_SPACE *space) {
    double by_beta = 0;
#define CKN_DIFFERENTIATE(constant)                                                    \
    by_beta =                                                                          \
        CKN(differentiate_row_inline)(layer, products, at, gradients, space, constant)
    CKN_WITH_KERNEL(layer->kernel, CKN_DIFFERENTIATE)
#undef CKN_DIFFERENTIATE
    return by_beta;
}

/* Fill the map of the products' gradients and add to the gradient with respect to the
 * anchors. */
static double CKN(compute_product_gradients)(const ckn_layer *layer, ptrdiff_t n_images,
                                             CKN_GRADIENT_SPACE *space,
                                             CKN_REAL *sums) {
    const ckn_correlation *c = &layer->patches, *s = &layer->input_gradient;
    const ptrdiff_t height = c->response_height, width = c->response_width;
    const ptrdiff_t stride = CKN(pooled_stride)(layer);
    const ptrdiff_t depth = c->patch_height * c->patch_width * c->n_channels;
    const ckn_runs runs = ckn_patch_runs(c);
    double by_beta = 0;
    memset(space->radial, 0, (size_t)(n_images * height * width) * sizeof(double));
    for (ptrdiff_t i = 0; i < CKN(n_strips)(c, n_images); i++) {
        CKN(prepare_strip)(c, space->maps, space->positions.norm, n_images, i,
                           &space->strip);
        const ptrdiff_t n_rows = space->strip.n_rows;
        for (ptrdiff_t panel = 0; panel < CKN(n_panels)(c->n_filters); panel++) {
            CKN(respond_strip)(c, &space->strip, panel, NULL, NULL, NULL, CKN_PRODUCT,
                               CKN_PANEL, space->products);
            for (ptrdiff_t row = 0; row < n_rows; row++) {
                const ptrdiff_t all = space->strip.first_row + row;
                const ptrdiff_t image = all / height, y = all % height;
                CKN_REAL *gradients =
                    space->product_gradients +
                    ((image * s->padded_height + y + s->pad_top) * s->padded_width +
                     s->pad_left) *
                        s->n_channels;
                CKN(unpool_rows)(layer,
                                 space->pooled_gradients +
                                     CKN(n_pooled)(layer, image) * stride +
                                     panel * CKN_PANEL,
                                 stride, y, space->unpooled);
                by_beta += CKN(differentiate_row)(
                    layer, space->products + row * width * CKN_PANEL, all * width,
                    gradients + panel * CKN_PANEL, space);
                if (panel > 0)
                    continue;
                for (ptrdiff_t x = 0; x < width; x++)
                    space->position_gradients[row * width + x] =
                        gradients + x * s->n_channels;
            }
            if (c->tile > 1)
                CKN(add_winograd_gradients)(c, &space->strip, space->position_gradients,
                                            panel * CKN_PANEL, space->tile_rows,
                                            space->elements,
                                            sums + panel * depth * CKN_PANEL);
            else
                CKN(add_outer)(space->strip.addresses, 0, &runs,
                               space->position_gradients, panel * CKN_PANEL,
                               n_rows * width, sums + panel * depth * CKN_PANEL);
        }
    }
    return by_beta;
}

/* image_gradients (n_images, height, width, n_channels) <- the products' gradients
 * correlated with the flipped anchors, plus the part through the norms of the
 * patches */
static void CKN(compute_image_gradients)(const ckn_layer *layer, ptrdiff_t n_images,
                                         CKN_GRADIENT_SPACE *space,
                                         CKN_REAL *image_gradients) {
    const ckn_correlation *c = &layer->patches, *s = &layer->input_gradient;
    const ptrdiff_t n_channels = c->n_channels, width = c->width;
    for (ptrdiff_t i = 0; i < CKN(n_strips)(s, n_images); i++) {
        CKN(prepare_strip)(s, space->product_gradients, NULL, n_images, i,
                           &space->input_strip);
        const ptrdiff_t start = space->input_strip.first_row * width;
        for (ptrdiff_t panel = 0; panel < CKN(n_panels)(n_channels); panel++) {
            CKN(respond_strip)(s, &space->input_strip, panel, NULL, NULL, NULL,
                               CKN_PRODUCT, CKN_PANEL, space->products);
            for (ptrdiff_t x = 0; x < space->input_strip.n_rows * width; x++)
                for (ptrdiff_t j = 0; j < CKN_PANEL; j += CKN_LANES)
                    CKN(store_columns)(
                        image_gradients + (start + x) * n_channels,
                        panel * CKN_PANEL + j, n_channels,
                        CKN(load_vector)(space->products + x * CKN_PANEL + j));
        }
    }
    for (ptrdiff_t image = 0; image < n_images; image++) {
        memset(space->pixel_weights, 0,
               (size_t)(c->padded_height * c->padded_width) * sizeof(double));
        for (ptrdiff_t y = 0; y < c->response_height; y++)
            for (ptrdiff_t x = 0; x < c->response_width; x++) {
                ptrdiff_t at = (image * c->response_height + y) * c->response_width + x;
                double weight =
                    space->radial[at] * (double)space->positions.inverse_norm[at];
                for (ptrdiff_t i = 0; i < c->patch_height; i++)
                    for (ptrdiff_t j = 0; j < c->patch_width; j++)
                        space->pixel_weights[(y + i * c->dilation) * c->padded_width +
                                             x + j * c->dilation] += weight;
            }
        for (ptrdiff_t y = 0; y < c->height; y++)
            for (ptrdiff_t x = 0; x < width; x++) {
                const ptrdiff_t pixel =
                    (y + c->pad_top) * c->padded_width + x + c->pad_left;
                /* In double precision: a pixel near 0 can have a weight that is too
                 * large for float. */
                const double weight = space->pixel_weights[pixel];
                const CKN_REAL *CKN_RESTRICT values =
                    space->maps +
                    (image * c->padded_height * c->padded_width + pixel) * n_channels;
                CKN_REAL *CKN_RESTRICT out =
                    image_gradients +
                    ((image * c->height + y) * width + x) * n_channels;
                for (ptrdiff_t j = 0; j < n_channels; j++)
                    out[j] += (CKN_REAL)(weight * values[j]);
            }
    }
}

/* Add the gradients of a block to anchor_gradients (panels, patch_length, CKN_PANEL)
 * and projection_gradients (panels, n_anchors, CKN_PANEL); return that with respect to
 * beta. */
static double CKN(gradients)(const ckn_layer *layer, const void *images,
                             const void *pooled, const void *gradients,
                             ptrdiff_t n_images, void *anchor_gradients,
                             void *projection_gradients, void *image_gradients,
                             void *scratch) {
    ckn_arena arena = ckn_open_arena(scratch);
    CKN_GRADIENT_SPACE space = CKN(take_gradient_space)(layer, n_images, &arena);
    CKN(clear_maps)(&layer->patches, n_images, space.maps);
    CKN(clear_maps)(&layer->input_gradient, n_images, space.product_gradients);
    CKN(copy_images)(&layer->patches, images, n_images, space.maps);
    CKN(compute_positions)(layer, space.maps, n_images, &space.positions);
    CKN(project_back)(layer, pooled, gradients, n_images, &space, projection_gradients);
    double by_beta =
        CKN(compute_product_gradients)(layer, n_images, &space, anchor_gradients);
    if (image_gradients)
        CKN(compute_image_gradients)(layer, n_images, &space, image_gradients);
    return by_beta;
}
