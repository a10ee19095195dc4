/* The kernels of one instruction set, for double and for float. The including file
 * defines CKN_SET, the name of the set; CKN_DOUBLE_LANES and CKN_FLOAT_LANES, the
 * numbers in a vector; CKN_REGISTER_ROWS and CKN_REGISTER_VECTORS, the shape of a
 * register tile; and, where the set has better instructions than the generic code,
 * CKN_VECTOR_MAX, CKN_VECTOR_MIN, CKN_VECTOR_SQRT and CKN_VECTOR_STORE_FIRST. All of
 * these are undefined at the end. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "arena.h"
#include "compiler.h"
#include "layers.h"
#include "runs.h"
#include "winograd.h"

#define CKN_JOIN_TOKENS(a, b) a##b
#define CKN_JOIN(a, b) CKN_JOIN_TOKENS(a, b)

#define CKN_DOUBLE_PANEL (CKN_DOUBLE_LANES * CKN_REGISTER_VECTORS)
#define CKN_PANEL (CKN_LANES * CKN_REGISTER_VECTORS)

#define CKN_REAL double
#define CKN_REAL_IS_DOUBLE 1
#define CKN_INTEGER uint64_t
#define CKN_LANES CKN_DOUBLE_LANES
#define CKN(name) CKN_JOIN(ckn_##name, _double)
#define CKN_MATH(name) name
#include "all_kernels-inl.h"
#undef CKN_REAL
#undef CKN_REAL_IS_DOUBLE
#undef CKN_INTEGER
#undef CKN_LANES
#undef CKN
#undef CKN_MATH

#define CKN_REAL float
#define CKN_REAL_IS_DOUBLE 0
#define CKN_INTEGER uint32_t
#define CKN_LANES CKN_FLOAT_LANES
#define CKN(name) CKN_JOIN(ckn_##name, _float)
#define CKN_MATH(name) name##f
#include "all_kernels-inl.h"

#undef CKN_REAL
#undef CKN_REAL_IS_DOUBLE
#undef CKN_INTEGER
#undef CKN_LANES
#undef CKN
#undef CKN_MATH

/* in the order of ckn_functions */
#define CKN_FUNCTIONS(lanes, type)                                                     \
    {(lanes) * CKN_REGISTER_VECTORS,                                                   \
     ckn_pack##type,                                                                   \
     ckn_pack_winograd##type,                                                          \
     ckn_encode_scratch##type,                                                         \
     ckn_encode##type,                                                                 \
     ckn_gradient_scratch##type,                                                       \
     ckn_gradients##type,                                                              \
     ckn_nearest_scratch##type,                                                        \
     ckn_nearest##type}

#define CKN_STRING_OF(token) #token
#define CKN_STRING(token) CKN_STRING_OF(token)

const ckn_instruction_set CKN_JOIN(ckn_, CKN_SET) = {
    CKN_STRING(CKN_SET),
    {CKN_FUNCTIONS(CKN_FLOAT_LANES, _float), CKN_FUNCTIONS(CKN_DOUBLE_LANES, _double)}};

#undef CKN_JOIN_TOKENS
#undef CKN_JOIN
#undef CKN_STRING_OF
#undef CKN_STRING
#undef CKN_FUNCTIONS
#undef CKN_PANEL
#undef CKN_DOUBLE_PANEL
#undef CKN_SET
#undef CKN_DOUBLE_LANES
#undef CKN_FLOAT_LANES
#undef CKN_REGISTER_ROWS
#undef CKN_REGISTER_VECTORS
#undef CKN_VECTOR_MAX
#undef CKN_VECTOR_MIN
#undef CKN_VECTOR_SQRT
#undef CKN_VECTOR_STORE_FIRST
