/* Products of rows with the filters of a panel: the loop in which most of the time is
 * spent.
 *
 * A panel holds CKN_PANEL = CKN_REGISTER_VECTORS * CKN_LANES filters, interleaved: a
 * line with the first value of every filter, then a line with the second values, and so
 * on. A register tile is CKN_REGISTER_ROWS rows times one panel: its CKN_REGISTER_ROWS
 * * CKN_REGISTER_VECTORS sums stay in registers while the values of the rows are read
 * one after another; each value is multiplied with CKN_REGISTER_VECTORS vectors of the
 * panel. Its shape is chosen such that the sums, one line of the panel and one value
 * fill the registers: a multiply-add then needs half a load or less. A panel that has
 * few filters is computed by a half or a quarter of its vectors.
 *
 * A row is a patch, given by the address of its first run in the map; no patch is
 * copied. At most CKN_SEGMENT products are added up before their sum is added to a
 * total: the rounding error grows with CKN_SEGMENT, not with the length of the row. */

#define CKN_SEGMENT 64

/* Lines of the panel between the one in use and the one that is being prefetched. */
#define CKN_PREFETCH_LINES 32

/* Write one panel: filters panel * CKN_PANEL and following ones of (n_filters,
 * depth). */
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

/* The line of a panel that is next in use, and the address that is loaded into the L2
 * cache with it, which moves by `step` bytes a line. Panels that are used one after
 * another follow each other in memory: while all register tiles use a panel, they load
 * the following one, each an equal part. Loaded when it is needed, a large panel would
 * keep the first register tile waiting for the L3 cache. */
typedef struct {
    const CKN_REAL *line;
    uintptr_t following;
    uintptr_t step;
} CKN_LINES;

/* Start at a panel of this many lines, for the register tile of number `tile` among
 * n_tiles. */
CKN_INLINE CKN_LINES CKN(start_panel)(const CKN_REAL *panel, ptrdiff_t depth,
                                      ptrdiff_t tile, ptrdiff_t n_tiles) {
    const uintptr_t step = CKN_PANEL * sizeof(CKN_REAL) / n_tiles;
    const CKN_LINES lines = {
        panel, (uintptr_t)(panel + depth * CKN_PANEL) + tile * depth * step, step};
    return lines;
}

/* sums <- products of `length` values of each of n_runs runs of the rows, from `first`
 * on, with the panel, from *lines on, which is moved behind the lines that were used. A
 * panel that is not long stays in the L1 cache and needs no prefetching. */
CKN_INLINE void CKN(multiply_segment)(
    const CKN_REAL *const *rows, ptrdiff_t offset, const ckn_runs *runs,
    ptrdiff_t first, ptrdiff_t n_runs, ptrdiff_t length, int is_long, int n_vectors,
    CKN_LINES *lines, CKN_VECTOR sums[CKN_REGISTER_ROWS][CKN_REGISTER_VECTORS]) {
    CKN_LINES now = *lines;
    CKN_UNROLL
    for (int i = 0; i < CKN_REGISTER_ROWS; i++) {
        CKN_UNROLL
        for (int j = 0; j < n_vectors; j++)
            sums[i][j] = CKN(splat)(0);
    }
    for (ptrdiff_t run = first; run < first + n_runs; run++) {
        const ptrdiff_t start = offset + ckn_run_offset(runs, run);
        const CKN_REAL *row[CKN_REGISTER_ROWS];
        CKN_UNROLL
        for (int i = 0; i < CKN_REGISTER_ROWS; i++)
            row[i] = rows[i] + start;
        CKN_NO_UNROLL
        for (ptrdiff_t k = 0; k < length; k++) {
            CKN_VECTOR filters[CKN_REGISTER_VECTORS];
            if (is_long) {
                CKN_UNROLL
                for (int j = 0; j < n_vectors * CKN_LANES;
                     j += 64 / (int)sizeof(CKN_REAL))
                    CKN_PREFETCH(now.line, CKN_PREFETCH_LINES * CKN_PANEL + j);
                CKN_PREFETCH_L2(now.following);
                now.following += now.step;
            }
            CKN_UNROLL
            for (int j = 0; j < n_vectors; j++)
                filters[j] = CKN(load_vector)(now.line + j * CKN_LANES);
            CKN_UNROLL
            for (int i = 0; i < CKN_REGISTER_ROWS; i++) {
                CKN_VECTOR value = CKN(splat)(row[i][k]);
                CKN_UNROLL
                for (int j = 0; j < n_vectors; j++)
                    sums[i][j] += value * filters[j];
            }
            now.line += CKN_PANEL;
        }
    }
    *lines = now;
}

