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

/* As store_part, to a row of floats. */
INLINE void ckn_store_part_narrowed(float *row, ptrdiff_t first, ptrdiff_t n, VECTOR v) {
    ckn_narrowed part = NARROW(v);
    if (first + LANES <= n)
        *(ckn_narrowed *)(row + first) = part;
    else if (first < n)
        memcpy(row + first, &part, (size_t)(n - first) * sizeof(float));
}

DEFINE_MULTIPLY_ROWS(ckn_multiply_rows_to_float, float, ckn_store_part_narrowed)

#undef NARROW
