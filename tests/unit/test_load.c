/* test_load.c: hone_dump, hone_load, hone_diff and hone_list on caches: what is reported and what is refused. */
#include "cache_fixture.h"
#include "json.h"

static const char head[] = "{\"type\":\"hone dump\",\"reader\":1,\"writer\":1}\n";

typedef struct lines {
    unsigned count;
    char last[4096];
    int stop_after; /* 0: never */
} lines;

static int keep_line(const char *json, void *user) {
    lines *l = user;
    l->count++;
    (void)snprintf(l->last, sizeof l->last, "%s", json);
    return l->stop_after != 0 && (int)l->count >= l->stop_after;
}

static char *in_folder(const fixture *f, const char *name) {
    static char path[4][400];
    static int turn;
    turn = (turn + 1) % 4;
    (void)snprintf(path[turn], sizeof path[turn], "%s/%s", f->dir, name);
    return path[turn];
}

static void write_text(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    (void)close(fd);
}

static hone_status load_file(hone_cache *cache, const char *path, hone_work_options *options, char **report, hone_error *err) {
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    hone_status status = hone_load(report, cache, fd, "dump.jsonl", options, err);
    (void)close(fd);
    return status;
}

static hone_status load_text(fixture *f, hone_cache *cache, const char *text, hone_work_options *options, char **report, hone_error *err) {
    const char *path = in_folder(f, "text.jsonl");
    write_text(path, text);
    return load_file(cache, path, options, report, err);
}

static void fill(const char *path, uint32_t count, double time_ns) {
    hone_cache *cache = open_cache(path);
    for (uint32_t i = 0; i < count; i++)
        put_time(cache, i, time_ns + i);
    hone_cache_close(cache);
}

static void test_load__round_trip(void **state) {
    fixture *f = *state;
    char *report = NULL;
    const char *dump = in_folder(f, "dump.jsonl"), *again = in_folder(f, "again.jsonl");
    fill(f->path, 300, 1000);
    assert_int_equal(hone_dump(&report, f->path, dump, NULL, NULL), HONE_OK);
    assert_true(report_number(report, "entries") == 300);
    hone_free(report);
    hone_cache *copy = open_cache(in_folder(f, "copy.hone"));
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    assert_int_equal(load_file(copy, dump, &options, &report, NULL), HONE_OK);
    assert_true(report_number(report, "added") == 300 && report_number(report, "imported") == 300 && report_number(report, "rejected") == 0 && report_number(report, "complete") == 1);
    hone_free(report);
    assert_int_equal(load_file(copy, dump, &options, &report, NULL), HONE_OK);
    assert_true(report_number(report, "same") == 300 && report_number(report, "imported") == 0 && report_number(report, "conflicting") == 0);
    hone_free(report);
    assert_int_equal(hone_dump(NULL, hone_cache_path(copy), again, NULL, NULL), HONE_OK);
    char command[900];
    (void)snprintf(command, sizeof command, "cmp -s '%s' '%s'", dump, again);
    assert_int_equal(system(command), 0);
    int different = 1;
    assert_int_equal(hone_diff(&report, &different, f->path, hone_cache_path(copy), NULL, NULL), HONE_OK);
    assert_int_equal(different, 0);
    assert_true(report_number(report, "same") == 300);
    hone_free(report);
    hone_cache_close(copy);
}

static void test_load__better_evidence_stays(void **state) {
    fixture *f = *state;
    char *report = NULL;
    lines told = {0};
    const char *dump = in_folder(f, "dump.jsonl");
    fill(f->path, 10, 1000);
    assert_int_equal(hone_dump(NULL, f->path, dump, NULL, NULL), HONE_OK);
    hone_cache *other = open_cache(in_folder(f, "other.hone"));
    for (uint32_t i = 0; i < 4; i++)
        put_time(other, i, 10);
    for (uint32_t i = 4; i < 7; i++)
        put_time(other, i, 9000);
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    options.line = keep_line;
    options.user = &told;
    options.dry_run = 1;
    assert_int_equal(load_file(other, dump, &options, &report, NULL), HONE_OK);
    assert_true(report_number(report, "added") == 3 && report_number(report, "replaced") == 3 && report_number(report, "kept") == 4 && report_number(report, "conflicting") == 7);
    hone_free(report);
    assert_true(get_time(other, 5) == 9000 && get_time(other, 9) == 0);
    options.dry_run = 0;
    told.count = 0;
    assert_int_equal(load_file(other, dump, &options, &report, NULL), HONE_OK);
    assert_true(report_number(report, "added") == 3 && report_number(report, "replaced") == 3 && report_number(report, "kept") == 4);
    hone_free(report);
    assert_int_equal(told.count, 7);
    assert_true(get_time(other, 0) == 10 && get_time(other, 5) == 1005 && get_time(other, 9) == 1009);
    hone_cache_close(other);
}

