/* simulate.c: a strategy on a recorded space: propose, look up, tell, and after each trial the best time so far. */
#include "alloc.h"
#include "model.h"
#include "options.h"
#include "transfer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    FINALISTS = 5,
    IN_FLIGHT_MAX = 64,
    FINAL_SAMPLES = 8 /* further measurements of each */
};

typedef struct course {
    const hone_simulate_options *options;
    const hone__recorded *recorded;
    const char *strategy;
    hone__simulated_model model;
    hone__evidence *evidence;
    uint32_t evidence_count;
    hone__rng rng;               /* of the noise: the strategy's own numbers do not depend on it */
    double *best_ms;             /* true time of the config that looked best after each trial; 0: none yet */
    uint32_t trials;
    uint32_t incumbent;          /* row */
    double seen_ms;              /* what the incumbent was measured at */
    struct finalist {
        uint32_t row;
        double seen_ms;
    } finalist[FINALISTS];       /* the best as they were measured, best first */
    uint32_t finalists;
    double final_ms;             /* true time of the config that is chosen in the end */
    uint32_t extra;              /* measurements of finalists */
    double cpu_s;                /* spent by the strategy */
    uint32_t failed;
    hone__strategy_report report;
    char stop[160];
} course;

static double cpu_s(void) {
    struct timespec now;
    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0 ? (double)now.tv_sec + 1e-9 * (double)now.tv_nsec : 0;
}

/* Two uniform numbers make a normal one (Box and Muller 1958). */
static double normal(hone__rng *rng) {
    double radius = sqrt(-2.0 * log(1.0 - hone__rng_unit(rng)));
    return radius * cos(6.283185307179586 * hone__rng_unit(rng));
}

static hone__measurement look_up(course *c, uint32_t row) {
    const hone__recorded *recorded = c->recorded;
    hone__measurement result = {.outcome = HONE_OUTCOME_OK, .samples = 1};
    if (recorded->time_ms[row] > 0) {
        double factor = c->options->noise > 0 ? exp(c->options->noise * normal(&c->rng)) : 1.0;
        result.median_ns = 1e6 * recorded->time_ms[row] * factor;
        result.low_ns = result.high_ns = result.median_ns;
        return result;
    }
    const char *reason = recorded->reason[recorded->failure[row]];
    result.outcome = strstr(reason, "compile") != NULL ? HONE_OUTCOME_COMPILE_ERROR : HONE_OUTCOME_LAUNCH_ERROR;
    (void)snprintf(result.reason, sizeof result.reason, "%s", reason);
    return result;
}

static void remember(course *c, uint32_t row, double ms) {
    uint32_t at = c->finalists < FINALISTS ? c->finalists++ : FINALISTS;
    for (; at > 0 && c->finalist[at - 1].seen_ms > ms; at--) {
        if (at < FINALISTS)
            c->finalist[at] = c->finalist[at - 1];
    }
    if (at < FINALISTS)
        c->finalist[at] = (struct finalist){row, ms};
}

/* With noise the luckiest reading leads: measure the best few again, without their lucky reading, and choose by the mean. */
static void settle(course *c) {
    double best = HUGE_VAL;
    c->extra = 0;
    c->final_ms = c->incumbent == UINT32_MAX ? 0 : c->recorded->time_ms[c->incumbent];
    for (uint32_t i = 0; i < c->finalists && c->options->noise > 0; i++) {
        double sum = 0;
        for (uint32_t k = 0; k < FINAL_SAMPLES; k++, c->extra++)
            sum += look_up(c, c->finalist[i].row).median_ns;
        if (sum < best) {
            best = sum;
            c->final_ms = c->recorded->time_ms[c->finalist[i].row];
        }
    }
}

