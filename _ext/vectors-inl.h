/* Vectors of CKN_LANES reals, by the vector extensions of GCC and Clang; compilers
 * without them (CKN_SCALAR) get vectors of one lane, which are plain numbers.
 *
 * An instruction set defines CKN_LANES and, where it has better than the generic code,
 * CKN_VECTOR_MAX, CKN_VECTOR_MIN and CKN_VECTOR_SQRT. */

#ifdef CKN_SCALAR

typedef CKN_REAL CKN_VECTOR;
typedef CKN_INTEGER CKN_INTEGER_VECTOR;
typedef double CKN_WIDE_VECTOR;

CKN_INLINE CKN_INTEGER_VECTOR CKN(vector_bits)(CKN_VECTOR v) {
    CKN_INTEGER_VECTOR bits;
    memcpy(&bits, &v, sizeof v);
    return bits;
}
CKN_INLINE CKN_VECTOR CKN(vector_from_bits)(CKN_INTEGER_VECTOR bits) {
    CKN_VECTOR v;
    memcpy(&v, &bits, sizeof v);
    return v;
}
CKN_INLINE CKN_VECTOR CKN(select_lanes)(CKN_INTEGER_VECTOR mask, CKN_VECTOR yes,
                                        CKN_VECTOR no) {
    return mask ? yes : no;
}
CKN_INLINE CKN_WIDE_VECTOR CKN(load_wide)(const CKN_REAL *p) { return (double)*p; }
#define CKN_WIDE_LANES 1

#else

/* may_alias: arrays of reals are read as vectors; aligned as reals are: anywhere */
typedef CKN_REAL CKN_VECTOR __attribute__((vector_size(CKN_LANES * sizeof(CKN_REAL)),
                                           may_alias, aligned(sizeof(CKN_REAL))));
typedef CKN_INTEGER CKN_INTEGER_VECTOR __attribute__((
    vector_size(CKN_LANES * sizeof(CKN_REAL)), may_alias, aligned(sizeof(CKN_REAL))));

CKN_INLINE CKN_INTEGER_VECTOR CKN(vector_bits)(CKN_VECTOR v) {
    return (CKN_INTEGER_VECTOR)v;
}
CKN_INLINE CKN_VECTOR CKN(vector_from_bits)(CKN_INTEGER_VECTOR bits) {
    return (CKN_VECTOR)bits;
}
CKN_INLINE CKN_VECTOR CKN(select_lanes)(CKN_INTEGER_VECTOR mask, CKN_VECTOR yes,
                                        CKN_VECTOR no) {
    return (CKN_VECTOR)((mask & (CKN_INTEGER_VECTOR)yes) |
                        (~mask & (CKN_INTEGER_VECTOR)no));
}

/* As many doubles as fill a register, for sums that would lose digits in float. */
#define CKN_WIDE_LANES (CKN_LANES * (int)sizeof(CKN_REAL) / 8)
typedef double CKN_WIDE_VECTOR
    __attribute__((vector_size(CKN_WIDE_LANES * 8), may_alias, aligned(8)));
typedef CKN_REAL CKN_NARROW_VECTOR
    __attribute__((vector_size(CKN_WIDE_LANES * sizeof(CKN_REAL)), may_alias,
                   aligned(sizeof(CKN_REAL))));
CKN_INLINE CKN_WIDE_VECTOR CKN(load_wide)(const CKN_REAL *p) {
    return __builtin_convertvector(*(const CKN_NARROW_VECTOR *)p, CKN_WIDE_VECTOR);
}

#endif

CKN_INLINE CKN_VECTOR CKN(load_vector)(const CKN_REAL *p) {
    return *(const CKN_VECTOR *)p;
}
CKN_INLINE void CKN(store_vector)(CKN_REAL *p, CKN_VECTOR v) { *(CKN_VECTOR *)p = v; }

/* A number in every lane: x - 0 is x, bit by bit, so only the copy remains. */
CKN_INLINE CKN_VECTOR CKN(splat)(CKN_REAL x) {
#ifdef CKN_SCALAR
    return x;
#else
    return x - (CKN_VECTOR){0};
#endif
}

CKN_INLINE CKN_VECTOR CKN(vector_max)(CKN_VECTOR a, CKN_VECTOR b) {
#ifdef CKN_VECTOR_MAX
    return CKN_VECTOR_MAX(a, b);
#else
    return CKN(select_lanes)((CKN_INTEGER_VECTOR)(a > b), a, b);
#endif
}

CKN_INLINE CKN_VECTOR CKN(vector_min)(CKN_VECTOR a, CKN_VECTOR b) {
#ifdef CKN_VECTOR_MIN
    return CKN_VECTOR_MIN(a, b);
#else
    return CKN(select_lanes)((CKN_INTEGER_VECTOR)(a < b), a, b);
#endif
}

CKN_INLINE CKN_VECTOR CKN(vector_sqrt)(CKN_VECTOR v) {
#ifdef CKN_VECTOR_SQRT
    return CKN_VECTOR_SQRT(v);
#else
    CKN_REAL lanes[CKN_LANES];
    CKN(store_vector)(lanes, v);
    for (int i = 0; i < CKN_LANES; i++)
        lanes[i] = CKN_MATH(sqrt)(lanes[i]);
    return CKN(load_vector)(lanes);
#endif
}

/* The sum of the lanes in double precision: the upper half is added to the lower half
 * until one number is left. */
CKN_INLINE double CKN(sum_lanes)(CKN_VECTOR v) {
    CKN_REAL lanes[CKN_LANES];
    CKN(store_vector)(lanes, v);
    double sums[CKN_LANES];
    for (int i = 0; i < CKN_LANES; i++)
        sums[i] = lanes[i];
    CKN_UNROLL
    for (int n = CKN_LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++)
            sums[i] += sums[i + n];
    return sums[0];
}
