/* Random small spaces against brute force: what is valid, how many, walking, sampling, neighbours, repair, reading and printing. */
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

enum { RAW_MAX = 6000, SPACES = 200 };

typedef struct brute {
    hone__config *config; /* all valid ones */
    uint32_t count;
} brute;

static hone__space *parse(const char *text) {
    static const char *const sizes[] = {"M", "N"};
    cJSON *json;
    hone_error err = {0};
    hone__space *space = NULL;
    assert_int_equal(hone__json_parse(&json, text, strlen(text), "spec", &err), HONE_OK);
    if (hone__space_parse(&space, json, "spec", sizes, 2, &err) != HONE_OK)
        print_error("%s\n%s\n", err.message, text);
    cJSON_Delete(json);
    assert_non_null(space);
    return space;
}

/* A random spec: a few parameters of every kind, and constraints over random pairs and triples of values. */
static void make_spec(hone__rng *rng, hone__buf *buf) {
    char values[64][24];
    uint32_t value_count = 0;
    uint32_t params = 1 + (uint32_t)hone__rng_below(rng, 5);
    hone__buf_text(buf, "{\"params\":{");
    for (uint32_t i = 0; i < params; i++) {
        hone__buf_printf(buf, "%s\"P%u\":", i == 0 ? "" : ",", i);
        uint32_t elements = 0;
        switch (hone__rng_below(rng, 7)) {
        case 0:
            hone__buf_printf(buf, "{\"kind\":\"range\",\"min\":%d,\"max\":%d,\"step\":%d}", -3, 9, 1 + (int)hone__rng_below(rng, 4));
            break;
        case 1:
            hone__buf_printf(buf, "{\"kind\":\"pow2\",\"min\":%d,\"max\":%d}", 2, 4 << hone__rng_below(rng, 4));
            break;
        case 2:
            hone__buf_text(buf, "{\"kind\":\"enum\",\"values\":[5,1,7,12]}");
            break;
        case 3:
            hone__buf_text(buf, "{\"kind\":\"bool\",\"default\":true}");
            break;
        case 4:
            elements = 2 + (uint32_t)hone__rng_below(rng, 3);
            hone__buf_printf(buf, "{\"kind\":\"permutation\",\"length\":%u}", elements);
            break;
        case 5:
            elements = 1 + (uint32_t)hone__rng_below(rng, 3);
            hone__buf_printf(buf, "{\"kind\":\"list\",\"length\":%u,\"of\":{\"kind\":\"range\",\"min\":1,\"max\":4}}", elements);
            break;
        default:
            hone__buf_text(buf, "{\"kind\":\"enum\",\"values\":[\"none\",\"row\",\"col\"],\"default\":\"row\"}");
            (void)snprintf(values[value_count++], 24, "(P%u=='row')", i);
            continue;
        }
        for (uint32_t j = 0; j < elements; j++)
            (void)snprintf(values[value_count++], 24, "P%u[%u]", i, j);
        if (elements == 0)
            (void)snprintf(values[value_count++], 24, "P%u", i);
    }
    hone__buf_text(buf, "},\"constraints\":[");
    static const char *const forms[] = {"%s + %s != %s", "%s %% %s == 0 || %s > 2", "%s * %s <= M + %s", "%s < %s ? %s > 1 : true",
                                        "max(%s, %s) >= min(%s, N)", "ceil_div(%s, %s) <= %s"};
    uint32_t constraints = (uint32_t)hone__rng_below(rng, 4);
    for (uint32_t i = 0; i < constraints; i++) {
        const char *a = values[hone__rng_below(rng, value_count)];
        const char *b = values[hone__rng_below(rng, value_count)];
        const char *c = values[hone__rng_below(rng, value_count)];
        hone__buf_text(buf, i == 0 ? "\"" : ",\"");
        const char *form = forms[hone__rng_below(rng, 6)];
        for (int which = 0; *form != '\0'; form++) {
            if (form[0] == '%' && form[1] == 's') {
                hone__buf_text(buf, which == 0 ? a : which == 1 ? b : c);
                which++;
                form++;
            } else if (form[0] == '%') {
                hone__buf_char(buf, '%');
                form++;
            } else {
                hone__buf_char(buf, *form);
            }
        }
        hone__buf_char(buf, '"');
    }
    hone__buf_text(buf, "]}");
    assert_int_equal(buf->status, HONE_OK);
}

static bool shaped(const hone__space *space, const hone__config *config) {
    for (uint32_t i = 0; i < space->param_count; i++) {
        const hone__param *p = &space->param[i];
        for (uint32_t j = 0; p->kind == HONE_KIND_PERMUTATION && j < p->slot_count; j++) {
            for (uint32_t k = 0; k < j; k++) {
                if (config->slot[p->first_slot + j] == config->slot[p->first_slot + k])
                    return false;
            }
        }
    }
    return true;
}

