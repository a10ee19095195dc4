/* The scale, shift and norm of every patch of padded maps, which kernel_functions-inl.h
 * explains. Sums of squares are in double precision, since they can be tiny. The
 * products with the mean of the anchors are the large common part of all products; they
 * are computed in double precision, or as short sums.
 *
 * Maps of few channels are split into planes of doubles, and the products with the mean
 * are computed for a vector of positions at a time. With many channels they are
 * computed patch by patch, a vector of channels at a time. */

#define CKN_FEW_CHANNELS 8

/* Positions of a row whose products with the mean are computed together. */
#define CKN_SLIDE_POSITIONS (4 * CKN_WIDE_LANES)

/* The numbers of all patches of a block of maps, and working memory. */
typedef struct {
    CKN_REAL *scale, *shift, *norm, *inverse_norm; /* (n_images * positions,) */
    double *planes;  /* (n_channels, padded map), if few */
    double *squares; /* (padded map,) of pixels */
    double *rows;    /* three rows of a padded map */
} CKN_POSITIONS;

/* Length of a row in working memory; vectors are read and written up to a vector beyond
 * its end. */
CKN_INLINE ptrdiff_t CKN(row_room)(const ckn_correlation *c) {
    return c->padded_width + CKN_SLIDE_POSITIONS;
}

static CKN_POSITIONS CKN(take_positions)(const ckn_correlation *c, ptrdiff_t n_images,
                                         ckn_arena *arena) {
    const ptrdiff_t n = n_images * c->response_height * c->response_width;
    const ptrdiff_t n_pixels = c->padded_height * c->padded_width;
    CKN_POSITIONS positions;
    positions.scale = ckn_take(arena, n, sizeof(CKN_REAL));
    positions.shift = ckn_take(arena, n, sizeof(CKN_REAL));
    positions.norm = ckn_take(arena, n, sizeof(CKN_REAL));
    positions.inverse_norm = ckn_take(arena, n, sizeof(CKN_REAL));
    positions.planes = ckn_take(arena,
                                c->n_channels < CKN_FEW_CHANNELS
                                    ? c->n_channels * n_pixels + CKN_SLIDE_POSITIONS
                                    : 0,
                                sizeof(double));
    positions.squares = ckn_take(arena, n_pixels, sizeof(double));
    positions.rows = ckn_take(arena, 3 * CKN(row_room)(c), sizeof(double));
    return positions;
}

/* The sum of the lanes: the upper half is added to the lower half until one number is
 * left. */
CKN_INLINE double CKN(sum_wide_lanes)(CKN_WIDE_VECTOR v) {
    double sums[CKN_WIDE_LANES];
    *(CKN_WIDE_VECTOR *)sums = v;
    CKN_UNROLL
    for (int n = CKN_WIDE_LANES / 2; n > 0; n /= 2)
        for (int j = 0; j < n; j++)
            sums[j] += sums[j + n];
    return sums[0];
}

/* The product of a patch with one filter. Each lane adds about CKN_PRODUCT_TERMS
 * products; these short sums are added in double precision, so that the rounding error
 * does not grow with the length of the patch. */
#define CKN_PRODUCT_TERMS 16

