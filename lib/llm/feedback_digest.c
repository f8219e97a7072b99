/* feedback_digest.c: sorting the trials, once (feedback.h). */
#include "feedback.h"

#include "alloc.h"

#include <stdlib.h>

static bool has_time(const hone__shown_trial *trial) {
    hone__outcome outcome = trial->result->outcome;
    return (outcome == HONE_OUTCOME_OK || outcome == HONE_OUTCOME_SLOW) && trial->result->median_ns > 0;
}

typedef struct timed_trial {
    double ns;
    uint32_t index;
} timed_trial;

static int compare_timed(const void *a, const void *b) {
    const timed_trial *x = a, *y = b;
    if (x->ns < y->ns || x->ns > y->ns)
        return x->ns < y->ns ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int compare_doubles(const void *a, const void *b) {
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void find_noise(hone__digest *digest) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < digest->timed_count; i++) {
        const hone__measurement *result = hone__digest_timed(digest, i)->result;
        if (result->outcome == HONE_OUTCOME_OK && result->high_ns > result->low_ns && result->low_ns > 0)
            digest->scratch[count++] = (result->high_ns - result->low_ns) / 2 / result->median_ns;
    }
    qsort(digest->scratch, count, sizeof digest->scratch[0], compare_doubles);
    digest->noise = count > 0 ? digest->scratch[count / 2] : 0;
}

static void draw_samples(hone__digest *digest) {
    hone__rng rng;
    hone__rng_seed(&rng, 1);
    for (uint32_t i = 0; i < HONE_FEEDBACK_SAMPLES; i++) {
        if (!hone__bound_sample(digest->input->bound, &rng, &digest->sample[digest->sample_count]))
            return;
        digest->sample_count++;
    }
}

bool hone__digest_make(hone__digest *digest, const hone__prompt_input *input) {
    *digest = (hone__digest){.input = input, .space = hone__bound_space(input->bound)};
    uint32_t count = input->trial_count;
    digest->timed = hone__alloc_array(count + 1u, sizeof *digest->timed);
    digest->failed = hone__alloc_array(count + 1u, sizeof *digest->failed);
    digest->scratch = hone__alloc_array(count + 1u, sizeof *digest->scratch);
    digest->sample = hone__alloc_array(HONE_FEEDBACK_SAMPLES, sizeof *digest->sample);
    timed_trial *sorted = hone__alloc_array(count + 1u, sizeof *sorted);
    if (digest->timed == NULL || digest->failed == NULL || digest->scratch == NULL || digest->sample == NULL || sorted == NULL) {
        hone__free(sorted);
        hone__digest_free(digest);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const hone__shown_trial *trial = &input->trial[i];
        if (has_time(trial))
            sorted[digest->timed_count++] = (timed_trial){trial->result->median_ns, i};
        else
            digest->failed[digest->failed_count++] = i;
        if (digest->standard == NULL && hone__config_equal(trial->config, &digest->space->base))
            digest->standard = trial;
    }
    qsort(sorted, digest->timed_count, sizeof *sorted, compare_timed);
    for (uint32_t i = 0; i < digest->timed_count; i++) {
        digest->timed[i] = sorted[i].index;
        const hone__shown_trial *trial = &input->trial[sorted[i].index];
        if (digest->best == NULL && trial->result->outcome == HONE_OUTCOME_OK)
            digest->best = trial;
    }
    hone__free(sorted);
    find_noise(digest);
    draw_samples(digest);
    return true;
}

void hone__digest_free(hone__digest *digest) {
    hone__free(digest->timed);
    hone__free(digest->failed);
    hone__free(digest->scratch);
    hone__free(digest->sample);
    *digest = (hone__digest){.input = NULL};
}

const hone__shown_trial *hone__digest_timed(const hone__digest *digest, uint32_t rank) {
    return &digest->input->trial[digest->timed[rank]];
}

double hone__digest_ns(const hone__digest *digest, uint32_t rank) {
    return hone__digest_timed(digest, rank)->result->median_ns;
}

double hone__digest_unit(const hone__digest *digest) {
    if (digest->best != NULL)
        return digest->best->result->median_ns;
    return digest->timed_count > 0 ? hone__digest_ns(digest, 0) : 0;
}