static brute find_all(const hone__space *space, const int64_t *sizes) {
    brute all = {hone__alloc_array(RAW_MAX * 8, sizeof(hone__config)), 0};
    hone__config config = {{0}};
    for (;;) {
        int64_t values[HONE_SIZES_MAX + HONE_LIMIT_SLOTS];
        hone__space_values(space, sizes, &config, values);
        bool valid = shaped(space, &config);
        for (uint32_t i = 0; i < space->constraint_count && valid; i++) {
            int64_t result;
            valid = hone__expr_eval(space->constraint[i].expr, values, &result, NULL) && result != 0;
        }
        if (valid) {
            assert_true(all.count < RAW_MAX * 8);
            all.config[all.count++] = config;
        }
        uint32_t slot = 0;
        while (slot < space->slot_count &&
               ++config.slot[slot] == space->param[hone__space_param_of_slot(space, slot)].domain.count)
            config.slot[slot++] = 0;
        if (slot == space->slot_count)
            return all;
    }
}

static uint32_t index_of(const brute *all, const hone__config *config) {
    for (uint32_t i = 0; i < all->count; i++) {
        if (hone__config_equal(&all->config[i], config))
            return i;
    }
    return UINT32_MAX;
}

static void check_walk(const hone__bound *bound, const brute *all) {
    uint8_t *seen = hone__alloc(all->count + 1);
    hone__walk *walk;
    hone__config config;
    uint32_t count = 0;
    assert_int_equal(hone__walk_new(&walk, bound), HONE_OK);
    while (hone__walk_next(walk, &config)) {
        uint32_t i = index_of(all, &config);
        assert_int_not_equal(i, UINT32_MAX);
        assert_int_equal(seen[i], 0);
        seen[i] = 1;
        count++;
    }
    assert_false(hone__walk_next(walk, &config));
    assert_int_equal(count, all->count);
    hone__walk_free(walk);
    hone__free(seen);
}

static void check_samples(const hone__bound *bound, const brute *all, hone__rng *rng) {
    uint32_t *hits = hone__alloc_array(all->count, sizeof *hits);
    uint32_t draws = all->count * 20;
    if (draws > 4000)
        draws = 4000;
    for (uint32_t i = 0; i < draws; i++) {
        hone__config config;
        assert_true(hone__bound_sample(bound, rng, &config));
        uint32_t at = index_of(all, &config);
        assert_int_not_equal(at, UINT32_MAX);
        hits[at]++;
    }
    double expected = (double)draws / all->count;
    double chi = 0;
    for (uint32_t i = 0; i < all->count; i++)
        chi += (hits[i] - expected) * (hits[i] - expected) / expected;
    double freedom = all->count - 1;
    /* Five standard deviations and a little for tiny spaces. */
    assert_true(chi <= freedom + 6 * sqrt(2 * freedom) + 12);
    hone__free(hits);
}

/* One changed slot, or one swap in a permutation. */
static bool one_step(const hone__space *space, const hone__config *a, const hone__config *b) {
    uint32_t changed = 0;
    uint32_t first = 0;
    bool order = true;
    for (uint32_t i = 0; i < space->slot_count; i++) {
        if (a->slot[i] == b->slot[i])
            continue;
        uint32_t param = hone__space_param_of_slot(space, i);
        if (changed++ == 0)
            first = param;
        order = order && param == first && space->param[param].kind == HONE_KIND_PERMUTATION;
    }
    return order ? changed == 2 : changed == 1;
}

static void check_neighbours(const hone__bound *bound, const brute *all, hone__rng *rng) {
    const hone__space *space = hone__bound_space(bound);
    enum { MAX = 256 };
    hone__config *out = hone__alloc_array(MAX, sizeof *out);
    for (int round = 0; round < 3; round++) {
        const hone__config *from = &all->config[hone__rng_below(rng, all->count)];
        uint32_t count = hone__bound_neighbours(bound, from, 0, out, MAX);
        uint32_t wanted = 0;
        for (uint32_t i = 0; i < all->count; i++)
            wanted += one_step(space, from, &all->config[i]) ? 1 : 0;
        assert_int_equal(count, wanted);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(one_step(space, from, &out[i]));
            assert_int_not_equal(index_of(all, &out[i]), UINT32_MAX);
            for (uint32_t j = 0; j < i; j++)
                assert_false(hone__config_equal(&out[i], &out[j]));
        }
        uint32_t fewer = hone__bound_neighbours(bound, from, 1, out, 3);
        assert_true(fewer <= 3 && fewer <= count);
    }
    hone__free(out);
}

