/* Gaussian pooling of one panel's responses along width and height, and its transpose.
 *
 * The projection that follows enlarges rounding errors of pooled values up to
 * sqrt(1 / nystrom_reg) times: where that matters, layers are `wide` and these are
 * sums of doubles. */

/* The pooled positions that a position along an axis reaches: first to last. */
INLINE ptrdiff_t CKN(first_pooled)(const ckn_layer *layer, ptrdiff_t position) {
    return position <= layer->radius
               ? 0
               : (position - layer->radius + layer->subsampling - 1) / layer->subsampling;
}

INLINE ptrdiff_t CKN(last_pooled)(const ckn_layer *layer, ptrdiff_t position,
                                  ptrdiff_t size) {
    ptrdiff_t last = (position + layer->radius) / layer->subsampling;
    return last < size ? last : size - 1;
}

/* Defines pool_row_NAME for sums in vectors of type SUM, which `read` loads from
 * responses: a row of responses is pooled along the width, in registers, and added to
 * the pooled rows that it reaches. */
#define DEFINE_POOL_ROW(NAME, NUMBER, SUM, SUM_LANES, read)                           \
    static NO_INLINE void CKN(pool_row_##NAME)(const ckn_layer *layer,                \
                                               const REAL *responses, ptrdiff_t y,    \
                                               NUMBER *pooled, ptrdiff_t stride) {    \
        const ptrdiff_t s = layer->subsampling, radius = layer->radius;               \
        const ptrdiff_t width = layer->patches.response_width;                        \
        const ptrdiff_t first = CKN(first_pooled)(layer, y);                          \
        const ptrdiff_t last = CKN(last_pooled)(layer, y, layer->pooled_height);      \
        for (ptrdiff_t i = 0; i < layer->pooled_width; i++) {                         \
            const double *taps = layer->taps + radius - i * s;                        \
            ptrdiff_t begin = i * s > radius ? i * s - radius : 0;                    \
            ptrdiff_t end = i * s + radius < width ? i * s + radius + 1 : width;      \
            SUM sums[PANEL / (SUM_LANES)];                                            \
            UNROLL                                                                    \
            for (int j = 0; j < PANEL / (SUM_LANES); j++)                             \
                sums[j] = (SUM){0};                                                   \
            for (ptrdiff_t x = begin; x < end; x++) {                                 \
                NUMBER tap = (NUMBER)taps[x];                                         \
                UNROLL                                                                \
                for (int j = 0; j < PANEL / (SUM_LANES); j++)                         \
                    sums[j] += tap * read(responses + x * PANEL + j * (SUM_LANES));   \
            }                                                                         \
            for (ptrdiff_t row = first; row <= last; row++) {                         \
                NUMBER tap = (NUMBER)layer->taps[y - row * s + radius];               \
                NUMBER *out = pooled + (row * layer->pooled_width + i) * stride;      \
                UNROLL                                                                \
                for (int j = 0; j < PANEL / (SUM_LANES); j++)                         \
                    *(SUM *)(out + j * (SUM_LANES)) += tap * sums[j];                 \
            }                                                                         \
        }                                                                             \
    }

DEFINE_POOL_ROW(wide, double, WIDE, WIDE_LANES, CKN(load_wide))
DEFINE_POOL_ROW(narrow, REAL, VECTOR, LANES, CKN(load))

#undef DEFINE_POOL_ROW

/* The size of the numbers that pooled responses are kept in. */
INLINE size_t CKN(pooled_size)(const ckn_layer *layer) {
    return layer->wide ? sizeof(double) : sizeof(REAL);
}

/* Number i of pooled responses. */
INLINE void *CKN(pooled_at)(const ckn_layer *layer, void *pooled, ptrdiff_t i) {
    return (char *)pooled + i * (ptrdiff_t)CKN(pooled_size)(layer);
}

/* pooled (pooled_height, pooled_width, stride) += row y of responses (width, PANEL) */
INLINE void CKN(pool_row)(const ckn_layer *layer, const REAL *responses, ptrdiff_t y,
                          void *pooled, ptrdiff_t stride) {
    if (layer->wide)
        CKN(pool_row_wide)(layer, responses, y, pooled, stride);
    else
        CKN(pool_row_narrow)(layer, responses, y, pooled, stride);
}

/* rows (pooled_width, PANEL) <- the transposed pooling along the height of
 * pooled slopes (pooled_height, pooled_width, stride), for row y of positions */
static void CKN(unpool_rows)(const ckn_layer *layer, const REAL *pooled,
                             ptrdiff_t stride, ptrdiff_t y, REAL *rows) {
    const ptrdiff_t first = CKN(first_pooled)(layer, y);
    const ptrdiff_t last = CKN(last_pooled)(layer, y, layer->pooled_height);
    for (ptrdiff_t i = 0; i < layer->pooled_width; i++)
        for (int j = 0; j < PANEL; j += LANES) {
            VECTOR sum = CKN(splat)(0);
            for (ptrdiff_t row = first; row <= last; row++)
                sum += CKN(load)(pooled + (row * layer->pooled_width + i) * stride + j) *
                       (REAL)layer->taps[y - row * layer->subsampling + layer->radius];
            CKN(store)(rows + i * PANEL + j, sum);
        }
}

/* One vector, of column j of a panel, of position x of the row that `rows`, from
 * unpool_rows, belongs to. */
INLINE VECTOR CKN(unpool)(const ckn_layer *layer, const REAL *rows, ptrdiff_t first,
                          ptrdiff_t last, ptrdiff_t x, int j) {
    VECTOR sum = CKN(splat)(0);
    for (ptrdiff_t i = first; i <= last; i++)
        sum += CKN(load)(rows + i * PANEL + j) *
               (REAL)layer->taps[x - i * layer->subsampling + layer->radius];
    return sum;
}
