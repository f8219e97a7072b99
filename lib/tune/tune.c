/* tune.c: what happens on a miss: cache -> search <-> bench -> cache.  The loop keeps a short queue of configs in flight, so that compiling
 * runs ahead of timing; results come back in the order of proposal, but for stragglers, and the journal's order is the course that the next
 * process repeats. */
#include "alloc.h"
#include "clock.h"
#include "transcript.h"
#include "tuning.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { FLIGHT_MAX = 32, INITIAL_RANDOM = 5, MEANWHILE = 12, SLICE_MS = 100, CACHES_BEYOND = 8, RESULTS_BEFORE_STRAGGLERS = 20 };

typedef struct flight {
    hone__proposal proposal;
    const hone__known *known; /* answered by the journal, or NULL: with the evaluator */
    uint64_t ticket, since_ns;
} flight;

typedef struct flight_queue {
    flight flight[FLIGHT_MAX];
    uint32_t count, window, landed; /* landed: those whose time of flight is in flown_ns */
    uint64_t flown_ns;
    hone__ask_state state;
} flight_queue;

/* Traffic that is not far beyond the last cache is partly served by it from one run to the next, and may beat the bandwidth that was
 * measured on the memory: then that is no limit to stop at. */
static bool limit_holds(const hone__tuning *tuning) {
    double cache_bytes = 1024.0 * hone__json_number(tuning->device->identity, "l3_kib", 0);
    bool by_memory = tuning->device->peak_gbps > 0 && tuning->bytes / tuning->device->peak_gbps >= tuning->limit_ns;
    return tuning->limit_ns > 0 && (!by_memory || tuning->bytes >= CACHES_BEYOND * cache_bytes);
}

/* Well above 1 the limit does not hold either, and says nothing. */
static bool at_the_limit(const hone__tuning *tuning) {
    if (tuning->best == UINT32_MAX || tuning->options.roofline_stop <= 0 || !limit_holds(tuning))
        return false;
    double fraction = tuning->limit_ns / tuning->result[tuning->best].median_ns;
    return fraction >= tuning->options.roofline_stop && fraction < 1.1;
}

/* Why the search must stop now; NULL: go on. */
static const char *budget_spent(hone__tuning *tuning) {
    const hone_tune_options *options = &tuning->options;
    if (tuning->trials >= options->trials_max)
        return "trials: the budget is used up";
    double reserve = fmin(4.0, 0.1 * options->time_max_s); /* for the finalists */
    /* The default, and what the result may replace, are measured however short the time is: an answer needs something to stand on. */
    uint32_t least = tuning->has_incumbent ? 2 : 1;
    if (options->time_max_s > 0 && tuning->trials >= least && hone__tuning_elapsed(tuning) >= options->time_max_s - reserve)
        return "time: the budget is used up";
    if (tuning->trials < least && hone__tuning_overdue(tuning))
        return tuning->trials == 0 ? "time: the first config has no result yet" : "time: the budget is used up";
    if (at_the_limit(tuning) && !tuning->limit_verified) {
        tuning->limit_verified = true;
        hone__tuning_verify_peaks(tuning);
    }
    return at_the_limit(tuning) ? "roofline: within the stated fraction of the physical limit" : NULL;
}

static hone_status fill(hone__tuning *tuning, flight_queue *queue, hone_error *err) {
    while (queue->count < queue->window && tuning->trials + queue->count < tuning->options.trials_max) {
        uint32_t count = 0;
        flight *next = &queue->flight[queue->count];
        queue->state = hone__strategy_ask(tuning->strategy, &next->proposal, 1, &count);
        if (count == 0)
            break;
        next->known = hone__session_find(tuning, &next->proposal.config);
        next->ticket = tuning->next_ticket++;
        next->since_ns = hone__clock_ns();
        if (next->known == NULL) {
            cJSON *body = NULL;
            HONE_TRY(hone__kernel_compile_json(tuning->kernel, tuning->sizes, &next->proposal.config, &body, err));
            hone_status status = hone__bench_submit(tuning->bench, next->ticket, body, err);
            cJSON_Delete(body);
            HONE_TRY(status);
        }
        queue->count++;
    }
    return HONE_OK;
}

