/* test_strategy.c: ask and tell: every strategy proposes only valid, new configs; the same seed and results give the same course; rounds of a
 * model go as search/llm_search.c says, with recorded replies in place of a model. */
#include "alloc.h"
#include "key.h"
#include "lfbo.h"
#include "strategy_impl.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char spec_text[] =
    "{\"hone\":1,\"name\":\"probe\",\"language\":\"external\",\"evaluator\":[\"/bin/true\"],\"sizes\":{\"N\":64},"
    "\"params\":{\"A\":{\"kind\":\"range\",\"min\":0,\"max\":31,\"default\":3},\"B\":{\"kind\":\"pow2\",\"min\":1,\"max\":1024,\"default\":2},"
    "\"C\":{\"kind\":\"enum\",\"values\":[\"row\",\"col\",\"tile\"]},\"D\":{\"kind\":\"bool\"},"
    "\"E\":{\"kind\":\"range\",\"min\":1,\"max\":16}},\"constraints\":[\"A % 2 == 1 || D\",\"B * E <= 4096\"],\"seeds\":[{\"A\":5},{\"B\":4}]}";

typedef struct fixture {
    hone_kernel *kernel;
    hone__bound *bound;
    int64_t sizes[HONE_SIZES_MAX];
} fixture;

static void load(fixture *f, const char *text) {
    hone_error err = {0};
    if (hone_kernel_parse(&f->kernel, text, strlen(text), NULL, "probe.json", &err) != HONE_OK)
        fail_msg("%s", err.message);
    f->sizes[0] = 64;
    assert_int_equal(hone__bound_new(&f->bound, f->kernel->space, f->sizes, &err), HONE_OK);
}

static int setup(void **state) {
    fixture *f = hone__alloc(sizeof *f);
    load(f, spec_text);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    hone__bound_free(f->bound);
    hone_kernel_free(f->kernel);
    hone__free(f);
    return 0;
}

/* A smooth bowl with categorical steps; everything with B = 512 fails. */
static hone__measurement measure(const hone__config *config) {
    double a = (double)config->slot[0] - 21, b = (double)config->slot[1] - 7, e = (double)config->slot[4] - 4;
    hone__measurement result = {.outcome = HONE_OUTCOME_OK, .accuracy = HONE_ACCURACY_PASSED, .samples = 9};
    double steps = (config->slot[2] == 2 ? 0.0 : 0.4) + (config->slot[3] != 0 ? 0.0 : 0.2);
    result.median_ns = 1000.0 * (1.0 + 0.004 * a * a + 0.05 * b * b + 0.01 * e * e + steps);
    if (config->slot[1] == 9) {
        result = (hone__measurement){.outcome = HONE_OUTCOME_COMPILE_ERROR};
        (void)snprintf(result.reason, sizeof result.reason, "B is too large");
    }
    return result;
}

static hone__strategy *open_strategy(const fixture *f, const char *name, uint64_t seed) {
    hone__strategy_options options = {.kernel = f->kernel, .bound = f->bound, .seed = f->kernel->seed,
                                      .seed_count = f->kernel->seed_count, .rng_seed = seed, .trials_max = 200};
    hone__strategy *strategy = NULL;
    hone_error err = {0};
    if (hone__strategy_open(&strategy, name, &options, &err) != HONE_OK)
        fail_msg("%s", err.message);
    return strategy;
}

