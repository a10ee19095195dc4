/* AVX2 with FMA: vectors of 32 bytes, 16 registers. */

#include "layers.h"

#ifdef CKN_HAS_X86_SETS

#include <immintrin.h>
#if defined(__clang__) && defined(_MSC_VER)
/* With clang-cl, immintrin.h leaves out what the whole file is not compiled for. */
#include <avxintrin.h>
#endif
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define CKN_SET avx2
#define CKN_FLOAT_LANES 8
#define CKN_DOUBLE_LANES 4
/* 12 sums, 2 vectors of a panel, a number of a row: 15 of the 16 registers */
#define CKN_REGISTER_ROWS 6
#define CKN_REGISTER_VECTORS 2

#define CKN_VECTOR_MAX(a, b) CKN(avx_max)(a, b)
#define CKN_VECTOR_MIN(a, b) CKN(avx_min)(a, b)
#define CKN_VECTOR_SQRT(v) CKN(avx_sqrt)(v)
#define ckn_avx_max_float(a, b) ((CKN_VECTOR)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define ckn_avx_max_double(a, b) ((CKN_VECTOR)_mm256_max_pd((__m256d)(a), (__m256d)(b)))
#define ckn_avx_min_float(a, b) ((CKN_VECTOR)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define ckn_avx_min_double(a, b) ((CKN_VECTOR)_mm256_min_pd((__m256d)(a), (__m256d)(b)))
#define ckn_avx_sqrt_float(v) ((CKN_VECTOR)_mm256_sqrt_ps((__m256)(v)))
#define ckn_avx_sqrt_double(v) ((CKN_VECTOR)_mm256_sqrt_pd((__m256d)(v)))

#include "instruction_set-inl.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
