/* result.c: the end of a tuning: finalists measured side by side, the winner stored with how we know, and the answer as JSON. */
#include "alloc.h"
#include "clock.h"
#include "log.h"
#include "tuning.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    FINALISTS = 5,
    OVERDUE_S = 10,
    QUICK_TRIALS = 100,
    THOROUGH_TRIALS = 500,
    RESULT_TRIES = 40
};

#define DRIFT_MOST 1.15 /* by which a device may be slower under a steady load; what is beyond that was no good reading */
#define FINAL_SHARE 0.1 /* of the search's time, for finalists that are hard to tell apart */

double hone__tuning_elapsed(const hone__tuning *tuning) {
    return tuning->earlier_s + (double)(hone__clock_ns() - tuning->started_ns) * 1e-9;
}

bool hone__tuning_overdue(const hone__tuning *tuning) {
    double own_s = (double)(hone__clock_ns() - tuning->started_ns) * 1e-9;
    return tuning->options.time_max_s > 0 && own_s > fmax(0, tuning->options.time_max_s - tuning->earlier_s) + OVERDUE_S;
}

bool hone__tuning_tick(hone__tuning *tuning, const char *event) {
    double elapsed = hone__tuning_elapsed(tuning);
    if (!hone__tuning_keep_claim(tuning))
        return true;
    if (tuning->options.progress == NULL)
        return false;
    hone__strategy_report report = {0};
    if (tuning->strategy != NULL)
        hone__strategy_report_get(tuning->strategy, &report);
    hone_progress progress = {
        .struct_size = sizeof progress,
        .trials = tuning->trials,
        .trials_max = tuning->options.trials_max,
        .failed = tuning->failed,
        .resumed = tuning->resumed,
        .round = report.rounds,
        .elapsed_s = elapsed,
        .max_time_s = tuning->options.time_max_s,
        .best_ms = tuning->best == UINT32_MAX ? 0 : tuning->result[tuning->best].median_ns * 1e-6,
        .default_ms = tuning->default_ns * 1e-6,
        .phase = tuning->phase,
        .event = event,
    };
    return tuning->options.progress(&progress, tuning->options.user) != 0;
}

int hone__tuning_start_tick(void *user) {
    hone__tuning *tuning = user;
    if (hone__tuning_tick(tuning, NULL))
        return 1;
    tuning->late = hone__tuning_overdue(tuning);
    return tuning->late;
}

/* ---- finalists ---- */

typedef struct final_set {
    uint32_t trial[FINALISTS + 2];       /* indices in tuning->trial, best first, last what is known and the default, if they are not among them */
    hone__finalist finalist[FINALISTS + 2];
    uint32_t count;
} final_set;

static bool usable(const hone__measurement *result) {
    return result->outcome == HONE_OUTCOME_OK && result->accuracy != HONE_ACCURACY_FAILED && result->median_ns > 0;
}

static void add_finalist(final_set *set, uint32_t trial) {
    bool has = trial == UINT32_MAX;
    for (uint32_t i = 0; i < set->count; i++)
        has = has || set->trial[i] == trial;
    if (!has)
        set->trial[set->count++] = trial;
}

static void pick(const hone__tuning *tuning, final_set *set) {
    set->count = 0;
    uint32_t default_trial = UINT32_MAX, incumbent_trial = UINT32_MAX;
    for (uint32_t i = 0; i < tuning->trials; i++) {
        if (!usable(&tuning->result[i]))
            continue;
        if (hone__config_equal(&tuning->trial[i].config, &tuning->kernel->space->base))
            default_trial = i;
        if (hone__tuning_is_incumbent(tuning, i))
            incumbent_trial = i;
        uint32_t at = set->count < FINALISTS ? set->count : FINALISTS;
        while (at > 0 && tuning->result[set->trial[at - 1]].median_ns > tuning->result[i].median_ns)
            at--;
        if (at == FINALISTS)
            continue;
        if (set->count < FINALISTS)
            set->count++;
        for (uint32_t k = set->count - 1; k > at; k--)
            set->trial[k] = set->trial[k - 1];
        set->trial[at] = i;
    }
    /* Only those that could still be best: within five percent of the leader; and the runner-up, so that the leader is verified too. */
    while (set->count > 2 && tuning->result[set->trial[set->count - 1]].median_ns > 1.05 * tuning->result[set->trial[0]].median_ns)
        set->count--;
    add_finalist(set, incumbent_trial);
    add_finalist(set, default_trial);
}

