/* The products of a block of maps with all filters, a strip of rows at a time.
 *
 * The rows of positions of all maps of a block are counted through. A strip is so many
 * of them that the responses of one panel stay in the L2 cache, whole rows of tiles
 * with Winograd. For each strip the patches are made ready once (their addresses, or
 * the transformed tiles), then every panel goes over them. */

/* Positions of a strip, at most, where a row is no longer: 48 tiles of 4 x 4 and 128
 * tiles of rows, neither leaving a part of TILE_ROWS = 6 over. */
#define STRIP_POSITIONS 768

typedef struct {
    ptrdiff_t first_row, n_rows;      /* of the positions of all maps */
    ptrdiff_t n_addresses;            /* of positions, or of tiles */
    const REAL **addresses;
    REAL *tiles;                      /* transformed pixels, planes of elements */
    REAL *sums;                       /* (n_tiles, (m + 2)^2, PANEL) */
    ptrdiff_t plane;
} CKN(strip);

INLINE ptrdiff_t CKN(n_panels)(ptrdiff_t n_filters) {
    return (n_filters + PANEL - 1) / PANEL;
}

/* Rows of tiles, or of positions, of one map. */
INLINE ptrdiff_t CKN(tile_rows_of)(const ckn_correlation *c) {
    return (c->response_height + c->tile - 1) / c->tile;
}

INLINE ptrdiff_t CKN(tile_rows_per_strip)(const ckn_correlation *c) {
    ptrdiff_t n = STRIP_POSITIONS / (c->tile * c->response_width);
    return n > 0 ? n : 1;
}

INLINE ptrdiff_t CKN(strip_positions)(const ckn_correlation *c, ptrdiff_t n_images) {
    ptrdiff_t n = CKN(tile_rows_per_strip)(c);
    ptrdiff_t all = n_images * CKN(tile_rows_of)(c);
    return (n < all ? n : all) * c->tile * c->response_width;
}

INLINE ptrdiff_t CKN(n_strips)(const ckn_correlation *c, ptrdiff_t n_images) {
    ptrdiff_t n = CKN(tile_rows_per_strip)(c);
    return (n_images * CKN(tile_rows_of)(c) + n - 1) / n;
}

static CKN(strip) CKN(take_strip)(const ckn_correlation *c, ptrdiff_t n_images,
                                  ckn_arena *arena) {
    CKN(strip) strip = {0};
    ptrdiff_t n = CKN(tile_rows_per_strip)(c), all = n_images * CKN(tile_rows_of)(c);
    n = n < all ? n : all;
    if (c->tile == 1) {
        strip.addresses = ckn_take(arena, n * c->response_width, sizeof(REAL *));
        return strip;
    }
    const ptrdiff_t elements = (c->tile + 2) * (c->tile + 2);
    const ptrdiff_t n_tiles = n * ((c->response_width + c->tile - 1) / c->tile);
    /* A cache line more: planes whose distance is a power of two would compete for the
     * same few places of the L1 cache, where a tile is written to all of them. */
    strip.plane = n_tiles * CKN(tile_channels)(c->n_channels) + 64 / (int)sizeof(REAL);
    strip.addresses = ckn_take(arena, n_tiles, sizeof(REAL *));
    strip.tiles = ckn_take(arena, elements * strip.plane, sizeof(REAL));
    strip.sums = ckn_take(arena, elements * n_tiles * PANEL, sizeof(REAL));
    return strip;
}

INLINE ptrdiff_t CKN(first_position_row)(const ckn_correlation *c, ptrdiff_t tile_row) {
    ptrdiff_t per_map = CKN(tile_rows_of)(c);
    return tile_row / per_map * c->response_height + tile_row % per_map * c->tile;
}

/* Make the patches of strip number `index` ready; maps are padded. */
static void CKN(prepare_strip)(const ckn_correlation *c, const REAL *maps,
                               ptrdiff_t n_images, ptrdiff_t index,
                               CKN(strip) *strip) {
    const ptrdiff_t n = CKN(tile_rows_per_strip)(c), m = c->tile;
    const ptrdiff_t per_map = CKN(tile_rows_of)(c), all = n_images * per_map;
    const ptrdiff_t first = index * n, last = first + n < all ? first + n : all;
    const ptrdiff_t row_stride = c->padded_width * c->n_channels;
    const ptrdiff_t n_columns = (c->response_width + m - 1) / m;
    const ptrdiff_t channels = CKN(tile_channels)(c->n_channels);
    ptrdiff_t i = 0;
    for (ptrdiff_t tile_row = first; tile_row < last; tile_row++) {
        const REAL *row = maps + (tile_row / per_map * c->padded_height +
                                  tile_row % per_map * m) * row_stride;
        for (ptrdiff_t x = 0; x < n_columns; x++, i++) {
            const REAL *pixels = row + x * m * c->n_channels;
            if (m == 1) {
                strip->addresses[i] = pixels;
            } else {
                strip->addresses[i] = strip->tiles + i * channels;
                CKN(transform_tile)(pixels, row_stride, c->n_channels,
                                    strip->tiles + i * channels, strip->plane, m);
            }
        }
    }
    strip->n_addresses = i;
    strip->first_row = CKN(first_position_row)(c, first);
    strip->n_rows = CKN(first_position_row)(c, last) - strip->first_row;
}

