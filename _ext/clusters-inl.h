/* Finds the nearest anchor of each point. The products are computed in register tiles,
 * and the largest of each row is updated while they are in registers. */

static size_t CKN(nearest_scratch)(ptrdiff_t n_points) {
    ckn_arena arena = ckn_open_arena(NULL);
    ckn_take(&arena, n_points, sizeof(CKN_REAL *));
    ckn_take(&arena, n_points * CKN_LANES, sizeof(CKN_REAL));
    ckn_take(&arena, n_points * CKN_LANES, sizeof(CKN_INTEGER));
    return arena.used + 64;
}

/* best and place (n_points, CKN_LANES) hold, for each lane, the largest product so far
 * and the number of the vector of anchors that it belongs to; both are updated with a
 * panel. */
static CKN_NO_INLINE void CKN(nearest_in_panel)(const CKN_REAL *const *points,
                                                ptrdiff_t n_points, ptrdiff_t length,
                                                const CKN_REAL *panel,
                                                ptrdiff_t n_anchors, ptrdiff_t first,
                                                CKN_REAL *best, CKN_INTEGER *place) {
    const ckn_runs runs = {.n_runs = 1, .length = length};
    /* the columns that fill up the last panel are no anchors: minus infinity excludes
     * them */
    CKN_REAL outside[CKN_PANEL];
    for (ptrdiff_t j = 0; j < CKN_PANEL; j++)
        outside[j] = first + j < n_anchors ? 0 : (CKN_REAL)-INFINITY;
    for (ptrdiff_t point = 0; point < n_points; point += CKN_REGISTER_ROWS) {
        const CKN_REAL *tile[CKN_REGISTER_ROWS];
        CKN_VECTOR sums[CKN_REGISTER_ROWS][CKN_REGISTER_VECTORS];
        int n = CKN(register_rows)(points, point, n_points, tile);
        CKN(multiply_register_tile)(tile, 0, &runs, panel, point, n_points,
                                    CKN_REGISTER_VECTORS, sums);
        CKN_UNROLL
        for (int i = 0; i < CKN_REGISTER_ROWS; i++) {
            if (i >= n)
                continue;
            CKN_REAL *largest = best + (point + i) * CKN_LANES;
            CKN_INTEGER_VECTOR *number =
                (CKN_INTEGER_VECTOR *)(place + (point + i) * CKN_LANES);
            CKN_VECTOR value = CKN(load_vector)(largest);
            CKN_INTEGER_VECTOR chosen = *number;
            CKN_UNROLL
            for (int j = 0; j < CKN_REGISTER_VECTORS; j++) {
                CKN_VECTOR product =
                    sums[i][j] + CKN(load_vector)(outside + j * CKN_LANES);
                CKN_INTEGER_VECTOR is_larger = (CKN_INTEGER_VECTOR)(product > value);
                CKN_INTEGER_VECTOR here = CKN(vector_bits)(CKN(splat)(0)) +
                                          (CKN_INTEGER)(first / CKN_LANES + j);
#ifdef CKN_SCALAR
                chosen = is_larger ? here : chosen;
#else
                chosen = (is_larger & here) | (~is_larger & chosen);
#endif
                value = CKN(vector_max)(value, product);
            }
            CKN(store_vector)(largest, value);
            *number = chosen;
        }
    }
}

/* nearest, similarity (n_points,) <- the anchor whose product with the point is
 * largest, the first of several equal ones, and this product */
static void CKN(nearest)(const void *all, ptrdiff_t n_points, ptrdiff_t length,
                         const void *panels, ptrdiff_t n_anchors, ptrdiff_t *nearest,
                         void *similarity, void *scratch) {
    ckn_arena arena = ckn_open_arena(scratch);
    const CKN_REAL **points = ckn_take(&arena, n_points, sizeof(CKN_REAL *));
    CKN_REAL *best = ckn_take(&arena, n_points * CKN_LANES, sizeof(CKN_REAL));
    CKN_INTEGER *place = ckn_take(&arena, n_points * CKN_LANES, sizeof(CKN_INTEGER));
    for (ptrdiff_t i = 0; i < n_points; i++)
        points[i] = (const CKN_REAL *)all + i * length;
    for (ptrdiff_t i = 0; i < n_points * CKN_LANES; i++) {
        best[i] = (CKN_REAL)-INFINITY;
        place[i] = 0;
    }
    for (ptrdiff_t first = 0; first < n_anchors; first += CKN_PANEL)
        CKN(nearest_in_panel)(points, n_points, length,
                              (const CKN_REAL *)panels + first * length, n_anchors,
                              first, best, place);
    for (ptrdiff_t i = 0; i < n_points; i++) {
        CKN_REAL largest = best[i * CKN_LANES];
        ptrdiff_t anchor = (ptrdiff_t)place[i * CKN_LANES] * CKN_LANES;
        for (int lane = 1; lane < CKN_LANES; lane++) {
            CKN_REAL value = best[i * CKN_LANES + lane];
            ptrdiff_t candidate =
                (ptrdiff_t)place[i * CKN_LANES + lane] * CKN_LANES + lane;
            if (value > largest || (value == largest && candidate < anchor)) {
                largest = value;
                anchor = candidate;
            }
        }
        nearest[i] = anchor;
        ((CKN_REAL *)similarity)[i] = largest;
    }
}
