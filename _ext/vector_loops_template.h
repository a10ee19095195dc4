/* Included by vector_loops.h once per type CKN_REAL; CKN_MATH names the C library's
 * functions of that type. */

/* row[i] <- norm * kappa(row[i] * inverse_norm): inner products with the anchors
 * become responses. */
CKN_CLONED
static void CKN_NAME(ckn_respond)(CKN_REAL *row, ptrdiff_t n, int kernel,
                                  CKN_REAL beta, CKN_REAL norm,
                                  CKN_REAL inverse_norm) {
    if (kernel == CKN_EXP) {
        for (ptrdiff_t i = 0; i < n; i++)
            row[i] = norm * CKN_NAME(ckn_exp)(beta * (row[i] * inverse_norm - 1));
    } else if (kernel == CKN_POLY) {
        for (ptrdiff_t i = 0; i < n; i++) {
            CKN_REAL u = row[i] * inverse_norm;
            row[i] = norm * (u * u);
        }
    } else {
        const CKN_REAL pi = (CKN_REAL)3.14159265358979323846;
        for (ptrdiff_t i = 0; i < n; i++) {
            CKN_REAL u = row[i] * inverse_norm;
            /* rounding can put a cosine a little outside [-1, 1] */
            u = u > -1 ? u : -1;
            u = u < 1 ? u : 1;
            CKN_REAL sine = CKN_MATH(sqrt)((1 - u) * (1 + u));
            row[i] = norm * ((sine + (pi - CKN_MATH(acos)(u)) * u) / pi);
        }
    }
}

/* total[i] += weight * row[i] */
CKN_CLONED
static void CKN_NAME(ckn_add_scaled)(CKN_REAL *CKN_RESTRICT total,
                                     const CKN_REAL *CKN_RESTRICT row, ptrdiff_t n,
                                     CKN_REAL weight) {
    for (ptrdiff_t i = 0; i < n; i++)
        total[i] += weight * row[i];
}

/* total[i] += row[i], the totals in double precision */
CKN_CLONED
static void CKN_NAME(ckn_add_to_double)(double *CKN_RESTRICT total,
                                        const CKN_REAL *CKN_RESTRICT row,
                                        ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++)
        total[i] += (double)row[i];
}

/* the sum of row[i]^2 in double precision */
CKN_CLONED
static double CKN_NAME(ckn_sum_squares)(const CKN_REAL *row, ptrdiff_t n) {
    double total = 0;
    CKN_SIMD(omp simd reduction(+ : total))
    for (ptrdiff_t i = 0; i < n; i++)
        total += (double)row[i] * (double)row[i];
    return total;
}

/* the index of the largest value, the first of equals; n is at least 1 */
CKN_CLONED
static ptrdiff_t CKN_NAME(ckn_argmax)(const CKN_REAL *row, ptrdiff_t n) {
    CKN_REAL best = row[0];
    CKN_SIMD(omp simd reduction(max : best))
    for (ptrdiff_t i = 0; i < n; i++)
        best = row[i] > best ? row[i] : best;
    ptrdiff_t index = 0;
    while (index < n - 1 && row[index] != best)
        index++;
    return index;
}
