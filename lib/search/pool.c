#include "pool.h"
#include "alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool hone__pool_open(hone__pool *pool, const hone__gaussian *gaussian, const hone__features *features, const hone__prior *prior) {
    *pool = (hone__pool){.gaussian = gaussian, .features = features, .trusted = prior, .width = hone__gaussian_width(gaussian),
                         .row_width = hone__features_count(features)};
    const size_t most = HONE_POOL_MEMBERS;
    pool->config = hone__alloc_array(most, sizeof *pool->config);
    pool->point = hone__alloc_array(most * (pool->width + 1), sizeof *pool->point);
    pool->row = hone__alloc_array(most * pool->row_width, sizeof *pool->row);
    pool->whitened = hone__alloc_array(most * HONE_GAUSSIAN_POINTS, sizeof *pool->whitened);
    pool->known = hone__alloc_array(most, sizeof *pool->known);
    pool->forest_mean = hone__alloc_array(3 * most, sizeof *pool->forest_mean);
    pool->prior = hone__alloc_array(most, sizeof *pool->prior);
    pool->score = hone__alloc_array(most, sizeof *pool->score);
    if (pool->forest_mean != NULL) {
        pool->forest_variance = pool->forest_mean + most;
        pool->failing = pool->forest_variance + most;
    }
    return pool->config != NULL && pool->point != NULL && pool->row != NULL && pool->whitened != NULL && pool->known != NULL &&
           pool->forest_mean != NULL && pool->prior != NULL && pool->score != NULL;
}

void hone__pool_close(hone__pool *pool) {
    hone__free(pool->config);
    hone__free(pool->point);
    hone__free(pool->row);
    hone__free(pool->whitened);
    hone__free(pool->known);
    hone__free(pool->forest_mean);
    hone__free(pool->prior);
    hone__free(pool->score);
}

bool hone__pool_add(hone__pool *pool, const hone__strategy *strategy, const hone__config *config) {
    if (pool->count == HONE_POOL_MEMBERS || hone__strategy_was_proposed(strategy, config))
        return false;
    const size_t bytes = strategy->space->slot_count * sizeof config->slot[0];
    for (uint32_t i = 0; i < pool->count; i++) {
        if (pool->config[i].slot[0] == config->slot[0] && memcmp(pool->config[i].slot, config->slot, bytes) == 0)
            return false;
    }
    uint32_t at = pool->count++;
    pool->config[at] = *config;
    hone__gaussian_place(pool->gaussian, config, pool->point + (size_t)at * pool->width);
    hone__features_fill(pool->features, config, pool->row + (size_t)at * pool->row_width);
    hone__prior_at(pool->trusted, pool->row + (size_t)at * pool->row_width, pool->prior[at]);
    pool->known[at] = 0;
    pool->forest_variance[at] = -1; /* not asked yet */
    pool->score[at] = HUGE_VAL;     /* newcomers are not thinned before they are scored */
    return true;
}

void hone__pool_remove(hone__pool *pool, uint32_t member) {
    uint32_t last = --pool->count;
    if (member == last)
        return;
    pool->config[member] = pool->config[last];
    memcpy(pool->point + (size_t)member * pool->width, pool->point + (size_t)last * pool->width, pool->width * sizeof *pool->point);
    memcpy(pool->row + (size_t)member * pool->row_width, pool->row + (size_t)last * pool->row_width, pool->row_width * sizeof *pool->row);
    memcpy(pool->whitened + (size_t)member * HONE_GAUSSIAN_POINTS, pool->whitened + (size_t)last * HONE_GAUSSIAN_POINTS,
           pool->known[last] * sizeof *pool->whitened);
    pool->known[member] = pool->known[last];
    pool->forest_mean[member] = pool->forest_mean[last];
    pool->forest_variance[member] = pool->forest_variance[last];
    pool->failing[member] = pool->failing[last];
    memcpy(pool->prior[member], pool->prior[last], sizeof pool->prior[member]);
    pool->score[member] = pool->score[last];
}

static int descending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

void hone__pool_thin(hone__pool *pool, uint32_t left) {
    if (pool->count <= left)
        return;
    double sorted[HONE_POOL_MEMBERS];
    memcpy(sorted, pool->score, pool->count * sizeof *sorted);
    qsort(sorted, pool->count, sizeof *sorted, descending);
    double least = sorted[left];
    for (uint32_t i = pool->count; i-- > 0 && pool->count > left;) {
        if (pool->score[i] <= least)
            hone__pool_remove(pool, i);
    }
}
