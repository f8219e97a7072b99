/* test_pattern_property.c: values of patterns that are checked all at once are those that are sound one by one, and make a text of the length
 * that was counted. */
#include "cache_fixture.h"
#include "pack_format.h"

enum { ROUNDS = 300000, MARKERS_MAX = 70, VALUES_MAX = MARKERS_MAX * 11 };

typedef struct values {
    uint8_t marker[MARKERS_MAX];
    char pattern[MARKERS_MAX];
    uint8_t bytes[VALUES_MAX + 8];
    size_t count;
    hone__text text;
} values;

static uint64_t random_value(hone__rng *rng, bool is_bool) {
    if (is_bool)
        return hone__rng_below(rng, hone__rng_below(rng, 60) == 0 ? 300 : 2);
    if (hone__rng_below(rng, 3) == 0)
        return hone__rng_below(rng, 20000);
    return hone__rng_below(rng, 100) == 0 ? hone__rng_next(rng) >> hone__rng_below(rng, 64) : hone__rng_below(rng, 130);
}

static void add_value(values *v, uint64_t value) {
    do {
        v->bytes[v->count++] = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value != 0);
}

/* Mostly sound; now and then a bool of another value, a number that is too large, a last byte of 0, an end that comes early. */
static void make_values(values *v, hone__rng *rng, bool large) {
    memset(v, 0, sizeof *v);
    uint32_t markers = 1 + (uint32_t)hone__rng_below(rng, large ? MARKERS_MAX : 14);
    for (uint32_t i = 0; i < markers; i++) {
        bool is_bool = hone__rng_below(rng, 4) == 0;
        v->marker[i] = is_bool ? 2 : 1;
        v->pattern[i] = (char)v->marker[i];
        v->text.bools |= i < PATTERN_BOOLS_MAX ? (uint64_t)is_bool << i : 0;
        add_value(v, random_value(rng, is_bool));
        if (hone__rng_below(rng, 400) == 0) {
            v->bytes[v->count - 1] |= 0x80;
            v->bytes[v->count++] = 0;
        }
    }
    if (hone__rng_below(rng, 50) == 0)
        v->count--;
    for (size_t i = 0; i < 8; i++)
        v->bytes[v->count + i] = (uint8_t)hone__rng_next(rng);
    v->text.data = v->pattern;
    v->text.marker = v->marker;
    v->text.length = v->text.marker_count = markers;
}

static void test_pattern__checks_all_at_once_as_one_by_one(void **state) {
    (void)state;
    hone__rng rng;
    uint64_t seed = seed_of("pattern");
    unsigned sound = 0, at_once = 0, bad = 0;
    static values v;
    hone__rng_seed(&rng, seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        make_values(&v, &rng, round % 10 == 0);
        const uint8_t *end = v.bytes + v.count;
        size_t length = 0;
        const uint8_t *slow = hone__pattern_skip(&v.text, v.bytes, end, &length);
        const uint8_t *fast = hone__pattern_check_values(&v.text, v.bytes, end);
        sound += slow != NULL;
        bad += slow == NULL;
        at_once += fast != NULL;
        if (fast != NULL)
            assert_ptr_equal(fast, slow);
        if (slow == NULL || round % 8 != 0)
            continue;
        /* With more room than the text takes, and with what it takes and no more. */
        static char joined[1 << 16];
        size_t room = v.text.length + (size_t)PATTERN_DIGITS_MAX * v.text.marker_count;
        assert_true(room <= sizeof joined);
        assert_ptr_equal(hone__pattern_join(joined, joined + room, &v.text, v.bytes), joined + length);
        char *tight = malloc(length + 1); /* nothing after it is ours */
        assert_non_null(tight);
        tight[length] = '!';
        assert_ptr_equal(hone__pattern_join(tight, tight + length, &v.text, v.bytes), tight + length);
        assert_int_equal(tight[length], '!');
        assert_memory_equal(tight, joined, length);
        free(tight);
    }
    assert_true(bad > ROUNDS / 50);
    assert_true(at_once > sound / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pattern__checks_all_at_once_as_one_by_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