CKN_INLINE double CKN(long_product)(const CKN_REAL *first_run, const CKN_REAL *filters,
                                    const ckn_runs *runs) {
    const ptrdiff_t length = runs->length;
    CKN_VECTOR sums[4];
    double total = 0;
    int n_terms = 0;
    for (int i = 0; i < 4; i++)
        sums[i] = CKN(splat)(0);
    for (ptrdiff_t run = 0; run < runs->n_runs; run++) {
        const CKN_REAL *patch = first_run + ckn_run_offset(runs, run);
        const CKN_REAL *filter = filters + run * length;
        ptrdiff_t k = 0;
        for (; k + 4 * CKN_LANES <= length; k += 4 * CKN_LANES) {
            CKN_UNROLL
            for (int i = 0; i < 4; i++)
                sums[i] += CKN(load_vector)(patch + k + i * CKN_LANES) *
                           CKN(load_vector)(filter + k + i * CKN_LANES);
            if (++n_terms >= CKN_PRODUCT_TERMS) {
                total += CKN(sum_lanes)((sums[0] + sums[1]) + (sums[2] + sums[3]));
                for (int i = 0; i < 4; i++)
                    sums[i] = CKN(splat)(0);
                n_terms = 0;
            }
        }
        for (; k + CKN_LANES <= length; k += CKN_LANES, n_terms++)
            sums[0] += CKN(load_vector)(patch + k) * CKN(load_vector)(filter + k);
        for (; k < length; k++)
            total += (double)patch[k] * filter[k];
    }
    return total + CKN(sum_lanes)((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/* products (width,) <- the products of a row of patches with the mean, from planes */
static CKN_NO_INLINE void CKN(slide_mean)(const ckn_correlation *c,
                                          const double *planes, const CKN_REAL *mean,
                                          ptrdiff_t y, double *products) {
    const ptrdiff_t n_channels = c->n_channels;
    const ptrdiff_t n_pixels = c->padded_height * c->padded_width;
    for (ptrdiff_t x = 0; x < c->response_width; x += CKN_SLIDE_POSITIONS) {
        CKN_WIDE_VECTOR sums[4];
        for (int i = 0; i < 4; i++)
            sums[i] = (CKN_WIDE_VECTOR){0};
        const CKN_REAL *tap = mean;
        for (ptrdiff_t i = 0; i < c->patch_height; i++)
            for (ptrdiff_t j = 0; j < c->patch_width; j++)
                for (ptrdiff_t channel = 0; channel < n_channels; channel++, tap++) {
                    const double *values = planes + channel * n_pixels +
                                           (y + i * c->dilation) * c->padded_width + x +
                                           j * c->dilation;
                    const double weight = *tap;
                    CKN_UNROLL
                    for (int v = 0; v < 4; v++)
                        sums[v] +=
                            weight *
                            *(const CKN_WIDE_VECTOR *)(values + v * CKN_WIDE_LANES);
                }
        for (int i = 0; i < 4; i++)
            *(CKN_WIDE_VECTOR *)(products + x + i * CKN_WIDE_LANES) = sums[i];
    }
}

/* Centred patches: the mean of each channel over the k pixels of a patch is taken off.
 * With d the differences of a channel from its first pixel, its squared norm is then
 * sum d^2 - (sum d)^2 / k. For a constant patch this is exactly 0. The two terms cancel
 * little: the difference is at least (sum d)^2 / k^2, the part of the first pixel. */

/* squares (width,) <- the squared norms of a row of patches, centred, from planes */
static CKN_NO_INLINE void CKN(slide_centred)(const ckn_correlation *c,
                                             const double *planes, ptrdiff_t y,
                                             double *squares) {
    const ptrdiff_t n_pixels = c->padded_height * c->padded_width;
    const double share = 1.0 / (double)(c->patch_height * c->patch_width);
    for (ptrdiff_t x = 0; x < c->response_width; x += CKN_SLIDE_POSITIONS) {
        CKN_WIDE_VECTOR totals[4];
        for (int v = 0; v < 4; v++)
            totals[v] = (CKN_WIDE_VECTOR){0};
        for (ptrdiff_t channel = 0; channel < c->n_channels; channel++) {
            const double *first = planes + channel * n_pixels + y * c->padded_width + x;
            CKN_WIDE_VECTOR sums[4];
            for (int v = 0; v < 4; v++)
                sums[v] = (CKN_WIDE_VECTOR){0};
            for (ptrdiff_t i = 0; i < c->patch_height; i++)
                for (ptrdiff_t j = 0; j < c->patch_width; j++) {
                    const double *values =
                        first + (i * c->padded_width + j) * c->dilation;
                    CKN_UNROLL
                    for (int v = 0; v < 4; v++) {
                        const ptrdiff_t at = v * CKN_WIDE_LANES;
                        CKN_WIDE_VECTOR d = *(const CKN_WIDE_VECTOR *)(values + at) -
                                            *(const CKN_WIDE_VECTOR *)(first + at);
                        sums[v] += d;
                        totals[v] += d * d;
                    }
                }
            for (int v = 0; v < 4; v++)
                totals[v] -= sums[v] * sums[v] * share;
        }
        for (int v = 0; v < 4; v++)
            *(CKN_WIDE_VECTOR *)(squares + x + v * CKN_WIDE_LANES) = totals[v];
    }
}

/* The same of one patch, for many channels. */
static CKN_NO_INLINE double CKN(centred_square)(const ckn_correlation *c,
                                                const CKN_REAL *patch) {
    const double share = 1.0 / (double)(c->patch_height * c->patch_width);
    const ptrdiff_t step = c->dilation * c->n_channels, row = c->padded_width * step;
    CKN_WIDE_VECTOR total = {0};
    double rest = 0;
    ptrdiff_t channel = 0;
    for (; channel + CKN_WIDE_LANES <= c->n_channels; channel += CKN_WIDE_LANES) {
        const CKN_WIDE_VECTOR first = CKN(load_wide)(patch + channel);
        CKN_WIDE_VECTOR sum = {0};
        for (ptrdiff_t i = 0; i < c->patch_height; i++)
            for (ptrdiff_t j = 0; j < c->patch_width; j++) {
                CKN_WIDE_VECTOR d =
                    CKN(load_wide)(patch + channel + i * row + j * step) - first;
                sum += d;
                total += d * d;
            }
        total -= sum * sum * share;
    }
    for (; channel < c->n_channels; channel++) {
        double sum = 0;
        for (ptrdiff_t i = 0; i < c->patch_height; i++)
            for (ptrdiff_t j = 0; j < c->patch_width; j++) {
                double d = (double)patch[channel + i * row + j * step] - patch[channel];
                sum += d;
                rest += d * d;
            }
        rest -= sum * sum * share;
    }
    return CKN(sum_wide_lanes)(total) + rest;
}

/* The squared norms of the pixels of a map, and its planes if it has few channels. */
static void CKN(prepare_pixels)(const ckn_correlation *c, const CKN_REAL *map,
                                const CKN_POSITIONS *p) {
    const ptrdiff_t n_pixels = c->padded_height * c->padded_width;
    const ptrdiff_t n_channels = c->n_channels;
    double *CKN_RESTRICT squares = p->squares;
    if (n_channels < CKN_FEW_CHANNELS) {
        memset(squares, 0, (size_t)n_pixels * sizeof(double));
        for (ptrdiff_t channel = 0; channel < n_channels; channel++) {
            double *CKN_RESTRICT plane = p->planes + channel * n_pixels;
            for (ptrdiff_t i = 0; i < n_pixels; i++) {
                plane[i] = map[i * n_channels + channel];
                squares[i] += plane[i] * plane[i];
            }
        }
        return;
    }
    for (ptrdiff_t i = 0; i < n_pixels; i++) {
        const CKN_REAL *pixel = map + i * n_channels;
        double rest = 0;
        CKN_WIDE_VECTOR total = {0};
        ptrdiff_t channel = 0;
        for (; channel + CKN_WIDE_LANES <= n_channels; channel += CKN_WIDE_LANES) {
            CKN_WIDE_VECTOR value = CKN(load_wide)(pixel + channel);
            total += value * value;
        }
        for (; channel < n_channels; channel++)
            rest += (double)pixel[channel] * pixel[channel];
        squares[i] = CKN(sum_wide_lanes)(total) + rest;
    }
}

/* Replace the squared norms of row y of patches by those of the centred patches. A patch
 * that is constant up to rounding counts as zero; _network/unfold.py has the same rule.
 * squares is working memory. */
static CKN_NO_INLINE void CKN(centre_windows)(const ckn_correlation *c,
                                              const CKN_REAL *map, ptrdiff_t y,
                                              const CKN_POSITIONS *p, double *squares,
                                              double *windows) {
    const double contrast = 16 * (CKN_REAL_IS_DOUBLE ? 0x1p-52 : 0x1p-23);
    if (c->n_channels < CKN_FEW_CHANNELS)
        CKN(slide_centred)(c, p->planes, y, squares);
    else
        for (ptrdiff_t x = 0; x < c->response_width; x++)
            squares[x] =
                CKN(centred_square)(c, map + (y * c->padded_width + x) * c->n_channels);
    for (ptrdiff_t x = 0; x < c->response_width; x++)
        windows[x] = squares[x] > contrast * contrast * windows[x] ? squares[x] : 0;
}

/* Compute the numbers of row y of positions of one map; the first of them has index
 * `at`. */
static void CKN(position_row)(const ckn_layer *layer, const CKN_REAL *map, ptrdiff_t y,
                              const CKN_POSITIONS *p, ptrdiff_t at) {
    const ckn_correlation *c = &layer->patches;
    const ptrdiff_t width = c->response_width;
    const ptrdiff_t padded_width = c->padded_width;
    double *CKN_RESTRICT columns = p->rows;
    double *CKN_RESTRICT windows = columns + CKN(row_room)(c);
    double *CKN_RESTRICT products = windows + CKN(row_room)(c);

    memcpy(columns, p->squares + y * padded_width,
           (size_t)padded_width * sizeof(double));
    for (ptrdiff_t i = 1; i < c->patch_height; i++) {
        const double *CKN_RESTRICT squares =
            p->squares + (y + i * c->dilation) * padded_width;
        for (ptrdiff_t x = 0; x < padded_width; x++)
            columns[x] += squares[x];
    }
    memcpy(windows, columns, (size_t)width * sizeof(double));
    for (ptrdiff_t i = 1; i < c->patch_width; i++)
        for (ptrdiff_t x = 0; x < width; x++)
            windows[x] += columns[i * c->dilation + x];
    if (layer->center)
        CKN(centre_windows)(c, map, y, p, products, windows);
    if (c->n_channels < CKN_FEW_CHANNELS) {
        CKN(slide_mean)(c, p->planes, layer->mean, y, products);
    } else {
        const ckn_runs runs = ckn_patch_runs(c);
        for (ptrdiff_t x = 0; x < width; x++)
            products[x] = CKN(long_product)(
                map + (y * padded_width + x) * c->n_channels, layer->mean, &runs);
    }

    /* "exp" needs the exponent, factor * (cosine - 1); the other kernels need the
     * cosine. */
    const int is_exp = layer->kernel == CKN_EXP;
    const double factor = is_exp ? layer->beta * 1.44269504088896340736 : 1;
    const double less = is_exp ? 1 : 0;
    /* With a huge beta the limit is larger: the scale must not leave the range of
     * float. */
    const double smallest = factor < 1e7 ? CKN_SMALLEST_NORM : 1e-37 * factor;
    CKN_REAL *CKN_RESTRICT scale = p->scale + at, *CKN_RESTRICT shift = p->shift + at;
    CKN_REAL *CKN_RESTRICT norms = p->norm + at;
    CKN_REAL *CKN_RESTRICT inverse_norms = p->inverse_norm + at;
    for (ptrdiff_t x = 0; x < width; x++) {
        double norm = sqrt(windows[x]);
        double inverse = norm > smallest ? 1 / norm : 0;
        double cosine = products[x] * inverse;
        norms[x] = (CKN_REAL)(norm > smallest ? norm : 0);
        inverse_norms[x] = (CKN_REAL)inverse;
        scale[x] = (CKN_REAL)(inverse * factor);
        shift[x] = (CKN_REAL)(norm > smallest ? factor * (cosine - less) : 0);
    }
    if (!layer->keep_norm)
        for (ptrdiff_t x = 0; x < width; x++)
            norms[x] = norms[x] > 0;
}

static void CKN(compute_positions)(const ckn_layer *layer, const CKN_REAL *maps,
                                   ptrdiff_t n_images, const CKN_POSITIONS *p) {
    const ckn_correlation *c = &layer->patches;
    const ptrdiff_t map_length = c->padded_height * c->padded_width * c->n_channels;
    for (ptrdiff_t image = 0; image < n_images; image++) {
        const CKN_REAL *map = maps + image * map_length;
        CKN(prepare_pixels)(c, map, p);
        for (ptrdiff_t y = 0; y < c->response_height; y++)
            CKN(position_row)(layer, map, y, p,
                              (image * c->response_height + y) * c->response_width);
    }
}

#undef CKN_FEW_CHANNELS
#undef CKN_PRODUCT_TERMS
#undef CKN_SLIDE_POSITIONS
