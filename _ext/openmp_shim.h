/* omp_get_max_threads wherever the compiler stands on OpenMP. */
#pragma once

#ifdef _OPENMP
#include <omp.h>
#else
static inline int omp_get_max_threads(void) { return 1; }
#endif