static hone_status take(course *c, hone__strategy *strategy, const hone__proposal *proposal, hone_error *err) {
    uint32_t row = hone__bound_row(c->recorded->bound, &proposal->config);
    if (row == UINT32_MAX)
        return hone__fail(err, HONE_E_BUG, "simulate", "strategy %.40s proposed a config that is not in the space", c->options->search);
    hone__measurement result = look_up(c, row);
    if (result.outcome != HONE_OUTCOME_OK)
        c->failed++;
    else
        remember(c, row, result.median_ns * 1e-6);
    if (result.outcome == HONE_OUTCOME_OK && (c->incumbent == UINT32_MAX || result.median_ns * 1e-6 < c->seen_ms)) {
        c->incumbent = row;
        c->seen_ms = result.median_ns * 1e-6;
    }
    c->best_ms[c->trials++] = c->incumbent == UINT32_MAX ? 0 : c->recorded->time_ms[c->incumbent];
    return hone__strategy_tell(strategy, &proposal->config, &result);
}

/* As a tuning does it: while one config is measured, others are compiled, so that a strategy proposes before it knows the latest results. */
static hone_status drive(course *c, hone__strategy *strategy, hone_error *err) {
    hone__proposal flight[IN_FLIGHT_MAX];
    uint32_t flying = 0;
    while (c->trials < c->options->trials_max) {
        uint32_t count = 1;
        hone__ask_state state = HONE_ASK_MORE;
        while (count == 1 && flying < c->options->in_flight && c->trials + flying < c->options->trials_max) {
            double before = cpu_s();
            state = hone__strategy_ask(strategy, &flight[flying], 1, &count);
            c->cpu_s += cpu_s() - before;
            flying += count;
        }
        if (flying > 0) {
            hone__proposal first = flight[0];
            memmove(flight, flight + 1, --flying * sizeof flight[0]);
            HONE_TRY(take(c, strategy, &first, err));
            continue;
        }
        if (state == HONE_ASK_DONE) {
            (void)snprintf(c->stop, sizeof c->stop, "%s", hone__strategy_stop(strategy));
            return HONE_OK;
        }
        hone_status status = hone__strategy_pump(strategy, 1000, err);
        if (status != HONE_OK && status != HONE_E_TIMEOUT)
            return status;
    }
    (void)snprintf(c->stop, sizeof c->stop, "trials: the budget is used up");
    return HONE_OK;
}

/* ---- one repeat ---- */

static char *line_of(const course *c, const char *path, uint32_t repeat) {
    hone__buf buf;
    hone__buf_init(&buf, 64u << 20);
    hone__buf_text(&buf, "{\"space\":");
    hone__buf_json_string(&buf, path);
    hone__buf_text(&buf, ",\"search\":");
    hone__buf_json_string(&buf, c->options->search);
    hone__buf_printf(&buf, ",\"repeat\":%u,\"seed\":%llu,\"best\":[", repeat, (unsigned long long)(c->options->seed + repeat));
    for (uint32_t i = 0; i < c->options->trials_max; i++) { /* after an early end the best stays what it was */
        double best = c->trials == 0 ? 0 : c->best_ms[i < c->trials ? i : c->trials - 1];
        hone__buf_text(&buf, i == 0 ? "" : ",");
        if (best > 0)
            hone__buf_json_double(&buf, best);
        else
            hone__buf_text(&buf, "null");
    }
    hone__buf_text(&buf, "],\"optimum\":");
    hone__buf_json_double(&buf, c->recorded->time_ms[c->recorded->best]);
    hone__buf_text(&buf, ",\"final\":");
    if (c->final_ms > 0)
        hone__buf_json_double(&buf, c->final_ms);
    else
        hone__buf_text(&buf, "null");
    hone__buf_printf(&buf, ",\"extra\":%u", c->extra);
    hone__buf_printf(&buf, ",\"rounds\":%u,\"rejected\":%u", c->report.rounds, c->report.rejected);
    hone__buf_printf(&buf, ",\"trials\":%u,\"failed\":%u,\"cpu_ms_per_trial\":%.4f,\"stop\":", c->trials, c->failed,
                     c->trials == 0 ? 0.0 : 1e3 * c->cpu_s / c->trials);
    hone__buf_json_string(&buf, c->stop);
    hone__buf_char(&buf, '}');
    return hone__buf_take(&buf);
}

