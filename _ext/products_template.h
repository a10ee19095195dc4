/* Products of rows with the filters of a panel: the loop that everything else feeds.
 *
 * A panel holds PANEL = TILE_VECTORS * LANES filters, element by element: the first
 * elements of all of them, then the second ones. A tile is TILE_ROWS rows times a
 * panel: its TILE_ROWS * TILE_VECTORS sums stay in registers while the elements of
 * the rows go by, each a number multiplied with TILE_VECTORS vectors of the panel.
 * The shape is chosen so that sums, one line of the panel and one number fill the
 * registers: then a multiply-add needs half a load or less.
 *
 * A row is a patch: n_runs runs of consecutive values, in which it lies in the map,
 * so that no patch is ever copied. Sums are of BLOCK products at most and then added
 * to totals: their rounding error grows with BLOCK, not with the length of the sum. */

#define BLOCK 64

/* Lines of the panel that the loads of its next ones run ahead of the sums. */
#define PREFETCH_LINES 32

typedef struct {
    ptrdiff_t n_runs, stride, length; /* of the runs that make up a row */
} CKN(runs);

/* filters (n_filters, depth) -> the panel of those from panel * PANEL on */
static void CKN(pack)(const void *all, ptrdiff_t n_filters, ptrdiff_t depth,
                      ptrdiff_t panel, void *panels) {
    const REAL *filters = all;
    REAL *packed = (REAL *)panels + panel * depth * PANEL;
    for (ptrdiff_t i = 0; i < depth; i++)
        for (ptrdiff_t j = 0; j < PANEL; j++) {
            ptrdiff_t filter = panel * PANEL + j;
            packed[i * PANEL + j] = filter < n_filters ? filters[filter * depth + i] : 0;
        }
}

/* sums <- products of the rows' next runs with the panel, which moves on */
INLINE void CKN(multiply_block)(const REAL *const *rows, ptrdiff_t offset,
                                ptrdiff_t n_runs, ptrdiff_t stride, ptrdiff_t length,
                                const REAL **panel, VECTOR sums[TILE_ROWS][TILE_VECTORS]) {
    const REAL *line = *panel;
    UNROLL
    for (int i = 0; i < TILE_ROWS; i++) {
        UNROLL
        for (int j = 0; j < TILE_VECTORS; j++)
            sums[i][j] = CKN(splat)(0);
    }
    for (ptrdiff_t run = 0; run < n_runs; run++) {
        const REAL *row[TILE_ROWS];
        UNROLL
        for (int i = 0; i < TILE_ROWS; i++)
            row[i] = rows[i] + offset;
        NO_UNROLL
        for (ptrdiff_t k = 0; k < length; k++) {
            VECTOR filters[TILE_VECTORS];
            UNROLL
            for (int j = 0; j < PANEL; j += 64 / (int)sizeof(REAL))
                PREFETCH(line + PREFETCH_LINES * PANEL + j);
            UNROLL
            for (int j = 0; j < TILE_VECTORS; j++)
                filters[j] = CKN(load)(line + j * LANES);
            UNROLL
            for (int i = 0; i < TILE_ROWS; i++) {
                VECTOR value = CKN(splat)(row[i][k]);
                UNROLL
                for (int j = 0; j < TILE_VECTORS; j++)
                    sums[i][j] += value * filters[j];
            }
            line += PANEL;
        }
        offset += stride;
    }
    *panel = line;
}

/* sums <- products of TILE_ROWS whole rows, from offset on, with a panel */
INLINE void CKN(multiply_tile)(const REAL *const *rows, ptrdiff_t offset,
                               const CKN(runs) *runs, const REAL *panel,
                               VECTOR sums[TILE_ROWS][TILE_VECTORS]) {
    const ptrdiff_t length = runs->length, n_runs = runs->n_runs;
    if (length * n_runs <= BLOCK) {
        CKN(multiply_block)(rows, offset, n_runs, runs->stride, length, &panel, sums);
        return;
    }
    VECTOR memory[TILE_ROWS * TILE_VECTORS];
    VECTOR *totals = memory;
    KEEP_IN_MEMORY(totals);
    for (int i = 0; i < TILE_ROWS * TILE_VECTORS; i++)
        totals[i] = CKN(splat)(0);
    /* blocks of several short runs, or of a part of a long one; there is one at least */
    const ptrdiff_t runs_per_block = length < BLOCK ? BLOCK / length : 1;
    ptrdiff_t run = 0;
    do {
        ptrdiff_t n = n_runs - run < runs_per_block ? n_runs - run : runs_per_block;
        ptrdiff_t k = 0;
        do {
            CKN(multiply_block)(rows, offset + run * runs->stride + k, n, runs->stride,
                                length - k < BLOCK ? length - k : BLOCK, &panel, sums);
            UNROLL
            for (int i = 0; i < TILE_ROWS; i++) {
                UNROLL
                for (int j = 0; j < TILE_VECTORS; j++) {
                    sums[i][j] += totals[i * TILE_VECTORS + j];
                    totals[i * TILE_VECTORS + j] = sums[i][j];
                }
            }
        } while ((k += BLOCK) < length);
    } while ((run += runs_per_block) < n_runs);
}

