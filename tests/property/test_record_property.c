/* test_record_property.c: random records go through the codec unchanged, and the order of merge is a strict total order. */
#include "cache_fixture.h"
#include "layout.h"

#include <float.h>

enum { TEXT_MAX = 80, POOL = 240, ROUNDS = 4000 };

static char *random_text(hone__rng *rng, size_t max) {
    static const char *const pieces[] = {"a", "{\"BM\":", "64", "}", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\"", "\\", "\n", "\x01", "\x7f", " "};
    char *text = hone__alloc(max + 1);
    size_t length = 0, pieces_wanted = (size_t)hone__rng_below(rng, 12);
    for (size_t i = 0; i < pieces_wanted; i++) {
        const char *piece = pieces[hone__rng_below(rng, sizeof pieces / sizeof pieces[0])];
        size_t bytes = strlen(piece);
        if (length + bytes > max)
            break;
        memcpy(text + length, piece, bytes);
        length += bytes;
    }
    return text;
}

static double random_double(hone__rng *rng) {
    static const double special[] = {0, 1, DBL_MIN, DBL_MAX, 4.9e-324, 1e6, 1e6 + 1e-9, 0.1};
    if (hone__rng_below(rng, 3) == 0)
        return special[hone__rng_below(rng, sizeof special / sizeof special[0])];
    return hone__rng_unit(rng) * 1e9;
}

static hone__ranked random_ranked(hone__rng *rng) {
    return (hone__ranked){random_text(rng, TEXT_MAX), random_double(rng), random_double(rng),
                          random_double(rng),         random_double(rng), (uint32_t)hone__rng_next(rng)};
}

static void random_entry(hone__rng *rng, hone__entry *e) {
    memset(e, 0, sizeof *e);
    for (size_t i = 0; i < sizeof e->key; i++)
        ((uint8_t *)&e->key)[i] = (uint8_t)hone__rng_next(rng);
    e->kernel_name = random_text(rng, 40);
    e->sizes = random_text(rng, TEXT_MAX);
    e->device = random_text(rng, TEXT_MAX);
    e->best = random_ranked(rng);
    e->alternative_count = (uint32_t)hone__rng_below(rng, HONE_ALTERNATIVES_MAX + 1);
    for (uint32_t i = 0; i < e->alternative_count; i++)
        e->alternative[i] = random_ranked(rng);
    e->default_ns = random_double(rng);
    e->flops = random_double(rng);
    e->bytes = random_double(rng);
    e->roofline = hone__rng_unit(rng);
    e->effort = (hone__effort)hone__rng_below(rng, 4);
    e->accuracy = (hone__accuracy)hone__rng_below(rng, 3);
    e->tie = hone__rng_below(rng, 2) == 1;
    char **text[] = {&e->strategy, &e->model, &e->stop, &e->tool_version, &e->host, &e->driver, &e->toolkit};
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
        *text[i] = random_text(rng, TEXT_MAX);
    e->rounds = (uint32_t)hone__rng_next(rng);
    e->trials = (uint32_t)hone__rng_next(rng);
    e->failed = (uint32_t)hone__rng_below(rng, 5);
    e->tokens = hone__rng_next(rng);
    e->seconds = random_double(rng);
    e->created_unix_s = (int64_t)(hone__rng_next(rng) >> 1);
}

static void test_record_property__round_trip(void **state) {
    (void)state;
    hone__rng rng;
    hone__rng_seed(&rng, seed_of("round_trip"));
    hone__buf first, second;
    hone__buf_init(&first, HONE_LIMIT_RECORD_BYTES);
    hone__buf_init(&second, HONE_LIMIT_RECORD_BYTES);
    for (int i = 0; i < ROUNDS; i++) {
        hone__entry in, out;
        uint8_t slot_bytes[HONE_ENTRY_SLOT_BYTES];
        random_entry(&rng, &in);
        hone__slot_key slot = hone__entry_slot(&in.key, slot_bytes);
        hone__buf_clear(&first);
        hone__buf_clear(&second);
        assert_int_equal(hone__entry_encode(&first, &in, slot), HONE_OK);
        assert_int_equal(hone__entry_decode(&out, first.data, first.length, slot), HONE_OK);
        assert_int_equal(hone__entry_compare(&in, &out), 0);
        assert_string_equal(in.best.config, out.best.config);
        assert_memory_equal(&in.best.time_ns, &out.best.time_ns, sizeof in.best.time_ns);
        assert_string_equal(in.toolkit, out.toolkit);
        assert_true(in.created_unix_s == out.created_unix_s && in.tokens == out.tokens && in.tie == out.tie);
        assert_int_equal(hone__entry_encode(&second, &out, slot), HONE_OK);
        assert_int_equal(first.length, second.length);
        assert_memory_equal(first.data, second.data, first.length);
        hone__entry_clear(&in);
        hone__entry_clear(&out);
    }
    hone__buf_free(&first);
    hone__buf_free(&second);
}

