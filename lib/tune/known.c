/* known.c: what the cache and its packs know of a key before it is tuned, and what becomes of that afterwards.  Effort is part of an entry: one of less
 * effort is a hit, and where a tuning of more effort begins.  Its config is measured again beside the others, so that the result can take its
 * place whatever the figures of the two sessions say: a lucky reading must not have a key tuned anew for ever. */
#include "layer.h"
#include "tuning.h"

#include <string.h>

bool hone__tuning_answered_meanwhile(const hone__tuning *tuning, hone_match *match, hone__entry *entry) {
    if (tuning->options.force || !hone__exact_enough(tuning->cache, tuning->kernel, tuning->caller_device, &tuning->problem,
                                                     hone__effort_wanted(&tuning->options), tuning->reason == HONE_TUNE_RECHECK, entry))
        return false;
    *match = HONE_MATCH_EXACT;
    return true;
}

bool hone__tuning_answered(const hone__tuning *tuning, hone_match *match, hone__entry *entry) {
    hone_answer *answer = NULL;
    *match = HONE_MATCH_NONE;
    if (hone_lookup(&answer, tuning->cache, tuning->kernel, tuning->caller_device, &tuning->problem, NULL) != HONE_OK)
        return false;
    *match = hone_answer_match(answer);
    hone_answer_free(answer);
    return *match == HONE_MATCH_EXACT && hone__tuning_answered_meanwhile(tuning, match, entry);
}

static bool read_incumbent(hone__tuning *tuning, const hone__entry *entry) {
    cJSON *json = NULL;
    hone__bound *bound = NULL;
    bool good = entry->accuracy != HONE_ACCURACY_FAILED &&
                hone__json_parse(&json, entry->best.config, strlen(entry->best.config), "entry", NULL) == HONE_OK &&
                hone__config_read(tuning->kernel->space, json, false, &tuning->incumbent, NULL, NULL) == HONE_OK &&
                hone__bound_new(&bound, tuning->kernel->space, tuning->sizes, NULL) == HONE_OK &&
                hone__bound_valid(bound, &tuning->incumbent, NULL);
    hone__bound_free(bound);
    cJSON_Delete(json);
    return good;
}

void hone__tuning_recall(hone__tuning *tuning) {
    hone__entry best;
    if (tuning->options.force || tuning->reader == NULL)
        return; /* afresh */
    tuning->has_stored = hone__layer_pack(tuning->reader, 0) == NULL && hone__cache_get(tuning->reader, &tuning->key, &tuning->stored, NULL) == HONE_OK;
    bool usable = hone__exact_enough(tuning->reader, tuning->kernel, tuning->caller_device, &tuning->problem, HONE_EFFORT_NONE, false, &best);
    if (usable || tuning->has_stored)
        tuning->has_incumbent = read_incumbent(tuning, usable ? &best : &tuning->stored);
    if (usable)
        hone__entry_clear(&best);
}

bool hone__tuning_is_incumbent(const hone__tuning *tuning, uint32_t trial) {
    return tuning->has_incumbent && hone__config_equal(&tuning->trial[trial].config, &tuning->incumbent);
}

static bool incumbent_was_measured(const hone__tuning *tuning) {
    for (uint32_t i = 0; i < tuning->trials; i++) {
        if (hone__tuning_is_incumbent(tuning, i))
            return true;
    }
    return false;
}

hone_status hone__tuning_store(hone__tuning *tuning, const hone__entry *entry, hone_error *err) {
    bool over = tuning->has_stored && (!tuning->has_incumbent || incumbent_was_measured(tuning));
    if (over)
        return hone__cache_put_over(tuning->cache, entry, &tuning->stored, err);
    return hone__cache_put(tuning->cache, entry, tuning->options.force != 0, err);
}
