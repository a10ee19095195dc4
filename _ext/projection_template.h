/* Pooled rows times the projection in double precision, rounded to float at the end.
 * Included once, with the products of doubles. */

#ifdef CKN_SCALAR
typedef float ckn_narrowed;
#define NARROW(v) ((float)(v))
#else
typedef float ckn_narrowed
    __attribute__((vector_size(LANES * 4), may_alias, aligned(4)));
#define NARROW(v) __builtin_convertvector(v, ckn_narrowed)
#endif

/* As multiply_rows, to rows of floats. */
static NO_INLINE void ckn_multiply_rows_to_float(const double *const *rows,
                                                 ptrdiff_t n_rows,
                                                 const CKN(runs) *runs,
                                                 const double *panel, ptrdiff_t first,
                                                 ptrdiff_t n_columns,
                                                 float *const *destinations) {
    for (ptrdiff_t row = 0; row < n_rows; row += TILE_ROWS) {
        const double *tile[TILE_ROWS];
        VECTOR sums[TILE_ROWS][TILE_VECTORS];
        int n = CKN(tile_rows)(rows, row, n_rows, tile);
        CKN(multiply_tile)(tile, 0, runs, panel, sums);
        UNROLL
        for (int i = 0; i < TILE_ROWS; i++) {
            float *out = destinations[row + (i < n ? i : n - 1)];
            UNROLL
            for (int j = 0; j < TILE_VECTORS; j++) {
                ckn_narrowed part = NARROW(sums[i][j]);
                ptrdiff_t column = first + j * LANES;
                if (column + LANES <= n_columns)
                    *(ckn_narrowed *)(out + column) = part;
                else if (column < n_columns)
                    memcpy(out + column, &part,
                           (size_t)(n_columns - column) * sizeof(float));
            }
        }
    }
}

#undef NARROW
