/* test_lfbo.c: the surrogate search on spaces whose answers are known: failures are learnt, orders and dependent parameters are searched, a
 * candidate that somebody else proposes does not end it, evidence leads or is left, its opposite is tried, huge spaces are searched, and the
 * reason of an end is said. */
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

#define HEAD "{\"hone\":1,\"name\":\"probe\",\"language\":\"external\",\"evaluator\":[\"/bin/true\"],\"params\":{"
static const char plain[] = HEAD "\"A\":{\"kind\":\"range\",\"min\":0,\"max\":31},\"B\":{\"kind\":\"pow2\",\"min\":1,\"max\":1024},"
                                 "\"C\":{\"kind\":\"bool\"},\"E\":{\"kind\":\"range\",\"min\":0,\"max\":15}}}";
/* D means nothing unless C: the constraint pins it then. */
static const char ordered[] = HEAD "\"P\":{\"kind\":\"permutation\",\"length\":5},\"C\":{\"kind\":\"bool\"},"
                                   "\"D\":{\"kind\":\"range\",\"min\":0,\"max\":9}},\"constraints\":[\"C || D == 0\"]}";

typedef struct fixture {
    hone_kernel *kernel;
    hone__bound *bound;
    hone__strategy *strategy;
} fixture;

typedef double cost_fn(const hone__config *config); /* 0: fails */

static void begin_with(fixture *f, const char *spec, const char *name, const hone__strategy_options *given) {
    hone_error err = {0};
    static const int64_t sizes[HONE_SIZES_MAX];
    if (hone_kernel_parse(&f->kernel, spec, strlen(spec), NULL, "probe.json", &err) != HONE_OK ||
        hone__bound_new(&f->bound, f->kernel->space, sizes, &err) != HONE_OK)
        fail_msg("%s", err.message);
    hone__strategy_options options = *given;
    options.kernel = f->kernel;
    options.bound = f->bound;
    assert_int_equal(hone__strategy_open(&f->strategy, name, &options, &err), HONE_OK);
}

static void begin(fixture *f, const char *spec, const char *name, uint64_t seed, const hone__evidence *evidence, uint32_t evidence_count) {
    hone__strategy_options options = {.rng_seed = seed, .trials_max = 200, .evidence = evidence, .evidence_count = evidence_count};
    begin_with(f, spec, name, &options);
}

static void end(fixture *f) {
    hone__strategy_close(f->strategy);
    hone__bound_free(f->bound);
    hone_kernel_free(f->kernel);
}

/* Returns the best cost; counts failures, and proposals whose first slot has its first value. */
static double run(fixture *f, cost_fn *cost, uint32_t trials, uint32_t *failed, uint32_t *firsts) {
    double best = HUGE_VAL;
    for (uint32_t i = 0; i < trials; i++) {
        hone__proposal proposal;
        uint32_t got = 0;
        (void)hone__strategy_ask(f->strategy, &proposal, 1, &got);
        if (got == 0)
            break;
        assert_true(hone__bound_valid(f->bound, &proposal.config, NULL));
        double value = cost(&proposal.config);
        hone__measurement result = {.outcome = value > 0 ? HONE_OUTCOME_OK : HONE_OUTCOME_LAUNCH_ERROR, .median_ns = value};
        assert_int_equal(hone__strategy_tell(f->strategy, &proposal.config, &result), HONE_OK);
        *failed += value > 0 ? 0 : 1;
        *firsts += proposal.config.slot[0] == 0;
        best = value > 0 ? fmin(best, value) : best;
    }
    return best;
}

static double bowl(const hone__config *config) {
    double a = (double)config->slot[0] - 21, b = (double)config->slot[1] - 5, e = (double)config->slot[3] - 4;
    return 1000.0 * (1.0 + 0.004 * a * a + 0.03 * b * b + 0.01 * e * e + (config->slot[2] != 0 ? 0.0 : 0.2));
}

/* Half of the space fails, and the best configs are beside that half. */
static double half_fails(const hone__config *config) {
    return config->slot[1] >= 6 || (config->slot[3] > 12 && config->slot[0] > 24) ? 0 : bowl(config);
}

static void test_lfbo__learns_what_fails(void **state) {
    (void)state;
    uint32_t failed[2] = {0, 0}, firsts = 0;
    static const char *const names[] = {"lfbo", "random"};
    for (int k = 0; k < 2; k++) {
        for (uint64_t seed = 1; seed <= 4; seed++) {
            fixture f;
            begin(&f, plain, names[k], seed, NULL, 0);
            double best = run(&f, half_fails, 80, &failed[k], &firsts);
            assert_true(k == 1 || best < 1030);
            end(&f);
        }
    }
    print_message("failed of 320: lfbo %u, random %u\n", failed[0], failed[1]);
    assert_true(failed[0] * 4 < failed[1] * 3); /* the best configs are beside those that fail */
}