static hone_status submit(hone__tuning *tuning, const hone__config *config, uint64_t ticket, hone_error *err) {
    cJSON *body = NULL;
    HONE_TRY(hone__kernel_compile_json(tuning->kernel, tuning->sizes, config, &body, err));
    hone_status status = hone__bench_submit(tuning->bench, ticket, body, err);
    cJSON_Delete(body);
    return status;
}

/* What is still in flight when the search ends is not waited for as a result, but must be out of the evaluator's way. */
static hone_status drain(hone__tuning *tuning, hone_error *err) {
    hone__bench_cancel(tuning->bench);
    hone__bench_set_incumbent(tuning->bench, 0);
    for (;;) {
        uint64_t ticket;
        hone__measurement result;
        hone_status status = hone__bench_next(tuning->bench, 200, &ticket, &result, err);
        if (status == HONE_E_NOTFOUND)
            return HONE_OK;
        if (status != HONE_OK && status != HONE_E_TIMEOUT)
            return status;
        if (hone__tuning_tick(tuning, NULL))
            return hone__fail(err, HONE_E_CANCELLED, "tune", "cancelled");
        if (hone__tuning_overdue(tuning))
            hone__bench_interrupt(tuning->bench, "given up, because the time for the tuning is over");
    }
}

/* Compile and run a trial of the journal once.  An evaluator that dies meanwhile says nothing about the config: twice more. */
static hone_status run_again(hone__tuning *tuning, uint32_t trial, hone__measurement *again, hone_error *err) {
    for (int attempt = 0; attempt < 3; attempt++) {
        tuning->ticket[trial] = tuning->next_ticket++;
        HONE_TRY(submit(tuning, &tuning->trial[trial].config, tuning->ticket[trial], err));
        uint64_t ticket = UINT64_MAX;
        hone_status status = HONE_E_TIMEOUT;
        while (status == HONE_E_TIMEOUT || (status == HONE_OK && ticket != tuning->ticket[trial])) {
            status = hone__bench_next(tuning->bench, 200, &ticket, again, err);
            if (hone__tuning_tick(tuning, NULL))
                return hone__fail(err, HONE_E_CANCELLED, "tune", "cancelled");
        }
        HONE_TRY(status);
        if (again->outcome != HONE_OUTCOME_EVALUATOR)
            break;
    }
    return HONE_OK;
}

/* Finalists out of the journal have no handle in this evaluator yet.  One that does not run a second time is out, and the set is picked
 * anew: the next best must not lose to the default because of it. */
static hone_status make_ready(hone__tuning *tuning, final_set *set, hone_error *err) {
    HONE_TRY(drain(tuning, err));
    for (uint32_t i = 0; i < set->count;) {
        uint32_t trial = set->trial[i];
        hone__measurement again = {0};
        if (tuning->from_journal[trial]) {
            HONE_TRY(run_again(tuning, trial, &again, err));
            if (!usable(&again)) {
                tuning->result[trial] = again;
                pick(tuning, set);
                i = 0;
                continue;
            }
            tuning->from_journal[trial] = false;
        }
        i++;
    }
    for (uint32_t i = 0; i < set->count; i++)
        set->finalist[i] = (hone__finalist){.ticket = tuning->ticket[set->trial[i]], .result = tuning->result[set->trial[i]]};
    return set->count > 0 ? HONE_OK : hone__fail(err, HONE_E_NOVALID, "tune", "none of the finalists ran a second time");
}

static int compare_tick(void *user) {
    return hone__tuning_tick(user, NULL);
}

