/* The products of a block of padded maps with all filters, one strip at a time.
 *
 * The rows of positions of all maps of a block are numbered consecutively. A strip is
 * as many of them that the responses to one panel stay in the L2 cache; with Winograd's
 * algorithm it consists of whole rows of tiles. For each strip the patches are prepared
 * once (their addresses, or the transformed tiles), and then multiplied with one panel
 * after another. */

/* Largest number of positions of a strip, unless a single row has more: 48 tiles of 4 x
 * 4, or 128 register tiles; both are multiples of CKN_REGISTER_ROWS = 6 rows. */
#define CKN_STRIP_POSITIONS 768

/* Winograd's algorithm mixes the patches of a tile, and its rounding errors are
 * relative to the largest of them: the error of a cosine is that of the largest patch,
 * multiplied by the ratio of the two norms. Patches whose norm is more than
 * CKN_MAX_SPREAD times smaller than the largest of their tile are "weak": they get
 * direct products, a few patches at a time. In images of objects on an empty background
 * (written digits, clothes), about 1 patch in 5000 is so weak. */
#define CKN_MAX_SPREAD 16384
#define CKN_WEAK_AT_A_TIME (8 * CKN_REGISTER_ROWS)

typedef struct {
    ptrdiff_t first_row, n_rows; /* of the positions of all maps */
    /* Of the positions of a row: all, but for a part of a strip, see strip_part. */
    ptrdiff_t first_column, n_columns;
    ptrdiff_t n_addresses; /* of positions, or of tiles */
    const CKN_REAL **addresses;
    CKN_REAL *tiles; /* transformed pixels, planes of elements */
    CKN_REAL *sums;  /* (n_tiles, (m + 2)^2, CKN_PANEL) */
    ptrdiff_t plane;
    ptrdiff_t n_weak;                /* weak patches: */
    ptrdiff_t *weak;                 /* their positions, from first_row on, */
    const CKN_REAL **weak_addresses; /* and their addresses */
} CKN_STRIP;

CKN_INLINE ptrdiff_t CKN(n_panels)(ptrdiff_t n_filters) {
    return (n_filters + CKN_PANEL - 1) / CKN_PANEL;
}

/* Rows of tiles, or of positions, of one map. */
CKN_INLINE ptrdiff_t CKN(tile_rows_of)(const ckn_correlation *c) {
    return (c->response_height + c->tile - 1) / c->tile;
}

CKN_INLINE ptrdiff_t CKN(tile_rows_per_strip)(const ckn_correlation *c) {
    ptrdiff_t n = CKN_STRIP_POSITIONS / (c->tile * c->response_width);
    return n > 0 ? n : 1;
}

CKN_INLINE ptrdiff_t CKN(strip_positions)(const ckn_correlation *c,
                                          ptrdiff_t n_images) {
    ptrdiff_t n = CKN(tile_rows_per_strip)(c);
    ptrdiff_t all = n_images * CKN(tile_rows_of)(c);
    return (n < all ? n : all) * c->tile * c->response_width;
}

CKN_INLINE ptrdiff_t CKN(n_strips)(const ckn_correlation *c, ptrdiff_t n_images) {
    ptrdiff_t n = CKN(tile_rows_per_strip)(c);
    return (n_images * CKN(tile_rows_of)(c) + n - 1) / n;
}