static double sorted_first(const hone__config *config) {
    double wrong = 0;
    for (uint32_t i = 0; i < 5; i++)
        wrong += fabs((double)config->slot[i] - (double)(4 - i)); /* the reverse order */
    return 1000.0 + 100.0 * wrong + (config->slot[5] != 0 ? 20.0 * fabs((double)config->slot[6] - 7.0) : 300.0);
}

static void test_lfbo__searches_orders_and_dependent_parameters(void **state) {
    (void)state;
    double sum[2] = {0, 0};
    uint32_t failed = 0, firsts = 0;
    static const char *const names[] = {"lfbo", "random"};
    for (int k = 0; k < 2; k++) {
        for (uint64_t seed = 1; seed <= 4; seed++) {
            fixture f;
            begin(&f, ordered, names[k], seed, NULL, 0);
            sum[k] += run(&f, sorted_first, 70, &failed, &firsts) / 4;
            end(&f);
        }
    }
    print_message("mean best of 70: lfbo %.0f, random %.0f, optimum 1000\n", sum[0], sum[1]);
    assert_true(sum[0] < 1060 && sum[0] < sum[1]);
}

static void test_lfbo__goes_on_when_others_take_its_candidates(void **state) {
    (void)state;
    fixture f;
    uint32_t failed = 0, firsts = 0;
    begin(&f, plain, "lfbo", 3, NULL, 0);
    (void)run(&f, bowl, 20, &failed, &firsts);
    for (uint32_t i = 0; i < 12; i++) { /* the most promising ones, offered and then proposed by somebody else */
        hone__config config = {{20 + i % 4, 5 + i % 3, 1, 3 + i / 4}};
        hone__lfbo_offer(f.strategy->state, f.strategy, &config);
        (void)hone__strategy_queue(f.strategy, &config, "model:1");
    }
    failed = firsts = 0;
    double best = run(&f, bowl, 72, &failed, &firsts);
    assert_true(best < 1010);
    assert_in_range(firsts, 0, 20); /* walking the space in order would have nothing else */
    end(&f);
}

/* What another device says: the same bowl (or its opposite) over a spread of configs. */
static uint32_t gather(hone__evidence *out, uint32_t most, bool opposite) {
    uint32_t count = 0;
    for (uint32_t a = 1; a < 32 && count < most; a += 4) {
        for (uint32_t b = 1; b < 11 && count < most; b += 2) {
            hone__evidence *one = &out[count++];
            *one = (hone__evidence){.source = 0};
            one->config.slot[0] = a;
            one->config.slot[1] = b;
            one->config.slot[2] = 1;
            one->config.slot[3] = 4;
            one->cost = log(bowl(&one->config) / 1000.0) * (opposite ? -1 : 1) + (opposite ? 3 : 0);
        }
    }
    return count;
}

static void test_lfbo__evidence_leads_or_is_left(void **state) {
    (void)state;
    hone__evidence true_one[64], false_one[64];
    uint32_t count = gather(true_one, 64, false), failed = 0, firsts = 0;
    assert_int_equal(gather(false_one, 64, true), count);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        fixture f;
        begin(&f, plain, "lfbo", seed, true_one, count);
        assert_true(run(&f, bowl, 4, &failed, &firsts) < 1040); /* the default and three transferred ones */
        assert_true(hone__lfbo_against_draws(f.strategy, "transfer") == 0.5); /* there are no draws yet */
        (void)run(&f, bowl, 3, &failed, &firsts);
        assert_true(hone__lfbo_against_draws(f.strategy, "transfer") > 0.8);
        assert_true(hone__lfbo_against_draws(f.strategy, "model:") == 0.5);
        end(&f);
        begin(&f, plain, "lfbo", seed, false_one, count);
        assert_true(run(&f, bowl, 60, &failed, &firsts) < 1030);
        for (uint32_t i = 0; i < f.strategy->result_count; i++) /* worse than draws: nothing more is spent on what they share */
            assert_string_not_equal(f.strategy->result[i].proposer, "opposite");
        assert_true(hone__lfbo_against_draws(f.strategy, "transfer") < 0.4);
        end(&f);
    }
}

