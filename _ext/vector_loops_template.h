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

/* The derivatives of norm * kappa(cosine) for one patch, given products
 * <patch, anchor> = norm * cosine and the slopes of the objective in the responses.
 * row[i] <- slope * kappa'(cosine), the slope in the inner product;
 * sums[0] <- sum of slope * (kappa(cosine) - cosine kappa'(cosine)), in the norm;
 * sums[1] <- sum of slope * d kappa(cosine) / d beta, over the norm, in beta. */
CKN_CLONED
static void CKN_NAME(ckn_respond_backward)(CKN_REAL *CKN_RESTRICT row,
                                           const CKN_REAL *CKN_RESTRICT products,
                                           ptrdiff_t n, int kernel, CKN_REAL beta,
                                           CKN_REAL inverse_norm, double *sums) {
    CKN_REAL radial = 0, by_beta = 0;
    if (kernel == CKN_EXP) {
        CKN_SIMD(omp simd reduction(+ : radial, by_beta))
        for (ptrdiff_t i = 0; i < n; i++) {
            CKN_REAL u = products[i] * inverse_norm;
            CKN_REAL value = row[i] * CKN_NAME(ckn_exp)(beta * (u - 1));
            row[i] = beta * value;
            radial += value * (1 - beta * u);
            by_beta += value * (u - 1);
        }
    } else if (kernel == CKN_POLY) {
        CKN_SIMD(omp simd reduction(+ : radial))
        for (ptrdiff_t i = 0; i < n; i++) {
            CKN_REAL u = products[i] * inverse_norm;
            CKN_REAL slope = row[i];
            row[i] = slope * (2 * u);
            radial -= slope * (u * u);
        }
    } else {
        const CKN_REAL pi = (CKN_REAL)3.14159265358979323846;
        for (ptrdiff_t i = 0; i < n; i++) {
            CKN_REAL u = products[i] * inverse_norm;
            u = u > -1 ? u : -1;
            u = u < 1 ? u : 1;
            CKN_REAL slope = row[i];
            row[i] = slope * ((pi - CKN_MATH(acos)(u)) / pi);
            radial += slope * (CKN_MATH(sqrt)((1 - u) * (1 + u)) / pi);
        }
    }
    sums[0] = radial;
    sums[1] = by_beta;
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
