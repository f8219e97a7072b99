/* strategy.c: the common part of all strategies: bookkeeping of proposals and results, and the table of names. */
#include "strategy_impl.h"
#include "alloc.h"
#include "hash.h"

#include <stdio.h>
#include <string.h>

enum { NEIGHBOURS_FIRST = 3 }; /* measured at once; what the others know comes as evidence and in the prompt */

static const hone__strategy_impl *const strategies[] = {
    &hone__strategy_random,
    &hone__strategy_exhaustive,
    &hone__strategy_llm,
    &hone__strategy_hybrid,
    &hone__strategy_lfbo,
};

static uint64_t hash_of(const hone__strategy *strategy, const hone__config *config) {
    hone__hash hash = hone__hash_bytes(config->slot, strategy->space->slot_count * sizeof config->slot[0]);
    uint64_t value;
    memcpy(&value, hash.byte, sizeof value);
    return value;
}

static uint32_t *table_slot(const hone__strategy *strategy, const hone__config *config) {
    uint32_t mask = strategy->slot_count - 1;
    for (uint32_t at = (uint32_t)hash_of(strategy, config) & mask;; at = (at + 1) & mask) {
        uint32_t index = strategy->slot[at];
        if (index == 0 || hone__config_equal(&strategy->result[index - 1].config, config))
            return &strategy->slot[at];
    }
}

/* Index in `result`, UINT32_MAX when never proposed. */
static uint32_t find(const hone__strategy *strategy, const hone__config *config) {
    return strategy->slot_count == 0 ? UINT32_MAX : *table_slot(strategy, config) - 1;
}

bool hone__strategy_was_proposed(const hone__strategy *strategy, const hone__config *config) {
    return find(strategy, config) != UINT32_MAX;
}

static bool grow(hone__strategy *strategy) {
    uint32_t capacity = strategy->result_capacity == 0 ? 64 : strategy->result_capacity * 2;
    hone__result *result = hone__realloc(strategy->result, (size_t)capacity * sizeof *result);
    if (result == NULL)
        return false;
    strategy->result = result;
    strategy->result_capacity = capacity;
    uint32_t *slot = hone__alloc_array((size_t)capacity * 4, sizeof *slot);
    if (slot == NULL)
        return false;
    hone__free(strategy->slot);
    strategy->slot = slot;
    strategy->slot_count = capacity * 4;
    for (uint32_t i = 0; i < strategy->result_count; i++)
        *table_slot(strategy, &strategy->result[i].config) = i + 1;
    return true;
}

bool hone__strategy_queue(hone__strategy *strategy, const hone__config *config, const char *proposer) {
    if (hone__strategy_was_proposed(strategy, config) || !hone__bound_valid(strategy->options.bound, config, NULL))
        return false;
    if (strategy->result_count == strategy->result_capacity && !grow(strategy)) {
        strategy->failed = HONE_E_NOMEM;
        return false;
    }
    uint32_t *slot = table_slot(strategy, config);
    hone__result *result = &strategy->result[strategy->result_count++];
    memset(result, 0, sizeof *result);
    result->config = *config;
    (void)snprintf(result->proposer, sizeof result->proposer, "%s", proposer);
    *slot = strategy->result_count;
    return true;
}

void hone__strategy_queue_first(hone__strategy *strategy) {
    (void)hone__strategy_queue(strategy, &strategy->space->base, "default");
    if (strategy->options.incumbent != NULL)
        (void)hone__strategy_queue(strategy, strategy->options.incumbent, "known");
}

void hone__strategy_queue_known(hone__strategy *strategy) {
    const hone__strategy_options *options = &strategy->options;
    hone__strategy_queue_first(strategy);
    for (uint32_t i = 0; i < options->neighbour_count && i < NEIGHBOURS_FIRST; i++)
        (void)hone__strategy_queue(strategy, &options->neighbour[i].config, "neighbour");
    for (uint32_t i = 0; i < options->seed_count; i++)
        (void)hone__strategy_queue(strategy, &options->seed[i], "seed");
}

