/* feedback.h: what the measurements say, digested once for all sections of the refinement prompt. */
#ifndef HONE_FEEDBACK_H
#define HONE_FEEDBACK_H

#include "prompt_text.h"

enum { HONE_FEEDBACK_SAMPLES = 128 };

typedef struct hone__digest {
    const hone__prompt_input *input;
    const hone__space *space;
    uint32_t *timed;        /* indices of trials with a time, fastest first; equal times in order of measurement */
    uint32_t timed_count;
    uint32_t *failed;       /* indices of the others, in order */
    uint32_t failed_count;
    const hone__shown_trial *best;     /* the fastest that is OK; NULL: none */
    const hone__shown_trial *standard; /* the default's trial; NULL: not measured */
    double noise;           /* typical half width of the confidence interval, as a fraction of the time; 0 unknown */
    double *scratch;        /* trial_count doubles */
    hone__config *sample;   /* random valid configs, always the same: what can be reached */
    uint32_t sample_count;
} hone__digest;

/* False when out of memory. */
bool hone__digest_make(hone__digest *digest, const hone__prompt_input *input);
void hone__digest_free(hone__digest *digest);
const hone__shown_trial *hone__digest_timed(const hone__digest *digest, uint32_t rank);
double hone__digest_ns(const hone__digest *digest, uint32_t rank);
/* The reference of all ratios: the best time, or the fastest abandoned one; 0 when nothing is timed. */
double hone__digest_unit(const hone__digest *digest);

/* feedback_effects.c */
void hone__feedback_effects(hone__buf *buf, const hone__digest *digest);
void hone__feedback_pairs(hone__buf *buf, const hone__digest *digest);
void hone__feedback_never(hone__buf *buf, const hone__digest *digest);
void hone__feedback_families(hone__buf *buf, const hone__digest *digest);
void hone__feedback_records(hone__buf *buf, const hone__digest *digest);
void hone__feedback_steps(hone__buf *buf, const hone__digest *digest);

#endif