static bool is_default(const hone__tuning *tuning, uint32_t trial) {
    return hone__config_equal(&tuning->trial[trial].config, &tuning->kernel->space->base);
}

/* Strike finalists that failed while they were compared.  True when one but the default did: others may now be the best. */
static bool strike(hone__tuning *tuning, const final_set *set) {
    bool any = false;
    for (uint32_t i = 0; i < set->count; i++) {
        if (usable(&set->finalist[i].result))
            continue;
        tuning->result[set->trial[i]] = set->finalist[i].result;
        any = any || !is_default(tuning, set->trial[i]);
    }
    return any;
}

/* How much slower the device is while finalists run back to back (a clock that falls under the load) than it was for single trials: by the
 * finalist that lost least, since the others may have been picked for readings that were too good to be true. */
static double drift_of(const hone__tuning *tuning, const final_set *set) {
    double least = HUGE_VAL;
    for (uint32_t i = 0; i < set->count; i++)
        least = fmin(least, set->finalist[i].result.median_ns / tuning->result[set->trial[i]].median_ns);
    return fmin(fmax(1, least), DRIFT_MOST);
}

/* Keep what the comparison said of the finalists, in terms of single trials.  True when another trial now looks clearly better than the
 * best of them: they had been picked by readings that were too good to be true, and those hid the others. */
static bool hidden(hone__tuning *tuning, const final_set *set) {
    double low_ns = HUGE_VAL, drift = drift_of(tuning, set);
    for (uint32_t i = 0; i < set->count; i++) {
        hone__measurement *kept = &tuning->result[set->trial[i]];
        *kept = set->finalist[i].result;
        kept->median_ns /= drift;
        kept->low_ns /= drift;
        kept->high_ns /= drift;
        kept->mad_ns /= drift;
        if (set->finalist[i].rank == 0)
            low_ns = kept->low_ns;
    }
    for (uint32_t i = 0; i < tuning->trials; i++) {
        bool compared = false;
        for (uint32_t k = 0; k < set->count; k++)
            compared = compared || set->trial[k] == i;
        if (!compared && usable(&tuning->result[i]) && tuning->result[i].high_ns < low_ns)
            return true;
    }
    return false;
}

/* Fill rank and result of each finalist; without a comparison the trials' own figures decide. */
static hone_status settle(hone__tuning *tuning, final_set *set, hone_error *err) {
    double began_s = hone__tuning_elapsed(tuning);
    for (int again = 0;; again++) {
        HONE_TRY(make_ready(tuning, set, err));
        hone__compare_options options = {.enough_ms = 1e3 * FINAL_SHARE * began_s};
        if (tuning->options.time_max_s > 0) {
            double left_ms = (tuning->options.time_max_s - hone__tuning_elapsed(tuning)) * 1e3;
            options.budget_ms = fmin(3000, fmax(200, left_ms));
            options.limit_s = 1e-3 * fmax(0, left_ms) + OVERDUE_S;
        }
        hone_status status = HONE_OK;
        if (set->count > 1)
            status = hone__bench_compare(tuning->bench, set->finalist, set->count, &options, compare_tick, tuning, err);
        if (status == HONE_E_CANCELLED)
            return status;
        if (status == HONE_OK && set->count > 1) {
            bool failed = strike(tuning, set);
            bool enough = again == FINALISTS || (again > 0 && hone__tuning_elapsed(tuning) - began_s > FINAL_SHARE * began_s);
            if (!failed && (enough || hone__tuning_overdue(tuning) || !hidden(tuning, set)))
                return HONE_OK;
            pick(tuning, set);
            if (again < FINALISTS)
                continue;
            status = hone__fail(err, HONE_E_EVALUATOR, "tune", "%d sets of them failed when they were measured again", again + 1);
        }
        for (uint32_t i = 0; i < set->count; i++)
            set->finalist[i] = (hone__finalist){.ticket = tuning->ticket[set->trial[i]], .rank = i, .result = tuning->result[set->trial[i]]};
        if (status != HONE_OK && tuning->warning[0] == '\0' && err != NULL)
            (void)snprintf(tuning->warning, sizeof tuning->warning, "finalists were not compared: %.180s", err->message);
        return set->count > 0 ? HONE_OK : hone__fail(err, HONE_E_NOVALID, "tune", "none of the finalists ran a second time");
    }
}

