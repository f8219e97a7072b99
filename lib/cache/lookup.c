/* lookup.c: the answer path: exact, near_shape, near_device, default.  Every config that comes out of a cache is read against the
 * caller's own space and checked against its constraints for this problem before anyone sees it. */
#include "lookup.h"
#include "alloc.h"
#include "clock.h"
#include "holds.h"
#include "store.h"

#include <string.h>

#define SAME_DISTANCE 1e-9

enum { EXACT, NEAR_SHAPE, NEAR_DEVICE };

const char *hone_match_name(hone_match match) {
    switch (match) {
    case HONE_MATCH_EXACT:
        return "exact";
    case HONE_MATCH_NEAR_SHAPE:
        return "near_shape";
    case HONE_MATCH_NEAR_DEVICE:
        return "near_device";
    case HONE_MATCH_DEFAULT:
        return "default";
    case HONE_MATCH_NONE:
        break;
    }
    return "none";
}

hone_status hone__lookup_query(hone__query *query, const hone_cache *cache, const hone_kernel *kernel, const hone_device *device,
                               const hone_problem *problem, hone_error *err) {
    if (kernel == NULL || device == NULL || problem == NULL)
        return hone__fail(err, HONE_E_ARG, "lookup", "kernel, device and problem must be given");
    if (problem->struct_size < sizeof *problem || problem->count != kernel->size_count)
        return hone__fail(err, HONE_E_ARG, "lookup", "%s: the problem has %u sizes, the kernel %u; start with hone_problem_init",
                          kernel->name, problem->count, kernel->size_count);
    for (uint32_t i = 0; i < kernel->size_count; i++) {
        const hone__size *size = &kernel->size[i];
        if (problem->size[i] < size->min || problem->size[i] > size->max)
            return hone__fail(err, HONE_E_ARG, "lookup", "%s: size %s = %lld is outside %lld..%lld", kernel->name, size->name,
                              (long long)problem->size[i], (long long)size->min, (long long)size->max);
    }
    *query = (hone__query){.cache = cache, .kernel = kernel, .device = device, .problem = *problem};
    query->key = hone__key_make(kernel, device, problem->size);
    return HONE_OK;
}

/* ---- one entry ---- */

const hone__ranked *hone__entry_ranked(const hone__entry *entry, uint32_t rank) {
    return rank == 0 ? &entry->best : &entry->alternative[rank - 1];
}

/* Configs that are not written as Hone writes them, and those that do not fit, with the reason. */
static bool read_config_json(const hone__query *query, const char *text, hone__config *config, hone__buf *why) {
    cJSON *json = NULL;
    hone_error err = {0};
    hone_status status = hone__json_parse(&json, text, strlen(text), "stored config", &err);
    if (status == HONE_OK)
        status = hone__config_read(query->kernel->space, json, false, config, NULL, &err);
    cJSON_Delete(json);
    if (status != HONE_OK)
        hone__buf_printf(why, "its config is not in this space: %s", err.message);
    return status == HONE_OK;
}

static bool read_config(const hone__query *query, const char *text, hone__config *config, hone__buf *why) {
    if (!hone__config_read_text(query->kernel->space, text, config) && !read_config_json(query, text, config, why))
        return false;
    hone__buf reason;
    hone__buf_init(&reason, HONE_REASON_MAX);
    bool holds = hone__space_holds(query->kernel->space, query->problem.size, config, &reason);
    if (!holds)
        hone__buf_printf(why, "its config is not valid for these sizes: %s", reason.length > 0 ? reason.data : "a constraint does not hold");
    hone__buf_free(&reason);
    return holds;
}

bool hone__entry_usable(const hone__query *query, const hone__entry *entry, hone__config *config, uint32_t *rank, hone__buf *why) {
    if (entry->accuracy == HONE_ACCURACY_FAILED) {
        hone__buf_text(why, "its config failed the accuracy check");
        return false;
    }
    if (query->cache != NULL && query->cache->recheck == HONE_RECHECK_IGNORE && hone__entry_changed(query, entry, why))
        return false;
    hone__buf ignored;
    hone__buf_init(&ignored, HONE_REASON_MAX);
    bool usable = false;
    for (uint32_t i = 0; i <= entry->alternative_count && i <= HONE_ALTERNATIVES_MAX && !usable; i++) {
        hone__buf_clear(&ignored);
        usable = read_config(query, hone__entry_ranked(entry, i)->config, config, i == 0 ? why : &ignored);
        *rank = i;
    }
    hone__buf_free(&ignored);
    return usable;
}