/* Number i of an array that may be absent. */
INLINE const REAL *CKN(from)(const REAL *numbers, ptrdiff_t i) {
    return numbers ? numbers + i : NULL;
}

/* out (n_rows * response_width, PANEL) <- responses of a strip to panel number
 * `panel`; scale, shift and norm are those of the block's first position on, or NULL
 * with CKN_PRODUCT */
static void CKN(respond_strip)(const ckn_correlation *c, const CKN(strip) *strip,
                               ptrdiff_t panel, const REAL *scale, const REAL *shift,
                               const REAL *norm, int kernel, REAL *out,
                               double *seconds) {
    const ptrdiff_t m = c->tile, width = c->response_width;
    const ptrdiff_t start = strip->first_row * width;
    scale = CKN(from)(scale, start);
    shift = CKN(from)(shift, start);
    norm = CKN(from)(norm, start);
    double clock = ckn_start(seconds);
    if (m == 1) {
        const CKN(runs) runs = {c->patch_size, c->padded_width * c->n_channels,
                                c->patch_size * c->n_channels};
        const REAL *filters = (const REAL *)c->panels +
                              panel * PANEL * runs.n_runs * runs.length;
        CKN(respond_rows)(strip->addresses, strip->n_addresses, 0, &runs, filters,
                          scale, shift, norm, kernel, out, PANEL);
        ckn_stop(seconds, CKN_STAGE_PRODUCTS, clock);
        return;
    }
    const ptrdiff_t elements = (m + 2) * (m + 2);
    const CKN(runs) runs = {1, 0, c->n_channels};
    const REAL *filters =
        (const REAL *)c->panels + panel * elements * c->n_channels * PANEL;
    for (ptrdiff_t e = 0; e < elements; e++)
        CKN(respond_rows)(strip->addresses, strip->n_addresses, e * strip->plane, &runs,
                          filters + e * c->n_channels * PANEL, NULL, NULL, NULL,
                          CKN_PRODUCT, strip->sums + e * PANEL, elements * PANEL);
    clock = ckn_stop(seconds, CKN_STAGE_PRODUCTS, clock);
    const REAL *sums = strip->sums;
    for (ptrdiff_t row = 0; row < strip->n_rows;) {
        ptrdiff_t y = (strip->first_row + row) % c->response_height;
        ptrdiff_t n_rows = c->response_height - y < m ? c->response_height - y : m;
        for (ptrdiff_t x = 0; x < width; x += m, sums += elements * PANEL) {
            ptrdiff_t i = row * width + x;
            CKN(respond_tile)(sums, n_rows, width - x < m ? width - x : m, width,
                              CKN(from)(scale, i), CKN(from)(shift, i),
                              CKN(from)(norm, i), out + i * PANEL, m, kernel);
        }
        row += n_rows;
    }
    ckn_stop(seconds, CKN_STAGE_OUTPUT, clock);
}

/* Copy images (n_images, height, width, n_channels) into zero-padded maps. */
static void CKN(copy_images)(const ckn_correlation *c, const REAL *images,
                             ptrdiff_t n_images, REAL *maps) {
    const ptrdiff_t length = c->width * c->n_channels;
    for (ptrdiff_t row = 0; row < n_images * c->height; row++) {
        ptrdiff_t padded = row / c->height * c->padded_height + row % c->height + c->pad_top;
        memcpy(maps + (padded * c->padded_width + c->pad_left) * c->n_channels,
               images + row * length, (size_t)length * sizeof(REAL));
    }
}

/* Numbers of the padded maps, whose vectors may be read a little beyond their end. */
INLINE ptrdiff_t CKN(maps_length)(const ckn_correlation *c, ptrdiff_t n_images) {
    return n_images * c->padded_height * c->padded_width * c->n_channels + LANES;
}

static REAL *CKN(take_maps)(const ckn_correlation *c, ptrdiff_t n_images,
                            ckn_arena *arena) {
    return ckn_take(arena, CKN(maps_length)(c, n_images), sizeof(REAL));
}

/* Zeros around the maps, and in them. */
static void CKN(clear_maps)(const ckn_correlation *c, ptrdiff_t n_images, REAL *maps) {
    memset(maps, 0, (size_t)CKN(maps_length)(c, n_images) * sizeof(REAL));
}
