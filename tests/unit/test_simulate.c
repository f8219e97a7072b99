/* test_simulate.c: recorded spaces, good and hostile; a space bound to a list; strategies over small spaces whose answers are known. */
#include "alloc.h"
#include "recorded.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#define HEAD "{\"kernel\":\"k\",\"gpu\":\"g\",\"params\":{\"A\":[4,1,2],\"B\":[\"row\",\"col\"],\"C\":[false,true]},\"constants\":{\"Z\":3},"
#define ROW(a, b, c, rest) "{\"config\":{\"A\":" #a ",\"B\":\"" #b "\",\"C\":" #c ",\"Z\":3}," rest "}"
static const char good[] = HEAD "\"default\":{\"A\":2,\"B\":\"col\",\"C\":false},\"rows\":[" ROW(4, row, true, "\"time_ms\":2.5") "," ROW(
    1, row, false, "\"time_ms\":1.25,\"std_ms\":0.1") "," ROW(2, col, false, "\"time_ms\":3") "," ROW(2, row, false, "\"error\":\"compile\"") "]}";

static hone__recorded *parse(const char *text) {
    hone__recorded *recorded = NULL;
    hone_error err = {0};
    if (hone__recorded_parse(&recorded, text, strlen(text), "s.json", &err) != HONE_OK)
        fail_msg("%s", err.message);
    return recorded;
}

static void refuse(const char *text, hone_status status, const char *words) {
    hone__recorded *recorded = NULL;
    hone_error err = {0};
    size_t live = hone__alloc_live();
    hone_status got = hone__recorded_parse(&recorded, text, strlen(text), "s.json", &err);
    if (got != status || strstr(err.message, words) == NULL)
        fail_msg("%s: status %d, \"%s\" without \"%s\"", text, got, err.message, words);
    assert_null(recorded);
    assert_int_equal(hone__alloc_live(), live);
}

static void test_recorded__reads_rows_whatever_their_order(void **state) {
    (void)state;
    hone__recorded *recorded = parse(good);
    assert_int_equal(recorded->row_count, 4);
    assert_int_equal(recorded->space->param_count, 3);
    assert_true(fabs(recorded->time_ms[recorded->best] - 1.25) < 1e-12);
    assert_int_equal(hone__bound_row(recorded->bound, &recorded->space->base), 2); /* A=2, col: rows are sorted by value */
    assert_true(fabs(recorded->time_ms[2] - 3) < 1e-12);
    assert_true(recorded->time_ms[1] <= 0);
    assert_string_equal(recorded->reason[recorded->failure[1]], "compile");
    hone__recorded_free(recorded);
}

static void test_recorded__names_are_one_short_line(void **state) {
    (void)state;
    char text[700] = "{\"kernel\":\"a\\nb", tail[] = "\",\"restrictions\":[\"A > 0\",7],\"params\":{\"A\":[1]},\"rows\":[{\"config\":{\"A\":1},\"time_ms\":1}]}";
    size_t length = strlen(text);
    memset(text + length, 'x', 300);
    memcpy(text + length + 300, tail, sizeof tail);
    hone__recorded *recorded = parse(text);
    assert_int_equal(strlen(recorded->kernel), 200);
    assert_memory_equal(recorded->kernel, "a bxxx", 6);
    assert_string_equal(recorded->gpu, "unnamed");
    assert_non_null(strstr(recorded->about, "- A > 0\n"));
    hone__recorded_free(recorded);
}

static void test_recorded__without_default_takes_a_row_near_the_middle(void **state) {
    (void)state;
    hone__recorded *recorded = parse("{\"params\":{\"A\":[1,2,3,4,5]},\"default\":null,\"rows\":[{\"config\":{\"A\":1},\"time_ms\":1},"
                                     "{\"config\":{\"A\":4},\"time_ms\":1},{\"config\":{\"A\":5},\"time_ms\":1}]}");
    assert_int_equal(recorded->space->base.slot[0], 3);
    hone__recorded_free(recorded);
}