/* ---- collecting ---- */

static void set_reason(char reason[HONE_REASON_MAX], const char *text) {
    size_t length = strnlen(text, HONE_REASON_MAX - 1);
    memcpy(reason, text, length);
    reason[length] = '\0';
}

static const char *text_of(const hone__buf *buf) {
    return buf->length > 0 ? buf->data : "";
}

/* For explain: one candidate of a tier.  Memory that is short here only shortens the explanation. */
static void report_candidate(hone__report *report, int tier, uint32_t layer, const hone__query *query, const hone__entry *entry, bool accepted,
                             double distance, const char *reason) {
    if (report == NULL || report->candidates[tier] == NULL)
        return;
    if (cJSON_GetArraySize(report->candidates[tier]) >= 32) {
        report->omitted[tier]++;
        return;
    }
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    hone__buf_text(&buf, "{\"key\":");
    hone__print_id(&buf, entry->key.key);
    hone__buf_printf(&buf, ",\"accepted\":%s,\"distance\":", accepted ? "true" : "false");
    hone__buf_json_double(&buf, distance);
    hone__buf_text(&buf, ",\"time_ms\":");
    hone__buf_json_double(&buf, entry->best.time_ns / 1e6);
    hone__buf_text(&buf, ",\"layer\":");
    hone__buf_json_string(&buf, hone__layer_name(query->cache, layer));
    hone__buf_text(&buf, ",\"reason\":");
    hone__buf_json_string(&buf, reason);
    hone__buf_char(&buf, '}');
    cJSON *item = NULL;
    if (buf.status == HONE_OK)
        (void)hone__json_parse(&item, buf.data, buf.length, "candidate", NULL);
    hone__buf_free(&buf);
    cJSON *differences = item != NULL ? hone__differences(query, entry) : NULL;
    if (differences != NULL && !cJSON_AddItemToObject(item, "differences", differences))
        cJSON_Delete(differences);
    if (item != NULL && !cJSON_AddItemToArray(report->candidates[tier], item))
        cJSON_Delete(item);
}

/* The answer takes the entry over. */
static void accept(hone_answer *answer, hone_match match, hone__entry *entry, const hone__config *config, uint32_t rank, double distance) {
    if (answer->has_source)
        hone__entry_clear(&answer->source);
    answer->match = match;
    answer->config = (hone_config){.space = answer->query.kernel->space, .values = *config};
    answer->source = *entry;
    answer->has_source = true;
    answer->rank = rank;
    answer->distance = distance;
    *entry = (hone__entry){.kernel_name = NULL};
}

/* ---- tiers ---- */

static const char *miss_counter(hone_status status) {
    if (status == HONE_E_NOTFOUND)
        return "miss_no_entry";
    return status == HONE_E_CORRUPT || status == HONE_E_VERSION ? "miss_corrupt" : "miss_error";
}

/* Explaining is not asking: it leaves the counters alone. */
static void count(const hone__query *query, const hone__report *report, const char *counter) {
    if (report == NULL)
        hone__cache_count(query->cache, counter, 1);
}

/* Of layers that each have nothing for us, the reason that says most is given: an entry that cannot be used before no entry at all. */
typedef struct exact_search {
    const char *counter;          /* of the miss, if it is one */
    bool has_reason;
    uint32_t layer;               /* which answered */
} exact_search;

static void layer_reason(hone_answer *answer, uint32_t layer, const char *text) {
    size_t length = strnlen(text, HONE_LAYER_REASON_MAX - 1);
    memcpy(answer->note[layer].reason, text, length);
    answer->note[layer].reason[length] = '\0';
}

