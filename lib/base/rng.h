/* rng.h: a small deterministic generator (xoshiro256**, Blackman and Vigna 2018, seeded by splitmix64): the same seed gives
 * the same numbers on every machine. */
#ifndef HONE_RNG_H
#define HONE_RNG_H

#include <stdint.h>

typedef struct hone__rng {
    uint64_t state[4];
} hone__rng;

void hone__rng_seed(hone__rng *rng, uint64_t seed);
uint64_t hone__rng_next(hone__rng *rng);
uint64_t hone__rng_below(hone__rng *rng, uint64_t bound); /* uniform in [0, bound); bound > 0; no modulo bias */
double hone__rng_unit(hone__rng *rng);                    /* uniform in [0, 1) */

#endif