/* sums <- products of the CKN_REGISTER_ROWS whole rows of a register tile, which starts
 * at row `first` of n, with a panel; the rows begin `offset` values after their
 * addresses */
CKN_INLINE void CKN(multiply_register_tile)(
    const CKN_REAL *const *rows, ptrdiff_t offset, const ckn_runs *runs,
    const CKN_REAL *panel, ptrdiff_t first, ptrdiff_t n, int n_vectors,
    CKN_VECTOR sums[CKN_REGISTER_ROWS][CKN_REGISTER_VECTORS]) {
    const ptrdiff_t length = runs->length, n_runs = runs->n_runs;
    CKN_LINES lines =
        CKN(start_panel)(panel, n_runs * length, first / CKN_REGISTER_ROWS,
                         (n - 1) / CKN_REGISTER_ROWS + 1);
    if (length * n_runs <= CKN_SEGMENT) {
        CKN(multiply_segment)(rows, offset, runs, 0, n_runs, length, 0, n_vectors,
                              &lines, sums);
        return;
    }
    CKN_VECTOR memory[CKN_REGISTER_ROWS * CKN_REGISTER_VECTORS];
    CKN_VECTOR *totals = memory;
    CKN_KEEP_IN_MEMORY(totals);
    /* A segment is several short runs, or a part of a long one; there is at least
     * one. */
    const ptrdiff_t runs_per_segment = length < CKN_SEGMENT ? CKN_SEGMENT / length : 1;
    ptrdiff_t run = 0;
    int is_first = 1;
    do {
        ptrdiff_t n_together =
            n_runs - run < runs_per_segment ? n_runs - run : runs_per_segment;
        ptrdiff_t k = 0;
        do {
            CKN(multiply_segment)(rows, offset + k, runs, run, n_together,
                                  length - k < CKN_SEGMENT ? length - k : CKN_SEGMENT,
                                  1, n_vectors, &lines, sums);
            if (!is_first) {
                CKN_UNROLL
                for (int i = 0; i < CKN_REGISTER_ROWS; i++) {
                    CKN_UNROLL
                    for (int j = 0; j < n_vectors; j++)
                        sums[i][j] += totals[i * CKN_REGISTER_VECTORS + j];
                }
            }
            is_first = 0;
            CKN_UNROLL
            for (int i = 0; i < CKN_REGISTER_ROWS; i++) {
                CKN_UNROLL
                for (int j = 0; j < n_vectors; j++)
                    totals[i * CKN_REGISTER_VECTORS + j] = sums[i][j];
            }
        } while ((k += CKN_SEGMENT) < length);
    } while ((run += runs_per_segment) < n_runs);
}

/* The rows of the register tile that starts at row `first` of n. The last row is
 * repeated where there are fewer, so that the sums of a row do not depend on its
 * place. */
CKN_INLINE int CKN(register_rows)(const CKN_REAL *const *rows, ptrdiff_t first,
                                  ptrdiff_t n,
                                  const CKN_REAL *tile[CKN_REGISTER_ROWS]) {
    int n_rows = n - first < CKN_REGISTER_ROWS ? (int)(n - first) : CKN_REGISTER_ROWS;
    for (int i = 0; i < CKN_REGISTER_ROWS; i++)
        tile[i] = rows[first + (i < n_rows ? i : n_rows - 1)];
    return n_rows;
}

CKN_INLINE void CKN(respond_rows_inline)(const CKN_REAL *const *rows, ptrdiff_t n_rows,
                                         ptrdiff_t offset, const ckn_runs *runs,
                                         const CKN_REAL *panel, const CKN_REAL *scale,
                                         const CKN_REAL *shift, const CKN_REAL *norm,
                                         int kernel, int n_vectors, CKN_REAL *out,
                                         ptrdiff_t out_stride) {
    for (ptrdiff_t first = 0; first < n_rows; first += CKN_REGISTER_ROWS) {
        const CKN_REAL *tile[CKN_REGISTER_ROWS];
        CKN_VECTOR sums[CKN_REGISTER_ROWS][CKN_REGISTER_VECTORS];
        int n = CKN(register_rows)(rows, first, n_rows, tile);
        CKN(multiply_register_tile)(tile, offset, runs, panel, first, n_rows, n_vectors,
                                    sums);
        CKN_UNROLL
        for (int i = 0; i < CKN_REGISTER_ROWS; i++) {
            ptrdiff_t row = first + (i < n ? i : n - 1);
            CKN_REAL a = 0, b = 0, c = 0;
            if (kernel != CKN_PRODUCT)
                a = scale[row], b = shift[row], c = norm[row];
            CKN_UNROLL
            for (int j = 0; j < n_vectors; j++)
                CKN(store_vector)(out + row * out_stride + j * CKN_LANES,
                                  CKN(kernel_response)(sums[i][j], a, b, c, kernel));
        }
    }
}