static void layer_missed(hone_answer *answer, exact_search *search, uint32_t layer, const char *text, const char *counter, bool telling) {
    layer_reason(answer, layer, text);
    if (search->counter == NULL || (telling && !search->has_reason)) {
        set_reason(answer->reason[EXACT], text);
        search->counter = counter;
        search->has_reason = telling;
    }
}

static void note_change(hone_answer *answer, const hone__entry *entry) {
    hone__buf changed;
    hone__buf_init(&changed, HONE_CHANGED_MAX);
    (void)hone__entry_changed(&answer->query, entry, &changed);
    size_t length = strnlen(text_of(&changed), HONE_CHANGED_MAX - 1);
    memcpy(answer->changed, text_of(&changed), length);
    answer->changed[length] = '\0';
    hone__buf_free(&changed);
}

/* Two layers have a usable entry: the better evidence answers, as it would after a merge. */
static void settle(hone_answer *answer, exact_search *search, uint32_t layer, hone__entry *entry, const hone__config *config, uint32_t rank) {
    static const char worse[] = "its entry is as good or worse evidence";
    if (answer->has_source && hone__entry_compare(entry, &answer->source) >= 0) {
        layer_reason(answer, layer, worse);
        return;
    }
    if (answer->has_source) {
        answer->note[search->layer].answered = false;
        layer_reason(answer, search->layer, "its entry is worse evidence");
    }
    answer->note[layer].answered = true;
    search->layer = layer;
    note_change(answer, entry);
    accept(answer, HONE_MATCH_EXACT, entry, config, rank, 0);
}

static void try_exact_in(hone_answer *answer, hone__report *report, uint32_t layer, exact_search *search) {
    const hone__query *query = &answer->query;
    hone__entry entry = {.kernel_name = NULL};
    hone_error err = {0};
    hone_status status = hone__layer_get(query->cache, layer, &query->key, &entry, &err);
    if (status != HONE_OK) {
        layer_missed(answer, search, layer, status == HONE_E_NOTFOUND ? "no entry for this kernel, device and sizes" : err.message, miss_counter(status),
                     status != HONE_E_NOTFOUND);
        return;
    }
    hone__buf why;
    hone__buf_init(&why, HONE_REASON_MAX);
    hone__config config;
    uint32_t rank = 0;
    bool usable = hone__entry_usable(query, &entry, &config, &rank, &why);
    report_candidate(report, EXACT, layer, query, &entry, usable, 0, text_of(&why));
    if (usable)
        settle(answer, search, layer, &entry, &config, rank);
    else
        layer_missed(answer, search, layer, text_of(&why), "miss_space", true);
    hone__buf_free(&why);
    hone__entry_clear(&entry);
}

static void try_exact(hone_answer *answer, hone__report *report, uint32_t *layer) {
    exact_search search = {.counter = NULL};
    for (uint32_t i = 0; i < answer->note_count; i++)
        try_exact_in(answer, report, i, &search);
    *layer = search.layer;
    if (!answer->has_source && search.counter != NULL)
        count(&answer->query, report, search.counter);
}

typedef struct best_candidate {
    uint32_t index, rank;
    double distance;
    hone__config config;
    bool found;
} best_candidate;

/* Of one tier's entries only: same device and other problem, or same problem and other device. */
static bool belongs(const hone__query *query, const hone__entry *entry, int tier) {
    bool same_device = memcmp(entry->key.device, query->key.device, 16) == 0;
    bool same_problem = memcmp(entry->key.problem, query->key.problem, 16) == 0;
    return tier == NEAR_SHAPE ? same_device && !same_problem : same_problem && !same_device;
}

static bool better(const best_candidate *best, const hone__entry *entries, const hone__entry *entry, double distance) {
    if (!best->found || distance < best->distance - SAME_DISTANCE)
        return true;
    return distance < best->distance + SAME_DISTANCE && hone__entry_compare(entry, &entries[best->index]) < 0;
}

/* A kernel's entries of all layers; layer i's end at end[i]. */
typedef struct near_entries {
    hone__entry *entry;
    uint32_t count, end[1 + HONE_LAYERS_MAX];
} near_entries;

static uint32_t layer_of(const near_entries *all, uint32_t index) {
    uint32_t layer = 0;
    while (index >= all->end[layer])
        layer++;
    return layer;
}

