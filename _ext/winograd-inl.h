/* Products of 3 x 3 patches by Winograd's minimal filtering F(m x m, 3 x 3).
 *
 * A tile of m x m positions (m = 2 or 4) needs (m + 2)^2 multiplications per channel
 * and filter where the direct sum has 9 m^2: 2.25 and 4 times fewer. Pixels d and
 * filters g are transformed, B^T d B and G g G^T, multiplied element by element and
 * summed over channels, and transformed back, A^T (...) A (Lavin and Gray, CVPR 2016,
 * sections 4.1 and 4.2). For each of the (m + 2)^2 elements the sums over channels are
 * a matrix product, of the tiles' rows with a panel of filters. */

/* B^T times one column of pixels. */
CKN_INLINE void CKN(transform_pixels)(int m, const CKN_VECTOR *d, CKN_VECTOR *v) {
    if (m == 2) {
        v[0] = d[0] - d[2];
        v[1] = d[1] + d[2];
        v[2] = d[2] - d[1];
        v[3] = d[1] - d[3];
    } else {
        CKN_VECTOR even = d[4] - 4 * d[2], odd = d[3] - 4 * d[1];
        CKN_VECTOR even2 = d[4] - d[2], odd2 = 2 * (d[3] - d[1]);
        v[0] = 4 * d[0] - 5 * d[2] + d[4];
        v[1] = even + odd;
        v[2] = even - odd;
        v[3] = even2 + odd2;
        v[4] = even2 - odd2;
        v[5] = 4 * d[1] - 5 * d[3] + d[5];
    }
}

/* A^T times one column of sums. */
CKN_INLINE void CKN(transform_sums)(int m, const CKN_VECTOR *s, CKN_VECTOR *y) {
    if (m == 2) {
        y[0] = s[0] + s[1] + s[2];
        y[1] = s[1] - s[2] - s[3];
    } else {
        CKN_VECTOR sum = s[1] + s[2], difference = s[1] - s[2];
        CKN_VECTOR sum2 = s[3] + s[4], difference2 = s[3] - s[4];
        y[0] = s[0] + sum + sum2;
        y[1] = difference + 2 * difference2;
        y[2] = sum + 4 * sum2;
        y[3] = difference + 8 * difference2 + s[5];
    }
}

/* Write one panel: filters panel * CKN_PANEL and following ones of (n_filters, 3, 3,
 * n_channels). For each of the (m + 2)^2 elements it has n_channels lines. */
static void CKN(pack_winograd)(const void *all, ptrdiff_t n_filters,
                               ptrdiff_t n_channels, ptrdiff_t m, ptrdiff_t panel,
                               void *panels) {
    const double (*g)[3] = ckn_filter_transform(m);
    const ptrdiff_t n = m + 2, plane = n_channels * CKN_PANEL;
    const ptrdiff_t first = panel * CKN_PANEL;
    const CKN_REAL *filters = (const CKN_REAL *)all + first * 9 * n_channels;
    CKN_REAL *packed = (CKN_REAL *)panels + first * n * n * n_channels;
    const int n_lanes =
        n_filters - first < CKN_PANEL ? (int)(n_filters - first) : CKN_PANEL;
    for (ptrdiff_t c = 0; c < n_channels; c++) {
        double taps[9][CKN_PANEL] = {{0}}, columns[6][3][CKN_PANEL];
        for (int j = 0; j < n_lanes; j++)
            for (int i = 0; i < 9; i++)
                taps[i][j] = filters[(j * 9 + i) * n_channels + c];
        for (int a = 0; a < n; a++)
            for (int x = 0; x < 3; x++)
                for (int j = 0; j < CKN_PANEL; j++)
                    columns[a][x][j] = g[a][0] * taps[x][j] + g[a][1] * taps[3 + x][j] +
                                       g[a][2] * taps[6 + x][j];
        for (int a = 0; a < n; a++)
            for (int b = 0; b < n; b++)
                for (int j = 0; j < CKN_PANEL; j++)
                    packed[(a * n + b) * plane + c * CKN_PANEL + j] =
                        (CKN_REAL)(columns[a][0][j] * g[b][0] +
                                   columns[a][1][j] * g[b][1] +
                                   columns[a][2][j] * g[b][2]);
    }
}

/* Channels of a transformed tile, rounded up to whole vectors. Those beyond n_channels
 * are computed from whatever follows in memory and are never read. */
CKN_INLINE ptrdiff_t CKN(tile_channels)(ptrdiff_t n_channels) {
    return (n_channels + CKN_LANES - 1) / CKN_LANES * CKN_LANES;
}

