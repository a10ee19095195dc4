/* Products of rows with the filters of a panel: the loop that everything else feeds.
 *
 * A panel holds CKN_PANEL = CKN_TILE_VECTORS * CKN_LANES filters, element by element:
 * the first elements of all of them, then the second ones. A tile is CKN_TILE_ROWS rows
 * times a panel: its CKN_TILE_ROWS * CKN_TILE_VECTORS sums stay in registers while the
 * elements of the rows go by, each a number multiplied with CKN_TILE_VECTORS vectors of
 * the panel. The shape is chosen so that sums, one line of the panel and one number
 * fill the registers: then a multiply-add needs half a load or less.
 *
 * A row is a patch: n_runs runs of consecutive values, in which it lies in the map, so
 * that no patch is ever copied. Sums are of CKN_SEGMENT products at most and then added
 * to totals: their rounding error grows with CKN_SEGMENT, not with the length of the
 * sum. */

#define CKN_SEGMENT 64

/* Lines of the panel that the loads of its next ones run ahead of the sums. */
#define CKN_PREFETCH_LINES 32

/* filters (n_filters, depth) -> the panel of those from panel * CKN_PANEL on */
static void CKN(pack)(const void *all, ptrdiff_t n_filters, ptrdiff_t depth,
                      ptrdiff_t panel, void *panels) {
    const CKN_REAL *filters = all;
    CKN_REAL *packed = (CKN_REAL *)panels + panel * depth * CKN_PANEL;
    for (ptrdiff_t i = 0; i < depth; i++)
        for (ptrdiff_t j = 0; j < CKN_PANEL; j++) {
            ptrdiff_t filter = panel * CKN_PANEL + j;
            packed[i * CKN_PANEL + j] =
                filter < n_filters ? filters[filter * depth + i] : 0;
        }
}

/* sums <- products of the rows' next runs with the panel, which moves on */
CKN_INLINE void CKN(multiply_segment)(
    const CKN_REAL *const *rows, ptrdiff_t offset, ptrdiff_t n_runs, ptrdiff_t stride,
    ptrdiff_t length, const CKN_REAL **panel,
    CKN_VECTOR sums[CKN_TILE_ROWS][CKN_TILE_VECTORS]) {
    const CKN_REAL *line = *panel;
    CKN_UNROLL
    for (int i = 0; i < CKN_TILE_ROWS; i++) {
        CKN_UNROLL
        for (int j = 0; j < CKN_TILE_VECTORS; j++)
            sums[i][j] = CKN(splat)(0);
    }
    for (ptrdiff_t run = 0; run < n_runs; run++) {
        const CKN_REAL *row[CKN_TILE_ROWS];
        CKN_UNROLL
        for (int i = 0; i < CKN_TILE_ROWS; i++)
            row[i] = rows[i] + offset;
        CKN_NO_UNROLL
        for (ptrdiff_t k = 0; k < length; k++) {
            CKN_VECTOR filters[CKN_TILE_VECTORS];
            CKN_UNROLL
            for (int j = 0; j < CKN_PANEL; j += 64 / (int)sizeof(CKN_REAL))
                CKN_PREFETCH(line, CKN_PREFETCH_LINES * CKN_PANEL + j);
            CKN_UNROLL
            for (int j = 0; j < CKN_TILE_VECTORS; j++)
                filters[j] = CKN(load_vector)(line + j * CKN_LANES);
            CKN_UNROLL
            for (int i = 0; i < CKN_TILE_ROWS; i++) {
                CKN_VECTOR value = CKN(splat)(row[i][k]);
                CKN_UNROLL
                for (int j = 0; j < CKN_TILE_VECTORS; j++)
                    sums[i][j] += value * filters[j];
            }
            line += CKN_PANEL;
        }
        offset += stride;
    }
    *panel = line;
}

/* sums <- products of CKN_TILE_ROWS whole rows, from offset on, with a panel */
CKN_INLINE void CKN(multiply_tile)(const CKN_REAL *const *rows, ptrdiff_t offset,
                                   const ckn_runs *runs, const CKN_REAL *panel,
                                   CKN_VECTOR sums[CKN_TILE_ROWS][CKN_TILE_VECTORS]) {
    const ptrdiff_t length = runs->length, n_runs = runs->n_runs;
    if (length * n_runs <= CKN_SEGMENT) {
        CKN(multiply_segment)(rows, offset, n_runs, runs->stride, length, &panel, sums);
        return;
    }
    CKN_VECTOR memory[CKN_TILE_ROWS * CKN_TILE_VECTORS];
    CKN_VECTOR *totals = memory;
    CKN_KEEP_IN_MEMORY(totals);
    for (int i = 0; i < CKN_TILE_ROWS * CKN_TILE_VECTORS; i++)
        totals[i] = CKN(splat)(0);
    /* blocks of several short runs, or of a part of a long one; there is one at
     * least */
    const ptrdiff_t runs_per_segment = length < CKN_SEGMENT ? CKN_SEGMENT / length : 1;
    ptrdiff_t run = 0;
    do {
        ptrdiff_t n = n_runs - run < runs_per_segment ? n_runs - run : runs_per_segment;
        ptrdiff_t k = 0;
        do {
            CKN(multiply_segment)(
                rows, offset + run * runs->stride + k, n, runs->stride,
                length - k < CKN_SEGMENT ? length - k : CKN_SEGMENT, &panel, sums);
            CKN_UNROLL
            for (int i = 0; i < CKN_TILE_ROWS; i++) {
                CKN_UNROLL
                for (int j = 0; j < CKN_TILE_VECTORS; j++) {
                    sums[i][j] += totals[i * CKN_TILE_VECTORS + j];
                    totals[i * CKN_TILE_VECTORS + j] = sums[i][j];
                }
            }
        } while ((k += CKN_SEGMENT) < length);
    } while ((run += runs_per_segment) < n_runs);
}

