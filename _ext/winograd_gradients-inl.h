/* The gradient with respect to 3 x 3 filters by the transpose of Winograd's algorithm:
 * the gradients Y of the products of a tile are transformed, A Y A^T, multiplied with
 * the transformed pixels, summed over tiles, and transformed to gradients of filters,
 * G^T (...) G. It saves as many multiplications as the algorithm itself, 2.25 and 4
 * times. Some channels are computed together, so many that their elements stay in the L2
 * cache from the products to the last transform. */

#define CKN_ELEMENTS_BYTES 131072

CKN_INLINE ptrdiff_t CKN(channels_together)(const ckn_correlation *c) {
    const ptrdiff_t line = (ptrdiff_t)sizeof(CKN_REAL) * CKN_PANEL;
    ptrdiff_t n = CKN_ELEMENTS_BYTES / ((c->tile + 2) * (c->tile + 2) * line);
    n = n > CKN_REGISTER_ROWS ? n - n % CKN_REGISTER_ROWS : CKN_REGISTER_ROWS;
    return n < c->n_channels ? n : c->n_channels;
}

/* A times one column of gradients. */
CKN_INLINE void CKN(transform_gradients)(int m, const CKN_VECTOR *y, CKN_VECTOR *s) {
    if (m == 2) {
        s[0] = y[0];
        s[1] = y[0] + y[1];
        s[2] = y[0] - y[1];
        s[3] = -y[1];
    } else {
        CKN_VECTOR even = y[0] + y[2], odd = y[1] + y[3];
        CKN_VECTOR even2 = y[0] + 4 * y[2], odd2 = 2 * y[1] + 8 * y[3];
        s[0] = y[0];
        s[1] = even + odd;
        s[2] = even - odd;
        s[3] = even2 + odd2;
        s[4] = even2 - odd2;
        s[5] = y[3];
    }
}

CKN_INLINE void CKN(transform_gradient_tile_inline)(const CKN_REAL *const *gradients,
                                                    ptrdiff_t column, ptrdiff_t n_rows,
                                                    ptrdiff_t n_columns,
                                                    ptrdiff_t width, CKN_REAL *tile,
                                                    const int m) {
    const int n = m + 2;
    for (ptrdiff_t j = 0; j < CKN_PANEL; j += CKN_LANES) {
        CKN_VECTOR half[6][4];
        CKN_UNROLL
        for (int x = 0; x < m; x++) {
            CKN_VECTOR values[4], transformed[6];
            for (int y = 0; y < m; y++)
                values[y] =
                    x < n_columns && y < n_rows
                        ? CKN(load_vector)(gradients[y * width + x] + column + j)
                        : CKN(splat)(0);
            CKN(transform_gradients)(m, values, transformed);
            CKN_UNROLL
            for (int y = 0; y < n; y++)
                half[y][x] = transformed[y];
        }
        CKN_UNROLL
        for (int y = 0; y < n; y++) {
            CKN_VECTOR transformed[6];
            CKN(transform_gradients)(m, half[y], transformed);
            CKN_UNROLL
            for (int x = 0; x < n; x++)
                CKN(store_vector)(tile + (y * n + x) * CKN_PANEL + j, transformed[x]);
        }
    }
}

/* tile ((m + 2)^2, CKN_PANEL) <- the transformed gradients of a tile, of which n_rows x
 * n_columns positions are inside the map of `width` positions a row; gradients starts
 * at its first position */
static CKN_NO_INLINE void CKN(transform_gradient_tile)(
    const CKN_REAL *const *gradients, ptrdiff_t column, ptrdiff_t n_rows,
    ptrdiff_t n_columns, ptrdiff_t width, CKN_REAL *tile, ptrdiff_t m) {
    if (m == 2)
        CKN(transform_gradient_tile_inline)(gradients, column, n_rows, n_columns, width,
                                            tile, 2);
    else
        CKN(transform_gradient_tile_inline)(gradients, column, n_rows, n_columns, width,
                                            tile, 4);
}

