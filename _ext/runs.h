/* Where the values of a patch lie in a map: in n_runs runs of `length` consecutive
 * values, `stride` values apart. */
#pragma once

#include <stddef.h>

#include "layers.h"

typedef struct {
    ptrdiff_t n_runs, stride, length;
} ckn_runs;

/* The runs of a patch in a padded map: its rows, one after the other if the map is one
 * pixel wide. */
static inline ckn_runs ckn_patch_runs(const ckn_correlation *c) {
    if (c->padded_width == 1)
        return (ckn_runs){1, 0, c->patch_height * c->n_channels};
    return (ckn_runs){c->patch_height, c->padded_width * c->n_channels,
                      c->patch_width * c->n_channels};
}
