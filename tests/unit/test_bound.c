/* Bound spaces: reasons, big and tight spaces, huge domains, tiny spaces, permutations, neighbours, repair. Times are printed, never
 * asserted. */
#include "alloc.h"
#include "clock.h"
#include "space.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define DIGIT(name) "\"" #name "\":{\"kind\":\"range\",\"min\":0,\"max\":9}"
#define NINE DIGIT(a) "," DIGIT(b) "," DIGIT(c) "," DIGIT(d) "," DIGIT(e) "," DIGIT(f) "," DIGIT(g) "," DIGIT(h) "," DIGIT(i)
#define FOUR DIGIT(j) "," DIGIT(k) "," DIGIT(l) "," DIGIT(m)

static const char *const size_names[] = {"M", "N"};
static const int64_t sizes[] = {4096, 96};

static hone__space *parse(const char *text) {
    cJSON *json;
    hone__space *space = NULL;
    hone_error err = {0};
    if (hone__json_parse(&json, text, strlen(text), "k.json", &err) != HONE_OK ||
        hone__space_parse(&space, json, "k.json", size_names, 2, &err) != HONE_OK)
        fail_msg("%s: %s", err.message, text);
    cJSON_Delete(json);
    return space;
}

static hone__bound *bind_space(const hone__space *space) {
    hone__bound *bound;
    hone_error err = {0};
    if (hone__bound_new(&bound, space, sizes, &err) != HONE_OK)
        fail_msg("%s", err.message);
    return bound;
}

static void expect_reason(const hone__bound *bound, const char *config, const char *reason) {
    cJSON *json;
    hone__config read;
    hone__buf why;
    hone__buf_init(&why, 4096);
    hone__buf_text(&why, "");
    assert_int_equal(hone__json_parse(&json, config, strlen(config), "config", NULL), HONE_OK);
    assert_int_equal(hone__config_read(hone__bound_space(bound), json, false, &read, NULL, NULL), HONE_OK);
    cJSON_Delete(json);
    bool valid = hone__bound_valid(bound, &read, &why);
    assert_int_equal(valid, hone__bound_valid(bound, &read, NULL));
    assert_int_equal(valid, reason[0] == '\0');
    assert_string_equal(why.data, reason);
    hone__buf_free(&why);
}

static void test_bound__gives_reasons_with_numbers(void **state) {
    (void)state;
    hone__space *space = parse("{\"params\":{\"BM\":{\"kind\":\"range\",\"min\":16,\"max\":64,\"step\":16},\"MR\":{\"kind\":\"pow2\",\"min\":1,\"max\":32},"
                               "\"T\":{\"kind\":\"enum\",\"values\":[\"row\",\"col\"]},\"L\":{\"kind\":\"list\",\"length\":2,\"of\":{\"kind\":\"range\",\"min\":0,\"max\":5,\"default\":1}}},"
                               "\"constraints\":[{\"expr\":\"BM % MR == 0\",\"why\":\"the tile must be whole\"},\"T == 'row' || MR > 1\",\"M / L[0] > N || L[1] == 0\"]}");
    hone__bound *bound = bind_space(space);
    expect_reason(bound, "{}", "");
    expect_reason(bound, "{\"BM\":48,\"MR\":32}", "BM % MR == 0 does not hold: BM=48, MR=32 (the tile must be whole)");
    expect_reason(bound, "{\"T\":\"col\"}", "T == 'row' || MR > 1 does not hold: MR=1, T=\"col\"");
    expect_reason(bound, "{\"L\":[0,1]}", "M / L[0] > N || L[1] == 0 cannot be evaluated (division by zero): M=4096, N=96, L[0]=0, L[1]=1");
    expect_reason(bound, "{\"L\":[1,1]}", "");
    hone__config config = space->base;
    config.slot[0] = 4;
    assert_false(hone__bound_valid(bound, &config, NULL));
    config = space->base;
    config.slot[100] = 1;
    assert_false(hone__bound_valid(bound, &config, NULL));
    assert_ptr_equal(hone__bound_space(bound), space);
    assert_int_equal(hone__bound_sizes(bound)[1], 96);
    hone__bound_free(bound);
    hone__space_free(space);
}