static void test_recorded__refuses_what_is_no_space(void **state) {
    (void)state;
    refuse("", HONE_E_JSON, "JSON");
    refuse("[]", HONE_E_CORRUPT, "not a JSON object");
    refuse("{}", HONE_E_CORRUPT, "/params");
    refuse("{\"params\":{}}", HONE_E_CORRUPT, "/params");
    refuse("{\"params\":{\"A\":3}}", HONE_E_CORRUPT, "/params/A");
    refuse("{\"params\":{\"A\":[]},\"rows\":[]}", HONE_E_SPEC, "1 to");
    refuse("{\"params\":{\"A\":[1,\"x\"]},\"rows\":[]}", HONE_E_SPEC, "mixed");
    refuse("{\"params\":{\"A\":[1,1]},\"rows\":[]}", HONE_E_SPEC, "twice");
    refuse("{\"params\":{\"A b\":[1]},\"rows\":[]}", HONE_E_SPEC, "A b");
    refuse(HEAD "\"rows\":[]}", HONE_E_CORRUPT, "/rows");
    refuse(HEAD "\"rows\":[3]}", HONE_E_CORRUPT, "A is missing");
    refuse(HEAD "\"rows\":[{\"time_ms\":1}]}", HONE_E_CORRUPT, "A is missing");
    refuse(HEAD "\"rows\":[" ROW(3, row, true, "\"time_ms\":1") "]}", HONE_E_CORRUPT, "A has a value");
    refuse(HEAD "\"rows\":[" ROW(1, rows, true, "\"time_ms\":1") "]}", HONE_E_CORRUPT, "B has a value");
    refuse(HEAD "\"rows\":[" ROW(1, row, 1, "\"time_ms\":1") "]}", HONE_E_CORRUPT, "C has a value");
    refuse(HEAD "\"rows\":[" ROW(1, row, true, "\"time_ms\":0") "]}", HONE_E_CORRUPT, "time above 0");
    refuse(HEAD "\"rows\":[" ROW(1, row, true, "\"time_ms\":1e999") "]}", HONE_E_CORRUPT, "time above 0");
    refuse(HEAD "\"rows\":[" ROW(1, row, true, "\"x\":1") "]}", HONE_E_CORRUPT, "neither an error");
    refuse(HEAD "\"rows\":[" ROW(1, row, true, "\"error\":\"runtime\"") "]}", HONE_E_CONFIG, "no config of it has run");
    refuse(HEAD "\"rows\":[" ROW(1, row, true, "\"time_ms\":1") "," ROW(1, row, true, "\"time_ms\":2") "]}", HONE_E_ARG, "listed twice");
    refuse(HEAD "\"default\":7,\"rows\":[" ROW(1, row, true, "\"time_ms\":1") "]}", HONE_E_CORRUPT, "/default");
}

static void test_recorded__cut_anywhere_is_refused(void **state) {
    (void)state;
    for (size_t bytes = 0; bytes + 1 < sizeof good; bytes++) {
        hone__recorded *recorded = NULL;
        assert_int_not_equal(hone__recorded_parse(&recorded, good, bytes, "s.json", NULL), HONE_OK);
        assert_null(recorded);
    }
}

static void test_recorded__survives_failing_memory(void **state) {
    (void)state;
    size_t live = hone__alloc_live();
    hone_status status = HONE_E_NOMEM;
    for (size_t nth = 1; status != HONE_OK && nth < 1000; nth++) {
        hone__recorded *recorded = NULL;
        hone__alloc_fail_at(nth, 1);
        status = hone__recorded_parse(&recorded, good, strlen(good), "s.json", NULL);
        hone__alloc_fail_at(0, 0);
        hone__recorded_free(recorded);
        assert_int_equal(hone__alloc_live(), live);
    }
    assert_int_equal(status, HONE_OK);
}

/* ---- files ---- */

static void write_file(const char *path, const void *bytes, size_t count) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static hone_status load(const char *path) {
    hone__recorded *recorded = NULL;
    hone_status status = hone__recorded_load(&recorded, path, NULL);
    hone__recorded_free(recorded);
    return status;
}