/* Position in the set of the winner: rank 0, but the default where it is as good as that to the eye too: no change without a gain. */
static uint32_t winner_of(const hone__tuning *tuning, const final_set *set, bool *tie) {
    uint32_t best = 0;
    *tie = false;
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->finalist[i].rank == 0)
            best = i;
    }
    uint32_t winner = best;
    for (uint32_t i = 0; i < set->count; i++) {
        if (i != best && set->finalist[i].tied_with_best) {
            *tie = true;
            if (is_default(tuning, set->trial[i]) && set->finalist[i].result.median_ns <= 1.01 * set->finalist[best].result.median_ns)
                winner = i;
        }
    }
    return winner;
}

/* ---- the entry ---- */

static bool rank_in(hone__ranked *out, const hone__tuning *tuning, const final_set *set, uint32_t at) {
    const hone__measurement *result = &set->finalist[at].result;
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    hone__config_print(&buf, tuning->kernel->space, &tuning->trial[set->trial[at]].config);
    *out = (hone__ranked){.config = hone__buf_take(&buf),
                          .time_ns = result->median_ns,
                          .low_ns = result->low_ns,
                          .high_ns = result->high_ns,
                          .mad_ns = result->mad_ns,
                          .samples = result->samples};
    return out->config != NULL;
}

hone__effort hone__effort_wanted(const hone_tune_options *options) {
    return options->trials_max >= THOROUGH_TRIALS ? HONE_EFFORT_THOROUGH
           : options->trials_max >= QUICK_TRIALS  ? HONE_EFFORT_STANDARD
                                                  : HONE_EFFORT_QUICK;
}

static char *sizes_text(const hone__tuning *tuning) {
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    hone__buf_char(&buf, '{');
    for (uint32_t i = 0; i < tuning->kernel->size_count; i++)
        hone__buf_printf(&buf, "%s\"%s\":%lld", i == 0 ? "" : ",", tuning->kernel->size[i].name, (long long)tuning->sizes[i]);
    hone__buf_char(&buf, '}');
    return hone__buf_take(&buf);
}

/* A fact that only describes the device; "" when it does not say. */
static char *described(const hone_device *device, const char *name) {
    const char *text = hone__json_string(device->description, name);
    return hone__strdup(text == NULL ? "" : text);
}

static bool fill_entry(hone__entry *entry, const hone__tuning *tuning, const final_set *set) {
    bool tie;
    uint32_t winner = winner_of(tuning, set, &tie);
    bool good = rank_in(&entry->best, tuning, set, winner);
    for (uint32_t rank = 0; rank < set->count && entry->alternative_count < HONE_ALTERNATIVES_MAX; rank++) {
        for (uint32_t i = 0; i < set->count && good; i++) {
            if (i != winner && set->finalist[i].rank == rank)
                good = rank_in(&entry->alternative[entry->alternative_count++], tuning, set, i);
        }
    }
    for (uint32_t i = 0; i < set->count; i++) {
        if (is_default(tuning, set->trial[i]))
            entry->default_ns = set->finalist[i].result.median_ns;
    }
    hone__strategy_report report;
    hone__strategy_report_get(tuning->strategy, &report);
    char host[128] = "";
    (void)gethostname(host, sizeof host - 1);
    cJSON *device = hone__device_to_json(tuning->device);
    entry->key = tuning->key;
    entry->kernel_name = hone__strdup(tuning->kernel->name);
    entry->sizes = sizes_text(tuning);
    entry->device = device == NULL ? NULL : hone__json_text(device);
    cJSON_Delete(device);
    entry->flops = tuning->flops;
    entry->bytes = tuning->bytes;
    entry->roofline = entry->best.time_ns > 0 ? tuning->limit_ns / entry->best.time_ns : 0;
    entry->effort = hone__effort_wanted(&tuning->options);
    entry->accuracy = tuning->result[set->trial[winner]].accuracy;
    entry->tie = tie;
    entry->strategy = hone__strdup(tuning->strategy_name);
    entry->model = hone__strdup(tuning->llm == NULL ? "" : hone__llm_model(tuning->llm));
    entry->stop = hone__strdup(tuning->stop);
    entry->tool_version = hone__strdup(HONE_VERSION_STRING);
    entry->host = hone__strdup(host);
    entry->driver = described(tuning->device, "driver");
    entry->toolkit = described(tuning->device, tuning->kernel->language == HONE_LANGUAGE_C ? "compiler" : "toolkit");
    entry->rounds = report.rounds;
    entry->trials = tuning->trials;
    entry->failed = tuning->failed;
    entry->tokens = report.tokens_in + report.tokens_out;
    entry->seconds = hone__tuning_elapsed(tuning);
    entry->created_unix_s = hone__clock_unix_s();
    return good && entry->kernel_name != NULL && entry->sizes != NULL && entry->device != NULL && entry->strategy != NULL &&
           entry->model != NULL && entry->stop != NULL && entry->tool_version != NULL && entry->host != NULL && entry->driver != NULL &&
           entry->toolkit != NULL;
}

