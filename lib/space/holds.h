/* holds.h: does one config satisfy the constraints at these sizes?  The light check of the look-up path: no enumeration, no
 * allocation unless it has to explain. */
#ifndef HONE_HOLDS_H
#define HONE_HOLDS_H

#include "space.h"

/* False: *why (may be NULL) gets the first constraint that does not hold, with the numbers put in:
 * "BM % MR == 0 does not hold: BM=48, MR=32 (the tile must be whole)". */
bool hone__space_holds(const hone__space *space, const int64_t *sizes, const hone__config *config, hone__buf *why);

#endif
