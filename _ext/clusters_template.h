/* The anchor nearest to each of some points: products in tiles, the largest of each
 * row kept in registers as long as a tile is there. */

static size_t CKN(nearest_scratch)(ptrdiff_t n_points) {
    ckn_arena arena = ckn_open_arena(NULL);
    ckn_take(&arena, n_points, sizeof(REAL *));
    ckn_take(&arena, n_points * LANES, sizeof(REAL));
    ckn_take(&arena, n_points * LANES, sizeof(INTEGER));
    return arena.used + 64;
}

/* best and place (n_points, LANES): for each lane the largest product so far, and the
 * number of the vector of anchors that it is from; both move on by a panel */
static NO_INLINE void CKN(nearest_in_panel)(const REAL *const *points,
                                            ptrdiff_t n_points, ptrdiff_t length,
                                            const REAL *panel, ptrdiff_t n_anchors,
                                            ptrdiff_t first, REAL *best,
                                            INTEGER *place) {
    const CKN(runs) runs = {1, 0, length};
    /* what fills the last panel up is no anchor: minus infinity keeps it out */
    REAL outside[PANEL];
    for (ptrdiff_t j = 0; j < PANEL; j++)
        outside[j] = first + j < n_anchors ? 0 : (REAL)-INFINITY;
    for (ptrdiff_t point = 0; point < n_points; point += TILE_ROWS) {
        const REAL *tile[TILE_ROWS];
        VECTOR sums[TILE_ROWS][TILE_VECTORS];
        int n = CKN(tile_rows)(points, point, n_points, tile);
        CKN(multiply_tile)(tile, 0, &runs, panel, sums);
        UNROLL
        for (int i = 0; i < TILE_ROWS; i++) {
            if (i >= n)
                continue;
            REAL *largest = best + (point + i) * LANES;
            CKN(integers) *number = (CKN(integers) *)(place + (point + i) * LANES);
            VECTOR value = CKN(load)(largest);
            CKN(integers) chosen = *number;
            UNROLL
            for (int j = 0; j < TILE_VECTORS; j++) {
                VECTOR product = sums[i][j] + CKN(load)(outside + j * LANES);
                CKN(integers) is_larger = (CKN(integers))(product > value);
                CKN(integers) here =
                    CKN(bits)(CKN(splat)(0)) + (INTEGER)(first / LANES + j);
#ifdef CKN_SCALAR
                chosen = is_larger ? here : chosen;
#else
                chosen = (is_larger & here) | (~is_larger & chosen);
#endif
                value = CKN(max)(value, product);
            }
            CKN(store)(largest, value);
            *number = chosen;
        }
    }
}

/* nearest, similarity (n_points,) <- the anchor of largest product with each point,
 * the first of equals, and the product */
static void CKN(nearest)(const void *all, ptrdiff_t n_points, ptrdiff_t length,
                         const void *panels, ptrdiff_t n_anchors, ptrdiff_t *nearest,
                         void *similarity, void *scratch) {
    ckn_arena arena = ckn_open_arena(scratch);
    const REAL **points = ckn_take(&arena, n_points, sizeof(REAL *));
    REAL *best = ckn_take(&arena, n_points * LANES, sizeof(REAL));
    INTEGER *place = ckn_take(&arena, n_points * LANES, sizeof(INTEGER));
    for (ptrdiff_t i = 0; i < n_points; i++)
        points[i] = (const REAL *)all + i * length;
    for (ptrdiff_t i = 0; i < n_points * LANES; i++) {
        best[i] = (REAL)-INFINITY;
        place[i] = 0;
    }
    for (ptrdiff_t first = 0; first < n_anchors; first += PANEL)
        CKN(nearest_in_panel)(points, n_points, length,
                              (const REAL *)panels + first * length, n_anchors, first,
                              best, place);
    for (ptrdiff_t i = 0; i < n_points; i++) {
        REAL largest = best[i * LANES];
        ptrdiff_t anchor = (ptrdiff_t)place[i * LANES] * LANES;
        for (int lane = 1; lane < LANES; lane++) {
            REAL value = best[i * LANES + lane];
            ptrdiff_t candidate = (ptrdiff_t)place[i * LANES + lane] * LANES + lane;
            if (value > largest || (value == largest && candidate < anchor)) {
                largest = value;
                anchor = candidate;
            }
        }
        nearest[i] = anchor;
        ((REAL *)similarity)[i] = largest;
    }
}
