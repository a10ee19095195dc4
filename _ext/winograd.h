/* G of Winograd's algorithm F(m x m, 3 x 3): rows of the transformed filter's
 * elements. */
#pragma once

#include <stddef.h>

static const double ckn_filter_transform_2[4][3] = {
    {1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}};
static const double ckn_filter_transform_4[6][3] = {{1. / 4, 0, 0},
                                                    {-1. / 6, -1. / 6, -1. / 6},
                                                    {-1. / 6, 1. / 6, -1. / 6},
                                                    {1. / 24, 1. / 12, 1. / 6},
                                                    {1. / 24, -1. / 12, 1. / 6},
                                                    {0, 0, 1}};

static inline const double (*ckn_filter_transform(ptrdiff_t m))[3] {
    return m == 2 ? ckn_filter_transform_2 : ckn_filter_transform_4;
}