uint32_t hone__strategy_queue_random(hone__strategy *strategy, uint32_t count) {
    uint32_t queued = 0;
    /* In a nearly exhausted space most draws are old; the caller then falls back to walking it. */
    for (uint32_t tries = 0; queued < count && tries < 64 + 16 * count; tries++) {
        hone__config config;
        if (!hone__bound_sample(strategy->options.bound, &strategy->rng, &config))
            break;
        queued += hone__strategy_queue(strategy, &config, "random");
    }
    return queued;
}

hone_status hone__strategy_open(hone__strategy **out, const char *name, const hone__strategy_options *options, hone_error *err) {
    *out = NULL;
    const hone__strategy_impl *impl = NULL;
    for (size_t i = 0; i < sizeof strategies / sizeof strategies[0]; i++) {
        if (strcmp(strategies[i]->name, name) == 0)
            impl = strategies[i];
    }
    if (impl == NULL)
        return hone__fail(err, HONE_E_ARG, "search", "no search strategy \"%.32s\"; there are auto, hybrid, lfbo, llm, random, exhaustive", name);
    hone__strategy *strategy = hone__alloc(sizeof *strategy);
    if (strategy != NULL) {
        strategy->options = *options;
        strategy->space = hone__bound_space(options->bound);
    }
    if (strategy == NULL || !grow(strategy)) {
        hone__strategy_close(strategy);
        return hone__fail(err, HONE_E_NOMEM, "search", "no memory for strategy %s", name);
    }
    strategy->best = UINT32_MAX;
    hone__rng_seed(&strategy->rng, options->rng_seed);
    strategy->impl = impl;
    hone_status status = impl->open(strategy, err);
    if (status != HONE_OK) {
        hone__strategy_close(strategy);
        return status;
    }
    *out = strategy;
    return HONE_OK;
}

void hone__strategy_close(hone__strategy *strategy) {
    if (strategy == NULL)
        return;
    if (strategy->impl != NULL)
        strategy->impl->close(strategy);
    hone__free(strategy->result);
    hone__free(strategy->slot);
    hone__free(strategy);
}

hone__ask_state hone__strategy_ask(hone__strategy *strategy, hone__proposal *out, uint32_t max, uint32_t *count) {
    *count = 0;
    hone__ask_state state = HONE_ASK_MORE;
    if (strategy->result_count - strategy->handed < max && strategy->failed == HONE_OK)
        state = strategy->impl->propose(strategy, max - (strategy->result_count - strategy->handed));
    while (*count < max && strategy->handed < strategy->result_count) {
        const hone__result *result = &strategy->result[strategy->handed++];
        out[*count].config = result->config;
        memcpy(out[*count].proposer, result->proposer, sizeof out[*count].proposer);
        (*count)++;
    }
    if (*count > 0)
        return HONE_ASK_MORE;
    if (strategy->failed != HONE_OK) {
        (void)snprintf(strategy->stop, sizeof strategy->stop, "out of memory");
        return HONE_ASK_DONE;
    }
    return state;
}

hone_status hone__strategy_tell(hone__strategy *strategy, const hone__config *config, const hone__measurement *measurement) {
    uint32_t index = find(strategy, config);
    if (index == UINT32_MAX)
        return HONE_E_ARG;
    hone__result *result = &strategy->result[index];
    if (!result->told)
        strategy->told++;
    result->told = true;
    result->measurement = *measurement;
    bool good = measurement->outcome == HONE_OUTCOME_OK && measurement->median_ns > 0;
    if (good && (strategy->best == UINT32_MAX || measurement->median_ns < strategy->result[strategy->best].measurement.median_ns))
        strategy->best = index;
    return strategy->impl->learn == NULL ? HONE_OK : strategy->impl->learn(strategy, index);
}

hone_status hone__strategy_pump(hone__strategy *strategy, uint32_t timeout_ms, hone_error *err) {
    return strategy->impl->pump == NULL ? HONE_OK : strategy->impl->pump(strategy, timeout_ms, err);
}

const char *hone__strategy_stop(const hone__strategy *strategy) {
    return strategy->stop;
}

void hone__strategy_report_get(const hone__strategy *strategy, hone__strategy_report *out) {
    *out = strategy->report;
}
