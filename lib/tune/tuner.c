/* tuner.c: tuning in the background: one thread, started because the program asked for it, takes what look-ups have put into the cache's queue.  It has a
 * cache handle of its own, so that its claims are told apart from those of the program's other threads. */
#define _GNU_SOURCE
#include "alloc.h"
#include "log.h"
#include "options.h"
#include "site.h"
#include "tuning.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>

enum { QUEUE_DEFAULT = 256, QUEUE_MAX = 65536, RETRY_S = 3600, STOP_WAIT_MS = 10000, BUSY_PAUSE_MS = 250 };

typedef struct worker {
    hone__wanted *wanted;
    hone_cache *cache;
    hone_tune_options tune; /* strings are ours */
    uint32_t retry_s;
} worker;

/* ---- options that outlive the call ---- */

static const size_t text_members[] = {
    offsetof(hone_tune_options, search),       offsetof(hone_tune_options, evaluator),   offsetof(hone_tune_options, worker),
    offsetof(hone_tune_options, llm_provider), offsetof(hone_tune_options, llm_model),   offsetof(hone_tune_options, llm_api_base),
    offsetof(hone_tune_options, llm_command),  offsetof(hone_tune_options, llm_mailbox), offsetof(hone_tune_options, llm_replay),
    offsetof(hone_tune_options, transcript),   offsetof(hone_tune_options, device),
};

static const char **text_member(hone_tune_options *options, size_t index) {
    return (const char **)(void *)((char *)options + text_members[index]);
}

static void free_texts(hone_tune_options *options) {
    for (size_t i = 0; i < sizeof text_members / sizeof text_members[0]; i++)
        hone__free((void *)(uintptr_t)*text_member(options, i));
}

static hone_status keep_options(hone_tune_options *out, const hone_tune_options *given, hone_error *err) {
    hone_tune_options checked; /* what the environment says is asked again at each tuning */
    *out = (hone_tune_options)HONE_TUNE_OPTIONS_INIT;
    HONE_TRY(hone__tuning_options(&checked, given, err));
    HONE_TRY(hone__options_read(out, sizeof *out, given, "hone_tune_options", err));
    bool fits = true;
    for (size_t i = 0; i < sizeof text_members / sizeof text_members[0]; i++) {
        const char **text = text_member(out, i);
        const char *copy = hone__strdup(*text);
        fits = fits && (copy != NULL) == (*text != NULL);
        *text = copy;
    }
    if (!fits) {
        free_texts(out);
        return hone__fail(err, HONE_E_NOMEM, "tuner", "no memory for the options");
    }
    return HONE_OK;
}

/* ---- the thread ---- */

static int tick(const hone_progress *progress, void *user) {
    const worker *self = user;
    bool cancel = atomic_load(&self->wanted->closing);
    if (self->tune.progress != NULL && self->tune.progress(progress, self->tune.user) != 0)
        cancel = true;
    return cancel;
}

static void tune_one(worker *self, hone__want *want) {
    hone_tune_options options = self->tune;
    hone_error err = {0};
    char *json = NULL;
    options.force = 0;
    options.progress = tick;
    options.user = self;
    hone_status status = hone__tune(&json, self->cache, want->kernel, want->device, &want->problem, &options,
                                    want->recheck ? HONE_TUNE_RECHECK : HONE_TUNE_LAUNCH, &err);
    hone_free(json);
    if (status != HONE_OK && status != HONE_E_CANCELLED)
        hone__log(status == HONE_E_BUSY ? HONE_LOG_DEBUG : HONE_LOG_WARN, "tuner", "%s: %s", hone_kernel_name(want->kernel), err.message);
    if (status == HONE_E_BUSY) { /* another process sees to it; but it may die over it */
        hone__wanted_defer(self->wanted, want, BUSY_PAUSE_MS);
        return;
    }
    hone__want_clear(want);
    hone__wanted_finished(self->wanted, status == HONE_OK);
}

static void free_worker(worker *self) {
    hone_cache_close(self->cache);
    free_texts(&self->tune);
    hone__free(self);
}

static void *work(void *user) {
    worker *self = user;
    hone__wanted *wanted = self->wanted;
    hone__want want;
    while (hone__wanted_pop(wanted, self->retry_s, &want)) {
        hone__wanted_take_layers(wanted, self->cache);
        tune_one(self, &want);
    }
    free_worker(self);
    hone__wanted_gone(wanted);
    return NULL;
}

