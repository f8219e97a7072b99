/* transfer.h: trials of other recorded spaces as evidence for one: what a cache would know of the same kernel elsewhere. */
#ifndef HONE_TRANSFER_H
#define HONE_TRANSFER_H

#include "recorded.h"
#include "strategy.h"

/* Read the files and take of each the best trials and a sample of the others, as far as their configs exist in `here`'s terms: parameters by
 * name, values by equality.  `out` is freed with hone__free. */
hone_status hone__transfer_load(hone__evidence **out, uint32_t *count, const hone__recorded *here, const char *const *path,
                                uint32_t path_count, hone_error *err);

#endif