/* Each bad line is refused by its number, and what stands around it is taken. */
static void test_load__bad_lines(void **state) {
    fixture *f = *state;
    fill(f->path, 2, 1000);
    const char *dump = in_folder(f, "dump.jsonl");
    assert_int_equal(hone_dump(NULL, f->path, dump, NULL, NULL), HONE_OK);
    char good[2][8192], line[8192];
    FILE *file = fopen(dump, "r");
    for (int i = 0, kept = 0; fgets(line, sizeof line, file) != NULL; i++) {
        if (strstr(line, "\"type\":\"entry\"") != NULL)
            memcpy(good[kept++], line, sizeof line);
    }
    (void)fclose(file);
    static const struct {
        const char *from, *to; /* in the good line */
        const char *reason;
    } cases[] = {
        {"\"samples\":11", "\"samples\":-1", "best.samples is not a whole number"},
        {"\"samples\":11", "\"samples\":11.5", "best.samples is not a whole number"},
        {"\"samples\":11", "\"samples\":4294967296", "best.samples is not a whole number"},
        {"\"time_ns\":1000", "\"time_ns\":-1", "best.time_ns is not a number"},
        {"\"time_ns\":1000", "\"time_ns\":-0.0", "best.time_ns is not a number"},
        {"\"time_ns\":1000", "\"time_ns\":1e999", "best.time_ns is not a number"},
        {"\"time_ns\":1000", "\"time_ns\":\"1000\"", "best.time_ns is not a number"},
        {"\"time_ns\":1000", "\"time_nz\":1000", "best.time_ns is missing"},
        {"\"tie\":false", "\"tie\":0", "tie is neither"},
        {"\"tie\":false", "\"tie\":false,\"tie\":true", "given twice"},
        {"\"tie\":false", "\"tie\":false,\"tiee\":1", "tiee is not a member"},
        {"\"effort\":\"standard\"", "\"effort\":\"huge\"", "effort is none of"},
        {"\"accuracy\":\"passed\"", "\"accuracy\":7", "accuracy is none of"},
        {"\"tokens\":0", "\"tokens\":\"18446744073709551616\"", "tokens is not a whole number"},
        {"\"created_unix_s\":1790000000", "\"created_unix_s\":\"9223372036854775808\"", "created_unix_s is not a whole number"},
        {"\"alternatives\":[]", "\"alternatives\":[1]", "alternatives is not an object"},
        {"\"alternatives\":[]", "\"alternatives\":{}", "alternatives is not a list"},
        {"\"kernel\":\"matmul\"", "\"kernel\":\"\\u0000\"", "NUL"},
        {"\"kernel\":\"matmul\"", "\"kernel\":\"\xff\"", "not UTF-8"},
        {"\"kernel\":\"matmul\"", "\"kernel\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", "longer than a record"},
        {"\"key\":\"", "\"key\":\"zz", "key is not a string of 32"},
        {"{\"type\":\"entry\"", "{\"type\":\"entri\"", "the type is none of"},
        {"{\"type\":\"entry\",", "{", "type is missing"},
        {"{\"type\":\"entry\"", "[{\"type\":\"entry\"", "not valid JSON"},
    };
    hone_cache *cache = open_cache(in_folder(f, "new.hone"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[32768], *report = NULL;
        lines told = {0};
        hone_error err = {0};
        const char *good_line = strstr(good[0], "\"time_ns\":1000") != NULL ? good[0] : good[1];
        const char *at = strstr(good_line, cases[i].from);
        assert_non_null(at);
        (void)snprintf(text, sizeof text, "%s\n%.*s%s%s%s%s", head, (int)(at - good_line), good_line, cases[i].to, at + strlen(cases[i].from), good[0], good[1]);
        hone_work_options options = HONE_WORK_OPTIONS_INIT;
        options.line = keep_line;
        options.user = &told;
        assert_int_equal(load_text(f, cache, text, &options, &report, &err), HONE_OK);
        if (told.count != 1 || strstr(told.last, cases[i].reason) == NULL)
            print_error("%s: %s\n", cases[i].to, told.last);
        assert_int_equal(told.count, 1);
        assert_non_null(strstr(told.last, cases[i].reason));
        assert_non_null(strstr(told.last, "{\"line\":3,\"action\":\"rejected\""));
        assert_true(report_number(report, "rejected") == 1 && report_number(report, "same") + report_number(report, "added") == 2 && report_number(report, "complete") == 0);
        hone_free(report);
        options.strict = 1;
        assert_int_not_equal(load_text(f, cache, text, &options, &report, &err), HONE_OK);
        assert_null(report);
        assert_non_null(strstr(err.message, "dump.jsonl, line 3: "));
    }
    hone_cache_close(cache);
}

static void test_load__inputs_that_are_none(void **state) {
    fixture *f = *state;
    static const struct {
        const char *text;
        hone_status status;
    } cases[] = {
        {"", HONE_E_JSON},          {"\n\n", HONE_E_JSON},           {"{}\n", HONE_E_JSON},    {"not json", HONE_E_JSON},
        {"\xff\xfe", HONE_E_JSON},  {"[1]\n", HONE_E_JSON},          {"{\"type\":\"hone dump\"}\n", HONE_E_JSON},
        {"{\"type\":\"hone dump\",\"reader\":2,\"writer\":2}\n", HONE_E_VERSION}, {"{\"type\":\"hone dump\",\"reader\":2,\"writer\":1}\n", HONE_E_JSON},
        {"{\"type\":\"hone dump\",\"reader\":0,\"writer\":1}\n", HONE_E_JSON},
    };
    hone_cache *cache = open_cache(f->path);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone_work_options options = HONE_WORK_OPTIONS_INIT;
        hone_error err = {0};
        char *report = NULL;
        assert_int_equal(load_text(f, cache, cases[i].text, &options, &report, &err), cases[i].status);
        assert_null(report);
        assert_non_null(strstr(err.message, "dump.jsonl"));
    }
    hone_error err = {0};
    assert_int_equal(hone_load(NULL, cache, -1, "x", NULL, &err), HONE_E_IO);
    assert_int_equal(hone_load(NULL, NULL, 0, "x", NULL, &err), HONE_E_ARG);
    hone_cache_close(cache);
}