/* Run `trials` with a few in flight; returns the best time and a fingerprint of the course. */
static double drive(const fixture *f, const char *name, uint64_t seed, uint32_t trials, uint64_t *course) {
    enum { IN_FLIGHT = 3 };
    hone__strategy *strategy = open_strategy(f, name, seed);
    hone__proposal pending[IN_FLIGHT];
    hone__config seen[400];
    uint32_t count = 0, done = 0;
    double best = HUGE_VAL;
    uint64_t print = 1469598103934665603u;
    while (done < trials) {
        uint32_t got = 1;
        while (count < IN_FLIGHT && got > 0) {
            (void)hone__strategy_ask(strategy, &pending[count], 1, &got);
            if (got == 0)
                break;
            assert_true(hone__bound_valid(f->bound, &pending[count].config, NULL));
            for (uint32_t i = 0; i < done + count; i++)
                assert_false(hone__config_equal(&seen[i], &pending[count].config));
            seen[done + count] = pending[count].config;
            count++;
        }
        if (count == 0)
            break;
        for (uint32_t s = 0; s < 5; s++)
            print = (print ^ pending[0].config.slot[s]) * 1099511628211u;
        hone__measurement result = measure(&pending[0].config);
        assert_int_equal(hone__strategy_tell(strategy, &pending[0].config, &result), HONE_OK);
        if (result.outcome == HONE_OUTCOME_OK)
            best = fmin(best, result.median_ns);
        memmove(&pending[0], &pending[1], sizeof pending - sizeof pending[0]);
        count--;
        done++;
    }
    hone__strategy_close(strategy);
    if (course != NULL)
        *course = print;
    return best;
}

static void test_strategy__same_seed_gives_same_course(void **state) {
    static const char *const names[] = {"random", "exhaustive", "lfbo"};
    for (size_t i = 0; i < 3; i++) {
        uint64_t a, b, c;
        (void)drive(*state, names[i], 7, 90, &a);
        (void)drive(*state, names[i], 7, 90, &b);
        (void)drive(*state, names[i], 8, 90, &c);
        assert_true(a == b);
        assert_int_equal(a == c, strcmp(names[i], "exhaustive") == 0);
    }
}

static void test_strategy__local_beats_random_and_nears_the_optimum(void **state) {
    double local = 0, random = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        local += drive(*state, "lfbo", seed, 80, NULL) / 6;
        random += drive(*state, "random", seed, 80, NULL) / 6;
    }
    print_message("mean best of 80 trials: local %.1f, random %.1f, optimum 1000\n", local, random);
    assert_true(local < random);
    assert_true(local < 1050);
}

static void test_strategy__small_space_is_exhausted_without_repetition(void **state) {
    (void)state;
    static const char text[] = "{\"hone\":1,\"name\":\"tiny\",\"language\":\"external\",\"evaluator\":[\"/bin/true\"],\"sizes\":{\"N\":64},"
                               "\"params\":{\"A\":{\"kind\":\"range\",\"min\":0,\"max\":5},\"D\":{\"kind\":\"bool\"}},\"constraints\":[\"A != 4\"]}";
    static const char *const names[] = {"random", "exhaustive", "lfbo"};
    for (size_t n = 0; n < 3; n++) {
        fixture f = {0};
        load(&f, text);
        hone__strategy *strategy = open_strategy(&f, names[n], 3);
        uint32_t proposed = 0, got = 1;
        while (got > 0) {
            hone__proposal proposal;
            hone__ask_state ask = hone__strategy_ask(strategy, &proposal, 1, &got);
            if (got == 0) {
                assert_int_equal(ask, HONE_ASK_DONE);
                break;
            }
            proposed++;
            hone__measurement result = {.outcome = HONE_OUTCOME_OK, .median_ns = 10 + proposal.config.slot[0]};
            assert_int_equal(hone__strategy_tell(strategy, &proposal.config, &result), HONE_OK);
        }
        assert_int_equal(proposed, 10);
        assert_string_equal(hone__strategy_stop(strategy), "space exhausted");
        hone__strategy_close(strategy);
        hone__bound_free(f.bound);
        hone_kernel_free(f.kernel);
    }
}

static void test_strategy__unknown_name_lists_the_known(void **state) {
    fixture *f = *state;
    hone__strategy_options options = {.bound = f->bound};
    hone__strategy *strategy = NULL;
    hone_error err = {0};
    assert_int_equal(hone__strategy_open(&strategy, "lucky", &options, &err), HONE_E_ARG);
    assert_non_null(strstr(err.message, "exhaustive"));
    assert_null(strategy);
}

