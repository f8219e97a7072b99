/* tune.h: what happens on a miss: cache -> search <-> bench -> cache.  hone_tune and hone_prompt (hone.h) are here, and hone_device_for,
 * which may have to ask an evaluator. */
#ifndef HONE_TUNE_H
#define HONE_TUNE_H

#include "bench.h"
#include "cache.h"
#include "strategy.h"

#endif