CKN_INLINE void CKN(transform_tile_inline)(const CKN_REAL *pixels, ptrdiff_t row_stride,
                                           ptrdiff_t n_channels, CKN_REAL *tile,
                                           ptrdiff_t plane, const int m) {
    const int n = m + 2;
    for (ptrdiff_t c = 0; c < n_channels; c += CKN_LANES) {
        CKN_VECTOR half[6][6];
        CKN_UNROLL
        for (int x = 0; x < n; x++) {
            CKN_VECTOR column[6], transformed[6];
            CKN_UNROLL
            for (int y = 0; y < n; y++)
                column[y] =
                    CKN(load_vector)(pixels + y * row_stride + x * n_channels + c);
            CKN(transform_pixels)(m, column, transformed);
            CKN_UNROLL
            for (int y = 0; y < n; y++)
                half[y][x] = transformed[y];
        }
        CKN_UNROLL
        for (int y = 0; y < n; y++) {
            CKN_VECTOR transformed[6];
            CKN(transform_pixels)(m, half[y], transformed);
            CKN_UNROLL
            for (int x = 0; x < n; x++)
                CKN(store_vector)(tile + (y * n + x) * plane + c, transformed[x]);
        }
    }
}

/* tile + e * plane (tile_channels,) <- element e of a transformed tile, for each of the
 * (m + 2)^2 elements; pixels points to its first pixel */
static CKN_NO_INLINE void CKN(transform_tile)(const CKN_REAL *pixels,
                                              ptrdiff_t row_stride,
                                              ptrdiff_t n_channels, CKN_REAL *tile,
                                              ptrdiff_t plane, ptrdiff_t m) {
    if (m == 2)
        CKN(transform_tile_inline)(pixels, row_stride, n_channels, tile, plane, 2);
    else
        CKN(transform_tile_inline)(pixels, row_stride, n_channels, tile, plane, 4);
}

CKN_INLINE void CKN(respond_tile_inline)(const CKN_REAL *sums, ptrdiff_t n_rows,
                                         ptrdiff_t n_columns, ptrdiff_t width,
                                         const CKN_REAL *scale, const CKN_REAL *shift,
                                         const CKN_REAL *norm, CKN_REAL *out,
                                         const int m, const int kernel) {
    const int n = m + 2;
    for (ptrdiff_t j = 0; j < CKN_PANEL; j += CKN_LANES) {
        CKN_VECTOR half[4][6];
        CKN_UNROLL
        for (int x = 0; x < n; x++) {
            CKN_VECTOR column[6], transformed[4];
            CKN_UNROLL
            for (int y = 0; y < n; y++)
                column[y] = CKN(load_vector)(sums + (y * n + x) * CKN_PANEL + j);
            CKN(transform_sums)(m, column, transformed);
            CKN_UNROLL
            for (int y = 0; y < m; y++)
                half[y][x] = transformed[y];
        }
        for (int y = 0; y < n_rows; y++) {
            CKN_VECTOR products[4];
            CKN(transform_sums)(m, half[y], products);
            for (int x = 0; x < n_columns; x++) {
                ptrdiff_t i = y * width + x;
                CKN_REAL a = 0, b = 0, c = 0;
                if (kernel != CKN_PRODUCT)
                    a = scale[i], b = shift[i], c = norm[i];
                CKN(store_vector)(out + i * CKN_PANEL + j,
                                  CKN(kernel_response)(products[x], a, b, c, kernel));
            }
        }
    }
}

/* out (n_rows, n_columns, CKN_PANEL), part of a map of `width` positions a row <- the
 * responses at the positions of a tile that lie in the map, from the sums ((m + 2)^2,
 * CKN_PANEL) */
static CKN_NO_INLINE void CKN(respond_tile)(const CKN_REAL *sums, ptrdiff_t n_rows,
                                            ptrdiff_t n_columns, ptrdiff_t width,
                                            const CKN_REAL *scale,
                                            const CKN_REAL *shift, const CKN_REAL *norm,
                                            CKN_REAL *out, ptrdiff_t m, int kernel) {
#define CKN_RESPOND_TILE(side, constant)                                               \
    CKN(respond_tile_inline)(sums, n_rows, n_columns, width, scale, shift, norm, out,  \
                             side, constant)
#define CKN_RESPOND(constant)                                                          \
    if (m == 2)                                                                        \
        CKN_RESPOND_TILE(2, constant);                                                 \
    else                                                                               \
        CKN_RESPOND_TILE(4, constant)
    if (kernel == CKN_PRODUCT) {
        CKN_RESPOND(CKN_PRODUCT);
    } else {
        CKN_WITH_KERNEL(kernel, CKN_RESPOND)
    }
#undef CKN_RESPOND_TILE
#undef CKN_RESPOND
}
