/* AVX-512 (F, DQ, BW, VL): vectors of 64 bytes, 32 registers. */

#include "layers.h"

#ifdef CKN_HAS_X86_SETS

#include <immintrin.h>
#if defined(__clang__) && defined(_MSC_VER)
/* With clang-cl, immintrin.h leaves out what the whole file is not compiled for. */
#include <smmintrin.h>
#include <avxintrin.h>
#include <avx512fintrin.h>
#endif
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(                                                          \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))),            \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#endif

#define CKN_SET avx512
#define CKN_FLOAT_LANES 16
#define CKN_DOUBLE_LANES 8
/* 24 sums, 4 vectors of a panel, numbers of the rows: 29 or more of the 32 registers */
#define CKN_REGISTER_ROWS 6
#define CKN_REGISTER_VECTORS 4

#define CKN_VECTOR_MAX(a, b) CKN(avx512_max)(a, b)
#define CKN_VECTOR_MIN(a, b) CKN(avx512_min)(a, b)
#define CKN_VECTOR_SQRT(v) CKN(avx512_sqrt)(v)
#define ckn_avx512_max_float(a, b) ((CKN_VECTOR)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define ckn_avx512_max_double(a, b)                                                    \
    ((CKN_VECTOR)_mm512_max_pd((__m512d)(a), (__m512d)(b)))
#define ckn_avx512_min_float(a, b) ((CKN_VECTOR)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define ckn_avx512_min_double(a, b)                                                    \
    ((CKN_VECTOR)_mm512_min_pd((__m512d)(a), (__m512d)(b)))
#define ckn_avx512_sqrt_float(v) ((CKN_VECTOR)_mm512_sqrt_ps((__m512)(v)))
#define ckn_avx512_sqrt_double(v) ((CKN_VECTOR)_mm512_sqrt_pd((__m512d)(v)))

/* The first n lanes, by a mask. */
#define CKN_VECTOR_STORE_FIRST(place, n, v) CKN(avx512_store)(place, n, v)
#define ckn_avx512_store_float(place, n, v)                                            \
    _mm512_mask_storeu_ps(place, (__mmask16)((1u << (n)) - 1), (__m512)(v))
#define ckn_avx512_store_double(place, n, v)                                           \
    _mm512_mask_storeu_pd(place, (__mmask8)((1u << (n)) - 1), (__m512d)(v))

#include "instruction_set-inl.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
