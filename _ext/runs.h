/* Where the values of a patch lie in a map: in n_runs runs of `length` consecutive
 * values, `stride` values apart. */
#pragma once

#include <stddef.h>

typedef struct {
    ptrdiff_t n_runs, stride, length;
} ckn_runs;