static CKN_STRIP CKN(take_strip)(const ckn_correlation *c, ptrdiff_t n_images,
                                 ckn_arena *arena) {
    CKN_STRIP strip = {0};
    ptrdiff_t n = CKN(tile_rows_per_strip)(c), all = n_images * CKN(tile_rows_of)(c);
    n = n < all ? n : all;
    if (c->tile == 1) {
        strip.addresses = ckn_take(arena, n * c->response_width, sizeof(CKN_REAL *));
        return strip;
    }
    const ptrdiff_t elements = (c->tile + 2) * (c->tile + 2);
    const ptrdiff_t n_tiles = n * ((c->response_width + c->tile - 1) / c->tile);
    /* One cache line more than needed: if the distance of planes were a power of two,
     * they would compete for the same few places of the L1 cache when a tile is written
     * to all of them. */
    strip.plane =
        n_tiles * CKN(tile_channels)(c->n_channels) + 64 / (int)sizeof(CKN_REAL);
    strip.addresses = ckn_take(arena, n_tiles, sizeof(CKN_REAL *));
    strip.tiles = ckn_take(arena, elements * strip.plane, sizeof(CKN_REAL));
    strip.sums = ckn_take(arena, elements * n_tiles * CKN_PANEL, sizeof(CKN_REAL));
    strip.weak = ckn_take(arena, n * c->tile * c->response_width, sizeof(ptrdiff_t));
    strip.weak_addresses =
        ckn_take(arena, n * c->tile * c->response_width, sizeof(CKN_REAL *));
    return strip;
}

CKN_INLINE ptrdiff_t CKN(first_position_row)(const ckn_correlation *c,
                                             ptrdiff_t tile_row) {
    ptrdiff_t per_map = CKN(tile_rows_of)(c);
    return tile_row / per_map * c->response_height + tile_row % per_map * c->tile;
}

/* Append the weak patches of a tile to those of the strip. n_rows x n_columns positions
 * of the tile are inside the map; norm and pixels are those of its first position,
 * which has number `position` in the strip. */
CKN_INLINE void CKN(find_weak)(const ckn_correlation *c, const CKN_REAL *norm,
                               const CKN_REAL *pixels, ptrdiff_t n_rows,
                               ptrdiff_t n_columns, ptrdiff_t position,
                               CKN_STRIP *strip) {
    const ptrdiff_t width = c->response_width;
    CKN_REAL largest = 0;
    for (ptrdiff_t y = 0; y < n_rows; y++)
        for (ptrdiff_t x = 0; x < n_columns; x++)
            largest = norm[y * width + x] > largest ? norm[y * width + x] : largest;
    const CKN_REAL weak = largest / CKN_MAX_SPREAD;
    for (ptrdiff_t y = 0; y < n_rows; y++)
        for (ptrdiff_t x = 0; x < n_columns; x++)
            if (norm[y * width + x] < weak && norm[y * width + x] > 0) {
                strip->weak[strip->n_weak] = position + y * width + x;
                strip->weak_addresses[strip->n_weak++] =
                    pixels + (y * c->padded_width + x) * c->n_channels;
            }
}

/* Prepare the patches of strip number `index` of the padded maps. norms are those of
 * the patches of the block, or NULL where the products are not divided by them. */
static void CKN(prepare_strip)(const ckn_correlation *c, const CKN_REAL *maps,
                               const CKN_REAL *norms, ptrdiff_t n_images,
                               ptrdiff_t index, CKN_STRIP *strip) {
    const ptrdiff_t n = CKN(tile_rows_per_strip)(c), m = c->tile;
    const ptrdiff_t per_map = CKN(tile_rows_of)(c), all = n_images * per_map;
    const ptrdiff_t first = index * n, last = first + n < all ? first + n : all;
    const ptrdiff_t row_stride = c->padded_width * c->n_channels;
    const ptrdiff_t n_columns = (c->response_width + m - 1) / m;
    const ptrdiff_t channels = CKN(tile_channels)(c->n_channels);
    const ptrdiff_t first_row = CKN(first_position_row)(c, first);
    ptrdiff_t i = 0;
    strip->n_weak = 0;
    for (ptrdiff_t tile_row = first; tile_row < last; tile_row++) {
        const ptrdiff_t y = tile_row % per_map * m;
        const ptrdiff_t n_rows =
            c->response_height - y < m ? c->response_height - y : m;
        const ptrdiff_t position_row = CKN(first_position_row)(c, tile_row);
        const CKN_REAL *row =
            maps + (tile_row / per_map * c->padded_height + y) * row_stride;
        for (ptrdiff_t x = 0; x < n_columns; x++, i++) {
            const CKN_REAL *pixels = row + x * m * c->n_channels;
            if (m == 1) {
                strip->addresses[i] = pixels;
            } else {
                strip->addresses[i] = strip->tiles + i * channels;
                CKN(transform_tile)(pixels, row_stride, c->n_channels,
                                    strip->tiles + i * channels, strip->plane, m);
                if (norms) {
                    const ptrdiff_t left = c->response_width - x * m;
                    CKN(find_weak)(
                        c, norms + position_row * c->response_width + x * m, pixels,
                        n_rows, left < m ? left : m,
                        (position_row - first_row) * c->response_width + x * m, strip);
                }
            }
        }
    }
    strip->n_addresses = i;
    strip->first_row = first_row;
    strip->n_rows = CKN(first_position_row)(c, last) - strip->first_row;
    strip->first_column = 0;
    strip->n_columns = c->response_width;
}