/* CALL(n) with a constant number n of vectors that hold the first n_filters filters of
 * a panel: all vectors, a half or a quarter of them. */
#define CKN_HALF_VECTORS ((CKN_REGISTER_VECTORS + 1) / 2)
#define CKN_QUARTER_VECTORS ((CKN_REGISTER_VECTORS + 3) / 4)
#define CKN_WITH_VECTORS(n_filters, CALL)                                              \
    if ((n_filters) > CKN_HALF_VECTORS * CKN_LANES)                                    \
        CALL(CKN_REGISTER_VECTORS);                                                    \
    else if ((n_filters) > CKN_QUARTER_VECTORS * CKN_LANES)                            \
        CALL(CKN_HALF_VECTORS);                                                        \
    else                                                                               \
        CALL(CKN_QUARTER_VECTORS);

/* out (n_rows, CKN_PANEL), with rows out_stride apart <- the responses of the rows'
 * patches to a panel of anchors, or their products; scale, shift and norm are
 * (n_rows,). What belongs to filters after the first n_filters may be left out. */
static CKN_NO_INLINE void CKN(respond_rows)(const CKN_REAL *const *rows,
                                            ptrdiff_t n_rows, ptrdiff_t offset,
                                            const ckn_runs *runs, const CKN_REAL *panel,
                                            const CKN_REAL *scale,
                                            const CKN_REAL *shift, const CKN_REAL *norm,
                                            int kernel, ptrdiff_t n_filters,
                                            CKN_REAL *out, ptrdiff_t out_stride) {
#define CKN_RESPOND(kernel, n_vectors)                                                 \
    CKN(respond_rows_inline)(rows, n_rows, offset, runs, panel, scale, shift, norm,    \
                             kernel, n_vectors, out, out_stride)
/* The other kernels are rare, and the code is large. */
#define CKN_RESPOND_ALL(kernel) CKN_RESPOND(kernel, CKN_REGISTER_VECTORS)
#define CKN_RESPOND_EXP(n_vectors) CKN_RESPOND(CKN_EXP, n_vectors)
    if (kernel == CKN_PRODUCT)
        CKN_RESPOND_ALL(CKN_PRODUCT);
    else if (kernel == CKN_EXP)
        CKN_WITH_VECTORS(n_filters, CKN_RESPOND_EXP)
    else
        CKN_WITH_KERNEL(kernel, CKN_RESPOND_ALL)
#undef CKN_RESPOND
#undef CKN_RESPOND_ALL
#undef CKN_RESPOND_EXP
}

/* Store a vector into columns `first` and following ones of a row of n columns; lanes
 * beyond column n are dropped. */
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

/* Defines the function NAME, which writes the rows' products with a panel to columns
 * `first` and following ones, of n_columns, of the rows that destinations (n_rows,)
 * points to. Their numbers are of type NUMBER and stored by STORE. */
#define CKN_DEFINE_MULTIPLY_ROWS(NAME, NUMBER, STORE)                                  \
    static CKN_NO_INLINE void NAME(const CKN_REAL *const *rows, ptrdiff_t n_rows,      \
                                   const ckn_runs *runs, const CKN_REAL *panel,        \
                                   ptrdiff_t first, ptrdiff_t n_columns,               \
                                   NUMBER *const *destinations) {                      \
        for (ptrdiff_t row = 0; row < n_rows; row += CKN_REGISTER_ROWS) {              \
            const CKN_REAL *tile[CKN_REGISTER_ROWS];                                   \
            CKN_VECTOR sums[CKN_REGISTER_ROWS][CKN_REGISTER_VECTORS];                  \
            int n = CKN(register_rows)(rows, row, n_rows, tile);                       \
            CKN(multiply_register_tile)(tile, 0, runs, panel, row, n_rows,             \
                                        CKN_REGISTER_VECTORS, sums);                   \
            CKN_UNROLL                                                                 \
            for (int i = 0; i < CKN_REGISTER_ROWS; i++) {                              \
                NUMBER *out = destinations[row + (i < n ? i : n - 1)];                 \
                CKN_UNROLL                                                             \
                for (int j = 0; j < CKN_REGISTER_VECTORS; j++)                         \
                    STORE(out, first + j * CKN_LANES, n_columns, sums[i][j]);          \
            }                                                                          \
        }                                                                              \
    }

CKN_DEFINE_MULTIPLY_ROWS(CKN(multiply_rows), CKN_REAL, CKN(store_columns))

#undef CKN_SEGMENT
#undef CKN_PREFETCH_LINES
