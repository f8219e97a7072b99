/* neighbours.c: what the cache and its packs know of the same kernel at other problems and on other devices: the best config of each (for the prompt, and to be
 * measured first), and the trials that led to it, which shape the surrogate's prior.  How far they are believed is found out by the search. */
#include "alloc.h"
#include "layer.h"
#include "tuning.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NEIGHBOURS_MAX = 5,
    SOURCES = 4,             /* of evidence: the nearest ones */
    SOURCE_TRIALS = 200,     /* of one source: the best quarter of that, and others evenly from the rest */
    ENTRIES_MAX = 2000
};

typedef struct found {
    hone__neighbour neighbour;
    hone__key key;
    double distance;
} found;

/* How far the entry's sizes are from ours: sum of |log2 ratio|; another device counts as four octaves. */
static double distance_of(const hone__tuning *tuning, const hone__entry *entry, const cJSON *sizes) {
    double distance = memcmp(entry->key.device, tuning->key.device, sizeof entry->key.device) == 0 ? 0 : 4;
    for (uint32_t i = 0; i < tuning->kernel->size_count; i++) {
        double there = hone__json_number(sizes, tuning->kernel->size[i].name, 0);
        distance += there > 0 && tuning->sizes[i] > 0 ? fabs(log2(there / (double)tuning->sizes[i])) : 8;
    }
    return distance;
}

/* An entry of this very problem is the nearest of all, when there is more to find than it says. */
static bool is_own(const hone__tuning *tuning, const hone__key *key) {
    return memcmp(key->key, tuning->key.key, sizeof key->key) == 0;
}

static bool read_neighbour(const hone__tuning *tuning, const hone__entry *entry, hone__neighbour *out, double *distance) {
    bool own = is_own(tuning, &entry->key);
    if (own && !tuning->has_incumbent)
        return false;
    cJSON *config = NULL, *sizes = NULL;
    bool usable = hone__json_parse(&config, entry->best.config, strlen(entry->best.config), "entry", NULL) == HONE_OK &&
                  hone__json_parse(&sizes, entry->sizes, strlen(entry->sizes), "entry", NULL) == HONE_OK &&
                  hone__config_read(tuning->kernel->space, config, false, &out->config, NULL, NULL) == HONE_OK &&
                  hone__bound_valid(tuning->bound, &out->config, NULL);
    if (usable) {
        bool here = memcmp(entry->key.device, tuning->key.device, sizeof entry->key.device) == 0;
        (void)snprintf(out->where, sizeof out->where, "%.100s on %s%s", entry->sizes, here ? "this device" : "another device",
                       own ? ", tuned before with less effort or other software" : "");
        out->speedup = entry->best.time_ns > 0 ? entry->default_ns / entry->best.time_ns : 0;
        *distance = distance_of(tuning, entry, sizes);
    }
    cJSON_Delete(config);
    cJSON_Delete(sizes);
    return usable;
}

/* ---- evidence ---- */

static int by_cost(const void *a, const void *b) {
    const hone__evidence *x = a, *y = b;
    return x->cost != y->cost ? (x->cost > y->cost) - (x->cost < y->cost) : memcmp(x->config.slot, y->config.slot, sizeof x->config.slot);
}

static bool read_trial(const hone__tuning *tuning, const hone__trial *trial, hone__evidence *out) {
    bool timed = trial->result.outcome == HONE_OUTCOME_OK && trial->result.median_ns > 0;
    cJSON *json = NULL;
    bool read = timed && hone__json_parse(&json, trial->config, strlen(trial->config), "journal", NULL) == HONE_OK &&
                hone__config_read(tuning->kernel->space, json, false, &out->config, NULL, NULL) == HONE_OK;
    out->cost = timed ? log(trial->result.median_ns) : 0;
    cJSON_Delete(json);
    return read;
}