/* Part of a strip of a single row, without tiles: the positions from `column` on, at
 * most CKN_STRIP_POSITIONS of them. */
CKN_INLINE CKN_STRIP CKN(strip_part)(const CKN_STRIP *strip, ptrdiff_t column) {
    const ptrdiff_t left = strip->n_columns - column;
    CKN_STRIP part = *strip;
    part.first_column = column;
    part.n_columns = left < CKN_STRIP_POSITIONS ? left : CKN_STRIP_POSITIONS;
    part.n_addresses = part.n_columns;
    part.addresses = strip->addresses + column;
    return part;
}

/* The address of number i of an array, NULL if there is no array. */
CKN_INLINE const CKN_REAL *CKN(offset_or_null)(const CKN_REAL *numbers, ptrdiff_t i) {
    return numbers ? numbers + i : NULL;
}

/* Overwrite the rows of a strip's weak patches in out (positions, CKN_PANEL) by their
 * responses to panel number `panel`, computed by direct products; scale, shift and norm
 * start at the first position of the strip, or are NULL with CKN_PRODUCT. */
static CKN_NO_INLINE void CKN(respond_weak)(const ckn_correlation *c,
                                            const CKN_STRIP *strip, ptrdiff_t panel,
                                            const CKN_REAL *scale,
                                            const CKN_REAL *shift, const CKN_REAL *norm,
                                            int kernel, CKN_REAL *out) {
    const ckn_runs runs = ckn_patch_runs(c);
    const CKN_REAL *filters = (const CKN_REAL *)c->direct_panels +
                              panel * CKN_PANEL * runs.n_runs * runs.length;
    CKN_REAL responses[CKN_WEAK_AT_A_TIME * CKN_PANEL];
    CKN_REAL scales[CKN_WEAK_AT_A_TIME], shifts[CKN_WEAK_AT_A_TIME],
        lengths[CKN_WEAK_AT_A_TIME];
    for (ptrdiff_t first = 0; first < strip->n_weak; first += CKN_WEAK_AT_A_TIME) {
        const ptrdiff_t left = strip->n_weak - first;
        const ptrdiff_t n = left < CKN_WEAK_AT_A_TIME ? left : CKN_WEAK_AT_A_TIME;
        const ptrdiff_t *positions = strip->weak + first;
        if (kernel != CKN_PRODUCT)
            for (ptrdiff_t i = 0; i < n; i++) {
                scales[i] = scale[positions[i]];
                shifts[i] = shift[positions[i]];
                lengths[i] = norm[positions[i]];
            }
        CKN(respond_rows)(strip->weak_addresses + first, n, 0, &runs, filters, scales,
                          shifts, lengths, kernel, CKN_PANEL, responses, CKN_PANEL);
        for (ptrdiff_t i = 0; i < n; i++)
            memcpy(out + positions[i] * CKN_PANEL, responses + i * CKN_PANEL,
                   CKN_PANEL * sizeof(CKN_REAL));
    }
}

/* out (n_rows * n_columns, CKN_PANEL) <- the responses of a strip to panel number
 * `panel`, of which those after the first n_filters may be left out; scale, shift and
 * norm start at the first position of the block, or are NULL with CKN_PRODUCT */
