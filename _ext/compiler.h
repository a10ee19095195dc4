/* What the kernels ask of the compiler, each with an empty meaning where it has no
 * such thing. */
#pragma once

#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define CKN_INLINE static inline __attribute__((always_inline, unused))
#define CKN_NO_INLINE __attribute__((noinline))
#define CKN_RESTRICT __restrict__
/* Load element i of an array into the cache; it may lie beyond the end, where no
 * pointer may be formed. */
#define CKN_PREFETCH(array, i)                                                         \
    __builtin_prefetch((const void *)((uintptr_t)(array) + (i) * sizeof *(array)))
/* Load what is at an address, a uintptr_t, into the L2 cache only. */
#define CKN_PREFETCH_L2(address) __builtin_prefetch((const void *)(address), 0, 2)
/* The optimiser must not look through the pointer and keep what it points to in
 * registers, of which the tile needs all. */
#define CKN_KEEP_IN_MEMORY(pointer) __asm__ volatile("" : "+r"(pointer) : : "memory")
#else
#define CKN_INLINE static inline
#define CKN_NO_INLINE
#define CKN_RESTRICT
#define CKN_PREFETCH(array, i)
#define CKN_PREFETCH_L2(address)
#define CKN_KEEP_IN_MEMORY(pointer)
#endif
#if defined(__clang__)
#define CKN_UNROLL _Pragma("clang loop unroll(full)")
#define CKN_NO_UNROLL _Pragma("clang loop unroll(disable)")
#elif defined(__GNUC__)
#define CKN_UNROLL _Pragma("GCC unroll 32")
#define CKN_NO_UNROLL _Pragma("GCC unroll 1")
#else
#define CKN_UNROLL
#define CKN_NO_UNROLL
#endif