/* The program's signal handlers are not for this thread. */
static int start_thread(pthread_t *thread, worker *self) {
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(thread, NULL, work, self);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

/* ---- starting and stopping ---- */

static hone_status read_options(hone_tuner_options *out, const hone_tuner_options *options, hone_error *err) {
    *out = (hone_tuner_options)HONE_TUNER_OPTIONS_INIT;
    HONE_TRY(hone__options_read(out, sizeof *out, options, "hone_tuner_options", err));
    out->queue_max = out->queue_max == 0 ? QUEUE_DEFAULT : out->queue_max;
    out->retry_s = out->retry_s == 0 ? RETRY_S : out->retry_s;
    out->stop_wait_ms = out->stop_wait_ms == 0 ? STOP_WAIT_MS : out->stop_wait_ms;
    if (out->queue_max > QUEUE_MAX)
        return hone__fail(err, HONE_E_ARG, "tuner", "queue_max is %u; at most %d", out->queue_max, QUEUE_MAX);
    return HONE_OK;
}

hone_status hone__tuning_own_handle(hone_cache **out, const hone_cache *cache, bool outlives, hone_error *err) {
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    HONE_TRY(hone__cache_writable(cache, err));
    options.allow_network_fs = cache->store->allow_network_fs;
    options.map_bytes_max = cache->store->map_bytes_max;
    options.writer_wait_ms = cache->wait_ms;
    options.recheck = cache->recheck;
    HONE_TRY(hone_cache_open(out, hone_cache_path(cache), &options, err));
    hone_status status = hone__layers_lend(*out, cache->pack, cache->pack_count, outlives, err);
    if (status != HONE_OK) {
        hone_cache_close(*out);
        *out = NULL;
    }
    return status;
}

static hone_status make_worker(worker **out, const hone_cache *cache, const hone_tuner_options *options, hone_error *err) {
    worker *self = hone__alloc(sizeof *self);
    if (self == NULL)
        return hone__fail(err, HONE_E_NOMEM, "tuner", "no memory for a tuner");
    hone_status status = keep_options(&self->tune, options->tune, err);
    if (status != HONE_OK) {
        hone__free(self);
        return status;
    }
    self->retry_s = options->retry_s;
    status = hone__tuning_own_handle(&self->cache, cache, true, err);
    if (status != HONE_OK)
        free_worker(self);
    else
        *out = self;
    return status;
}

hone_status hone_tuner_start(hone_cache *cache, const hone_tuner_options *options, hone_error *err) {
    hone_tuner_options o;
    hone_tune_options tune;
    worker *self = NULL;
    HONE_TRY(hone__cache_writable(cache, err));
    HONE_TRY(read_options(&o, options, err));
    HONE_TRY(hone__tuning_options(&tune, o.tune, err));
    if (atomic_load(&cache->wanted) != NULL)
        return hone__fail(err, HONE_E_EXISTS, "tuner", "a tuner of %s is running; stop it first", hone_cache_path(cache));
    HONE_TRY(make_worker(&self, cache, &o, err));
    hone_status status = hone__wanted_new(&self->wanted, o.queue_max, err);
    if (status != HONE_OK) {
        free_worker(self);
        return status;
    }
    hone__wanted *wanted = self->wanted;
    wanted->effort = hone__effort_wanted(&tune);
    wanted->stop_wait_ms = o.stop_wait_ms;
    int code = start_thread(&wanted->worker, self);
    if (code != 0) {
        free_worker(self);
        hone__wanted_leave(wanted);
        hone__wanted_leave(wanted);
        return hone__fail_os(err, HONE_E_NOMEM, "tuner", code, "cannot start a thread: %s", strerror(code));
    }
    atomic_store(&cache->wanted, wanted);
    return HONE_OK;
}

hone_status hone_tuner_stop(hone_cache *cache, uint32_t wait_ms, hone_error *err) {
    HONE_TRY(hone__cache_usable(cache, err));
    if (hone__cache_stop_wanting(cache, wait_ms))
        return HONE_OK;
    return hone__fail(err, HONE_E_TIMEOUT, "tuner", "the tuner has not stopped within %u ms; it ends by itself at its next step", wait_ms);
}

hone_status hone_tuner_wait(const hone_cache *cache, uint32_t wait_ms, hone_error *err) {
    HONE_TRY(hone__cache_usable(cache, err));
    hone__wanted *wanted = atomic_load(&cache->wanted);
    if (wanted == NULL || hone__wanted_idle(wanted, wait_ms))
        return HONE_OK;
    return hone__fail(err, HONE_E_TIMEOUT, "tuner", "the tuner was still at work after %u ms", wait_ms);
}

hone_status hone_tuner_state_get(const hone_cache *cache, hone_tuner_state *state, hone_error *err) {
    HONE_TRY(hone__cache_usable(cache, err));
    if (state == NULL || state->struct_size != sizeof *state)
        return hone__fail(err, HONE_E_ARG, "tuner", "hone_tuner_state.struct_size is not set; use HONE_TUNER_STATE_INIT");
    *state = (hone_tuner_state)HONE_TUNER_STATE_INIT;
    hone__wanted *wanted = atomic_load(&cache->wanted);
    if (wanted == NULL)
        return HONE_OK;
    (void)pthread_mutex_lock(&wanted->mutex);
    state->running = 1;
    state->busy = wanted->busy;
    state->queued = wanted->count;
    state->done = wanted->done;
    state->failed = wanted->failed;
    state->dropped = atomic_load(&wanted->dropped);
    (void)pthread_mutex_unlock(&wanted->mutex);
    return HONE_OK;
}
