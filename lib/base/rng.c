#include "rng.h"

static uint64_t rotate_left(uint64_t value, int count) {
    return (value << count) | (value >> (64 - count));
}

void hone__rng_seed(hone__rng *rng, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t mixed = seed;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
        rng->state[i] = mixed ^ (mixed >> 31);
    }
}

uint64_t hone__rng_next(hone__rng *rng) {
    uint64_t *s = rng->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t hone__rng_below(hone__rng *rng, uint64_t bound) {
    uint64_t threshold = (0 - bound) % bound; /* draws below it would favour small results */
    for (;;) {
        uint64_t draw = hone__rng_next(rng);
        if (draw >= threshold)
            return draw % bound;
    }
}

double hone__rng_unit(hone__rng *rng) {
    return (double)(hone__rng_next(rng) >> 11) * 0x1.0p-53;
}
