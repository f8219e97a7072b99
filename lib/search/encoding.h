/* encoding.h: configs as rows of numbers for the forest: each slot by its place in the domain (strings and booleans: one number a value), orders as
 * the place of each element, and sums and differences of logarithms of pairs, because products and ratios (threads of a block, work of a
 * thread) are what hardware limits. */
#ifndef HONE_ENCODING_H
#define HONE_ENCODING_H

#include "space.h"

#define HONE_FEATURES_MAX (12u * HONE_LIMIT_SLOTS + 49u)

typedef struct hone__features hone__features;

hone__features *hone__features_new(const hone__space *space); /* NULL: out of memory */
void hone__features_free(hone__features *features);
uint32_t hone__features_count(const hone__features *features);
void hone__features_fill(const hone__features *features, const hone__config *config, float *row);

#endif