static void test_bound__says_when_nothing_is_valid(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{\"params\":{\"A\":{\"kind\":\"bool\"}},\"constraints\":[\"M % 1000 == 0\"]}", "no config is valid for M=4096, N=96: M % 1000 == 0 does not hold: M=4096"},
        {"{\"params\":{\"A\":{\"kind\":\"bool\"}},\"constraints\":[\"A > 1\"]}", "A > 1 does not hold for any value"},
        {"{\"params\":{" NINE "},\"constraints\":[\"a < b\", \"b < a\"]}", "does not hold together with the others"},
        {"{\"params\":{" NINE "," FOUR "},\"constraints\":[\"a+b+c+d+e+f+g+h+i+j+k+l+m == 118\"]}", "does not hold"},
        {"{\"params\":{\"p\":{\"kind\":\"permutation\",\"length\":3}},\"constraints\":[\"p[0] == p[1]\"]}", "does not hold"},
        {"{\"params\":{" NINE "," FOUR "},\"constraints\":[\"(a+b+c+d+e+f+g+h+i+j+k+l+m) * 2 % 100 == 51\"]}", "none was found"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone__space *space = parse(cases[i].text);
        hone__bound *bound;
        hone_error err = {0};
        assert_int_equal(hone__bound_new(&bound, space, sizes, &err), HONE_E_CONFIG);
        assert_null(bound);
        if (strstr(err.message, cases[i].message) == NULL)
            fail_msg("\"%s\" lacks \"%s\"", err.message, cases[i].message);
        hone__space_free(space);
    }
}

/* Bind and draw; counts must be within `tolerance` of `count` (0: exact). */
static void sample_space(const char *name, const char *text, double count, double tolerance, uint32_t draws) {
    hone__space *space = parse(text);
    uint64_t start = hone__clock_ns();
    hone__bound *bound = bind_space(space);
    uint64_t bind_ns = hone__clock_ns() - start;
    bool exact = false;
    double got = hone__bound_count(bound, &exact);
    hone__rng rng;
    hone__rng_seed(&rng, 42);
    uint64_t worst = 0;
    uint32_t repeated = 0;
    hone__config before = {{0}};
    start = hone__clock_ns();
    for (uint32_t i = 0; i < draws; i++) {
        hone__config config;
        uint64_t begin = hone__clock_ns();
        assert_true(hone__bound_sample(bound, &rng, &config));
        uint64_t took = hone__clock_ns() - begin;
        worst = took > worst ? took : worst;
        assert_true(hone__bound_valid(bound, &config, NULL));
        repeated += hone__config_equal(&config, &before) ? 1 : 0;
        before = config;
    }
    print_message("%s: %.3g raw, %.4g valid%s; bind %.1f ms, sample %.3f ms (worst %.1f)\n", name, hone__space_raw_count(space), got,
                  exact ? "" : " (estimate)", (double)bind_ns / 1e6, (double)(hone__clock_ns() - start) / draws / 1e6, (double)worst / 1e6);
    assert_int_equal(exact, tolerance <= 0);
    assert_true(hone__bound_draw_work(bound) >= space->slot_count);
    assert_true(fabs(got - count) <= tolerance * count + 0.5);
    assert_true(count < 1000 || repeated < draws / 10 + 2);
    hone__bound_free(bound);
    hone__space_free(space);
}