static void describe(const hone__tuning *tuning, const hone__proposal *proposal, const hone__measurement *result, char *text, size_t bytes) {
    hone__buf config;
    hone__buf_init(&config, 4096);
    hone__config_print_sparse(&config, tuning->kernel->space, &proposal->config);
    const char *shown = config.status == HONE_OK && config.length > 0 ? config.data : "{}";
    if (result->median_ns > 0)
        (void)snprintf(text, bytes, "%9.4f ms  %s%s  %s", result->median_ns * 1e-6, proposal->proposer,
                       result->outcome == HONE_OUTCOME_SLOW ? " (abandoned)" : "", shown);
    else
        (void)snprintf(text, bytes, "%s: %.100s  %s  %s", hone__outcome_name(result->outcome), result->reason, proposal->proposer, shown);
    hone__buf_free(&config);
}

/* The first of the configs in flight that the journal answers, in its order; UINT32_MAX: none. */
static uint32_t first_known(const flight_queue *queue) {
    uint32_t first = UINT32_MAX;
    for (uint32_t i = 0; i < queue->count; i++) {
        const hone__known *known = queue->flight[i].known;
        if (known != NULL && (first == UINT32_MAX || known->order < queue->flight[first].known->order))
            first = i;
    }
    return first;
}

static flight leave(flight_queue *queue, uint32_t at) {
    flight landed = queue->flight[at];
    queue->count--;
    memmove(&queue->flight[at], &queue->flight[at + 1], (queue->count - at) * sizeof landed);
    if (landed.known == NULL) {
        queue->flown_ns += hone__clock_ns() - landed.since_ns;
        queue->landed++;
    }
    return landed;
}

/* Is all that is left of the budget in flight for several times as long as a config usually is?  A compile that takes ten seconds where the
 * others take half of one must not hold up the end. */
static bool only_stragglers(const hone__tuning *tuning, const flight_queue *queue) {
    if (queue->count == 0 || queue->landed < RESULTS_BEFORE_STRAGGLERS || tuning->trials + queue->count < tuning->options.trials_max)
        return false;
    uint64_t now = hone__clock_ns(), patience = 5 * (queue->flown_ns / queue->landed);
    for (uint32_t i = 0; i < queue->count; i++) {
        uint64_t flown = now - queue->flight[i].since_ns;
        if (queue->flight[i].known != NULL || flown < patience || flown < 1000000000u)
            return false;
    }
    return true;
}

/* Take the next config in flight whose result is there: the journal's first, which came before any other result. */
static hone_status take(hone__tuning *tuning, flight_queue *queue, hone_error *err) {
    hone__measurement result;
    uint32_t at = first_known(queue);
    if (at != UINT32_MAX) {
        result = queue->flight[at].known->result;
    } else {
        uint64_t ticket = 0;
        HONE_TRY(hone__bench_next(tuning->bench, SLICE_MS, &ticket, &result, err));
        for (at = 0; at < queue->count && queue->flight[at].ticket != ticket; at++) {
        }
        if (at == queue->count)
            return hone__fail(err, HONE_E_BUG, "tune", "a result came back that nobody waits for");
    }
    uint32_t number = tuning->trials;
    const flight landed = leave(queue, at);
    hone__session_trial(tuning, &landed.proposal, &result, landed.known != NULL);
    if (tuning->trials != number + 1)
        return hone__fail(err, HONE_E_NOMEM, "tune", "no memory for another trial");
    if (landed.known == NULL)
        tuning->ticket[number] = landed.ticket;
    if (tuning->best != UINT32_MAX)
        hone__bench_set_incumbent(tuning->bench, tuning->result[tuning->best].median_ns);
    HONE_TRY(hone__strategy_tell(tuning->strategy, &landed.proposal.config, &result));
    char text[400];
    describe(tuning, &landed.proposal, &result, text, sizeof text);
    tuning->phase = "search";
    return hone__tuning_tick(tuning, text) ? HONE_E_CANCELLED : HONE_OK;
}