/* Text with a slip in it is refused, or read as JSON of it would be. */
static void check_slips(const hone__space *space, const hone__buf *good, hone__rng *rng) {
    static const char bytes[] = "0123456789-+.eE{}[]\",: \\truefalsnPMNrowcl";
    for (int round = 0; round < 8; round++) {
        hone__buf buf;
        hone__buf_init(&buf, 1 << 16);
        hone__buf_text(&buf, good->data);
        buf.data[hone__rng_below(rng, buf.length)] = bytes[hone__rng_below(rng, sizeof bytes - 1)];
        hone__config read, wanted;
        if (hone__config_read_text(space, buf.data, &read)) {
            cJSON *json = NULL;
            assert_int_equal(hone__json_parse(&json, buf.data, buf.length, "config", NULL), HONE_OK);
            assert_int_equal(hone__config_read(space, json, false, &wanted, NULL, NULL), HONE_OK);
            assert_true(hone__config_equal(&read, &wanted));
            cJSON_Delete(json);
        }
        hone__buf_free(&buf);
    }
}

static void check_text(const hone__space *space, const hone__config *config, hone__rng *rng) {
    for (int sparse = 0; sparse < 2; sparse++) {
        hone__buf buf;
        hone__buf_init(&buf, 1 << 16);
        hone__buf notes;
        hone__buf_init(&notes, 1 << 16);
        if (sparse != 0)
            hone__config_print_sparse(&buf, space, config);
        else
            hone__config_print(&buf, space, config);
        cJSON *json;
        assert_int_equal(hone__json_parse(&json, buf.data, buf.length, "config", NULL), HONE_OK);
        for (int repair = 0; repair < 2; repair++) {
            hone__config back;
            memset(&back, 0xff, sizeof back);
            assert_int_equal(hone__config_read(space, json, repair != 0, &back, &notes, NULL), HONE_OK);
            assert_true(hone__config_equal(&back, config));
            assert_int_equal(notes.length, 0);
        }
        hone__config direct;
        assert_true(hone__config_read_text(space, buf.data, &direct));
        assert_true(hone__config_equal(&direct, config));
        check_slips(space, &buf, rng);
        cJSON_Delete(json);
        hone__buf_free(&buf);
        hone__buf_free(&notes);
    }
}

static void check_repair(const hone__bound *bound, const brute *all, hone__rng *rng) {
    const hone__space *space = hone__bound_space(bound);
    for (int round = 0; round < 10; round++) {
        hone__config wanted = {{0}};
        for (uint32_t i = 0; i < space->slot_count; i++)
            wanted.slot[i] = (uint32_t)hone__rng_below(rng, 7);
        hone__config mended;
        hone__config again;
        assert_true(hone__bound_repair(bound, &wanted, rng, &mended));
        assert_int_not_equal(index_of(all, &mended), UINT32_MAX);
        assert_true(hone__bound_repair(bound, &mended, rng, &again));
        assert_true(hone__config_equal(&mended, &again));
        if (index_of(all, &wanted) != UINT32_MAX)
            assert_true(hone__config_equal(&mended, &wanted));
    }
}

static void check_space(const char *text, hone__rng *rng, uint32_t *tested) {
    hone__space *space = parse(text);
    int64_t sizes[2] = {(int64_t)hone__rng_below(rng, 40), 1 + (int64_t)hone__rng_below(rng, 5)};
    if (hone__space_raw_count(space) <= RAW_MAX) {
        brute all = find_all(space, sizes);
        hone__bound *bound = NULL;
        hone_error err = {0};
        hone_status status = hone__bound_new(&bound, space, sizes, &err);
        assert_int_equal(status, all.count == 0 ? HONE_E_CONFIG : HONE_OK);
        if (status == HONE_OK) {
            bool exact = false;
            assert_true(fabs(hone__bound_count(bound, &exact) - all.count) < 0.5);
            assert_true(exact);
            check_walk(bound, &all);
            check_samples(bound, &all, rng);
            check_neighbours(bound, &all, rng);
            check_repair(bound, &all, rng);
            for (int i = 0; i < 5; i++)
                check_text(space, &all.config[hone__rng_below(rng, all.count)], rng);
            ++*tested;
        } else {
            assert_null(bound);
            assert_non_null(strstr(err.message, "no config is valid"));
        }
        hone__bound_free(bound);
        hone__free(all.config);
    }
    hone__space_free(space);
}

static void test_space__agrees_with_brute_force(void **state) {
    (void)state;
    const char *wanted = getenv("HONE_TEST_SEED");
    uint64_t seed = wanted != NULL ? strtoull(wanted, NULL, 10) : (uint64_t)hone__clock_unix_s();
    print_message("seed %llu (HONE_TEST_SEED)\n", (unsigned long long)seed);
    uint32_t tested = 0;
    size_t live = hone__alloc_live();
    for (uint64_t i = 0; i < SPACES; i++) {
        hone__rng rng;
        hone__rng_seed(&rng, seed * 1000 + i);
        hone__buf buf;
        hone__buf_init(&buf, 1 << 16);
        make_spec(&rng, &buf);
        check_space(buf.data, &rng, &tested);
        hone__buf_free(&buf);
    }
    print_message("%u spaces compared\n", tested);
    assert_true(tested > SPACES / 3);
    assert_int_equal(hone__alloc_live(), live);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_space__agrees_with_brute_force)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
