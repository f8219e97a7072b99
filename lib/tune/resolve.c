/* resolve.c: a look-up that may wait: tune on this thread, or wait for whoever tunes, up to a deadline.  One of all processes and threads tunes a key;
 * the others see its result in the cache. */
#include "clock.h"
#include "options.h"
#include "site.h"
#include "tuning.h"

#include <math.h>
#include <string.h>

enum { LOOK_MS = 2, CLAIM_MS = 200 };

typedef struct waiting {
    const hone_site *site;
    const hone_problem *problem;
    hone__effort effort;      /* less is not good enough */
    uint64_t deadline_ns;
    hone_progress_fn *progress;
    void *user;
} waiting;

static hone_status read_options(hone_resolve_options *out, const hone_resolve_options *options, hone_error *err) {
    *out = (hone_resolve_options)HONE_RESOLVE_OPTIONS_INIT;
    HONE_TRY(hone__options_read(out, sizeof *out, options, "hone_resolve_options", err));
    if (out->on_miss > HONE_MISS_TUNE_BACKGROUND)
        return hone__fail(err, HONE_E_ARG, "resolve", "on_miss is %u; it is one of hone_miss", out->on_miss);
    return HONE_OK;
}

static uint64_t left_ms(const waiting *wait) {
    uint64_t now = hone__clock_ns();
    return wait->deadline_ns == 0 ? UINT32_MAX : now >= wait->deadline_ns ? 0 : (wait->deadline_ns - now + 999999) / 1000000;
}

/* Look again; true when the answer is as good as was asked for. */
static bool look(const waiting *wait, const hone_config **config, hone_match *match) {
    const hone__answered *answer = NULL;
    *config = hone__site_answer(wait->site, wait->problem, &answer);
    *match = answer->match;
    return *match == HONE_MATCH_EXACT && answer->effort >= wait->effort;
}

static bool wait_for(const waiting *wait, uint64_t at_most_ms, const hone_config **config, hone_match *match) {
    uint64_t until = hone__clock_ns() + at_most_ms * 1000000u;
    while (!look(wait, config, match)) {
        if (hone__clock_ns() >= until || left_ms(wait) == 0)
            return false;
        hone__sleep_ms(LOOK_MS);
    }
    return true;
}

static hone_status too_late(const waiting *wait, hone_error *err) {
    return hone__fail(err, HONE_E_TIMEOUT, "resolve", "%s: the deadline passed before these sizes were tuned; what is measured is kept",
                      hone_kernel_name(wait->site->kernel));
}

static int tick(const hone_progress *progress, void *user) {
    const waiting *wait = user;
    if (left_ms(wait) == 0)
        return 1;
    return wait->progress == NULL ? 0 : wait->progress(progress, wait->user);
}

static hone_status tune_now(waiting *wait, const hone_tune_options *given, const hone_config **config, hone_match *match, hone_error *err) {
    hone_tune_options options;
    hone_cache *own = NULL;
    HONE_TRY(hone__tuning_options(&options, given, err));
    wait->effort = hone__effort_wanted(&options);
    wait->progress = options.progress;
    wait->user = options.user;
    options.progress = tick;
    options.user = wait;
    if (look(wait, config, match))
        return HONE_OK;
    HONE_TRY(hone__tuning_own_handle(&own, wait->site->cache, false, err));
    hone_status status = HONE_E_BUSY;
    while (status == HONE_E_BUSY && left_ms(wait) > 0) {
        char *json = NULL;
        double left_s = (double)left_ms(wait) / 1e3;
        if (wait->deadline_ns > 0 && (options.time_max_s <= 0 || options.time_max_s > left_s))
            options.time_max_s = left_s;
        status = hone__tune(&json, own, wait->site->kernel, wait->site->device, wait->problem, &options, HONE_TUNE_LAUNCH, err);
        hone_free(json);
        if (status == HONE_E_BUSY && wait_for(wait, CLAIM_MS, config, match))
            status = HONE_OK;
    }
    hone_cache_close(own);
    bool good = look(wait, config, match);
    if (good || (status == HONE_OK && *match == HONE_MATCH_EXACT))
        return HONE_OK;
    if (left_ms(wait) == 0 && (status == HONE_E_BUSY || status == HONE_E_CANCELLED))
        return too_late(wait, err);
    return status;
}