static hone_status search(hone__tuning *tuning, hone_error *err) {
    flight_queue queue = {.window = hone__bench_parallel(tuning->bench) + 1, .state = HONE_ASK_MORE};
    if (queue.window > FLIGHT_MAX)
        queue.window = FLIGHT_MAX;
    for (;;) {
        const char *spent = budget_spent(tuning);
        if (spent != NULL) {
            (void)snprintf(tuning->stop, sizeof tuning->stop, "%s", spent);
            return HONE_OK;
        }
        HONE_TRY(fill(tuning, &queue, err));
        if (only_stragglers(tuning, &queue)) {
            (void)snprintf(tuning->stop, sizeof tuning->stop, "trials: the budget is used up but for %u that took several times as long as the others",
                           queue.count);
            return HONE_OK;
        }
        /* With nothing to measure there is only the model to wait for. */
        hone_status status = hone__strategy_pump(tuning->strategy, queue.count == 0 ? SLICE_MS : 0, err);
        if (status != HONE_OK && status != HONE_E_TIMEOUT)
            return status;
        if (queue.count > 0) {
            status = take(tuning, &queue, err);
            if (status != HONE_OK && status != HONE_E_TIMEOUT)
                return status;
        } else if (queue.state == HONE_ASK_DONE) {
            (void)snprintf(tuning->stop, sizeof tuning->stop, "%s", hone__strategy_stop(tuning->strategy));
            return HONE_OK;
        } else {
            tuning->phase = queue.state == HONE_ASK_WAIT_MODEL ? "waiting for the model" : "search";
        }
        if (hone__tuning_tick(tuning, NULL))
            return HONE_E_CANCELLED;
    }
}

static hone_status open_strategy(hone__tuning *tuning, const hone__exchange_log *log, hone_error *err) {
    hone__strategy_options options = {
        .kernel = tuning->kernel,
        .device = tuning->device,
        .bound = tuning->bound,
        .incumbent = tuning->has_incumbent ? &tuning->incumbent : NULL,
        .seed = tuning->seed,
        .seed_count = tuning->seed_count,
        .neighbour = tuning->neighbour,
        .neighbour_count = tuning->neighbour_count,
        .evidence = tuning->evidence,
        .evidence_count = tuning->evidence_count,
        .rng_seed = tuning->options.seed,
        .trials_max = tuning->options.trials_max,
        .rounds_max = tuning->options.rounds_max,
        .configs_per_round = tuning->options.configs_per_round,
        .initial_random = INITIAL_RANDOM,
        .meanwhile = MEANWHILE,
        .llm = tuning->llm,
        .log = log,
        .min_gain = tuning->options.min_gain,
        .fall_back = strcmp(tuning->search_name, "auto") == 0,
    };
    return hone__strategy_open(&tuning->strategy, tuning->strategy_name, &options, err);
}

static hone_status prepare_bench(hone__tuning *tuning, hone_error *err) {
    cJSON *body = NULL;
    HONE_TRY(hone__kernel_prepare_json(tuning->kernel, tuning->sizes, tuning->options.seed, &body, err));
    hone_status status = hone__bench_prepare(tuning->bench, body, hone__tuning_start_tick, tuning, err);
    cJSON_Delete(body);
    if (status == HONE_E_CANCELLED && tuning->late)
        status = hone__fail(err, HONE_E_TIMEOUT, "tune", "inputs and reference were not ready within the %.3g s for the tuning; give it more time, "
                            "or a faster reference", tuning->options.time_max_s);
    return status;
}

static hone_status run(hone__tuning *tuning, hone__entry *entry, hone_error *err) {
    if (hone__tuning_tick(tuning, "starting the evaluator"))
        return hone__fail(err, HONE_E_CANCELLED, "tune", "cancelled before anything was measured");
    HONE_TRY(hone__bound_new(&tuning->bound, tuning->kernel->space, tuning->sizes, err));
    HONE_TRY(hone__tuning_device(tuning, err));
    hone__tuning_roofline(tuning);
    hone__tuning_neighbours(tuning);
    HONE_TRY(hone__tuning_seeds(tuning, err));
    HONE_TRY(hone__session_resume(tuning, err));
    hone__exchange_log log = hone__session_log(tuning);
    HONE_TRY(open_strategy(tuning, &log, err)); /* the first request leaves here, before anything is measured */
    if (hone__tuning_tick(tuning, "preparing inputs and reference"))
        return hone__fail(err, HONE_E_CANCELLED, "tune", "cancelled before anything was measured");
    hone_status status = prepare_bench(tuning, err);
    if (status == HONE_OK)
        status = search(tuning, err);
    if (status == HONE_OK)
        return hone__tuning_finish(tuning, entry, err);
    if (!tuning->lost) /* else the session is another's */
        hone__session_save(tuning, false);
    if (status == HONE_E_CANCELLED)
        (void)hone__fail(err, status, "tune", "cancelled; %u trials are kept, the same command goes on from there", tuning->trials);
    return status;
}