static void try_near(hone_answer *answer, hone__report *report, int tier, const near_entries *all, uint32_t *layer) {
    hone__entry *entries = all->entry;
    uint32_t entry_count = all->count;
    const hone__query *query = &answer->query;
    best_candidate best = {.found = false};
    uint32_t seen = 0;
    hone__buf why, first;
    hone__buf_init(&why, HONE_REASON_MAX);
    hone__buf_init(&first, HONE_REASON_MAX);
    for (uint32_t i = 0; i < entry_count; i++) {
        if (!belongs(query, &entries[i], tier))
            continue;
        seen++;
        double distance = 0;
        hone__buf_clear(&why);
        bool near = tier == NEAR_SHAPE
                        ? hone__near_shape(query->kernel, query->problem.size, entries[i].sizes, &distance, &why)
                        : hone__near_device(query->device, entries[i].device, &distance, &why);
        bool wanted = near && (report != NULL || better(&best, entries, &entries[i], distance));
        hone__config config;
        uint32_t rank = 0;
        bool usable = wanted && hone__entry_usable(query, &entries[i], &config, &rank, &why);
        if (usable && better(&best, entries, &entries[i], distance))
            best = (best_candidate){i, rank, distance, config, true};
        if (!usable && near && wanted)
            count(query, report, "miss_space");
        if (!usable && first.length == 0)
            hone__buf_text(&first, text_of(&why));
        report_candidate(report, tier, layer_of(all, i), query, &entries[i], usable, distance, text_of(&why));
    }
    char *reason = answer->reason[tier];
    if (best.found && report != NULL)
        report->matched[tier] = true;
    if (best.found && !answer->has_source) {
        *layer = layer_of(all, best.index);
        accept(answer, tier == NEAR_SHAPE ? HONE_MATCH_NEAR_SHAPE : HONE_MATCH_NEAR_DEVICE, &entries[best.index], &best.config, best.rank,
               best.distance);
    } else if (!best.found && seen == 0) {
        set_reason(reason, tier == NEAR_SHAPE ? "no entry of this kernel on this device at other sizes"
                                              : "no entry of this kernel and these sizes on another device");
    } else if (!best.found) {
        set_reason(reason, text_of(&first));
    }
    hone__buf_free(&why);
    hone__buf_free(&first);
}

/* Append one layer's entries.  The first failure is the reason if there are none at all. */
static void collect(const hone__query *query, uint32_t layer, near_entries *all, hone_status *first, hone_error *err) {
    hone__entry *entry = NULL;
    uint32_t count = 0;
    hone_error this_err = {0};
    hone_status status = hone__layer_of_kernel(query->cache, layer, query->key.kernel, HONE_CANDIDATES_MAX - all->count, &entry, &count, &this_err);
    hone__entry *grown = status == HONE_OK && count > 0 ? hone__realloc(all->entry, (all->count + count) * sizeof *grown) : NULL;
    if (status == HONE_OK && count > 0 && grown == NULL) {
        status = hone__fail(&this_err, HONE_E_NOMEM, "lookup", "no memory for the entries of this kernel");
        for (uint32_t i = 0; i < count; i++)
            hone__entry_clear(&entry[i]);
    } else if (grown != NULL) {
        all->entry = grown;
        memcpy(all->entry + all->count, entry, count * sizeof *entry);
        all->count += count;
    }
    hone__free(entry);
    all->end[layer] = all->count;
    if (status != HONE_OK && *first == HONE_OK) {
        *first = status;
        *err = this_err;
    }
}

static void try_nears(hone_answer *answer, hone__report *report, uint32_t *layer) {
    const hone__query *query = &answer->query;
    near_entries all = {.count = 0};
    hone_error err = {0};
    hone_status status = HONE_OK;
    for (uint32_t i = 0; i < answer->note_count; i++)
        collect(query, i, &all, &status, &err);
    if (status != HONE_OK && all.count == 0) {
        set_reason(answer->reason[NEAR_SHAPE], status == HONE_E_NOTFOUND ? "no entry of this kernel" : err.message);
        set_reason(answer->reason[NEAR_DEVICE], answer->reason[NEAR_SHAPE]);
        return;
    }
    try_near(answer, report, NEAR_SHAPE, &all, layer);
    if (!answer->has_source || report != NULL)
        try_near(answer, report, NEAR_DEVICE, &all, layer);
    for (uint32_t i = 0; i < all.count; i++)
        hone__entry_clear(&all.entry[i]);
    hone__free(all.entry);
}