static void test_bound__samples_big_tight_spaces(void **state) {
    (void)state;
    /* One constraint over everything that gives no hint before the last value: 1 in 10007. */
    sample_space("hash", "{\"params\":{" NINE "},\"constraints\":[\"(a+b*3+c*7+d*31+e*131+f*517+g*2111+h*9001+i*40009) % 10007 == 5\"]}", 99000, 0.6, 20);
    /* 1 in 10^4 that intervals can see. */
    sample_space("number", "{\"params\":{" NINE "},\"constraints\":[\"(((((((a*10+b)*10+c)*10+d)*10+e)*10+f)*10+g)*10+h)*10+i < 100000\"]}", 100000, 0, 200);
    sample_space("pairs", "{\"params\":{" NINE "},\"constraints\":[\"a==b\",\"b==c\",\"c==d\",\"d==e\"]}", 100000, 0, 200);
    sample_space("sum", "{\"params\":{" NINE "},\"constraints\":[\"a+b+c+d+e+f+g+h+i == 5\"]}", 1287, 0, 200);
    sample_space("rising", "{\"params\":{" NINE "},\"constraints\":[\"a<b && b<c && c<d && d<e && e<f && f<g\"]}", 12000, 0, 200);
}

static void test_bound__samples_one_big_group(void **state) {
    (void)state;
    sample_space("product", "{\"params\":{" NINE "," FOUR "},\"constraints\":[\"(a+1)*(b+1)*(c+1)*(d+1)*(e+1)*(f+1)*(g+1)*(h+1)*(i+1)*(j+1)*(k+1)*(l+1)*(m+1) == 46080\"]}",
                 190427952, 0.9, 10);
    sample_space("loose", "{\"params\":{" NINE "," FOUR "},\"constraints\":[\"a+b+c+d+e+f+g+h+i+j+k+l+m >= 58\"]}", 5.4e12, 0.1, 200);
    sample_space("order of 16", "{\"params\":{\"p\":{\"kind\":\"permutation\",\"length\":16}},\"constraints\":[\"p[0] < p[1]\",\"p[15] == 0\"]}", 653837184000, 0.1, 200);
    sample_space("free", "{\"params\":{" NINE "," FOUR ",\"p\":{\"kind\":\"permutation\",\"length\":16}}}", 1e13 * 20922789888000.0, 0, 200);
}

static void test_bound__samples_huge_domains(void **state) {
    (void)state;
#define HUGE_RANGE "{\"kind\":\"range\",\"min\":0,\"max\":999999999}"
    sample_space("equal", "{\"params\":{\"A\":" HUGE_RANGE ",\"B\":" HUGE_RANGE "},\"constraints\":[\"A == B\"]}", 1e9, 0.2, 100);
    sample_space("sum of two", "{\"params\":{\"A\":" HUGE_RANGE ",\"B\":" HUGE_RANGE "},\"constraints\":[\"A + B == M\"]}", 4097, 0, 50);
    sample_space("multiple", "{\"params\":{\"A\":" HUGE_RANGE ",\"B\":" HUGE_RANGE "},\"constraints\":[\"A % 128 == 0\",\"B < A\"]}", 3.9e15, 0.3, 50);
}

static void test_bound__handles_tiny_spaces(void **state) {
    (void)state;
    sample_space("one", "{\"params\":{\"A\":{\"kind\":\"enum\",\"values\":[7]}}}", 1, 0, 5);
    sample_space("one left", "{\"params\":{\"A\":{\"kind\":\"range\",\"min\":0,\"max\":9}},\"constraints\":[\"A == 7\"]}", 1, 0, 5);
    sample_space("two", "{\"params\":{\"A\":{\"kind\":\"bool\"}}}", 2, 0, 5);
    hone__space *space = parse("{\"params\":{\"A\":{\"kind\":\"range\",\"min\":0,\"max\":9}},\"constraints\":[\"A == 7\"]}");
    hone__bound *bound = bind_space(space);
    hone__walk *walk;
    hone__config config;
    hone__rng rng;
    hone__rng_seed(&rng, 1);
    assert_int_equal(hone__walk_new(&walk, bound), HONE_OK);
    assert_true(hone__walk_next(walk, &config));
    assert_int_equal(config.slot[0], 7);
    assert_false(hone__walk_next(walk, &config));
    assert_false(hone__walk_next(walk, &config));
    hone__walk_free(walk);
    assert_int_equal(hone__bound_neighbours(bound, &config, 0, &config, 1), 0);
    assert_true(hone__bound_repair(bound, &space->base, &rng, &config));
    assert_int_equal(config.slot[0], 7);
    hone__bound_free(bound);
    hone__space_free(space);
}

