/* variants.h: the transpose as a program ships it: one function for each config, chosen by index.  On a GPU these would be the modules that are
 * loaded. */
#ifndef VARIANTS_H
#define VARIANTS_H

#include <hone.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void transpose_fn(const float *x, float *y, int64_t rows, int64_t cols);

/* The variant of a config: one integer of it, no text.  `tile` is the index of parameter TILE (hone_kernel_param_index). */
transpose_fn *variant_of(const hone_config *config, uint32_t tile);

#ifdef __cplusplus
}
#endif
#endif
