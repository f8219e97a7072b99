/* test_stats.c: order statistics against slow, obvious counterparts, and the interval's coverage by simulation. */
#include "rng.h"
#include "stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEED 20261123u

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double slow_median(const double *values, uint32_t count) {
    double copy[512];
    memcpy(copy, values, count * sizeof *copy);
    qsort(copy, count, sizeof *copy, ascending);
    return count % 2 == 1 ? copy[count / 2] : 0.5 * (copy[count / 2 - 1] + copy[count / 2]);
}

static void test_summary__agrees_with_slow_median_and_mad(void **state) {
    (void)state;
    hone__rng rng;
    hone__rng_seed(&rng, SEED);
    printf("seed %u\n", SEED);
    for (int round = 0; round < 3000; round++) {
        uint32_t count = 1 + (uint32_t)hone__rng_below(&rng, 40);
        double values[64];
        double off[64];
        for (uint32_t i = 0; i < count; i++) /* coarse values, so that ties come up */
            values[i] = (double)hone__rng_below(&rng, round % 2 == 0 ? 10 : 1000000);
        double median = slow_median(values, count);
        for (uint32_t i = 0; i < count; i++)
            off[i] = fabs(values[i] - median);
        double mad = slow_median(off, count);
        hone__summary summary = hone__stats_summary(values, count, 0.95);
        assert_true(fabs(summary.median - median) < 1e-9);
        assert_true(fabs(summary.mad - mad) < 1e-9);
        assert_true(summary.low <= summary.median && summary.median <= summary.high);
    }
}

static void test_summary__of_nothing_is_zero(void **state) {
    (void)state;
    hone__summary summary = hone__stats_summary(NULL, 0, 0.95);
    assert_true(summary.median == 0.0 && summary.low == 0.0 && summary.high == 0.0 && summary.mad == 0.0);
}

static void test_summary__takes_the_tabled_ranks(void **state) {
    (void)state;
    /* Ranks of the 95 % interval of the median as tables of the binomial distribution have them: n, lower rank. */
    static const uint32_t table[][2] = {{5, 1}, {6, 1}, {8, 1}, {9, 2}, {12, 3}, {15, 4}, {20, 6}, {25, 8}, {30, 10}, {50, 18}, {100, 40}};
    for (size_t t = 0; t < sizeof table / sizeof table[0]; t++) {
        double values[128];
        for (uint32_t i = 0; i < table[t][0]; i++)
            values[i] = (double)(i + 1);
        hone__summary summary = hone__stats_summary(values, table[t][0], 0.95);
        assert_int_equal((int)summary.low, (int)table[t][1]);
        assert_int_equal((int)summary.high, (int)(table[t][0] + 1 - table[t][1]));
    }
}

static void test_summary__interval_covers_the_median(void **state) {
    (void)state;
    hone__rng rng;
    hone__rng_seed(&rng, SEED);
    int missed = 0;
    const int rounds = 4000;
    for (int round = 0; round < rounds; round++) {
        double values[25];
        for (int i = 0; i < 25; i++)
            values[i] = -log(1.0 - hone__rng_unit(&rng)); /* exponential: skewed, median ln 2 */
        hone__summary summary = hone__stats_summary(values, 25, 0.95);
        missed += summary.low > log(2.0) || summary.high < log(2.0);
    }
    /* Exact coverage for n = 25 is 0.957; 4000 rounds have a standard error of 0.0032. */
    assert_in_range(missed, 110, 240);
}

static void test_summary__large_counts_do_not_underflow(void **state) {
    (void)state;
    static double values[4096];
    for (int i = 0; i < 4096; i++)
        values[i] = (double)i;
    hone__summary summary = hone__stats_summary(values, 4096, 0.95);
    /* Normal approximation: 2048 +- 1.96 * 32. */
    assert_true(fabs(summary.low - 1984.5) < 3.0);
    assert_true(fabs(summary.high - 2110.5) < 3.0);
}

static void test_sign_p__known_values(void **state) {
    (void)state;
    assert_true(fabs(hone__stats_sign_p(0, 0) - 1.0) < 1e-12);
    assert_true(fabs(hone__stats_sign_p(0, 1) - 1.0) < 1e-12);
    assert_true(fabs(hone__stats_sign_p(5, 5) - 0.0625) < 1e-12);
    assert_true(fabs(hone__stats_sign_p(0, 10) - 2.0 / 1024.0) < 1e-12);
    assert_true(fabs(hone__stats_sign_p(8, 10) - 2.0 * 56.0 / 1024.0) < 1e-12);
    assert_true(fabs(hone__stats_sign_p(5, 10) - 1.0) < 1e-12);
    assert_true(hone__stats_sign_p(7, 3) == 1.0);
    assert_true(hone__stats_sign_p(2, 3000) < 1e-300);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_summary__agrees_with_slow_median_and_mad),
        cmocka_unit_test(test_summary__of_nothing_is_zero),
        cmocka_unit_test(test_summary__takes_the_tabled_ranks),
        cmocka_unit_test(test_summary__interval_covers_the_median),
        cmocka_unit_test(test_summary__large_counts_do_not_underflow),
        cmocka_unit_test(test_sign_p__known_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