static hone_status repeat_once(course *c, const char *path, uint32_t repeat, hone_line_fn *fn, void *user, bool *enough, hone_error *err) {
    const hone_simulate_options *options = c->options;
    c->trials = c->failed = c->finalists = 0;
    c->incumbent = UINT32_MAX;
    c->cpu_s = 0;
    hone__rng_seed(&c->rng, ~(options->seed + repeat));
    hone__strategy_options wanted = {.bound = c->recorded->bound, .rng_seed = options->seed + repeat, .trials_max = options->trials_max,
                                    .evidence = c->evidence, .evidence_count = c->evidence_count};
    hone__simulated_model_use(&c->model, options, &wanted);
    hone__strategy *strategy = NULL;
    double before = cpu_s();
    HONE_TRY(hone__strategy_open(&strategy, c->strategy, &wanted, err));
    c->cpu_s += cpu_s() - before;
    hone_status status = drive(c, strategy, err);
    hone__strategy_report_get(strategy, &c->report);
    hone__strategy_close(strategy);
    HONE_TRY(status);
    settle(c);
    char *line = line_of(c, path, repeat);
    if (line == NULL)
        return hone__fail(err, HONE_E_NOMEM, "simulate", "no memory for the result");
    *enough = fn(line, user) != 0;
    hone__free(line);
    return HONE_OK;
}

static hone_status fill_options(hone_simulate_options *out, const hone_simulate_options *given, hone_error *err) {
    *out = (hone_simulate_options)HONE_SIMULATE_OPTIONS_INIT;
    HONE_TRY(hone__options_read(out, sizeof *out, given, "hone_simulate_options", err));
    if (out->search == NULL)
        out->search = "auto";
    if (out->trials_max == 0)
        out->trials_max = 200;
    if (out->repeat == 0)
        out->repeat = 1;
    if (out->seed == 0)
        out->seed = 1;
    if (out->in_flight == 0)
        out->in_flight = 1;
    if (out->in_flight > IN_FLIGHT_MAX)
        return hone__fail(err, HONE_E_ARG, "simulate", "at most %d configs in flight", IN_FLIGHT_MAX);
    if (!(out->noise >= 0 && out->noise <= 1))
        return hone__fail(err, HONE_E_ARG, "simulate", "the noise must be a fraction from 0 to 1");
    if (out->trials_max > HONE_LIMIT_RECORDED_ROWS)
        return hone__fail(err, HONE_E_ARG, "simulate", "at most %u trials", HONE_LIMIT_RECORDED_ROWS);
    return HONE_OK;
}

hone_status hone_simulate(const char *path, const hone_simulate_options *given, hone_line_fn *fn, void *user, hone_error *err) {
    hone_simulate_options options;
    HONE_TRY(fill_options(&options, given, err));
    hone__recorded *recorded = NULL;
    HONE_TRY(hone__recorded_load(&recorded, path, err));
    course c = {.options = &options, .recorded = recorded};
    c.best_ms = hone__alloc_array(options.trials_max, sizeof *c.best_ms);
    hone_status status = c.best_ms == NULL ? hone__fail(err, HONE_E_NOMEM, "simulate", "no memory for the trials") : HONE_OK;
    bool enough = false;
    if (status == HONE_OK)
        status = hone__simulated_model_open(&c.model, recorded, &options, &c.strategy, err);
    if (status == HONE_OK)
        status = hone__transfer_load(&c.evidence, &c.evidence_count, recorded, options.transfer, options.transfer_count, err);
    for (uint32_t i = 0; i < options.repeat && status == HONE_OK && !enough; i++)
        status = repeat_once(&c, path, i, fn, user, &enough, err);
    hone__simulated_model_close(&c.model);
    hone__free(c.evidence);
    hone__free(c.best_ms);
    hone__recorded_free(recorded);
    return status;
}
