/* All kernels for one real type, each file after those that it builds on. */

/* The types of this real type. */
#define CKN_VECTOR CKN(vector)
#define CKN_INTEGER_VECTOR CKN(integer_vector)
#define CKN_WIDE_VECTOR CKN(wide_vector)
#define CKN_NARROW_VECTOR CKN(narrow_vector)
#define CKN_POSITIONS CKN(positions)
#define CKN_STRIP CKN(strip)
#define CKN_LINES CKN(lines)
#define CKN_ENCODER CKN(encoder)
#define CKN_PARTS CKN(parts)
#define CKN_GRADIENT_SPACE CKN(gradient_space)

#include "vectors-inl.h"
#include "kernel_functions-inl.h"
#include "products-inl.h"
#include "winograd-inl.h"
#if CKN_REAL_IS_DOUBLE
#include "projection-inl.h"
#endif
#include "positions-inl.h"
#include "correlation-inl.h"
#include "pooling-inl.h"
#include "encode-inl.h"
#include "outer_products-inl.h"
#include "winograd_gradients-inl.h"
#include "gradients-inl.h"
#include "clusters-inl.h"

/* Shared by several of the files. */
#undef CKN_WIDE_LANES
#undef CKN_WITH_KERNEL
#undef CKN_DEFINE_MULTIPLY_ROWS
#undef CKN_WITH_VECTORS
#undef CKN_HALF_VECTORS
#undef CKN_QUARTER_VECTORS

#undef CKN_VECTOR
#undef CKN_INTEGER_VECTOR
#undef CKN_WIDE_VECTOR
#undef CKN_NARROW_VECTOR
#undef CKN_POSITIONS
#undef CKN_STRIP
#undef CKN_LINES
#undef CKN_ENCODER
#undef CKN_PARTS
#undef CKN_GRADIENT_SPACE