static void test_recorded__files_plain_packed_cut_and_swollen(void **state) {
    (void)state;
    char folder[] = "/tmp/hone-recorded-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/space", folder);
    assert_int_equal(load(path), HONE_E_NOTFOUND);
    write_file(path, good, strlen(good));
    assert_int_equal(load(path), HONE_OK);
    gzFile packed = gzopen(path, "wb");
    assert_int_equal(gzwrite(packed, good, (unsigned)strlen(good)), (int)strlen(good));
    assert_int_equal(gzclose(packed), Z_OK);
    assert_int_equal(load(path), HONE_OK);
    char bytes[1024];
    FILE *file = fopen(path, "rb");
    size_t count = fread(bytes, 1, sizeof bytes, file);
    assert_int_equal(fclose(file), 0);
    for (size_t cut = 1; cut < count; cut += 7) {
        write_file(path, bytes, cut);
        assert_int_not_equal(load(path), HONE_OK);
    }
    bytes[count / 2] ^= 0x10;
    write_file(path, bytes, count);
    assert_int_not_equal(load(path), HONE_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- a bound by list ---- */

static void test_listed__samples_walks_and_neighbours_are_rows(void **state) {
    (void)state;
    hone__recorded *recorded = parse(good);
    const hone__bound *bound = recorded->bound;
    bool exact = false;
    assert_true(fabs(hone__bound_count(bound, &exact) - 4) < 1e-9 && exact);
    uint32_t seen[4] = {0};
    hone__rng rng;
    hone__rng_seed(&rng, 5);
    for (int i = 0; i < 4000; i++) {
        hone__config config;
        assert_true(hone__bound_sample(bound, &rng, &config));
        uint32_t row = hone__bound_row(bound, &config);
        assert_true(row < 4);
        seen[row]++;
    }
    for (int i = 0; i < 4; i++)
        assert_in_range(seen[i], 850, 1150); /* uniform: five standard deviations */
    hone__walk *walk = NULL;
    assert_int_equal(hone__walk_new(&walk, bound), HONE_OK);
    hone__config config, near[16];
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(hone__walk_next(walk, &config));
        assert_int_equal(hone__bound_row(bound, &config), i);
        uint32_t count = hone__bound_neighbours(bound, &config, 0, near, 16);
        for (uint32_t k = 0; k < count; k++)
            assert_true(hone__bound_valid(bound, &near[k], NULL));
    }
    assert_false(hone__walk_next(walk, &config));
    hone__walk_free(walk);
    hone__config wanted = {{1, 0, 1}}, mended; /* A=2, row, true: the nearest rows differ in one value */
    assert_false(hone__bound_valid(bound, &wanted, NULL));
    assert_true(hone__bound_repair(bound, &wanted, &rng, &mended));
    assert_true(hone__bound_valid(bound, &mended, NULL));
    hone__recorded_free(recorded);
}

/* ---- strategies ---- */

/* 3 x 24 x 16 configs: a bowl, one string value that always fails. */
static char *bowl(void) {
    hone__buf buf;
    hone__buf_init(&buf, 1u << 20);
    hone__buf_text(&buf, "{\"params\":{\"A\":[0");
    for (int a = 1; a < 24; a++)
        hone__buf_printf(&buf, ",%d", a);
    hone__buf_text(&buf, "],\"B\":[1,2,4,8,16,32,64,128,256,512,1024,2048,4096,8192,16384,32768],\"C\":[\"x\",\"y\",\"z\"]},\"rows\":[");
    for (int i = 0; i < 24 * 16 * 3; i++) {
        int a = i / 48, b = i / 3 % 16, c = i % 3;
        hone__buf_printf(&buf, "%s{\"config\":{\"A\":%d,\"B\":%d,\"C\":\"%c\"},", i == 0 ? "" : ",", a, 1 << b, 'x' + c);
        if (c == 2)
            hone__buf_text(&buf, "\"error\":\"runtime\"}");
        else
            hone__buf_printf(&buf, "\"time_ms\":%d}", 100 + (a - 17) * (a - 17) + 3 * (b - 5) * (b - 5) + 40 * c);
    }
    hone__buf_text(&buf, "]}");
    return hone__buf_take(&buf);
}