static void test_load__newer_dumps_may_have_more(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    char *report = NULL;
    const char *text = "{\"type\":\"hone dump\",\"reader\":1,\"writer\":9,\"x\":1}\n"
                       "{\"type\":\"thing\"}\n"
                       "{\"type\":\"kernel\",\"id\":\"00112233445566778899aabbccddeeff\",\"name\":\"n\",\"language\":\"c\",\"space\":\"\",\"source\":\"s\",\"more\":1}\n"
                       "{\"type\":\"end\",\"kernels\":1,\"entries\":0}";
    assert_int_equal(load_text(f, cache, text, &options, &report, NULL), HONE_OK);
    assert_true(report_number(report, "rejected") == 0 && report_number(report, "kernels") == 1 && report_number(report, "complete") == 1);
    hone_free(report);
    hone_cache_close(cache);
}

/* A line at the limit of 16 MiB, one above it, and the lines after them. */
static void test_load__long_lines(void **state) {
    fixture *f = *state;
    const char *path = in_folder(f, "long.jsonl");
    FILE *file = fopen(path, "w");
    (void)fputs(head, file);
    for (int i = 0; i < 2; i++) {
        size_t count = (16u << 20) + (size_t)i;
        for (size_t n = 0; n < count; n++)
            (void)fputc(n == 0 ? '{' : 'x', file);
        (void)fputc('\n', file);
    }
    (void)fputs("{\"type\":\"end\",\"kernels\":0,\"entries\":0}\n", file);
    (void)fclose(file);
    lines told = {0};
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    options.line = keep_line;
    options.user = &told;
    options.dry_run = 1;
    char *report = NULL;
    assert_int_equal(load_file(NULL, path, &options, &report, NULL), HONE_OK);
    assert_true(report_number(report, "rejected") == 2 && report_number(report, "complete") == 1);
    assert_non_null(strstr(told.last, "longer than"));
    hone_free(report);
}

