/* Sums of outer products of rows and of the gradients of their products: the gradient
 * with respect to the filters that the rows were multiplied with. Here a register tile
 * is CKN_REGISTER_ROWS values of a row times a panel of gradients: the sums stay in
 * registers while the loop goes over the rows. */

CKN_INLINE void CKN(add_outer_register_tile)(const CKN_REAL *const *rows,
                                             const ptrdiff_t *offsets,
                                             const CKN_REAL *const *gradients,
                                             ptrdiff_t column, ptrdiff_t n_rows,
                                             int n_elements, CKN_REAL *out) {
    CKN_VECTOR sums[CKN_REGISTER_ROWS][CKN_REGISTER_VECTORS];
    CKN_UNROLL
    for (int i = 0; i < CKN_REGISTER_ROWS; i++) {
        CKN_UNROLL
        for (int j = 0; j < CKN_REGISTER_VECTORS; j++)
            sums[i][j] = CKN(splat)(0);
    }
    CKN_NO_UNROLL
    for (ptrdiff_t row = 0; row < n_rows; row++) {
        const CKN_REAL *values = rows[row], *gradient = gradients[row] + column;
        CKN_VECTOR line[CKN_REGISTER_VECTORS];
        CKN_UNROLL
        for (int j = 0; j < CKN_REGISTER_VECTORS; j++)
            line[j] = CKN(load_vector)(gradient + j * CKN_LANES);
        CKN_UNROLL
        for (int i = 0; i < CKN_REGISTER_ROWS; i++) {
            CKN_VECTOR value = CKN(splat)(values[offsets[i]]);
            CKN_UNROLL
            for (int j = 0; j < CKN_REGISTER_VECTORS; j++)
                sums[i][j] += value * line[j];
        }
    }
    for (int i = 0; i < n_elements; i++)
        for (int j = 0; j < CKN_REGISTER_VECTORS; j++) {
            CKN_REAL *place = out + i * CKN_PANEL + j * CKN_LANES;
            CKN(store_vector)(place, CKN(load_vector)(place) + sums[i][j]);
        }
}

/* Add to sums (depth, CKN_PANEL), for n_rows rows: the values of the row, from offset
 * on, times its gradients, from column on. */
static CKN_NO_INLINE void CKN(add_outer)(const CKN_REAL *const *rows, ptrdiff_t offset,
                                         const ckn_runs *runs,
                                         const CKN_REAL *const *gradients,
                                         ptrdiff_t column, ptrdiff_t n_rows,
                                         CKN_REAL *sums) {
    const ptrdiff_t depth = runs->n_runs * runs->length;
    ptrdiff_t run = 0, element = 0; /* in the run */
    for (ptrdiff_t k = 0; k < depth; k += CKN_REGISTER_ROWS) {
        ptrdiff_t offsets[CKN_REGISTER_ROWS];
        int n = depth - k < CKN_REGISTER_ROWS ? (int)(depth - k) : CKN_REGISTER_ROWS;
        for (int i = 0; i < n; i++) {
            offsets[i] = offset + ckn_run_offset(runs, run) + element;
            if (++element == runs->length) {
                element = 0;
                run++;
            }
        }
        for (int i = n; i < CKN_REGISTER_ROWS; i++)
            offsets[i] = offsets[n - 1];
        CKN(add_outer_register_tile)(rows, offsets, gradients, column, n_rows, n,
                                     sums + k * CKN_PANEL);
    }
}