/* ---- rounds of a model, answered from a script ---- */

enum { SCRIPT_MAX = 6 };

typedef struct script {
    const char *reply[SCRIPT_MAX]; /* NULL: not on record */
    uint32_t told[SCRIPT_MAX];
    char *request[SCRIPT_MAX];
    uint32_t answered[SCRIPT_MAX]; /* trials known when the reply came */
    uint32_t meanwhile;
} script;

static int script_recall(void *user, uint32_t index, char **request, char **reply, uint64_t *tokens_in, uint64_t *tokens_out, double *seconds,
                         uint32_t *told) {
    script *s = user;
    if (index >= SCRIPT_MAX || s->reply[index] == NULL)
        return 0;
    *request = hone__strdup("{\"system\":\"\",\"messages\":[{\"role\":\"user\",\"text\":\"as it was on record\"}]}");
    *told = s->answered[index];
    *reply = hone__strdup(s->reply[index]);
    *tokens_in = 100;
    *tokens_out = 10;
    *seconds = 1;
    return 1;
}

static hone_status script_record(void *user, uint32_t index, const char *request, const char *reply, uint64_t tokens_in, uint64_t tokens_out,
                                 double seconds, uint32_t told) {
    script *s = user;
    (void)tokens_in, (void)tokens_out, (void)seconds;
    if (index < SCRIPT_MAX && reply == NULL) {
        s->told[index] = told;
        hone__free(s->request[index]);
        s->request[index] = hone__strdup(request);
    }
    return HONE_OK;
}

typedef struct course {
    uint32_t trials, model_trials, local_trials;
    uint32_t before_model; /* trials before the model's first */
    hone__config second;   /* of the model's */
    double best;
    hone_status status;
    hone_error err;
    char stop[160];
    hone__strategy_report report;
} course;

static void go(course *c, hone__strategy *strategy, uint32_t trials_max) {
    while (c->trials < trials_max) {
        hone__proposal proposal;
        uint32_t got = 0;
        hone__ask_state ask = hone__strategy_ask(strategy, &proposal, 1, &got);
        if (got == 0 && ask == HONE_ASK_DONE)
            return;
        c->status = hone__strategy_pump(strategy, 20, &c->err);
        if (c->status != HONE_OK && c->status != HONE_E_TIMEOUT)
            return;
        if (got == 0)
            continue;
        if (c->model_trials == 0)
            c->before_model = c->trials;
        c->trials++;
        c->model_trials += strncmp(proposal.proposer, "model:", 6) == 0;
        if (c->model_trials == 2 && proposal.proposer[0] == 'm')
            c->second = proposal.config;
        c->local_trials += strcmp(proposal.proposer, "lfbo") == 0;
        hone__measurement result = measure(&proposal.config);
        if (result.outcome == HONE_OUTCOME_OK)
            c->best = fmin(c->best, result.median_ns);
        assert_int_equal(hone__strategy_tell(strategy, &proposal.config, &result), HONE_OK);
    }
}

static course converse_as(fixture *f, script *s, const char *name, bool fall_back, uint32_t rounds) {
    course c = {.best = HUGE_VAL};
    hone__llm_options model = {.provider = "command", .model = "scripted", .command = "/bin/false"};
    hone__llm *llm = NULL;
    hone_device *device = NULL;
    hone_error err = {0};
    if (hone__llm_open(&llm, &model, &err) != HONE_OK || hone_device_open(&device, "cpu", &err) != HONE_OK)
        fail_msg("%s", err.message);
    hone__exchange_log log = {script_recall, script_record, s};
    hone__strategy_options options = {.kernel = f->kernel, .device = device, .bound = f->bound, .seed = f->kernel->seed,
                                      .seed_count = f->kernel->seed_count, .rng_seed = 1, .trials_max = 60, .rounds_max = rounds,
                                      .configs_per_round = 5, .initial_random = 2, .llm = llm, .log = &log, .meanwhile = s->meanwhile, .fall_back = fall_back};
    hone__strategy *strategy = NULL;
    if (hone__strategy_open(&strategy, name, &options, &err) != HONE_OK)
        fail_msg("%s", err.message);
    go(&c, strategy, options.trials_max);
    (void)snprintf(c.stop, sizeof c.stop, "%s", hone__strategy_stop(strategy));
    hone__strategy_report_get(strategy, &c.report);
    hone__strategy_close(strategy);
    hone__llm_close(llm);
    hone_device_free(device);
    return c;
}

