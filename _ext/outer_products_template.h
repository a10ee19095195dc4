/* Sums of outer products of rows and of their slopes: the gradient in what the rows
 * were multiplied with. A tile is TILE_ROWS elements of the rows times a panel of slopes, so that
 * this is the products' loop with the roles exchanged: rows go by, elements stay. */

INLINE void CKN(add_outer_tile)(const REAL *const *rows, const ptrdiff_t *offsets,
                                const REAL *const *slopes, ptrdiff_t column,
                                ptrdiff_t n_rows, int n_elements, REAL *out) {
    VECTOR sums[TILE_ROWS][TILE_VECTORS];
    UNROLL
    for (int i = 0; i < TILE_ROWS; i++) {
        UNROLL
        for (int j = 0; j < TILE_VECTORS; j++)
            sums[i][j] = CKN(splat)(0);
    }
    NO_UNROLL
    for (ptrdiff_t row = 0; row < n_rows; row++) {
        const REAL *values = rows[row], *slope = slopes[row] + column;
        VECTOR line[TILE_VECTORS];
        UNROLL
        for (int j = 0; j < TILE_VECTORS; j++)
            line[j] = CKN(load)(slope + j * LANES);
        UNROLL
        for (int i = 0; i < TILE_ROWS; i++) {
            VECTOR value = CKN(splat)(values[offsets[i]]);
            UNROLL
            for (int j = 0; j < TILE_VECTORS; j++)
                sums[i][j] += value * line[j];
        }
    }
    for (int i = 0; i < n_elements; i++)
        for (int j = 0; j < TILE_VECTORS; j++) {
            REAL *place = out + i * PANEL + j * LANES;
            CKN(store)(place, CKN(load)(place) + sums[i][j]);
        }
}

/* sums (depth, PANEL) += over n_rows: the elements of the row, from offset on, times
 * those of its slopes from column on */
static NO_INLINE void CKN(add_outer)(const REAL *const *rows, ptrdiff_t offset,
                                     const CKN(runs) *runs, const REAL *const *slopes,
                                     ptrdiff_t column, ptrdiff_t n_rows, REAL *sums) {
    const ptrdiff_t depth = runs->n_runs * runs->length;
    for (ptrdiff_t k = 0; k < depth; k += TILE_ROWS) {
        ptrdiff_t offsets[TILE_ROWS];
        int n = depth - k < TILE_ROWS ? (int)(depth - k) : TILE_ROWS;
        for (int i = 0; i < TILE_ROWS; i++) {
            ptrdiff_t element = k + (i < n ? i : n - 1);
            offsets[i] = offset + element / runs->length * runs->stride +
                         element % runs->length;
        }
        CKN(add_outer_tile)(rows, offsets, slopes, column, n_rows, n, sums + k * PANEL);
    }
}