static void test_bound__neighbours_come_nearest_first(void **state) {
    (void)state;
    hone__space *space = parse("{\"params\":{\"A\":{\"kind\":\"range\",\"min\":0,\"max\":9,\"default\":4},\"B\":{\"kind\":\"bool\"},"
                               "\"P\":{\"kind\":\"permutation\",\"length\":3},\"T\":{\"kind\":\"enum\",\"values\":[\"x\",\"y\",\"z\"]}},\"constraints\":[\"A != 5\"]}");
    hone__bound *bound = bind_space(space);
    hone__config out[32];
    /* A: 0..9 but 4 and 5; B: 1; P: three swaps; T: two others. */
    assert_int_equal(hone__bound_neighbours(bound, &space->base, 0, out, 32), 8 + 1 + 3 + 2);
    uint32_t last = 0;
    for (uint32_t i = 0; i < 14; i++) {
        uint32_t steps = out[i].slot[0] > 4 ? out[i].slot[0] - 4 : 4 - out[i].slot[0];
        if (steps == 0)
            continue;
        assert_true(steps >= last);
        last = steps;
    }
    /* Only numbers are held to the radius. */
    assert_int_equal(hone__bound_neighbours(bound, &space->base, 2, out, 32), 3 + 1 + 3 + 2);
    assert_int_equal(hone__bound_neighbours(bound, &space->base, 1, out, 4), 4);
    assert_int_equal(out[0].slot[0], 3);
    hone__bound_free(bound);
    hone__space_free(space);
}

static void test_bound__repairs_to_the_nearest(void **state) {
    (void)state;
    hone__space *space = parse("{\"params\":{\"BM\":{\"kind\":\"range\",\"min\":16,\"max\":256,\"step\":16},\"MR\":{\"kind\":\"pow2\",\"min\":1,\"max\":64},"
                               "\"X\":{\"kind\":\"range\",\"min\":0,\"max\":1000}},\"constraints\":[\"BM % MR == 0\"]}");
    hone__bound *bound = bind_space(space);
    hone__rng rng;
    hone__rng_seed(&rng, 3);
    hone__config wanted = space->base;
    hone__config out;
    wanted.slot[0] = 2;   /* 48 */
    wanted.slot[1] = 5;   /* 32 */
    wanted.slot[2] = 777; /* not concerned: stays */
    for (int i = 0; i < 20; i++) {
        assert_true(hone__bound_repair(bound, &wanted, &rng, &out));
        assert_int_equal(out.slot[2], 777);
        bool one = (out.slot[0] == 2 && out.slot[1] == 4) || (out.slot[1] == 5 && (out.slot[0] == 1 || out.slot[0] == 3));
        assert_true(one);
    }
    memset(&wanted, 0xff, sizeof wanted);
    assert_true(hone__bound_repair(bound, &wanted, &rng, &out));
    assert_true(hone__bound_valid(bound, &out, NULL));
    hone__bound_free(bound);
    hone__space_free(space);
}

static void test_bound__survives_failing_allocation(void **state) {
    (void)state;
    hone__space *space = parse("{\"params\":{" NINE "},\"constraints\":[\"a<b\",\"b<c\",\"d+e==7\"]}");
    size_t live = hone__alloc_live();
    bool finished = false;
    for (size_t nth = 1; !finished && nth < 1000; nth++) {
        hone__bound *bound;
        hone__walk *walk = NULL;
        hone__alloc_fail_at(nth, 0);
        hone_status status = hone__bound_new(&bound, space, sizes, NULL);
        if (status == HONE_OK)
            status = hone__walk_new(&walk, bound);
        hone__alloc_fail_at(0, 0);
        finished = status == HONE_OK;
        assert_true(finished || status == HONE_E_NOMEM);
        hone__walk_free(walk);
        hone__bound_free(bound);
        assert_int_equal(hone__alloc_live(), live);
    }
    assert_true(finished);
    hone__space_free(space);
}