static void test_load__cancel_and_output(void **state) {
    fixture *f = *state;
    lines told = {.stop_after = 3};
    fill(f->path, 20, 1000);
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    hone_error err = {0};
    char *report = NULL;
    assert_int_equal(hone_dump(NULL, f->path, NULL, &options, &err), HONE_E_ARG);
    options.line = keep_line;
    options.user = &told;
    assert_int_equal(hone_dump(&report, f->path, NULL, &options, &err), HONE_E_CANCELLED);
    assert_int_equal(told.count, 3);
    assert_null(report);
    const char *out = in_folder(f, "out.jsonl");
    write_text(out, "mine");
    assert_int_equal(hone_dump(NULL, f->path, out, NULL, &err), HONE_E_EXISTS);
    options = (hone_work_options)HONE_WORK_OPTIONS_INIT;
    options.force = 1;
    assert_int_equal(hone_dump(NULL, f->path, out, &options, &err), HONE_OK);
    assert_int_equal(hone_dump(NULL, f->path, in_folder(f, "no/such/folder"), NULL, &err), HONE_E_NOTFOUND);
    assert_int_equal(hone_dump(NULL, in_folder(f, "absent"), out, &options, &err), HONE_E_NOTFOUND);
    write_text(in_folder(f, "text"), "neither the one nor the other");
    assert_int_equal(hone_dump(NULL, in_folder(f, "text"), out, &options, &err), HONE_E_CORRUPT);
    assert_int_equal(count_files(f->dir, ".tmp-"), 0);
}

static void test_load__list_and_filter(void **state) {
    fixture *f = *state;
    lines told = {0};
    fill(f->path, 20, 1000);
    hone_filter filter = HONE_FILTER_INIT;
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    char *report = NULL;
    options.line = keep_line;
    options.user = &told;
    options.filter = &filter;
    assert_int_equal(hone_list(&report, f->path, &options, NULL), HONE_OK);
    assert_true(report_number(report, "listed") == 20);
    hone_free(report);
    filter.kernel = "none";
    assert_int_equal(hone_list(&report, f->path, &options, NULL), HONE_OK);
    assert_true(report_number(report, "listed") == 0 && report_number(report, "entries") == 20);
    hone_free(report);
    assert_int_equal(hone_is_pack(f->path), 0);
    assert_int_equal(hone_is_pack(NULL), 0);
    assert_int_equal(hone_pack_show(&report, f->path, "0000", NULL, NULL), HONE_E_ARG);
    assert_int_equal(hone_pack_stats(&report, f->path, NULL, NULL), HONE_E_ARG);
}

static int count_difference(const char *json, void *user) {
    unsigned *count = user;
    count[0] += strstr(json, "\"change\":\"gained\"") != NULL;
    count[1] += strstr(json, "\"change\":\"lost\"") != NULL;
    count[2] += strstr(json, "\"change\":\"changed\"") != NULL;
    return 0;
}

static void test_load__diff(void **state) {
    fixture *f = *state;
    const char *other = in_folder(f, "other.hone");
    fill(f->path, 10, 1000);
    hone_cache *cache = open_cache(other);
    for (uint32_t i = 2; i < 15; i++)
        put_time(cache, i, i < 5 ? 500 : 1000 + i);
    hone_cache_close(cache);
    unsigned count[3] = {0};
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    options.line = count_difference;
    options.user = count;
    char *report = NULL;
    int different = 0;
    assert_int_equal(hone_diff(&report, &different, f->path, other, &options, NULL), HONE_OK);
    assert_int_equal(different, 1);
    assert_true(count[0] == 5 && count[1] == 2 && count[2] == 3);
    assert_true(report_number(report, "gained") == 5 && report_number(report, "lost") == 2 && report_number(report, "changed") == 3 && report_number(report, "same") == 5);
    assert_true(report_number(report, "faster") == 3 && report_number(report, "slower") == 0);
    assert_true(report_number(report, "mean_speedup") > 1.29 && report_number(report, "mean_speedup") < 1.32); /* (1002 * 1003 * 1004 / 500^3) ^ (1/8) */
    hone_free(report);
    assert_int_equal(hone_diff(&report, &different, f->path, f->path, NULL, NULL), HONE_OK);
    assert_int_equal(different, 0);
    hone_free(report);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int main(void) {
    use_memory_folder();
    const struct CMUnitTest tests[] = {
        T(test_load__round_trip),
        T(test_load__better_evidence_stays),
        T(test_load__bad_lines),
        T(test_load__inputs_that_are_none),
        T(test_load__newer_dumps_may_have_more),
        T(test_load__long_lines),
        T(test_load__cancel_and_output),
        T(test_load__list_and_filter),
        T(test_load__diff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