static course converse(fixture *f, script *s, bool fall_back, uint32_t rounds) {
    return converse_as(f, s, "llm", fall_back, rounds);
}

static void clear_script(script *s) {
    for (int i = 0; i < SCRIPT_MAX; i++)
        hone__free(s->request[i]);
}

static void test_llm_search__measures_replies_round_by_round(void **state) {
    script s = {.reply = {"{\"configs\":[{\"A\":21},{\"A\":23,\"C\":\"tile\"}]}", "{\"configs\":[{\"A\":21,\"C\":\"tile\"}]}"}};
    course c = converse(*state, &s, false, 2);
    assert_int_equal(c.report.rounds, 2);
    assert_int_equal(c.model_trials, 3);
    assert_int_equal(c.trials, 1 + 2 + 2 + 3); /* default, seeds, draws, model */
    assert_int_equal(c.report.tokens_in, 200);
    assert_non_null(strstr(c.stop, "rounds"));
    clear_script(&s);
}

static void test_llm_search__repairs_a_useless_reply_once(void **state) {
    script s = {.reply = {"I would rather not say.", "{\"configs\":[{\"A\":21}]}"}};
    course c = converse(*state, &s, false, 1);
    assert_int_equal(c.report.requests, 2);
    assert_int_equal(c.report.rounds, 1);
    assert_int_equal(c.model_trials, 1);
    clear_script(&s);
}

static void test_llm_search__failing_model_ends_llm_but_not_auto(void **state) {
    script s = {.reply = {"{\"configs\":[{\"A\":21}]}"}};
    course c = converse(*state, &s, false, 4);
    assert_int_equal(c.status, HONE_E_PROVIDER);
    assert_non_null(strstr(c.stop, "model failed"));
    assert_non_null(s.request[1]); /* recorded before it was sent */
    assert_non_null(strstr(s.request[1], "21"));
    assert_non_null(strstr(s.request[1], "as it was on record")); /* a conversation keeps its first message */
    clear_script(&s);
    script again = {.reply = {"{\"configs\":[{\"A\":21}]}"}};
    c = converse(*state, &again, true, 4);
    assert_int_equal(c.trials, 60);
    assert_true(c.local_trials > 20);
    assert_non_null(strstr(c.report.warning, "model failed"));
    clear_script(&again);
}

static void test_llm_search__asks_before_the_batch_is_through(void **state) {
    script s = {.reply = {"{\"configs\":[{\"A\":7},{\"A\":9},{\"A\":11},{\"A\":13},{\"A\":15}]}"}};
    (void)converse(*state, &s, false, 4);
    assert_int_equal(s.told[1], 5 + 3); /* default, two seeds, two draws, then 60 % of five */
    clear_script(&s);
}

#define BAD(b) "{\"A\":1,\"B\":1024,\"C\":\"row\",\"E\":" #b "}"
static const char malicious[] = "{\"configs\":[" BAD(1) "," BAD(2) "," BAD(3) "," BAD(4) "]} {\"configs\":[]}";
static const char slow[] = "{\"configs\":[{\"A\":1,\"B\":1,\"E\":16},{\"A\":1,\"B\":1,\"E\":15},{\"A\":1,\"B\":1,\"E\":14},"
                           "{\"A\":1,\"B\":1,\"E\":13},{\"A\":1,\"B\":1,\"E\":12},{\"A\":1,\"B\":1,\"E\":11},"
                           "{\"A\":1,\"B\":1,\"E\":10},{\"A\":1,\"B\":1,\"E\":9},{\"A\":3,\"B\":1,\"E\":16}]}";