CKN_INLINE void CKN(add_filter_gradients_inline)(const CKN_REAL *elements,
                                                 ptrdiff_t n_channels,
                                                 CKN_REAL *filters,
                                                 ptrdiff_t filter_plane, const int m) {
    const double (*g)[3] = ckn_filter_transform(m);
    const int n = m + 2;
    const ptrdiff_t plane = n_channels * CKN_PANEL;
    for (ptrdiff_t i = 0; i < plane; i += CKN_LANES) {
        CKN_VECTOR columns[3][6];
        CKN_UNROLL
        for (int b = 0; b < n; b++) {
            CKN_UNROLL
            for (int y = 0; y < 3; y++)
                columns[y][b] = CKN(splat)(0);
            CKN_UNROLL
            for (int a = 0; a < n; a++) {
                const CKN_VECTOR element =
                    CKN(load_vector)(elements + (a * n + b) * plane + i);
                CKN_UNROLL
                for (int y = 0; y < 3; y++)
                    columns[y][b] += element * (CKN_REAL)g[a][y];
            }
        }
        CKN_UNROLL
        for (int y = 0; y < 3; y++) {
            CKN_UNROLL
            for (int x = 0; x < 3; x++) {
                CKN_REAL *place = filters + (y * 3 + x) * filter_plane + i;
                CKN_VECTOR sum = CKN(load_vector)(place);
                CKN_UNROLL
                for (int b = 0; b < n; b++)
                    sum += columns[y][b] * (CKN_REAL)g[b][x];
                CKN(store_vector)(place, sum);
            }
        }
    }
}

/* Add G^T elements G to n_channels channels of filters (3, 3, all channels, CKN_PANEL),
 * of which `filter_plane` values belong to a pixel; elements is ((m + 2)^2, n_channels,
 * CKN_PANEL). */
static CKN_NO_INLINE void CKN(add_filter_gradients)(const CKN_REAL *elements,
                                                    ptrdiff_t n_channels, ptrdiff_t m,
                                                    CKN_REAL *filters,
                                                    ptrdiff_t filter_plane) {
    if (m == 2)
        CKN(add_filter_gradients_inline)(elements, n_channels, filters, filter_plane,
                                         2);
    else
        CKN(add_filter_gradients_inline)(elements, n_channels, filters, filter_plane,
                                         4);
}

/* Add the gradient with respect to a panel of filters to sums (3, 3, n_channels,
 * CKN_PANEL), from a prepared strip and the gradients of its positions, from `column`
 * on. The strip's sums and elements ((m + 2)^2, channels together, CKN_PANEL) are
 * overwritten. */
static void CKN(add_winograd_gradients)(const ckn_correlation *c,
                                        const CKN_STRIP *strip,
                                        const CKN_REAL *const *gradients,
                                        ptrdiff_t column, const CKN_REAL **tile_rows,
                                        CKN_REAL *elements, CKN_REAL *sums) {
    const ptrdiff_t m = c->tile, width = c->response_width;
    const ptrdiff_t n_elements = (m + 2) * (m + 2);
    const ptrdiff_t n_together = CKN(channels_together)(c);
    CKN_REAL *tile = strip->sums;
    ptrdiff_t n_tiles = 0;
    for (ptrdiff_t row = 0; row < strip->n_rows;) {
        ptrdiff_t y = (strip->first_row + row) % c->response_height;
        ptrdiff_t n_rows = c->response_height - y < m ? c->response_height - y : m;
        for (ptrdiff_t x = 0; x < width; x += m, tile += n_elements * CKN_PANEL) {
            CKN(transform_gradient_tile)(gradients + row * width + x, column, n_rows,
                                         width - x < m ? width - x : m, width, tile, m);
            tile_rows[n_tiles++] = tile;
        }
        row += n_rows;
    }
    for (ptrdiff_t first = 0; first < c->n_channels; first += n_together) {
        const ptrdiff_t left = c->n_channels - first;
        const ptrdiff_t n = left < n_together ? left : n_together;
        const ckn_runs runs = {.n_runs = 1, .length = n};
        memset(elements, 0, (size_t)(n_elements * n * CKN_PANEL) * sizeof(CKN_REAL));
        for (ptrdiff_t e = 0; e < n_elements; e++)
            CKN(add_outer)(strip->addresses, e * strip->plane + first, &runs, tile_rows,
                           e * CKN_PANEL, n_tiles, elements + e * n * CKN_PANEL);
        CKN(add_filter_gradients)(elements, n, m, sums + first * CKN_PANEL,
                                  c->n_channels * CKN_PANEL);
    }
}

#undef CKN_ELEMENTS_BYTES
