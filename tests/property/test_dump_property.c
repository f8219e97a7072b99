/* test_dump_property.c: whatever a record can hold comes back from a line of a dump as it was, byte for byte; and lines that were bent a little
 * are refused or taken, and never crash. */
#include "cache_fixture.h"
#include "dump_line.h"
#include "layout.h"

#include <float.h>

enum { TEXT_MAX = 90, ROUNDS = 1500, BENT_ROUNDS = 1500 };

/* Pieces that make JSON, nearly JSON and no JSON of each other. */
static char *random_text(hone__rng *rng, size_t max) {
    static const char *const pieces[] = {"{",       "}",         "[",          "]",         "\"BM\":",   "64",   ",",    "1e5",  "0.1", "-0",
                                         "1.0",     "true",      "null",       "\"a\"",     "\xc3\xa9",  "\\u0000", "\\", "\"",   "\n",  "\x01",
                                         "\x7f",    "\xf0\x9f\x98\x80", " ",   "18446744073709551615", "{\"A\":1}", "[[[[", "\"\\u00e9\"", "/"};
    static const char *const whole[] = {"{\"BM\":64,\"OPT\":[1,2],\"s\":\"x\"}", "{}", "[]", "{\"a\":1,\"a\":2}", "{\"a\": 1}", "{\"a\":1.50}",
                                        "\"text\"", "{\"a\":0.1}", "{\"\\u0000\":1}", "{\"a\":\"\\u0000\"}", "{\"a\":\"\\u007f\"}", "{\"x\":1e400}",
                                        "{\"big\":9007199254740993}", "{\"a\":-0.0}"};
    char *text = hone__alloc(max + 1);
    if (hone__rng_below(rng, 3) == 0) {
        const char *chosen = whole[hone__rng_below(rng, sizeof whole / sizeof whole[0])];
        if (strlen(chosen) <= max)
            memcpy(text, chosen, strlen(chosen));
        return text;
    }
    size_t length = 0, wanted = (size_t)hone__rng_below(rng, 12);
    for (size_t i = 0; i < wanted; i++) {
        const char *piece = pieces[hone__rng_below(rng, sizeof pieces / sizeof pieces[0])];
        if (length + strlen(piece) > max)
            break;
        memcpy(text + length, piece, strlen(piece));
        length += strlen(piece);
    }
    return text;
}

static double random_double(hone__rng *rng) {
    static const double special[] = {0, 1, DBL_MIN, DBL_MAX, 4.9e-324, 1e6, 1e6 + 1e-9, 0.1, 1.0 / 3};
    if (hone__rng_below(rng, 3) == 0)
        return special[hone__rng_below(rng, sizeof special / sizeof special[0])];
    uint64_t bits = hone__rng_next(rng) >> 1;
    double value;
    memcpy(&value, &bits, sizeof value);
    return hone__record_double(value != value ? 7 : value);
}

static hone__ranked random_ranked(hone__rng *rng) {
    return (hone__ranked){random_text(rng, TEXT_MAX), random_double(rng), random_double(rng),
                          random_double(rng),         random_double(rng), (uint32_t)hone__rng_next(rng)};
}

static void random_entry(hone__rng *rng, hone__entry *e) {
    memset(e, 0, sizeof *e);
    for (size_t i = 0; i < sizeof e->key; i++)
        ((uint8_t *)&e->key)[i] = (uint8_t)hone__rng_next(rng);
    char **text[] = {&e->kernel_name, &e->sizes, &e->device, &e->strategy, &e->model, &e->stop, &e->tool_version, &e->host, &e->driver, &e->toolkit};
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
        *text[i] = random_text(rng, i == 0 ? 40 : TEXT_MAX);
    e->best = random_ranked(rng);
    e->alternative_count = (uint32_t)hone__rng_below(rng, HONE_ALTERNATIVES_MAX + 1);
    for (uint32_t i = 0; i < e->alternative_count; i++)
        e->alternative[i] = random_ranked(rng);
    double *number[] = {&e->default_ns, &e->flops, &e->bytes, &e->roofline, &e->seconds};
    for (size_t i = 0; i < sizeof number / sizeof number[0]; i++)
        *number[i] = random_double(rng);
    e->effort = (hone__effort)hone__rng_below(rng, 4);
    e->accuracy = (hone__accuracy)hone__rng_below(rng, 3);
    e->tie = hone__rng_below(rng, 2) == 1;
    e->rounds = (uint32_t)hone__rng_next(rng);
    e->trials = (uint32_t)hone__rng_next(rng);
    e->tokens = hone__rng_next(rng) >> hone__rng_below(rng, 60);
    e->created_unix_s = (int64_t)(hone__rng_next(rng) >> (1 + hone__rng_below(rng, 60)));
}

