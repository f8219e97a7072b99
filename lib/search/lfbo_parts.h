/* lfbo_parts.h: what the parts of lfbo share.  lfbo_learn.c takes results in and teaches both surrogates, lfbo_candidates.c makes candidates from
 * what is good so far, lfbo.c chooses among them and is the strategy. */
#ifndef HONE_LFBO_PARTS_H
#define HONE_LFBO_PARTS_H

#include "lfbo.h"
#include "pool.h"

struct hone__lfbo {
    hone__features *features;
    hone__gaussian *gaussian;
    hone__forest *costs, *failures;
    hone__pool pool;
    hone__prior prior;
    double *residue;             /* by result: cost less what the prior explains */
    float (*foreseen)[HONE_PRIOR_SOURCES]; /* by result: what the prior predicts */
    uint32_t *seen;              /* results taken in, in order */
    uint32_t seen_count, seen_capacity;
    uint8_t *taken;              /* by result */
    uint32_t taken_capacity;
    uint32_t point_result[HONE_GAUSSIAN_POINTS];
    uint32_t fits_ok;            /* successes at the last learning of weights */
    uint32_t ok;                 /* successes so far */
    uint32_t forest_at;          /* results at the last growing of the forest */
    double forest_trust[HONE_PRIOR_SOURCES]; /* of the prior, when it grew */
    double forest_base;          /* what its targets count from */
    uint32_t taught_count;       /* results that the process has */
    bool taught;
    bool any_failed, forest_ready, failures_ready, whole;
    bool started;
    uint32_t best_expanded;      /* whose neighbours are in the pool */
    uint32_t proposals;
    uint32_t transferred_end;    /* results that the cache is the reason of come before */
    uint32_t opposites;          /* that are still due */
    uint32_t draws_wanted;       /* results before the surrogates speak, when there is evidence: some are draws */
    double warp_base, warp_scale;
    double gain;                 /* smoothed largest expected improvement */
    uint32_t best;               /* of the results taken in; UINT32_MAX */
    hone__walk *walk;
};

/* ---- learning ---- */

/* Did it run, with a time?  Only such results have a cost. */
bool hone__lfbo_succeeded(const hone__result *result);
/* Take in what was told since the last time.  False: out of memory. */
bool hone__lfbo_take(hone__lfbo *lfbo, const hone__strategy *strategy);
/* Bring both surrogates up to date with what was taken in; there are at least two successes.  False: out of memory. */
bool hone__lfbo_learn(hone__lfbo *lfbo, hone__strategy *strategy);
/* The cost of a success as the surrogates see it. */
double hone__lfbo_warped(const hone__lfbo *lfbo, const hone__strategy *strategy, uint32_t result);

/* ---- candidates ---- */

/* Bring the pool up to date with the best results. */
void hone__lfbo_refresh(hone__lfbo *lfbo, hone__strategy *strategy);

#endif
