/* Pooling of the responses to one panel, along width and height, and the transpose of
 * this operation. The taps are those of a Gaussian, or all equal, for the mean.
 *
 * The projection that follows enlarges rounding errors of pooled values up to sqrt(1 /
 * nystrom_reg) times. Where that matters, a layer is `wide`: these sums are in double
 * precision. */

/* The first and the last pooled position to which a position along an axis
 * contributes. */
CKN_INLINE ptrdiff_t CKN(first_pooled)(const ckn_layer *layer, ptrdiff_t position) {
    return position <= layer->radius
               ? 0
               : (position - layer->radius + layer->subsampling - 1) /
                     layer->subsampling;
}

CKN_INLINE ptrdiff_t CKN(last_pooled)(const ckn_layer *layer, ptrdiff_t position,
                                      ptrdiff_t size) {
    ptrdiff_t last = (position + layer->radius) / layer->subsampling;
    return last < size ? last : size - 1;
}

/* Defines pool_row_NAME, whose sums are vectors of type SUM that `read` loads from the
 * responses. A row of responses is pooled along the width, in registers, and added to
 * the pooled rows to which it contributes. It may be a part of the row: n_columns
 * positions from `left` on. */
#define CKN_DEFINE_POOL_ROW(NAME, NUMBER, SUM, SUM_LANES, read)                        \
    CKN_INLINE void CKN(pool_row_##NAME##_inline)(                                     \
        const ckn_layer *layer, const CKN_REAL *responses, ptrdiff_t y,                \
        ptrdiff_t left, ptrdiff_t n_columns, NUMBER *pooled, ptrdiff_t stride,         \
        int n_sums) {                                                                  \
        const ptrdiff_t s = layer->subsampling, radius = layer->radius;                \
        const ptrdiff_t right = left + n_columns;                                      \
        const ptrdiff_t first = CKN(first_pooled)(layer, y);                           \
        const ptrdiff_t last = CKN(last_pooled)(layer, y, layer->pooled_height);       \
        for (ptrdiff_t i = 0; i < layer->pooled_width; i++) {                          \
            const ptrdiff_t shift = radius - i * s;                                    \
            ptrdiff_t begin = i * s > radius + left ? i * s - radius : left;           \
            ptrdiff_t end = i * s + radius < right ? i * s + radius + 1 : right;       \
            SUM sums[CKN_PANEL / (SUM_LANES)];                                         \
            CKN_UNROLL                                                                 \
            for (int j = 0; j < n_sums; j++)                                           \
                sums[j] = (SUM){0};                                                    \
            for (ptrdiff_t x = begin; x < end; x++) {                                  \
                NUMBER tap = (NUMBER)layer->taps[x + shift];                           \
                CKN_UNROLL                                                             \
                for (int j = 0; j < n_sums; j++)                                       \
                    sums[j] += tap * read(responses + (x - left) * CKN_PANEL +         \
                                          j * (SUM_LANES));                            \
            }                                                                          \
            for (ptrdiff_t row = first; row <= last; row++) {                          \
                NUMBER tap = (NUMBER)layer->taps[y - row * s + radius];                \
                NUMBER *out = pooled + (row * layer->pooled_width + i) * stride;       \
                CKN_UNROLL                                                             \
                for (int j = 0; j < n_sums; j++)                                       \
                    *(SUM *)(out + j * (SUM_LANES)) += tap * sums[j];                  \
            }                                                                          \
        }                                                                              \
    }                                                                                  \
                                                                                       \
    static CKN_NO_INLINE void CKN(pool_row_##NAME)(                                    \
        const ckn_layer *layer, const CKN_REAL *responses, ptrdiff_t y,                \
        ptrdiff_t left, ptrdiff_t n_columns, NUMBER *pooled, ptrdiff_t stride,         \
        ptrdiff_t n_filters) {                                                         \
        CKN_WITH_VECTORS(n_filters, CKN_POOL_##NAME)                                   \
    }

#define CKN_POOL_wide(n)                                                               \
    CKN(pool_row_wide_inline)(layer, responses, y, left, n_columns, pooled, stride,    \
                              (n) * CKN_LANES / CKN_WIDE_LANES)
#define CKN_POOL_narrow(n)                                                             \
    CKN(pool_row_narrow_inline)(layer, responses, y, left, n_columns, pooled, stride, n)

CKN_DEFINE_POOL_ROW(wide, double, CKN_WIDE_VECTOR, CKN_WIDE_LANES, CKN(load_wide))
CKN_DEFINE_POOL_ROW(narrow, CKN_REAL, CKN_VECTOR, CKN_LANES, CKN(load_vector))

#undef CKN_DEFINE_POOL_ROW
#undef CKN_POOL_wide
#undef CKN_POOL_narrow

/* Bytes of a pooled response. */
CKN_INLINE size_t CKN(pooled_size)(const ckn_layer *layer) {
    return layer->wide ? sizeof(double) : sizeof(CKN_REAL);
}

/* The address of pooled response number i. */
CKN_INLINE void *CKN(pooled_at)(const ckn_layer *layer, void *pooled, ptrdiff_t i) {
    return (char *)pooled + i * (ptrdiff_t)CKN(pooled_size)(layer);
}

/* Add the contributions of row y of responses, or of its n_columns positions from
 * `left` on, (n_columns, CKN_PANEL), to pooled (pooled_height, pooled_width, stride).
 * Those of filters after the first n_filters may be left out. */
CKN_INLINE void CKN(pool_row)(const ckn_layer *layer, const CKN_REAL *responses,
                              ptrdiff_t y, ptrdiff_t left, ptrdiff_t n_columns,
                              void *pooled, ptrdiff_t stride, ptrdiff_t n_filters) {
    if (layer->wide)
        CKN(pool_row_wide)(layer, responses, y, left, n_columns, pooled, stride,
                           n_filters);
    else
        CKN(pool_row_narrow)(layer, responses, y, left, n_columns, pooled, stride,
                             n_filters);
}

/* rows (pooled_width, CKN_PANEL) <- the transpose of pooling along the height, applied
 * to pooled gradients (pooled_height, pooled_width, stride), for row y of positions */
static void CKN(unpool_rows)(const ckn_layer *layer, const CKN_REAL *pooled,
                             ptrdiff_t stride, ptrdiff_t y, CKN_REAL *rows) {
    const ptrdiff_t first = CKN(first_pooled)(layer, y);
    const ptrdiff_t last = CKN(last_pooled)(layer, y, layer->pooled_height);
    for (ptrdiff_t i = 0; i < layer->pooled_width; i++)
        for (int j = 0; j < CKN_PANEL; j += CKN_LANES) {
            CKN_VECTOR sum = CKN(splat)(0);
            for (ptrdiff_t row = first; row <= last; row++)
                sum +=
                    CKN(load_vector)(pooled + (row * layer->pooled_width + i) * stride +
                                     j) *
                    (CKN_REAL)layer->taps[y - row * layer->subsampling + layer->radius];
            CKN(store_vector)(rows + i * CKN_PANEL + j, sum);
        }
}

/* The transpose of pooling along the width: one vector of the gradients at position x,
 * for columns j and following ones of the panel, from the rows of unpool_rows. */
CKN_INLINE CKN_VECTOR CKN(unpool_vector)(const ckn_layer *layer, const CKN_REAL *rows,
                                         ptrdiff_t first, ptrdiff_t last, ptrdiff_t x,
                                         int j) {
    CKN_VECTOR sum = CKN(splat)(0);
    for (ptrdiff_t i = first; i <= last; i++)
        sum += CKN(load_vector)(rows + i * CKN_PANEL + j) *
               (CKN_REAL)layer->taps[x - i * layer->subsampling + layer->radius];
    return sum;
}