static const char perfect[] = "{\"configs\":[{\"A\":21,\"B\":128,\"C\":\"tile\",\"D\":true,\"E\":5}]}";

/* The optimum costs 1000; lfbo alone is there or beside it after 60 trials. */
static void test_hybrid__ends_well_whatever_the_model_says(void **state) {
    script brilliant = {.reply = {perfect, perfect, perfect}}, hostile = {.reply = {slow, slow, malicious}};
    script useless = {.reply = {"no", "no", "no", "no"}}, failing = {.reply = {malicious, malicious, malicious}};
    course c = converse_as(*state, &brilliant, "hybrid", true, 4);
    assert_true(c.best < 1001);
    assert_true(c.model_trials >= 1);
    clear_script(&brilliant);
    c = converse_as(*state, &hostile, "hybrid", true, 4);
    print_message("after a hostile model: best %.1f, %u trials of its\n", c.best, c.model_trials);
    assert_true(c.best < 1020);
    assert_in_range(c.model_trials, 1, 5 + 2 * 3); /* the credits of its rounds, not its whole replies */
    clear_script(&hostile);
    c = converse_as(*state, &useless, "hybrid", true, 4);
    assert_true(c.best < 1020);
    assert_int_equal(c.model_trials, 0);
    clear_script(&useless);
    c = converse_as(*state, &failing, "hybrid", true, 4);
    assert_true(c.best < 1020);
    clear_script(&failing);
}

/* D is the parameter with two values: the one config that has the other is not left for the end, when the credit may be used up. */
static void test_hybrid__measures_each_family_first(void **state) {
    script s = {.reply = {"{\"configs\":[{\"A\":21,\"D\":false},{\"A\":19,\"D\":false},{\"A\":17,\"D\":false},{\"A\":15,\"D\":false},{\"A\":13,\"D\":true}]}"}};
    course c = converse_as(*state, &s, "hybrid", true, 1);
    assert_true(c.model_trials >= 2);
    assert_int_equal(c.second.slot[0], 13);
    clear_script(&s);
}

/* The device does not wait for a slow model, nor for ever without it; and a recorded reply comes when it came. */
static void test_hybrid__measures_while_the_model_thinks(void **state) {
    static const uint32_t answered[] = {0, 6, 1000}, before[] = {5, 7, 5 + 3}; /* default, two seeds, two draws; then of the surrogate */
    for (int i = 0; i < 3; i++) {
        script s = {.reply = {perfect}, .answered = {answered[i]}, .meanwhile = 3};
        course c = converse_as(*state, &s, "hybrid", true, 1);
        assert_int_equal(c.model_trials, 1);
        assert_int_equal(c.before_model, before[i]);
        clear_script(&s);
    }
    script s = {.reply = {perfect}, .answered = {1000}};
    assert_int_equal(converse_as(*state, &s, "hybrid", true, 1).before_model, 5);
    clear_script(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_strategy__same_seed_gives_same_course, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strategy__local_beats_random_and_nears_the_optimum, setup, teardown),
        cmocka_unit_test(test_strategy__small_space_is_exhausted_without_repetition),
        cmocka_unit_test_setup_teardown(test_strategy__unknown_name_lists_the_known, setup, teardown),
        cmocka_unit_test_setup_teardown(test_llm_search__measures_replies_round_by_round, setup, teardown),
        cmocka_unit_test_setup_teardown(test_llm_search__repairs_a_useless_reply_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_llm_search__failing_model_ends_llm_but_not_auto, setup, teardown),
        cmocka_unit_test_setup_teardown(test_llm_search__asks_before_the_batch_is_through, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hybrid__ends_well_whatever_the_model_says, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hybrid__measures_each_family_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hybrid__measures_while_the_model_thinks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