/* What cannot be written at the end is better known at the beginning. */
static hone_status check_transcript(const hone__tuning *tuning, hone_error *err) {
    const char *path = tuning->options.transcript;
    hone__transcript *transcript = NULL;
    hone_status status = path == NULL ? HONE_OK : hone__transcript_read(&transcript, path, err);
    hone__transcript_free(transcript);
    struct stat info;
    bool fresh = status == HONE_E_NOTFOUND || (status != HONE_OK && stat(path, &info) == 0 && info.st_size == 0);
    return fresh ? HONE_OK : status;
}

hone_status hone__tune(char **json, hone_cache *cache, const hone_kernel *kernel, const hone_device *device, const hone_problem *problem,
                       const hone_tune_options *options, hone__tune_reason reason, hone_error *err) {
    *json = NULL;
    hone__tuning *tuning = hone__alloc(sizeof *tuning);
    if (tuning == NULL)
        return hone__fail(err, HONE_E_NOMEM, "tune", "no memory for a tuning");
    hone_error own = {0};
    if (err == NULL)
        err = &own;
    tuning->cache = cache;
    tuning->reader = cache;
    tuning->reason = reason;
    tuning->kernel = kernel;
    tuning->caller_device = device;
    tuning->best = UINT32_MAX;
    tuning->phase = "start";
    tuning->started_ns = hone__clock_ns();
    hone__entry entry = {0};
    hone_match before = HONE_MATCH_EXACT;
    bool tuned = false;
    hone_status status = cache == NULL ? hone__fail(err, HONE_E_ARG, "tune", "tuning needs a cache") : HONE_OK;
    if (status == HONE_OK)
        status = hone__tuning_options(&tuning->options, options, err);
    if (status == HONE_OK)
        status = hone__tuning_problem(tuning, problem, err);
    if (status == HONE_OK && device == NULL)
        status = hone__tuning_own_device(tuning, err);
    if (status != HONE_OK)
        goto out;
    tuning->key = hone__key_make(kernel, tuning->caller_device, tuning->sizes);
    bool hit = hone__tuning_answered(tuning, &before, &entry);
    if (!hit) {
        status = hone__tuning_refuse_failure(tuning, err);
        if (status == HONE_OK)
            status = check_transcript(tuning, err);
        if (status == HONE_OK)
            status = hone__tuning_llm(tuning, err);
        if (status == HONE_OK)
            status = hone__tuning_claim(tuning, err);
        hit = status == HONE_OK && hone__tuning_answered_meanwhile(tuning, &before, &entry);
        if (status == HONE_OK && !hit) {
            hone__cache_count(cache, "tune_started", 1);
            hone__tuning_recall(tuning);
            status = run(tuning, &entry, err);
            if (tuning->lost && status == HONE_E_CANCELLED) {
                hit = hone__tuning_answered_meanwhile(tuning, &before, &entry);
                status = hit ? HONE_OK : hone__fail(err, HONE_E_BUSY, "tune", "another process has taken the key over while this one was stopped");
            }
            hone__cache_count(cache, status == HONE_OK ? "tune_done" : "tune_failed", 1);
            hone__tuning_remember_fault(tuning, status, err->message);
        }
        tuned = !hit;
    }
    if (status == HONE_OK)
        status = hone__result_json(json, &entry, tuning, before, tuned, err);
out:
    hone__entry_clear(&entry);
    hone__tuning_clear(tuning);
    hone__free(tuning);
    return status;
}

hone_status hone_tune(char **json, hone_cache *cache, const hone_kernel *kernel, const hone_device *device, const hone_problem *problem,
                      const hone_tune_options *options, hone_error *err) {
    return hone__tune(json, cache, kernel, device, problem, options, HONE_TUNE_ASKED, err);
}
