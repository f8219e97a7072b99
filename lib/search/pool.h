/* pool.h: the candidates that a search chooses from: configs not proposed yet, each with what both surrogates make of it.  The pool lives as long as
 * the search: a new result changes what is known of each candidate by a little, which is cheap, and good candidates stay. */
#ifndef HONE_POOL_H
#define HONE_POOL_H

#include "encoding.h"
#include "forest.h"
#include "gaussian.h"
#include "prior.h"
#include "strategy_impl.h"

#define HONE_POOL_MEMBERS 1024u

typedef struct hone__pool {
    const hone__gaussian *gaussian;
    const hone__features *features;
    const hone__prior *trusted;
    uint32_t width, row_width;
    uint32_t count;
    hone__config *config;
    float *point, *row, *whitened;
    uint32_t *known;              /* whitened numbers that are there */
    float *forest_mean, *forest_variance, *failing;
    float (*prior)[HONE_PRIOR_SOURCES];
    double *score;                /* of the last scoring */
} hone__pool;

bool hone__pool_open(hone__pool *pool, const hone__gaussian *gaussian, const hone__features *features, const hone__prior *prior);
void hone__pool_close(hone__pool *pool);
/* False: full, or already there, or proposed before. */
bool hone__pool_add(hone__pool *pool, const hone__strategy *strategy, const hone__config *config);
void hone__pool_remove(hone__pool *pool, uint32_t member);
/* Drop the members that scored worst until `left` are left. */
void hone__pool_thin(hone__pool *pool, uint32_t left);

#endif
