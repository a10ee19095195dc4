/* Products of pooled rows with the projection in double precision, rounded to float at
 * the end. Included once, with the products of doubles. */

#ifdef CKN_SCALAR
typedef float ckn_narrowed;
#define CKN_NARROW(v) ((float)(v))
#else
typedef float ckn_narrowed
    __attribute__((vector_size(CKN_LANES * 4), may_alias, aligned(4)));
#define CKN_NARROW(v) __builtin_convertvector(v, ckn_narrowed)
#endif

/* As store_columns, to a row of floats. */
CKN_INLINE void ckn_store_narrowed_columns(float *row, ptrdiff_t first, ptrdiff_t n,
                                           CKN_VECTOR v) {
    ckn_narrowed part = CKN_NARROW(v);
    if (first + CKN_LANES <= n)
        *(ckn_narrowed *)(row + first) = part;
    else if (first < n)
        memcpy(row + first, &part, (size_t)(n - first) * sizeof(float));
}

CKN_DEFINE_MULTIPLY_ROWS(ckn_multiply_rows_to_float, float, ckn_store_narrowed_columns)

#undef CKN_NARROW