static double chi_square(const double *share, const uint32_t *hits, uint32_t count, uint32_t draws) {
    double chi = 0;
    for (uint32_t i = 0; i < count; i++) {
        double expected = share[i] * draws;
        assert_true(expected > 0 || hits[i] == 0);
        if (expected > 0)
            chi += (hits[i] - expected) * (hits[i] - expected) / expected;
    }
    return chi;
}

/* A group too big for listing: each slot's values must come as often as they do among all valid configs. */
static void compare_shares(const char *name, const char *text, uint32_t draws) {
    hone__space *space = parse(text);
    hone__bound *bound = bind_space(space);
    bool exact;
    double estimate = hone__bound_count(bound, &exact);
    assert_false(exact);
    static double share[9][10];
    static uint32_t hits[9][10];
    memset(share, 0, sizeof share);
    memset(hits, 0, sizeof hits);
    hone__walk *walk;
    hone__config config;
    double count = 0;
    assert_int_equal(hone__walk_new(&walk, bound), HONE_OK);
    for (; hone__walk_next(walk, &config); count++) {
        for (uint32_t i = 0; i < 9; i++)
            share[i][config.slot[i]]++;
    }
    hone__walk_free(walk);
    assert_true(hone__bound_count_error(bound) > 0);
    assert_true(hone__bound_draw_work(bound) > space->slot_count); /* some draws fail */
    assert_true(fabs(estimate - count) < (6 * hone__bound_count_error(bound) + 0.01) * count);
    hone__rng rng;
    hone__rng_seed(&rng, 11);
    for (uint32_t i = 0; i < draws; i++) {
        assert_true(hone__bound_sample(bound, &rng, &config));
        for (uint32_t j = 0; j < 9; j++)
            hits[j][config.slot[j]]++;
    }
    double worst = 0;
    for (uint32_t i = 0; i < 9; i++) {
        for (uint32_t j = 0; j < 10; j++)
            share[i][j] /= count;
        double chi = chi_square(share[i], hits[i], 10, draws);
        worst = chi > worst ? chi : worst;
    }
    print_message("%s: %.0f valid, estimated %.0f; worst chi-square of nine slots %.1f (9 degrees of freedom)\n", name, count, estimate, worst);
    assert_true(fabs(estimate - count) < 0.3 * count);
    assert_true(worst < 45); /* p = 1e-6 */
    hone__bound_free(bound);
    hone__space_free(space);
}

static void test_bound__is_fair_where_it_cannot_list(void **state) {
    (void)state;
    compare_shares("pairs", "{\"params\":{" NINE "},\"constraints\":[\"a%3==b%3\",\"b*c<=12\",\"d>c\",\"e+f==d\",\"g*h==e+f+a\",\"i>g\"]}", 20000);
    /* Lines with one valid value of i and lines with two. */
    compare_shares("squares", "{\"params\":{" NINE "},\"constraints\":[\"(a*b*31+c*d*17+e*f*7+g*h) % 500 == i*i % 10\", \"a<b\", \"c<=d\", \"e<f&&f<g\"]}", 4000);
    compare_shares("rests", "{\"params\":{" NINE "},\"constraints\":[\"(a*b+c*d+e*f+g*h) % 97 == i\", \"(a+b+c+d)%5==0\", \"(e*f+g+h)%7==3\", \"a<b\", \"c<=d\", \"e<f&&f<g\"]}", 20000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bound__gives_reasons_with_numbers), cmocka_unit_test(test_bound__says_when_nothing_is_valid),
        cmocka_unit_test(test_bound__samples_big_tight_spaces),   cmocka_unit_test(test_bound__samples_one_big_group),
        cmocka_unit_test(test_bound__handles_tiny_spaces),        cmocka_unit_test(test_bound__neighbours_come_nearest_first),
        cmocka_unit_test(test_bound__repairs_to_the_nearest),     cmocka_unit_test(test_bound__survives_failing_allocation),
        cmocka_unit_test(test_bound__samples_huge_domains),       cmocka_unit_test(test_bound__is_fair_where_it_cannot_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