static hone_status try_default(hone_answer *answer, hone_error *err) {
    const hone__query *query = &answer->query;
    const hone__space *space = query->kernel->space;
    hone__buf why;
    hone__buf_init(&why, HONE_REASON_MAX);
    hone_status status = HONE_OK;
    if (hone__space_holds(space, query->problem.size, &space->base, &why)) {
        answer->match = HONE_MATCH_DEFAULT;
        answer->config = (hone_config){.space = space, .values = space->base};
    } else {
        status = hone__fail(err, HONE_E_CONFIG, "lookup", "%s: nothing is known for these sizes: tune them, as the default config is not valid for them: %.300s",
                            query->kernel->name, text_of(&why));
    }
    hone__buf_free(&why);
    return status;
}

static void count_answer(const hone_answer *answer) {
    static const char *const counters[] = {"miss", "hit_exact", "hit_near_shape", "hit_near_device", "default"};
    if (answer->query.cache != NULL)
        hone__cache_count(answer->query.cache, counters[answer->match], 1);
}

static hone_status name_layers(hone_answer *answer) {
    uint32_t count = hone__layer_count(answer->query.cache);
    answer->note = count == 0 ? NULL : hone__alloc_array(count, sizeof *answer->note);
    for (; answer->note != NULL && answer->note_count < count; answer->note_count++) {
        hone__layer_note *note = &answer->note[answer->note_count];
        note->name = hone__strdup(hone__layer_name(answer->query.cache, answer->note_count));
        if (note->name == NULL)
            return HONE_E_NOMEM;
    }
    return answer->note_count == count ? HONE_OK : HONE_E_NOMEM;
}

hone_status hone__lookup_resolve(hone_answer *answer, const hone__query *query, hone__report *report, hone_error *err) {
    uint32_t layer = 0;
    answer->query = *query;
    answer->now_unix_s = hone__clock_unix_s();
    if (name_layers(answer) != HONE_OK)
        return hone__fail(err, HONE_E_NOMEM, "lookup", "no memory for an answer");
    if (answer->note_count == 0) {
        for (int tier = EXACT; tier <= NEAR_DEVICE; tier++)
            set_reason(answer->reason[tier], "no cache is open");
    } else {
        try_exact(answer, report, &layer);
        if (report != NULL)
            report->matched[EXACT] = answer->has_source;
        if (!answer->has_source || report != NULL)
            try_nears(answer, report, &layer);
    }
    if (report != NULL)
        memcpy(report->reason, answer->reason, sizeof report->reason);
    if (!answer->has_source)
        HONE_TRY(try_default(answer, err));
    answer->layer = hone__strdup(answer->has_source ? hone__layer_name(query->cache, layer) : "author");
    answer->device = hone__strdup(query->device->name);
    if (answer->layer == NULL || answer->device == NULL)
        return hone__fail(err, HONE_E_NOMEM, "lookup", "no memory for an answer");
    if (report == NULL)
        count_answer(answer);
    return HONE_OK;
}

hone_status hone_lookup(hone_answer **out, const hone_cache *cache, const hone_kernel *kernel, const hone_device *device,
                        const hone_problem *problem, hone_error *err) {
    *out = NULL;
    hone__query query;
    HONE_TRY(hone__lookup_query(&query, cache, kernel, device, problem, err));
    hone_answer *answer = hone__alloc(sizeof *answer);
    if (answer == NULL)
        return hone__fail(err, HONE_E_NOMEM, "lookup", "no memory for an answer");
    hone_status status = hone__lookup_resolve(answer, &query, NULL, err);
    if (status != HONE_OK) {
        hone_answer_free(answer);
        return status;
    }
    *out = answer;
    return HONE_OK;
}