/* The rows of the tile that starts at row `first` of n: the last one repeated where
 * there are fewer, so that a row's sums never depend on its place. */
CKN_INLINE int CKN(tile_rows)(const CKN_REAL *const *rows, ptrdiff_t first, ptrdiff_t n,
                              const CKN_REAL *tile[CKN_TILE_ROWS]) {
    int n_rows = n - first < CKN_TILE_ROWS ? (int)(n - first) : CKN_TILE_ROWS;
    for (int i = 0; i < CKN_TILE_ROWS; i++)
        tile[i] = rows[first + (i < n_rows ? i : n_rows - 1)];
    return n_rows;
}

CKN_INLINE void CKN(respond_rows_inline)(const CKN_REAL *const *rows, ptrdiff_t n_rows,
                                         ptrdiff_t offset, const ckn_runs *runs,
                                         const CKN_REAL *panel, const CKN_REAL *scale,
                                         const CKN_REAL *shift, const CKN_REAL *norm,
                                         int kernel, CKN_REAL *out,
                                         ptrdiff_t out_stride) {
    for (ptrdiff_t first = 0; first < n_rows; first += CKN_TILE_ROWS) {
        const CKN_REAL *tile[CKN_TILE_ROWS];
        CKN_VECTOR sums[CKN_TILE_ROWS][CKN_TILE_VECTORS];
        int n = CKN(tile_rows)(rows, first, n_rows, tile);
        CKN(multiply_tile)(tile, offset, runs, panel, sums);
        CKN_UNROLL
        for (int i = 0; i < CKN_TILE_ROWS; i++) {
            ptrdiff_t row = first + (i < n ? i : n - 1);
            CKN_REAL a = 0, b = 0, c = 0;
            if (kernel != CKN_PRODUCT)
                a = scale[row], b = shift[row], c = norm[row];
            CKN_UNROLL
            for (int j = 0; j < CKN_TILE_VECTORS; j++)
                CKN(store_vector)(out + row * out_stride + j * CKN_LANES,
                                  CKN(kernel_response)(sums[i][j], a, b, c, kernel));
        }
    }
}

/* out (n_rows, CKN_PANEL), rows out_stride apart <- responses of the rows' patches to a
 * panel of anchors, or their products; scale, shift and norm are (n_rows,) */
static CKN_NO_INLINE void CKN(respond_rows)(const CKN_REAL *const *rows,
                                            ptrdiff_t n_rows, ptrdiff_t offset,
                                            const ckn_runs *runs, const CKN_REAL *panel,
                                            const CKN_REAL *scale,
                                            const CKN_REAL *shift, const CKN_REAL *norm,
                                            int kernel, CKN_REAL *out,
                                            ptrdiff_t out_stride) {
#define CKN_RESPOND(constant)                                                          \
    CKN(respond_rows_inline)(rows, n_rows, offset, runs, panel, scale, shift, norm,    \
                             constant, out, out_stride)
    if (kernel == CKN_PRODUCT)
        CKN_RESPOND(CKN_PRODUCT);
    else
        CKN_WITH_KERNEL(kernel, CKN_RESPOND)
#undef CKN_RESPOND
}

/* A vector of column `first` on of a row of n columns. */
CKN_INLINE void CKN(store_columns)(CKN_REAL *row, ptrdiff_t first, ptrdiff_t n,
                                   CKN_VECTOR v) {
    if (first + CKN_LANES <= n) {
        CKN(store_vector)(row + first, v);
    } else if (first < n) {
#ifdef CKN_VECTOR_STORE_FIRST
        CKN_VECTOR_STORE_FIRST(row + first, n - first, v);
#else
        CKN_REAL lanes[CKN_LANES];
        CKN(store_vector)(lanes, v);
        for (ptrdiff_t i = 0; i < n - first; i++)
            row[first + i] = lanes[i];
#endif
    }
}

/* Defines NAME: columns `first` on, of n_columns, of destinations (n_rows,) <- the
 * rows' products with a panel, put into rows of type NUMBER by STORE. */
#define CKN_DEFINE_MULTIPLY_ROWS(NAME, NUMBER, STORE)                                  \
    static CKN_NO_INLINE void NAME(const CKN_REAL *const *rows, ptrdiff_t n_rows,      \
                                   const ckn_runs *runs, const CKN_REAL *panel,        \
                                   ptrdiff_t first, ptrdiff_t n_columns,               \
                                   NUMBER *const *destinations) {                      \
        for (ptrdiff_t row = 0; row < n_rows; row += CKN_TILE_ROWS) {                  \
            const CKN_REAL *tile[CKN_TILE_ROWS];                                       \
            CKN_VECTOR sums[CKN_TILE_ROWS][CKN_TILE_VECTORS];                          \
            int n = CKN(tile_rows)(rows, row, n_rows, tile);                           \
            CKN(multiply_tile)(tile, 0, runs, panel, sums);                            \
            CKN_UNROLL                                                                 \
            for (int i = 0; i < CKN_TILE_ROWS; i++) {                                  \
                NUMBER *out = destinations[row + (i < n ? i : n - 1)];                 \
                CKN_UNROLL                                                             \
                for (int j = 0; j < CKN_TILE_VECTORS; j++)                             \
                    STORE(out, first + j * CKN_LANES, n_columns, sums[i][j]);          \
            }                                                                          \
        }                                                                              \
    }

CKN_DEFINE_MULTIPLY_ROWS(CKN(multiply_rows), CKN_REAL, CKN(store_columns))

#undef CKN_SEGMENT
#undef CKN_PREFETCH_LINES
