/* test_forest.c: the trees against answers that are known: constants, steps, a linear slope, classes, uncertainty, determinism. */
#include "alloc.h"
#include "forest.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { ROWS = 300, FEATURES = 3 };

typedef struct data {
    float row[ROWS][FEATURES];
    float target[ROWS];
} data;

static hone__forest *fitted(const data *d, uint32_t count, uint64_t seed) {
    hone__forest_options options = {.trees = 32, .tries = 3};
    hone__forest *forest = hone__forest_new(FEATURES, &options);
    hone__rng rng;
    hone__rng_seed(&rng, seed);
    assert_non_null(forest);
    assert_true(hone__forest_fit(forest, &d->row[0][0], d->target, count, &rng));
    return forest;
}

static void random_rows(data *d, uint64_t seed) {
    hone__rng rng;
    hone__rng_seed(&rng, seed);
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < FEATURES; j++)
            d->row[i][j] = (float)hone__rng_below(&rng, 16);
    }
}

static double mean_at(const hone__forest *forest, float a, float b, float c, double *variance) {
    const float row[FEATURES] = {a, b, c};
    double mean, spread;
    hone__forest_predict(forest, row, &mean, &spread);
    if (variance != NULL)
        *variance = spread;
    return mean;
}

static void test_forest__constant_target_is_predicted_exactly(void **state) {
    (void)state;
    data d;
    random_rows(&d, 1);
    for (int i = 0; i < ROWS; i++)
        d.target[i] = 2.5f;
    hone__forest *forest = fitted(&d, ROWS, 1);
    double variance;
    assert_true(fabs(mean_at(forest, 3, 4, 5, &variance) - 2.5) < 1e-9);
    assert_true(variance < 1e-12);
    hone__forest_free(forest);
}

static void test_forest__one_row_is_enough(void **state) {
    (void)state;
    data d = {.row = {{1, 2, 3}}, .target = {7}};
    hone__forest *forest = fitted(&d, 1, 1);
    assert_true(fabs(mean_at(forest, 9, 9, 9, NULL) - 7) < 1e-9);
    hone__forest_free(forest);
}

static void test_forest__training_rows_come_back(void **state) {
    (void)state;
    data d;
    random_rows(&d, 2);
    for (int i = 0; i < ROWS; i++) /* a function of the row, so that equal rows agree */
        d.target[i] = d.row[i][0] * 100 + d.row[i][1] * 10 + d.row[i][2];
    hone__forest *forest = fitted(&d, ROWS, 3);
    for (int i = 0; i < ROWS; i++)
        assert_true(fabs(mean_at(forest, d.row[i][0], d.row[i][1], d.row[i][2], NULL) - (double)d.target[i]) < 1e-3);
    hone__forest_free(forest);
}

static void test_forest__finds_a_step_and_an_interaction(void **state) {
    (void)state;
    data d;
    random_rows(&d, 4);
    for (int i = 0; i < ROWS; i++)
        d.target[i] = (d.row[i][0] >= 8) == (d.row[i][1] >= 8) ? 1.0f : 0.0f; /* exclusive or: no feature helps alone */
    hone__forest *forest = fitted(&d, ROWS, 5);
    assert_true(mean_at(forest, 1, 2, 7, NULL) > 0.8);
    assert_true(mean_at(forest, 14, 13, 7, NULL) > 0.8);
    assert_true(mean_at(forest, 1, 13, 7, NULL) < 0.2);
    assert_true(mean_at(forest, 14, 2, 7, NULL) < 0.2);
    hone__forest_free(forest);
}

static void test_forest__equal_rows_share_a_leaf(void **state) {
    (void)state;
    data d = {.row = {{1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}}, .target = {0, 1, 1, 1}};
    hone__forest *forest = fitted(&d, 4, 1);
    double variance;
    assert_true(fabs(mean_at(forest, 1, 1, 1, &variance) - 0.75) < 1e-6);
    assert_true(fabs(variance - 0.1875) < 1e-6); /* p (1 - p) */
    hone__forest_free(forest);
}

static void test_forest__is_less_sure_between_data(void **state) {
    (void)state;
    data d = {.row = {{0, 0, 0}, {0, 0, 1}, {15, 0, 0}, {15, 0, 1}}, .target = {0, 0, 10, 10}};
    hone__forest *forest = fitted(&d, 4, 1);
    double at, between;
    (void)mean_at(forest, 0, 0, 0, &at);
    double middle = mean_at(forest, 7, 0, 0, &between);
    assert_true(between > at + 1);
    assert_true(middle > 1 && middle < 9);
    hone__forest_free(forest);
}

static void test_forest__same_seed_same_trees(void **state) {
    (void)state;
    data d;
    random_rows(&d, 7);
    for (int i = 0; i < ROWS; i++)
        d.target[i] = sinf(d.row[i][0]) + d.row[i][2];
    hone__forest *a = fitted(&d, ROWS, 11), *b = fitted(&d, ROWS, 11), *c = fitted(&d, ROWS, 12);
    bool differs = false;
    for (int i = 0; i < 16; i++) {
        double x = mean_at(a, (float)i + 0.5f, 3, 8, NULL), y = mean_at(b, (float)i + 0.5f, 3, 8, NULL);
        assert_true(x >= y && x <= y);
        differs = differs || fabs(x - mean_at(c, (float)i + 0.5f, 3, 8, NULL)) > 1e-9;
    }
    assert_true(differs);
    hone__forest_free(a);
    hone__forest_free(b);
    hone__forest_free(c);
}

static void test_forest__survives_failing_memory(void **state) {
    (void)state;
    data d;
    random_rows(&d, 9);
    size_t live = hone__alloc_live();
    for (size_t nth = 1; nth <= 8; nth++) {
        hone__forest_options options = {.trees = 8, .tries = 2};
        hone__rng rng;
        hone__rng_seed(&rng, 1);
        hone__alloc_fail_at(nth, 1);
        hone__forest *forest = hone__forest_new(FEATURES, &options);
        if (forest != NULL)
            (void)hone__forest_fit(forest, &d.row[0][0], d.target, 50, &rng);
        hone__alloc_fail_at(0, 0);
        hone__forest_free(forest);
        assert_int_equal(hone__alloc_live(), live);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forest__constant_target_is_predicted_exactly),
        cmocka_unit_test(test_forest__one_row_is_enough),
        cmocka_unit_test(test_forest__training_rows_come_back),
        cmocka_unit_test(test_forest__finds_a_step_and_an_interaction),
        cmocka_unit_test(test_forest__equal_rows_share_a_leaf),
        cmocka_unit_test(test_forest__is_less_sure_between_data),
        cmocka_unit_test(test_forest__same_seed_same_trees),
        cmocka_unit_test(test_forest__survives_failing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