static hone_status put_kernel(hone__tuning *tuning, hone_error *err) {
    hone__kernel_info info;
    hone_status status = hone__kernel_info_make(&info, tuning->kernel);
    if (status == HONE_OK)
        status = hone__cache_put_kernel(tuning->cache, &info, err);
    else
        (void)hone__fail(err, status, "tune", "no memory to keep the kernel's text");
    hone__kernel_info_clear(&info);
    return status;
}

/* When every config failed, say what most of them failed of, and remember it. */
static hone_status nothing_ran(hone__tuning *tuning, hone_error *err) {
    uint32_t count[HONE_OUTCOME_COUNT] = {0};
    const char *example[HONE_OUTCOME_COUNT] = {0};
    uint32_t most = 0;
    for (uint32_t i = 0; i < tuning->trials; i++) {
        uint32_t outcome = tuning->result[i].outcome;
        example[outcome] = tuning->result[i].reason;
        if (++count[outcome] > count[most])
            most = outcome;
    }
    if (tuning->trials == 0)
        return hone__fail(err, HONE_E_TIMEOUT, "tune", "no config was measured within the budget (%s); give it more time, or see why the default "
                          "config takes so long", tuning->stop);
    /* The evaluator's own faults say nothing about the kernel: they are not remembered, and the same command tries again. */
    if (count[HONE_OUTCOME_EVALUATOR] == tuning->trials) {
        hone__session_save(tuning, false);
        return hone__fail(err, HONE_E_EVALUATOR, "tune", "the evaluator has measured none of %u configs of %s: %.350s", tuning->trials,
                          tuning->kernel->name, example[HONE_OUTCOME_EVALUATOR]);
    }
    hone_status status = hone__fail(err, HONE_E_NOVALID, "tune", "none of %u configs of %s ran and was right; most failed with %s: %.300s", tuning->trials,
                                    tuning->kernel->name, hone__outcome_name((hone__outcome)most), example[most]);
    hone__tuning_remember_hopeless(tuning, err->message);
    hone__session_save(tuning, true);
    return status;
}

