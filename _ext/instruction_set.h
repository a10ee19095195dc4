/* The kernels of one instruction set, for double and for float. The including file
 * defines SET, the name of the set; DOUBLE_LANES, FLOAT_LANES, TILE_ROWS and
 * TILE_VECTORS, the shape of a tile; and what it has better than generic code. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "arena.h"
#include "clock.h"
#include "layers.h"
#include "winograd.h"

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline, unused))
#define NO_INLINE __attribute__((noinline))
#define CKN_RESTRICT __restrict__
#define PREFETCH(address) __builtin_prefetch(address)
/* The optimiser must not look through the pointer and keep what it points to in
 * registers, of which the tile needs all. */
#define KEEP_IN_MEMORY(pointer) __asm__ volatile("" : "+r"(pointer) : : "memory")
#else
#define INLINE static inline
#define NO_INLINE
#define CKN_RESTRICT
#define PREFETCH(address)
#define KEEP_IN_MEMORY(pointer)
#endif
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#elif defined(__GNUC__)
#define UNROLL _Pragma("GCC unroll 32")
#define NO_UNROLL _Pragma("GCC unroll 1")
#else
#define UNROLL
#define NO_UNROLL
#endif

#define JOIN_TOKENS(a, b) a##b
#define JOIN(a, b) JOIN_TOKENS(a, b)

#define DOUBLE_PANEL (DOUBLE_LANES * TILE_VECTORS)
#define PANEL (LANES * TILE_VECTORS)

#define REAL double
#define REAL_IS_DOUBLE 1
#define INTEGER uint64_t
#define LANES DOUBLE_LANES
#define CKN(name) JOIN(ckn_##name, _double)
#define MATH(name) name
#include "all_templates.h"
#undef REAL
#undef REAL_IS_DOUBLE
#undef INTEGER
#undef LANES
#undef CKN
#undef MATH

#define REAL float
#define REAL_IS_DOUBLE 0
#define INTEGER uint32_t
#define LANES FLOAT_LANES
#define CKN(name) JOIN(ckn_##name, _float)
#define MATH(name) name##f
#include "all_templates.h"

#define FUNCTIONS(lanes, type)                                                        \
    {                                                                                 \
        (lanes) * TILE_VECTORS, ckn_pack##type, ckn_pack_winograd##type, \
            ckn_encode_scratch##type, ckn_encode##type, ckn_gradient_scratch##type,   \
            ckn_gradients##type, ckn_nearest_scratch##type, ckn_nearest##type         \
    }

#define STRING_OF(token) #token
#define STRING(token) STRING_OF(token)

const ckn_instruction_set JOIN(ckn_, SET) = {
    STRING(SET), {FUNCTIONS(FLOAT_LANES, _float), FUNCTIONS(DOUBLE_LANES, _double)}};
