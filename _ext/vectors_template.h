/* Vectors of LANES reals, by the vector extensions of GCC and Clang; compilers
 * without them (CKN_SCALAR) get vectors of one lane, which are plain numbers.
 *
 * An instruction set defines LANES and, where it has better than the generic code,
 * VECTOR_MAX, VECTOR_MIN and VECTOR_SQRT. */

#ifdef CKN_SCALAR

typedef REAL CKN(vector);
typedef INTEGER CKN(integers);
typedef double CKN(wide);

INLINE CKN(integers) CKN(bits)(CKN(vector) v) {
    CKN(integers) bits;
    memcpy(&bits, &v, sizeof v);
    return bits;
}
INLINE CKN(vector) CKN(from_bits)(CKN(integers) bits) {
    CKN(vector) v;
    memcpy(&v, &bits, sizeof v);
    return v;
}
INLINE CKN(vector) CKN(select)(CKN(integers) mask, CKN(vector) yes, CKN(vector) no) {
    return mask ? yes : no;
}
INLINE CKN(wide) CKN(load_wide)(const REAL *p) { return (double)*p; }
#define WIDE_LANES 1

#else

/* may_alias: arrays of reals are read as vectors; aligned as reals are: anywhere */
typedef REAL CKN(vector)
    __attribute__((vector_size(LANES * sizeof(REAL)), may_alias, aligned(sizeof(REAL))));
typedef INTEGER CKN(integers)
    __attribute__((vector_size(LANES * sizeof(REAL)), may_alias, aligned(sizeof(REAL))));

INLINE CKN(integers) CKN(bits)(CKN(vector) v) { return (CKN(integers))v; }
INLINE CKN(vector) CKN(from_bits)(CKN(integers) bits) { return (CKN(vector))bits; }
INLINE CKN(vector) CKN(select)(CKN(integers) mask, CKN(vector) yes, CKN(vector) no) {
    return (CKN(vector))((mask & (CKN(integers))yes) | (~mask & (CKN(integers))no));
}

/* Doubles as many as fill a register, for sums that float would round. */
#define WIDE_LANES (LANES * (int)sizeof(REAL) / 8)
typedef double CKN(wide)
    __attribute__((vector_size(WIDE_LANES * 8), may_alias, aligned(8)));
typedef REAL CKN(narrow)
    __attribute__((vector_size(WIDE_LANES * sizeof(REAL)), may_alias,
                   aligned(sizeof(REAL))));
INLINE CKN(wide) CKN(load_wide)(const REAL *p) {
    return __builtin_convertvector(*(const CKN(narrow) *)p, CKN(wide));
}

#endif

#define VECTOR CKN(vector)
#define WIDE CKN(wide)

INLINE VECTOR CKN(load)(const REAL *p) { return *(const VECTOR *)p; }
INLINE void CKN(store)(REAL *p, VECTOR v) { *(VECTOR *)p = v; }

/* A number in every lane: x - 0 is x, bit by bit, so only the copy remains. */
INLINE VECTOR CKN(splat)(REAL x) {
#ifdef CKN_SCALAR
    return x;
#else
    return x - (VECTOR){0};
#endif
}

INLINE VECTOR CKN(max)(VECTOR a, VECTOR b) {
#ifdef VECTOR_MAX
    return VECTOR_MAX(a, b);
#else
    return CKN(select)((CKN(integers))(a > b), a, b);
#endif
}

INLINE VECTOR CKN(min)(VECTOR a, VECTOR b) {
#ifdef VECTOR_MIN
    return VECTOR_MIN(a, b);
#else
    return CKN(select)((CKN(integers))(a < b), a, b);
#endif
}

INLINE VECTOR CKN(sqrt)(VECTOR v) {
#ifdef VECTOR_SQRT
    return VECTOR_SQRT(v);
#else
    REAL lanes[LANES];
    CKN(store)(lanes, v);
    for (int i = 0; i < LANES; i++)
        lanes[i] = MATH(sqrt)(lanes[i]);
    return CKN(load)(lanes);
#endif
}

/* The sum of the lanes, in double precision, halves added to halves. */
INLINE double CKN(sum)(VECTOR v) {
    REAL lanes[LANES];
    CKN(store)(lanes, v);
    double sums[LANES];
    for (int i = 0; i < LANES; i++)
        sums[i] = lanes[i];
    UNROLL
    for (int n = LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++)
            sums[i] += sums[i + n];
    return sums[0];
}
