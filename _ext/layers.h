/* How the kernels describe a layer, and the table of functions that every instruction
 * set fills in. Arrays of the real type (float or double) are passed as void pointers,
 * so that one table serves both. */
#pragma once

#include <stddef.h>

#include "team.h"

/* The function applied to the product of a patch and an anchor: a dot-product kernel,
 * in the order of KERNELS in sklearn_ckn/_network/kernels.py, or none, which leaves the
 * product. */
enum { CKN_EXP = 0, CKN_POLY = 1, CKN_ARCCOS1 = 2, CKN_PRODUCT = 3 };

/* Patches with a smaller norm count as zero. The caller scales every image to a
 * largest value between 1/2 and 1, so this is far below rounding, and the reciprocal
 * leaves room in a float for what it is multiplied with. The same number is in
 * sklearn_ckn/_network/unfold.py. */
#define CKN_SMALLEST_NORM 1e-30

/* The inner products of the patches of a map with some filters. */
typedef struct {
    ptrdiff_t height, width, n_channels; /* of the map */
    ptrdiff_t patch_height, patch_width, pad_top, pad_left;
    ptrdiff_t dilation; /* pixels of the map from one pixel of a patch to the next */
    ptrdiff_t padded_height, padded_width;     /* of the map with its zeros */
    ptrdiff_t response_height, response_width; /* positions of the patches */
    ptrdiff_t n_filters;
    ptrdiff_t tile;            /* 1, or Winograd's 2 or 4 */
    const void *panels;        /* real, packed filters */
    const void *direct_panels; /* the same for tile 1, if tile > 1 */
} ckn_correlation;

typedef struct {
    ckn_correlation patches; /* with the anchors minus their mean */
    ckn_correlation
        input_gradient;     /* of the products' gradients with the flipped anchors */
    const void *mean;       /* real (patch_length,): mean of the anchors */
    const void *projection; /* packed panels, of doubles if wide */
    const void *real_projection; /* the same of reals, for gradients */
    int wide;                    /* pool and project in double precision */
    const double *taps;          /* (2 * radius + 1,) */
    ptrdiff_t subsampling, radius, pooled_height, pooled_width;
    int kernel;
    double beta;
    int center;    /* norms are those of patches less the mean of each channel; the
                    * anchors must have no means */
    int keep_norm; /* responses are multiplied by the norms; gradients need it, and no
                    * center */
} ckn_layer;

/* Threads that map one block of images together. */
typedef struct {
    ckn_share_function share;
    int n_threads;
    size_t scratch_bytes; /* from the scratch of one thread to that of the next */
} ckn_team;

/* The functions of one instruction set for one real type. */
typedef struct {
    ptrdiff_t panel_width; /* anchors side by side in a panel */

    /* filters (n_filters, depth) as panels, see products-inl.h */
    void (*pack)(const void *filters, ptrdiff_t n_filters, ptrdiff_t depth,
                 ptrdiff_t panel, void *panels);
    /* filters (n_filters, 3, 3, n_channels), see winograd-inl.h */
    void (*pack_winograd)(const void *filters, ptrdiff_t n_filters,
                          ptrdiff_t n_channels, ptrdiff_t tile, ptrdiff_t panel,
                          void *panels);
    /* bytes of scratch that a thread needs for a block of images */
    size_t (*encode_scratch)(const ckn_layer *layers, ptrdiff_t n_layers,
                             ptrdiff_t n_images);
    void (*encode)(const ckn_layer *layers, ptrdiff_t n_layers, const void *images,
                   ptrdiff_t n_images, void *output, void *pooled, void *scratch,
                   const ckn_team *team);
    size_t (*gradient_scratch)(const ckn_layer *layer, ptrdiff_t n_images);
    double (*gradients)(const ckn_layer *layer, const void *images, const void *pooled,
                        const void *gradients, ptrdiff_t n_images,
                        void *anchor_gradients, void *projection_gradients,
                        void *image_gradients, void *scratch);
    size_t (*nearest_scratch)(ptrdiff_t n_points);
    void (*nearest)(const void *points, ptrdiff_t n_points, ptrdiff_t length,
                    const void *panels, ptrdiff_t n_anchors, ptrdiff_t *nearest,
                    void *similarity, void *scratch);
} ckn_functions;

typedef struct {
    const char *name;
    ckn_functions real[2]; /* of float and of double */
} ckn_instruction_set;

/* Compilers without vector extensions compute number by number. Clang with the command
 * line of Microsoft's compiler (clang-cl) has them, but does not call itself GNU. */
#if !defined(__GNUC__) && !defined(__clang__) && !defined(CKN_SCALAR)
#define CKN_SCALAR
#endif

/* The sets other than the baseline, where compiler and architecture have them. */
#if defined(__x86_64__) && !defined(CKN_SCALAR)
#define CKN_HAS_X86_SETS 1
extern const ckn_instruction_set ckn_avx2, ckn_avx512;
#endif
extern const ckn_instruction_set ckn_baseline;

/* The set of the given rank among those that this processor has, the fastest first;
 * NULL if there are no more. */
const ckn_instruction_set *ckn_available_set(int rank);