typedef struct tally {
    char *first;
    uint32_t lines;
    double best[10];
} tally;

static int take_line(const char *json, void *user) {
    tally *sum = user;
    cJSON *line = cJSON_Parse(json);
    assert_non_null(line);
    const cJSON *best = cJSON_GetObjectItem(line, "best");
    int count = cJSON_GetArraySize(best);
    sum->best[sum->lines % 10] = cJSON_GetArrayItem(best, count - 1)->valuedouble;
    if (sum->lines++ == 0)
        sum->first = strdup(cJSON_GetObjectItem(line, "best") == NULL ? "" : json);
    cJSON_Delete(line);
    return 0;
}

static double mean_best(const char *path, const char *search, uint32_t trials, double noise, uint32_t in_flight) {
    hone_simulate_options options = HONE_SIMULATE_OPTIONS_INIT;
    options.search = search;
    options.trials_max = trials;
    options.repeat = 10;
    options.noise = noise;
    options.in_flight = in_flight;
    tally sum = {0};
    hone_error err = {0};
    if (hone_simulate(path, &options, take_line, &sum, &err) != HONE_OK)
        fail_msg("%s", err.message);
    assert_int_equal(sum.lines, 10);
    free(sum.first);
    double mean = 0;
    for (int i = 0; i < 10; i++)
        mean += sum.best[i] / 10;
    return mean;
}

static void test_simulate__lfbo_finds_the_bottom_of_a_bowl(void **state) {
    (void)state;
    char path[] = "/tmp/hone-bowl-XXXXXX";
    int file = mkstemp(path);
    char *text = bowl();
    assert_true(file >= 0 && text != NULL);
    assert_int_equal(write(file, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(file), 0);
    hone__free(text);
    double random = mean_best(path, "random", 40, 0, 1), lfbo = mean_best(path, "lfbo", 40, 0, 1), noisy = mean_best(path, "lfbo", 60, 0.02, 1);
    double ahead = mean_best(path, "lfbo", 80, 0, 24);
    print_message("mean best of 40 trials: random %.2f, lfbo %.2f; with noise %.2f; of 80, 24 ahead, %.2f; optimum 100\n", random, lfbo, noisy, ahead);
    assert_true(ahead < 101);
    assert_true(lfbo < random);
    assert_true(lfbo < 101);
    assert_true(noisy < 103);
    double everything = mean_best(path, "exhaustive", 24 * 16 * 3, 0, 5);
    assert_true(fabs(everything - 100) < 1e-9);
    assert_int_equal(unlink(path), 0);
}

static void test_simulate__refuses_bad_options(void **state) {
    (void)state;
    hone_simulate_options options = HONE_SIMULATE_OPTIONS_INIT;
    tally sum = {0};
    options.noise = -1;
    assert_int_equal(hone_simulate("/nowhere", &options, take_line, &sum, NULL), HONE_E_ARG);
    options.noise = 0;
    options.in_flight = 65;
    assert_int_equal(hone_simulate("/nowhere", &options, take_line, &sum, NULL), HONE_E_ARG);
    options.in_flight = 0;
    assert_int_equal(hone_simulate("/nowhere", &options, take_line, &sum, NULL), HONE_E_NOTFOUND);
    options.struct_size = 0;
    assert_int_equal(hone_simulate("/nowhere", &options, take_line, &sum, NULL), HONE_E_ARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded__reads_rows_whatever_their_order),
        cmocka_unit_test(test_recorded__names_are_one_short_line),
        cmocka_unit_test(test_recorded__without_default_takes_a_row_near_the_middle),
        cmocka_unit_test(test_recorded__refuses_what_is_no_space),
        cmocka_unit_test(test_recorded__cut_anywhere_is_refused),
        cmocka_unit_test(test_recorded__survives_failing_memory),
        cmocka_unit_test(test_recorded__files_plain_packed_cut_and_swollen),
        cmocka_unit_test(test_listed__samples_walks_and_neighbours_are_rows),
        cmocka_unit_test(test_simulate__lfbo_finds_the_bottom_of_a_bowl),
        cmocka_unit_test(test_simulate__refuses_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