static void CKN(respond_strip)(const ckn_correlation *c, const CKN_STRIP *strip,
                               ptrdiff_t panel, const CKN_REAL *scale,
                               const CKN_REAL *shift, const CKN_REAL *norm, int kernel,
                               ptrdiff_t n_filters, CKN_REAL *out) {
    const ptrdiff_t m = c->tile, width = c->response_width;
    const ptrdiff_t start = strip->first_row * width + strip->first_column;
    scale = CKN(offset_or_null)(scale, start);
    shift = CKN(offset_or_null)(shift, start);
    norm = CKN(offset_or_null)(norm, start);
    if (m == 1) {
        const ckn_runs runs = ckn_patch_runs(c);
        const CKN_REAL *filters =
            (const CKN_REAL *)c->panels + panel * CKN_PANEL * runs.n_runs * runs.length;
        CKN(respond_rows)(strip->addresses, strip->n_addresses, 0, &runs, filters,
                          scale, shift, norm, kernel, n_filters, out, CKN_PANEL);
        return;
    }
    const ptrdiff_t elements = (m + 2) * (m + 2);
    const ckn_runs runs = {.n_runs = 1, .length = c->n_channels};
    const CKN_REAL *filters =
        (const CKN_REAL *)c->panels + panel * elements * c->n_channels * CKN_PANEL;
    for (ptrdiff_t e = 0; e < elements; e++)
        CKN(respond_rows)(strip->addresses, strip->n_addresses, e * strip->plane, &runs,
                          filters + e * c->n_channels * CKN_PANEL, NULL, NULL, NULL,
                          CKN_PRODUCT, CKN_PANEL, strip->sums + e * CKN_PANEL,
                          elements * CKN_PANEL);
    const CKN_REAL *sums = strip->sums;
    for (ptrdiff_t row = 0; row < strip->n_rows;) {
        ptrdiff_t y = (strip->first_row + row) % c->response_height;
        ptrdiff_t n_rows = c->response_height - y < m ? c->response_height - y : m;
        for (ptrdiff_t x = 0; x < width; x += m, sums += elements * CKN_PANEL) {
            ptrdiff_t i = row * width + x;
            CKN(respond_tile)(
                sums, n_rows, width - x < m ? width - x : m, width,
                CKN(offset_or_null)(scale, i), CKN(offset_or_null)(shift, i),
                CKN(offset_or_null)(norm, i), out + i * CKN_PANEL, m, kernel);
        }
        row += n_rows;
    }
    if (strip->n_weak > 0)
        CKN(respond_weak)(c, strip, panel, scale, shift, norm, kernel, out);
}

/* Copy images (n_images, height, width, n_channels) into zero-padded maps. */
static void CKN(copy_images)(const ckn_correlation *c, const CKN_REAL *images,
                             ptrdiff_t n_images, CKN_REAL *maps) {
    const ptrdiff_t length = c->width * c->n_channels;
    for (ptrdiff_t row = 0; row < n_images * c->height; row++) {
        ptrdiff_t padded =
            row / c->height * c->padded_height + row % c->height + c->pad_top;
        memcpy(maps + (padded * c->padded_width + c->pad_left) * c->n_channels,
               images + row * length, (size_t)length * sizeof(CKN_REAL));
    }
}

/* How many numbers the padded maps have, with one vector more: a little may be read
 * beyond the end of a map. */
CKN_INLINE ptrdiff_t CKN(maps_length)(const ckn_correlation *c, ptrdiff_t n_images) {
    return n_images * c->padded_height * c->padded_width * c->n_channels + CKN_LANES;
}

static CKN_REAL *CKN(take_maps)(const ckn_correlation *c, ptrdiff_t n_images,
                                ckn_arena *arena) {
    return ckn_take(arena, CKN(maps_length)(c, n_images), sizeof(CKN_REAL));
}

/* Set the maps and the padding around them to zero. */
static void CKN(clear_maps)(const ckn_correlation *c, ptrdiff_t n_images,
                            CKN_REAL *maps) {
    memset(maps, 0, (size_t)CKN(maps_length)(c, n_images) * sizeof(CKN_REAL));
}

#undef CKN_MAX_SPREAD
#undef CKN_WEAK_AT_A_TIME