/* The bowl, but what all the evidence has is wrong here. */
static double bowl_without(const hone__config *config) {
    hone__config other = *config;
    other.slot[2] = config->slot[2] == 0 ? 1 : 0;
    return bowl(&other);
}

static void test_lfbo__tries_the_opposite_of_what_evidence_shares(void **state) {
    (void)state;
    hone__evidence evidence[64];
    uint32_t count = gather(evidence, 64, false), failed = 0, firsts = 0;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        fixture f;
        begin(&f, plain, "lfbo", seed, evidence, count);
        assert_true(run(&f, bowl_without, 4, &failed, &firsts) > 1150);
        (void)run(&f, bowl_without, 3, &failed, &firsts); /* draws, which the transferred ones are judged beside */
        assert_string_equal(f.strategy->result[6].proposer, "random");
        assert_true(run(&f, bowl_without, 1, &failed, &firsts) < 1040); /* the best of the transferred ones with C exchanged */
        assert_string_equal(f.strategy->result[7].proposer, "opposite");
        end(&f);
    }
}

/* Fifteen parameters of a thousand values: nothing can be listed. */
static double far_bowl(const hone__config *config) {
    double sum = 0;
    for (uint32_t s = 0; s < 15; s++)
        sum += fabs((double)config->slot[s] - 40.0 * (s + 5)) / 1000.0 * (s < 5 ? 1.0 : 0.1);
    return 1000.0 * (1.0 + sum);
}

static void test_lfbo__searches_what_cannot_be_listed(void **state) {
    (void)state;
    char spec[1024] = HEAD;
    for (int s = 0; s < 15; s++) {
        char param[64];
        (void)snprintf(param, sizeof param, "%s\"P%d\":{\"kind\":\"range\",\"min\":0,\"max\":999}", s == 0 ? "" : ",", s);
        strcat(spec, param);
    }
    strcat(spec, "}}");
    double best[2] = {0, 0};
    uint32_t failed = 0, firsts = 0;
    static const char *const names[] = {"lfbo", "random"};
    for (int k = 0; k < 2; k++) {
        for (uint64_t seed = 1; seed <= 2; seed++) {
            fixture f;
            begin(&f, spec, names[k], seed, NULL, 0);
            best[k] += run(&f, far_bowl, 100, &failed, &firsts) / 2;
            end(&f);
        }
    }
    print_message("mean best of 100 in 1e45: lfbo %.0f, random %.0f\n", best[0], best[1]);
    assert_true(best[0] - 1000 < 0.7 * (best[1] - 1000));
}

static double same_everywhere(const hone__config *config) {
    (void)config;
    return 1000;
}

static void test_lfbo__says_why_it_ends(void **state) {
    (void)state;
    static const char tiny[] = HEAD "\"A\":{\"kind\":\"range\",\"min\":0,\"max\":4},\"C\":{\"kind\":\"bool\"}}}";
    const hone__strategy_options stopping = {.rng_seed = 1, .trials_max = 400, .min_gain = 0.005};
    uint32_t failed = 0, firsts = 0;
    fixture f;
    begin(&f, tiny, "lfbo", 1, NULL, 0);
    (void)run(&f, same_everywhere, 50, &failed, &firsts);
    assert_int_equal(f.strategy->told, 10);
    assert_string_equal(hone__strategy_stop(f.strategy), "space exhausted");
    end(&f);
    begin_with(&f, plain, "lfbo", &stopping);
    (void)run(&f, same_everywhere, 400, &failed, &firsts);
    assert_in_range(f.strategy->told, 40, 81); /* patience counts from the first result */
    assert_non_null(strstr(hone__strategy_stop(f.strategy), "stagnation"));
    end(&f);
    begin(&f, plain, "lfbo", 1, NULL, 0); /* not asked to stop: only the budget ends it */
    (void)run(&f, same_everywhere, 150, &failed, &firsts);
    assert_int_equal(f.strategy->told, 150);
    assert_string_equal(hone__strategy_stop(f.strategy), "");
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lfbo__learns_what_fails),
        cmocka_unit_test(test_lfbo__searches_orders_and_dependent_parameters),
        cmocka_unit_test(test_lfbo__goes_on_when_others_take_its_candidates),
        cmocka_unit_test(test_lfbo__evidence_leads_or_is_left),
        cmocka_unit_test(test_lfbo__tries_the_opposite_of_what_evidence_shares),
        cmocka_unit_test(test_lfbo__searches_what_cannot_be_listed),
        cmocka_unit_test(test_lfbo__says_why_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