/* The trials of the last session with this key, thinned; what is missing or damaged is no evidence, and no fault either. */
static void add_source(hone__tuning *tuning, const hone__key *key, uint32_t source) {
    hone__session session;
    uint32_t number = 0, count = 0, kept = 0;
    hone__trial *trial = NULL;
    if (hone__journal_last(tuning->reader, key, &number, &session, NULL) != HONE_OK)
        return;
    /* Of our own key, the session that made the entry: not one that is being resumed, or the second run would know more than the first. */
    bool resumed = is_own(tuning, key) && !session.done;
    hone__session_clear(&session);
    if (resumed && number-- == 0)
        return;
    if (hone__journal_trials(tuning->reader, key, number, &trial, &count, NULL) != HONE_OK)
        return;
    hone__evidence *all = hone__alloc_array((size_t)count + 1, sizeof *all);
    for (uint32_t i = 0; i < count; i++) {
        kept += all != NULL && read_trial(tuning, &trial[i], &all[kept]);
        hone__trial_clear(&trial[i]);
    }
    hone__free(trial);
    if (kept > 1)
        qsort(all, kept, sizeof *all, by_cost);
    const uint32_t best = SOURCE_TRIALS / 4, others = SOURCE_TRIALS - best;
    uint32_t step = kept > SOURCE_TRIALS ? (kept - best + others - 1) / others : 1;
    for (uint32_t i = 0; i < kept; i += i < best ? 1 : step) {
        hone__evidence *one = &tuning->evidence[tuning->evidence_count++];
        *one = all[i];
        one->source = source;
        one->cost = all[i].cost - all[0].cost;
    }
    hone__free(all);
}

static void gather_evidence(hone__tuning *tuning, const found *near) {
    tuning->evidence = hone__alloc_array((size_t)SOURCES * (SOURCE_TRIALS + 1), sizeof *tuning->evidence);
    for (uint32_t i = 0; i < tuning->neighbour_count && i < SOURCES && tuning->evidence != NULL; i++)
        add_source(tuning, &near[i].key, i);
}

/* ---- retrieval ---- */

/* Keep the nearest, in order.  Of one key that several layers have, the first. */
static void insert(found *near, uint32_t *count, const found *one) {
    for (uint32_t i = 0; i < *count; i++) {
        if (memcmp(near[i].key.key, one->key.key, sizeof one->key.key) == 0)
            return;
    }
    uint32_t at = *count < NEIGHBOURS_MAX ? (*count)++ : NEIGHBOURS_MAX;
    for (; at > 0 && near[at - 1].distance > one->distance; at--) {
        if (at < NEIGHBOURS_MAX)
            near[at] = near[at - 1];
    }
    if (at < NEIGHBOURS_MAX)
        near[at] = *one;
}

static void look_in_layer(const hone__tuning *tuning, uint32_t layer, found *near, uint32_t *near_count) {
    hone__entry *entry = NULL;
    uint32_t count = 0;
    if (hone__layer_of_kernel(tuning->reader, layer, tuning->kernel->id, ENTRIES_MAX, &entry, &count, NULL) != HONE_OK)
        return;
    for (uint32_t i = 0; i < count; i++) {
        found one = {.key = entry[i].key};
        if (read_neighbour(tuning, &entry[i], &one.neighbour, &one.distance))
            insert(near, near_count, &one);
        hone__entry_clear(&entry[i]);
    }
    hone__free(entry);
}

void hone__tuning_neighbours(hone__tuning *tuning) {
    uint32_t near_count = 0;
    found near[NEIGHBOURS_MAX];
    tuning->neighbour = hone__alloc_array(NEIGHBOURS_MAX, sizeof *tuning->neighbour);
    if (tuning->reader == NULL || tuning->neighbour == NULL)
        return;
    for (uint32_t layer = 0; layer < hone__layer_count(tuning->reader); layer++)
        look_in_layer(tuning, layer, near, &near_count);
    for (uint32_t i = 0; i < near_count; i++)
        tuning->neighbour[i] = near[i].neighbour;
    tuning->neighbour_count = near_count;
    gather_evidence(tuning, near);
}
