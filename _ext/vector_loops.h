/* Loops over contiguous floats or doubles that the compiler turns into vector
 * instructions. Each function exists as ..._float and ..._double: the template
 * is included once per type.
 *
 * Where the C library can choose a function at load time (GCC with glibc on
 * x86-64), every loop is compiled for AVX-512, AVX2 with FMA and the baseline;
 * elsewhere for the compiler's target, which has NEON on arm64. */
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && \
    !defined(__clang__) && __GNUC__ >= 12
#define CKN_CLONED \
    __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CKN_CLONED
#endif

#if defined(__GNUC__)
#define CKN_INLINE static inline __attribute__((always_inline))
#define CKN_RESTRICT __restrict__
#else
#define CKN_INLINE static inline
#define CKN_RESTRICT
#endif

#if defined(_OPENMP) && defined(__GNUC__)
#define CKN_SIMD(clauses) _Pragma(#clauses)
#else
#define CKN_SIMD(clauses)
#endif

/* The dot-product kernels, in the order of sklearn_ckn._kernels.KERNEL_CODES. */
enum { CKN_EXP = 0, CKN_POLY = 1, CKN_ARCCOS1 = 2 };

/* exp(x) for x <= 1. With n the integer nearest x / log 2, exp(x) = 2^n exp(r),
 * |r| <= log(2) / 2, and exp(r) is its Taylor polynomial. Adding the constant
 * 1.5 * 2^(mantissa bits) rounds to an integer and leaves n in the low bits,
 * from where a shift takes it to the exponent field. Arguments below the
 * smallest normal number's logarithm give that number, about 1e-38 or 1e-308. */
CKN_INLINE float ckn_exp_float(float x) {
    const float rounder = 12582912.0f;
    x = x > -87.0f ? x : -87.0f;
    float shifted = x * 1.44269504f + rounder;
    float n = shifted - rounder;
    /* log(2) in two parts, so that n times the first is exact */
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    uint32_t shifted_bits, p_bits;
    memcpy(&shifted_bits, &shifted, sizeof shifted);
    memcpy(&p_bits, &p, sizeof p);
    p_bits += shifted_bits << 23;
    memcpy(&p, &p_bits, sizeof p);
    return p;
}

CKN_INLINE double ckn_exp_double(double x) {
    const double rounder = 6755399441055744.0;
    x = x > -708.0 ? x : -708.0;
    double shifted = x * 1.4426950408889634 + rounder;
    double n = shifted - rounder;
    double r = x - n * 0.693145751953125 - n * 1.42860682030941723212e-6;
    double p = 1.0 / 6227020800;
    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    uint64_t shifted_bits, p_bits;
    memcpy(&shifted_bits, &shifted, sizeof shifted);
    memcpy(&p_bits, &p, sizeof p);
    p_bits += shifted_bits << 52;
    memcpy(&p, &p_bits, sizeof p);
    return p;
}

#define CKN_REAL float
#define CKN_NAME(name) name##_float
#define CKN_MATH(name) name##f
#include "vector_loops_template.h"
#undef CKN_REAL
#undef CKN_NAME
#undef CKN_MATH

#define CKN_REAL double
#define CKN_NAME(name) name##_double
#define CKN_MATH(name) name
#include "vector_loops_template.h"
#undef CKN_REAL
#undef CKN_NAME
#undef CKN_MATH