/* The tuner has done what it could. */
static hone_status gave_up(const waiting *wait, hone_match match, hone_error *err) {
    const hone_site *site = wait->site;
    hone__key key = hone__key_make(site->kernel, site->device, wait->problem->size);
    hone__failure failure;
    if (match == HONE_MATCH_EXACT)
        return HONE_OK; /* another layer's entry of less effort is better evidence than what was found */
    if (site->never_tune)
        return hone__fail(err, HONE_E_STATE, "resolve", "%s: the tuner leaves this site alone (hone_site_options.never_tune)", hone_kernel_name(site->kernel));
    if (hone__cache_get_failure(site->cache, &key, &failure, NULL) != HONE_OK)
        return hone__fail(err, HONE_E_NOVALID, "resolve", "%s: the tuner could not tune these sizes; its log says why", hone_kernel_name(site->kernel));
    hone_status status = hone__fail(err, HONE_E_NOVALID, "resolve", "%s: the tuner could not tune these sizes: %.350s", hone_kernel_name(site->kernel),
                                    failure.reason);
    hone__failure_clear(&failure);
    return status;
}

static hone_status wait_for_tuner(waiting *wait, const hone_config **config, hone_match *match, hone_error *err) {
    hone__wanted *wanted = atomic_load(&wait->site->cache->wanted);
    if (wanted == NULL)
        return hone__fail(err, HONE_E_STATE, "resolve", "no tuner runs on %s; start one with hone_tuner_start", hone_cache_path(wait->site->cache));
    wait->effort = wanted->effort;
    while (!look(wait, config, match)) {
        if (left_ms(wait) == 0)
            return too_late(wait, err);
        if (atomic_load(&wanted->closing))
            return hone__fail(err, HONE_E_STATE, "resolve", "the tuner was stopped before it came to these sizes");
        /* Our look has put it into the queue: when nothing is queued or under way any more, the tuner is through with it. */
        if (hone__wanted_idle(wanted, 0))
            return look(wait, config, match) ? HONE_OK : gave_up(wait, *match, err);
        hone__sleep_ms(LOOK_MS);
    }
    return HONE_OK;
}

hone_status hone_site_resolve(const hone_config **config, const hone_site *site, const hone_problem *problem,
                              const hone_resolve_options *options, hone_match *match, hone_error *err) {
    hone_resolve_options o;
    hone_match how = HONE_MATCH_NONE;
    hone_error own = {0};
    if (config == NULL || site == NULL || problem == NULL)
        return hone__fail(err, HONE_E_ARG, "resolve", "config, site and problem must be given");
    err = err == NULL ? &own : err;
    *config = NULL;
    HONE_TRY(read_options(&o, options, err));
    waiting wait = {.site = site, .problem = problem, .deadline_ns = o.deadline_ms == 0 ? 0 : hone__clock_ns() + (uint64_t)o.deadline_ms * 1000000u};
    *config = hone_site_lookup(site, problem, &how);
    hone_status status = HONE_OK;
    if (o.on_miss != HONE_MISS_FALLBACK && site->cache == NULL)
        status = hone__fail(err, HONE_E_ARG, "resolve", "a site without a cache has nowhere to keep what is tuned");
    else if (o.on_miss == HONE_MISS_TUNE_NOW)
        status = tune_now(&wait, o.tune, config, &how, err);
    else if (o.on_miss == HONE_MISS_TUNE_BACKGROUND)
        status = wait_for_tuner(&wait, config, &how, err);
    if (status == HONE_OK && *config == NULL)
        status = hone__fail(err, HONE_E_CONFIG, "resolve", "%s: nothing is known for these sizes: tune them, as the default config is not valid for them",
                            hone_kernel_name(site->kernel));
    if (match != NULL)
        *match = how;
    return status;
}
