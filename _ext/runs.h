/* Where the values of a patch lie in a map: in n_runs runs of `length` consecutive
 * values. */
#pragma once

#include <stddef.h>

#include "layers.h"

typedef struct {
    ptrdiff_t n_runs, stride, length; /* runs start `stride` values apart */
    /* Or, if per_row > 0, per_row of them do, and then the next per_row of them, whose
     * first is row_stride values from the first of those before. */
    ptrdiff_t per_row, row_stride;
} ckn_runs;

/* The runs of a patch in a padded map: its rows, one after the other if the map is one
 * pixel wide. With a dilation, every pixel of the patch is a run. */
static inline ckn_runs ckn_patch_runs(const ckn_correlation *c) {
    const ptrdiff_t row = c->padded_width * c->n_channels;
    const ptrdiff_t gap = c->dilation * c->n_channels;
    if (c->dilation == 1) {
        if (c->padded_width == 1)
            return (ckn_runs){.n_runs = 1, .length = c->patch_height * c->n_channels};
        return (ckn_runs){.n_runs = c->patch_height,
                          .stride = row,
                          .length = c->patch_width * c->n_channels};
    }
    if (c->patch_height == 1 || c->patch_width == 1)
        return (ckn_runs){.n_runs = c->patch_height * c->patch_width,
                          .stride = c->patch_height == 1 ? gap : c->dilation * row,
                          .length = c->n_channels};
    return (ckn_runs){.n_runs = c->patch_height * c->patch_width,
                      .stride = gap,
                      .length = c->n_channels,
                      .per_row = c->patch_width,
                      .row_stride = c->dilation * row};
}

/* How many values a run begins after the first value of the patch. */
static inline ptrdiff_t ckn_run_offset(const ckn_runs *runs, ptrdiff_t run) {
    if (runs->per_row > 0)
        return run / runs->per_row * runs->row_stride +
               run % runs->per_row * runs->stride;
    return run * runs->stride;
}