/* Entries of one key that differ in little, so that every rule of the order gets to decide. */
static void near_entry(hone__rng *rng, hone__entry *e) {
    static const double times[] = {0, 1000, 1001, 1008, 1009, 1016, 1024, 1025, 2000};
    memset(e, 0, sizeof *e);
    e->best.time_ns = times[hone__rng_below(rng, 9)];
    e->best.high_ns = hone__rng_below(rng, 3) == 0 ? 0 : times[hone__rng_below(rng, 9)];
    e->best.low_ns = times[hone__rng_below(rng, 2)];
    e->best.samples = (uint32_t)hone__rng_below(rng, 3);
    e->best.config = random_text(rng, 3);
    e->effort = (hone__effort)hone__rng_below(rng, 3);
    e->accuracy = (hone__accuracy)hone__rng_below(rng, 3);
    e->created_unix_s = (int64_t)hone__rng_below(rng, 3);
    e->host = random_text(rng, 2);
    e->alternative_count = (uint32_t)hone__rng_below(rng, 2);
    if (e->alternative_count == 1)
        e->alternative[0].samples = (uint32_t)hone__rng_below(rng, 600);
}

static int sign(int value) {
    return (value > 0) - (value < 0);
}

static void test_record_property__strict_total_order(void **state) {
    (void)state;
    hone__rng rng;
    hone__rng_seed(&rng, seed_of("strict_total_order"));
    hone__entry *pool = hone__alloc_array(POOL, sizeof *pool);
    hone__buf *bytes = hone__alloc_array(POOL, sizeof *bytes);
    signed char(*order)[POOL] = hone__alloc_array(POOL, sizeof *order);
    for (int i = 0; i < POOL; i++) {
        near_entry(&rng, &pool[i]);
        hone__buf_init(&bytes[i], HONE_LIMIT_RECORD_BYTES);
        assert_int_equal(hone__entry_encode(&bytes[i], &pool[i], (hone__slot_key){"", 0}), HONE_OK);
    }
    for (int i = 0; i < POOL; i++) {
        for (int j = 0; j < POOL; j++) {
            order[i][j] = (signed char)sign(hone__entry_compare(&pool[i], &pool[j]));
            bool same = bytes[i].length == bytes[j].length && memcmp(bytes[i].data, bytes[j].data, bytes[i].length) == 0;
            assert_int_equal(order[i][j] == 0, same); /* 0 exactly for equal bytes */
        }
    }
    for (int i = 0; i < POOL; i++) {
        for (int j = 0; j < POOL; j++) {
            assert_int_equal(order[i][j], -order[j][i]);
            for (int k = 0; k < POOL; k++) {
                if (order[i][j] <= 0 && order[j][k] <= 0)
                    assert_true(order[i][k] <= 0);
            }
        }
    }
    for (int i = 0; i < POOL; i++) {
        hone__entry_clear(&pool[i]);
        hone__buf_free(&bytes[i]);
    }
    hone__free(pool);
    hone__free(bytes);
    hone__free(order);
}

/* Each rule decides when those above it are level, and the tie on bytes is the order of the payload as memcmp sees it. */
static void test_record_property__rules_in_turn(void **state) {
    (void)state;
    hone__rng rng;
    hone__rng_seed(&rng, seed_of("rules_in_turn"));
    for (int i = 0; i < ROUNDS; i++) {
        hone__entry a, b;
        random_entry(&rng, &a);
        random_entry(&rng, &b);
        bool valid_a = a.best.time_ns > 0 && a.accuracy != HONE_ACCURACY_FAILED, valid_b = b.best.time_ns > 0 && b.accuracy != HONE_ACCURACY_FAILED;
        if (valid_a != valid_b)
            assert_true((hone__entry_compare(&a, &b) < 0) == valid_a);
        a.accuracy = b.accuracy = HONE_ACCURACY_PASSED;
        a.best.time_ns = b.best.time_ns = a.best.low_ns = b.best.low_ns = 1;
        a.best.high_ns = 1 + hone__rng_unit(&rng) * 1e9;
        b.best.high_ns = a.best.high_ns * 1.017; /* more than the widest bucket */
        assert_true(hone__entry_compare(&a, &b) < 0);
        b.best.high_ns = a.best.high_ns;
        a.effort = HONE_EFFORT_QUICK;
        b.effort = HONE_EFFORT_THOROUGH;
        assert_true(hone__entry_compare(&a, &b) > 0);
        a.effort = b.effort;
        a.best.samples = 11;
        b.best.samples = 10;
        assert_true(hone__entry_compare(&a, &b) < 0);
        b.best.samples = 11;
        a.created_unix_s = 5;
        b.created_unix_s = 6;
        assert_true(hone__entry_compare(&a, &b) > 0);
        b.created_unix_s = 5;
        hone__buf x, y;
        hone__buf_init(&x, HONE_LIMIT_RECORD_BYTES);
        hone__buf_init(&y, HONE_LIMIT_RECORD_BYTES);
        assert_int_equal(hone__entry_encode(&x, &a, (hone__slot_key){"", 0}), HONE_OK);
        assert_int_equal(hone__entry_encode(&y, &b, (hone__slot_key){"", 0}), HONE_OK);
        size_t shorter = (x.length < y.length ? x.length : y.length) - HONE_RECORD_HEADER_BYTES - HONE_RECORD_CHECKSUM_BYTES;
        int want = memcmp(x.data + HONE_RECORD_HEADER_BYTES, y.data + HONE_RECORD_HEADER_BYTES, shorter);
        assert_int_not_equal(want, 0);
        assert_int_equal(sign(hone__entry_compare(&a, &b)), sign(want));
        hone__buf_free(&x);
        hone__buf_free(&y);
        hone__entry_clear(&a);
        hone__entry_clear(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_property__round_trip),
        cmocka_unit_test(test_record_property__strict_total_order),
        cmocka_unit_test(test_record_property__rules_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
