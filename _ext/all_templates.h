/* All kernels for one real type, each file after those that it builds on. */
#include "vectors_template.h"
#include "kernel_functions_template.h"
#include "products_template.h"
#include "winograd_template.h"
#if REAL_IS_DOUBLE
#include "projection_template.h"
#endif
#include "positions_template.h"
#include "correlation_template.h"
#include "pooling_template.h"
#include "encode_template.h"
#include "outer_products_template.h"
#include "winograd_gradients_template.h"
#include "gradients_template.h"
#include "clusters_template.h"

#undef VECTOR
#undef WIDE
#undef WIDE_LANES