hone_status hone__tuning_finish(hone__tuning *tuning, hone__entry *entry, hone_error *err) {
    *entry = (hone__entry){0};
    final_set set;
    pick(tuning, &set);
    if (set.count == 0)
        return nothing_ran(tuning, err);
    tuning->phase = "finalists";
    if (hone__tuning_tick(tuning, "measuring the finalists side by side"))
        return hone__fail(err, HONE_E_CANCELLED, "tune", "cancelled");
    HONE_TRY(settle(tuning, &set, err));
    if (!fill_entry(entry, tuning, &set)) {
        hone__entry_clear(entry);
        return hone__fail(err, HONE_E_NOMEM, "tune", "no memory for the entry");
    }
    hone_error failure = {0};
    hone_status status = HONE_E_BUSY;
    /* What took minutes to find is worth more patience with other writers than a look-up's store. */
    for (int i = 0; i < RESULT_TRIES && status == HONE_E_BUSY; i++) {
        status = put_kernel(tuning, &failure);
        if (status == HONE_OK)
            status = hone__tuning_store(tuning, entry, &failure);
    }
    if (status != HONE_OK) {
        (void)snprintf(tuning->warning, sizeof tuning->warning, "the result is not remembered: %.200s", failure.message);
        hone__log(HONE_LOG_WARN, "tune", "%s", tuning->warning);
        hone__cache_count(tuning->cache, "store_error", 1);
    }
    hone__session_save(tuning, true);
    tuning->phase = "done";
    return HONE_OK;
}

/* ---- the answer ---- */

static void json_member(hone__buf *buf, const char *name, double value) {
    hone__buf_printf(buf, ",\"%s\":", name);
    hone__buf_json_double(buf, value);
}

static double round_to(double value, double unit) {
    return round(value / unit) * unit;
}

hone_status hone__result_json(char **json, const hone__entry *entry, const hone__tuning *tuning, hone_match before, bool tuned,
                              hone_error *err) {
    char hex[33];
    hone__hash_hex(entry->key.key, hex);
    const hone__ranked *best = &entry->best;
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    hone__buf_printf(&buf, "{\"hone\":1,\"match\":\"exact\",\"tuned\":%s,\"before\":\"%s\",\"kernel\":", tuned ? "true" : "false",
                     hone_match_name(before));
    hone__buf_json_string(&buf, entry->kernel_name);
    hone__buf_printf(&buf, ",\"sizes\":%s,\"key\":\"%s\",\"config\":%s", entry->sizes, hex, best->config);
    json_member(&buf, "time_ms", best->time_ns * 1e-6);
    json_member(&buf, "noise", best->time_ns > 0 ? round_to((best->high_ns - best->low_ns) / 2 / best->time_ns, 1e-6) : 0);
    json_member(&buf, "default_ms", entry->default_ns * 1e-6);
    json_member(&buf, "speedup", best->time_ns > 0 ? round_to(entry->default_ns / best->time_ns, 1e-4) : 0);
    hone__buf_printf(&buf, ",\"tie\":%s,\"accuracy\":\"%s\"", entry->tie ? "true" : "false", hone__accuracy_name(entry->accuracy));
    hone__buf_printf(&buf, ",\"trials\":%u,\"failed\":%u,\"resumed\":%u,\"rounds\":%u", tuned ? entry->trials : 0, tuned ? entry->failed : 0,
                     tuned ? tuning->resumed : 0, tuned ? entry->rounds : 0);
    json_member(&buf, "seconds", round_to(tuned ? entry->seconds : hone__tuning_elapsed(tuning), 1e-3));
    hone__buf_text(&buf, ",\"strategy\":");
    hone__buf_json_string(&buf, entry->strategy);
    hone__buf_text(&buf, ",\"model\":");
    hone__buf_json_string(&buf, entry->model);
    hone__buf_printf(&buf, ",\"tokens\":%llu,\"stop\":", tuned ? (unsigned long long)entry->tokens : 0ULL);
    hone__buf_json_string(&buf, tuned ? entry->stop : "exact hit");
    json_member(&buf, "roofline", round_to(entry->roofline, 1e-4));
    hone__buf_printf(&buf, ",\"effort\":\"%s\",\"warning\":", hone__effort_name(entry->effort));
    hone__buf_json_string(&buf, tuning->warning);
    hone__buf_text(&buf, ",\"entry\":");
    hone__entry_print(&buf, entry);
    hone__buf_char(&buf, '}');
    *json = hone__buf_take(&buf);
    return *json != NULL ? HONE_OK : hone__fail(err, HONE_E_NOMEM, "tune", "no memory for the result");
}
