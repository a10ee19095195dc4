/* Vectors of 16 bytes: SSE2 on x86-64, NEON on arm64, and whatever the compiler makes
 * of them elsewhere. Compilers without vector extensions compute number by number. */

#include "layers.h"

#define CKN_SET baseline

#if defined(CKN_SCALAR)
#define CKN_FLOAT_LANES 1
#define CKN_DOUBLE_LANES 1
#define CKN_REGISTER_ROWS 4
#define CKN_REGISTER_VECTORS 4
#else
#define CKN_FLOAT_LANES 4
#define CKN_DOUBLE_LANES 2
#if defined(__aarch64__)
/* 32 registers: 24 sums, 4 vectors of a panel, numbers of the rows */
#define CKN_REGISTER_ROWS 6
#define CKN_REGISTER_VECTORS 4
#else
/* 16 registers: 12 sums, 2 vectors of a panel, a number and a product */
#define CKN_REGISTER_ROWS 6
#define CKN_REGISTER_VECTORS 2
#endif
#endif

#if defined(__SSE2__) && !defined(CKN_SCALAR)
#include <emmintrin.h>
#define CKN_VECTOR_MAX(a, b) CKN(sse_max)(a, b)
#define CKN_VECTOR_MIN(a, b) CKN(sse_min)(a, b)
#define CKN_VECTOR_SQRT(v) CKN(sse_sqrt)(v)
#define ckn_sse_max_float(a, b) ((CKN_VECTOR)_mm_max_ps((__m128)(a), (__m128)(b)))
#define ckn_sse_max_double(a, b) ((CKN_VECTOR)_mm_max_pd((__m128d)(a), (__m128d)(b)))
#define ckn_sse_min_float(a, b) ((CKN_VECTOR)_mm_min_ps((__m128)(a), (__m128)(b)))
#define ckn_sse_min_double(a, b) ((CKN_VECTOR)_mm_min_pd((__m128d)(a), (__m128d)(b)))
#define ckn_sse_sqrt_float(v) ((CKN_VECTOR)_mm_sqrt_ps((__m128)(v)))
#define ckn_sse_sqrt_double(v) ((CKN_VECTOR)_mm_sqrt_pd((__m128d)(v)))
#endif

#include "instruction_set-inl.h"