/* The rows of the tile that starts at row `first` of n: the last one repeated where
 * there are fewer, so that a row's sums never depend on its place. */
INLINE int CKN(tile_rows)(const REAL *const *rows, ptrdiff_t first, ptrdiff_t n,
                          const REAL *tile[TILE_ROWS]) {
    int n_rows = n - first < TILE_ROWS ? (int)(n - first) : TILE_ROWS;
    for (int i = 0; i < TILE_ROWS; i++)
        tile[i] = rows[first + (i < n_rows ? i : n_rows - 1)];
    return n_rows;
}

INLINE void CKN(respond_rows_inline)(const REAL *const *rows, ptrdiff_t n_rows,
                                     ptrdiff_t offset, const CKN(runs) *runs,
                                     const REAL *panel, const REAL *scale,
                                     const REAL *shift, const REAL *norm, int kernel,
                                     REAL *out, ptrdiff_t out_stride) {
    for (ptrdiff_t first = 0; first < n_rows; first += TILE_ROWS) {
        const REAL *tile[TILE_ROWS];
        VECTOR sums[TILE_ROWS][TILE_VECTORS];
        int n = CKN(tile_rows)(rows, first, n_rows, tile);
        CKN(multiply_tile)(tile, offset, runs, panel, sums);
        UNROLL
        for (int i = 0; i < TILE_ROWS; i++) {
            ptrdiff_t row = first + (i < n ? i : n - 1);
            REAL a = 0, b = 0, c = 0;
            if (kernel != CKN_PRODUCT)
                a = scale[row], b = shift[row], c = norm[row];
            UNROLL
            for (int j = 0; j < TILE_VECTORS; j++)
                CKN(store)(out + row * out_stride + j * LANES,
                           CKN(response)(sums[i][j], a, b, c, kernel));
        }
    }
}

/* out (n_rows, PANEL), rows out_stride apart <- responses of the rows' patches to a
 * panel of anchors, or their products; scale, shift and norm are (n_rows,) */
static NO_INLINE void CKN(respond_rows)(const REAL *const *rows, ptrdiff_t n_rows,
                                        ptrdiff_t offset, const CKN(runs) *runs,
                                        const REAL *panel, const REAL *scale,
                                        const REAL *shift, const REAL *norm,
                                        int kernel, REAL *out, ptrdiff_t out_stride) {
#define RESPOND(constant)                                                             \
    CKN(respond_rows_inline)(rows, n_rows, offset, runs, panel, scale, shift, norm,   \
                             constant, out, out_stride)
    if (kernel == CKN_PRODUCT)
        RESPOND(CKN_PRODUCT);
    else
        WITH_KERNEL(kernel, RESPOND)
#undef RESPOND
}

/* A vector of column `first` on of a row of n columns. */
INLINE void CKN(store_part)(REAL *row, ptrdiff_t first, ptrdiff_t n, VECTOR v) {
    if (first + LANES <= n) {
        CKN(store)(row + first, v);
    } else if (first < n) {
#ifdef VECTOR_STORE_FIRST
        VECTOR_STORE_FIRST(row + first, n - first, v);
#else
        REAL lanes[LANES];
        CKN(store)(lanes, v);
        for (ptrdiff_t i = 0; i < n - first; i++)
            row[first + i] = lanes[i];
#endif
    }
}

/* Defines NAME: columns `first` on, of n_columns, of destinations (n_rows,) <- the rows'
 * products with a panel, put into rows of type NUMBER by STORE. */
#define DEFINE_MULTIPLY_ROWS(NAME, NUMBER, STORE)                                     \
    static NO_INLINE void NAME(const REAL *const *rows, ptrdiff_t n_rows,             \
                               const CKN(runs) *runs, const REAL *panel,              \
                               ptrdiff_t first, ptrdiff_t n_columns,                  \
                               NUMBER *const *destinations) {                         \
        for (ptrdiff_t row = 0; row < n_rows; row += TILE_ROWS) {                     \
            const REAL *tile[TILE_ROWS];                                              \
            VECTOR sums[TILE_ROWS][TILE_VECTORS];                                     \
            int n = CKN(tile_rows)(rows, row, n_rows, tile);                          \
            CKN(multiply_tile)(tile, 0, runs, panel, sums);                           \
            UNROLL                                                                    \
            for (int i = 0; i < TILE_ROWS; i++) {                                     \
                NUMBER *out = destinations[row + (i < n ? i : n - 1)];                \
                UNROLL                                                                \
                for (int j = 0; j < TILE_VECTORS; j++)                                \
                    STORE(out, first + j * LANES, n_columns, sums[i][j]);             \
            }                                                                         \
        }                                                                             \
    }

DEFINE_MULTIPLY_ROWS(CKN(multiply_rows), REAL, CKN(store_part))
