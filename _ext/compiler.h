/* What the kernels ask of the compiler, each with an empty meaning where it has no
 * such thing. */
#pragma once

#if defined(__GNUC__)
#define CKN_INLINE static inline __attribute__((always_inline, unused))
#define CKN_NO_INLINE __attribute__((noinline))
#define CKN_RESTRICT __restrict__
#define CKN_PREFETCH(address) __builtin_prefetch(address)
/* The optimiser must not look through the pointer and keep what it points to in
 * registers, of which the tile needs all. */
#define CKN_KEEP_IN_MEMORY(pointer) __asm__ volatile("" : "+r"(pointer) : : "memory")
#else
#define CKN_INLINE static inline
#define CKN_NO_INLINE
#define CKN_RESTRICT
#define CKN_PREFETCH(address)
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