static void encode(hone__buf *buf, const hone__entry *entry) {
    uint8_t bytes[HONE_ENTRY_SLOT_BYTES];
    hone__buf_clear(buf);
    assert_int_equal(hone__entry_encode(buf, entry, hone__entry_slot(&entry->key, bytes)), HONE_OK);
}

static void test_dump_property__entries_come_back(void **state) {
    (void)state;
    hone__rng rng;
    hone__rng_seed(&rng, seed_of("entries_come_back"));
    hone__buf line, first, second;
    hone__buf_init(&line, HONE_DUMP_LINE_BYTES);
    hone__buf_init(&first, HONE_LIMIT_RECORD_BYTES);
    hone__buf_init(&second, HONE_LIMIT_RECORD_BYTES);
    for (int i = 0; i < ROUNDS; i++) {
        hone__entry in, out;
        hone_error err = {0};
        cJSON *json = NULL;
        random_entry(&rng, &in);
        hone__buf_clear(&line);
        hone__dump_entry(&line, &in);
        assert_int_equal(line.status, HONE_OK);
        assert_null(strchr(line.data, '\n'));
        hone_status status = hone__json_parse(&json, line.data, line.length, "line", &err);
        if (status == HONE_OK)
            status = hone__undump_entry(&out, json, false, &err);
        if (status != HONE_OK)
            print_error("%s\n%s\n", line.data, err.message);
        assert_int_equal(status, HONE_OK);
        encode(&first, &in);
        encode(&second, &out);
        assert_int_equal(first.length, second.length);
        assert_memory_equal(first.data, second.data, first.length);
        cJSON_Delete(json);
        hone__entry_clear(&in);
        hone__entry_clear(&out);
    }
    hone__buf_free(&line);
    hone__buf_free(&first);
    hone__buf_free(&second);
}

static void test_dump_property__kernels_come_back(void **state) {
    (void)state;
    hone__rng rng;
    hone__rng_seed(&rng, seed_of("kernels_come_back"));
    hone__buf line;
    hone__buf_init(&line, HONE_DUMP_LINE_BYTES);
    for (int i = 0; i < ROUNDS / 4; i++) {
        hone__kernel_info in = {.name = random_text(&rng, 40), .language = random_text(&rng, 40), .space = random_text(&rng, TEXT_MAX), .source = random_text(&rng, TEXT_MAX)};
        hone__kernel_info out;
        cJSON *json = NULL;
        in.id[3] = (uint8_t)i;
        hone__buf_clear(&line);
        hone__dump_kernel(&line, &in);
        assert_int_equal(hone__json_parse(&json, line.data, line.length, "line", NULL), HONE_OK);
        assert_int_equal(hone__undump_kernel(&out, json, false, NULL), HONE_OK);
        assert_memory_equal(in.id, out.id, sizeof in.id);
        assert_string_equal(in.name, out.name);
        assert_string_equal(in.space, out.space);
        assert_string_equal(in.source, out.source);
        cJSON_Delete(json);
        hone__kernel_info_clear(&in);
        hone__kernel_info_clear(&out);
    }
    hone__buf_free(&line);
}

/* Feed a text to hone_load through a file. */
static hone_status load_text(fixture *f, hone_cache *cache, const char *text, size_t count, char **report, hone_error *err) {
    char path[400];
    (void)snprintf(path, sizeof path, "%s/in.jsonl", f->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(write(fd, text, count) == (ssize_t)count);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    options.dry_run = cache == NULL;
    hone_status status = hone_load(report, cache, fd, "in.jsonl", &options, err);
    (void)close(fd);
    return status;
}

static void test_dump_property__bent_lines(void **state) {
    fixture *f = *state;
    hone__rng rng;
    hone__rng_seed(&rng, seed_of("bent_lines"));
    hone__buf text;
    hone__buf_init(&text, HONE_DUMP_LINE_BYTES);
    size_t live = hone__alloc_live();
    for (int i = 0; i < BENT_ROUNDS; i++) {
        hone__entry entry;
        char *report = NULL;
        hone_error err = {0};
        random_entry(&rng, &entry);
        hone__buf_clear(&text);
        hone__buf_text(&text, "{\"type\":\"hone dump\",\"reader\":1,\"writer\":1}\n");
        size_t begin = text.length;
        hone__dump_entry(&text, &entry);
        for (uint64_t bends = 1 + hone__rng_below(&rng, 3); bends > 0; bends--)
            text.data[begin + hone__rng_below(&rng, text.length - begin)] = (char)hone__rng_next(&rng);
        assert_int_equal(load_text(f, NULL, text.data, text.length, &report, &err), HONE_OK);
        assert_non_null(report);
        hone_free(report);
        hone__entry_clear(&entry);
    }
    hone__buf_free(&text);
    assert_true(hone__alloc_live() <= live);
}

int main(void) {
    use_memory_folder();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dump_property__entries_come_back),
        cmocka_unit_test(test_dump_property__kernels_come_back),
        cmocka_unit_test_setup_teardown(test_dump_property__bent_lines, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
