/* test_upkeep.c: choosing entries, prune, gc, compact and verify on caches, with other handles and processes at work. */
#include "cache_fixture.h"
#include "entry_filter.h"
#include "json.h"
#include "upkeep.h"

#include <sys/time.h>
#include <time.h>

static double entries_of(const hone_cache *cache) {
    char *json = NULL;
    assert_int_equal(hone_cache_stats(&json, cache, NULL), HONE_OK);
    double count = report_number(json, "entries");
    hone_free(json);
    return count;
}

/* ---- filters ---- */

static void test_upkeep__filter(void **state) {
    (void)state;
    char text[64], strategy[] = "lfbo", version[] = "0.1.0";
    char device[] = "{\"kind\":\"cuda\",\"name\":\"NVIDIA H100 PCIe\",\"identity\":{\"arch\":\"sm_90\"}}";
    hone__entry entry = make_entry(make_key(1, 2, 3), 1000, text);
    entry.strategy = strategy;
    entry.tool_version = version;
    entry.device = device;
    char id[33];
    hone__hash_hex(entry.key.kernel, id);
    id[9] = '\0';
    const struct {
        hone_filter filter;
        bool passes;
    } cases[] = {
        {{.struct_size = sizeof(hone_filter)}, true},
        {{.struct_size = sizeof(hone_filter), .kernel = "matmul"}, true},
        {{.struct_size = sizeof(hone_filter), .kernel = "mat*"}, true},
        {{.struct_size = sizeof(hone_filter), .kernel = "mat"}, false},
        {{.struct_size = sizeof(hone_filter), .kernel = id}, true},
        {{.struct_size = sizeof(hone_filter), .device = "h100"}, true},
        {{.struct_size = sizeof(hone_filter), .device = "cuda"}, true},
        {{.struct_size = sizeof(hone_filter), .device = "sm_90"}, true},
        {{.struct_size = sizeof(hone_filter), .device = "nvidia*pcie"}, true},
        {{.struct_size = sizeof(hone_filter), .device = "h200"}, false},
        {{.struct_size = sizeof(hone_filter), .strategy = "lfbo"}, true},
        {{.struct_size = sizeof(hone_filter), .strategy = "l?bo"}, true},
        {{.struct_size = sizeof(hone_filter), .strategy = "lfb"}, false},
        {{.struct_size = sizeof(hone_filter), .tool_version = "0.1.*"}, true},
        {{.struct_size = sizeof(hone_filter), .tool_version = "0.2.*"}, false},
        {{.struct_size = sizeof(hone_filter), .effort_min = 2, .effort_max = 2}, true},
        {{.struct_size = sizeof(hone_filter), .effort_min = 3}, false},
        {{.struct_size = sizeof(hone_filter), .effort_max = 1}, false},
        {{.struct_size = sizeof(hone_filter), .speedup_min = 3}, true},
        {{.struct_size = sizeof(hone_filter), .speedup_min = 3.01}, false},
        {{.struct_size = sizeof(hone_filter), .speedup_max = 3}, true},
        {{.struct_size = sizeof(hone_filter), .speedup_max = 2.99}, false},
        {{.struct_size = sizeof(hone_filter), .created_after = 1790000000}, true},
        {{.struct_size = sizeof(hone_filter), .created_after = 1790000001}, false},
        {{.struct_size = sizeof(hone_filter), .created_before = 1790000001}, true},
        {{.struct_size = sizeof(hone_filter), .created_before = 1790000000}, false},
        {{.struct_size = sizeof(hone_filter), .kernel = "matmul", .device = "h200"}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone_filter filter;
        assert_int_equal(hone__filter_read(&filter, &cases[i].filter, NULL), HONE_OK);
        assert_int_equal(hone__filter_is_empty(&filter), i == 0);
        if (hone__filter_passes(&filter, &entry) != cases[i].passes)
            print_error("case %zu\n", i);
        assert_int_equal(hone__filter_passes(&filter, &entry), cases[i].passes);
    }
    char broken[] = "{\"kind\":";
    entry.device = broken;
    hone_filter filter, given = HONE_FILTER_INIT;
    given.device = "cuda";
    assert_int_equal(hone__filter_read(&filter, &given, NULL), HONE_OK);
    assert_false(hone__filter_passes(&filter, &entry));
}

static void test_upkeep__filter_mistakes(void **state) {
    (void)state;
    hone_filter filter, given = HONE_FILTER_INIT;
    given.speedup_min = -1;
    assert_int_equal(hone__filter_read(&filter, &given, NULL), HONE_E_ARG);
    given = (hone_filter)HONE_FILTER_INIT;
    given.effort_min = 4;
    assert_int_equal(hone__filter_read(&filter, &given, NULL), HONE_E_ARG);
    given.struct_size = 0;
    assert_int_equal(hone__filter_read(&filter, &given, NULL), HONE_E_ARG);
    struct {
        hone_filter filter;
        uint64_t more;
    } newer = {HONE_FILTER_INIT, 1};
    newer.filter.struct_size = sizeof newer;
    assert_int_equal(hone__filter_read(&filter, &newer.filter, NULL), HONE_E_UNSUPPORTED);
    newer.more = 0;
    assert_int_equal(hone__filter_read(&filter, &newer.filter, NULL), HONE_OK);
}

/* ---- prune ---- */

static int count_lines(const char *json, void *user) {
    assert_non_null(strstr(json, "\"key\":"));
    ++*(unsigned *)user;
    return 0;
}

static void test_upkeep__prune(void **state) {
    fixture *f = *state;
    enum { MANY = 700 };
    hone_cache *cache = open_cache(f->path);
    char text[64];
    for (uint32_t i = 0; i < MANY; i++) {
        hone__entry entry = make_entry(make_key(1, 1, i), 1000 + i, text);
        entry.created_unix_s = i < 600 ? 1000 : 2000;
        assert_int_equal(hone__cache_put(cache, &entry, true, NULL), HONE_OK);
    }
    unsigned lines = 0;
    hone_filter filter = HONE_FILTER_INIT;
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    hone_error err = {0};
    char *report = NULL;
    options.filter = &filter;
    options.line = count_lines;
    options.user = &lines;
    assert_int_equal(hone_cache_prune(&report, cache, &options, &err), HONE_E_ARG);
    assert_null(report);
    assert_int_equal(hone_cache_prune(&report, cache, NULL, &err), HONE_E_ARG);
    filter.created_before = 1500;
    options.dry_run = 1;
    assert_int_equal(hone_cache_prune(&report, cache, &options, &err), HONE_OK);
    assert_true(report_number(report, "removed") == 600 && report_number(report, "kept") == 100 && report_number(report, "dry_run") == 1 && report_number(report, "removed_bytes") > 1000);
    hone_free(report);
    assert_int_equal(lines, 600);
    assert_true(entries_of(cache) == MANY);
    options.dry_run = 0;
    assert_int_equal(hone_cache_prune(&report, cache, &options, &err), HONE_OK);
    assert_true(report_number(report, "removed") == 600 && report_number(report, "changed") == 0);
    hone_free(report);
    assert_true(entries_of(cache) == 100);
    assert_true(get_time(cache, 599) == 0 && get_time(cache, 600) == 1600);
    hone_cache_close(cache);
}

/* Somebody improves an entry between the choice and the deletion: it stays. */
typedef struct improving {
    hone_cache *cache;
    uint32_t number;
    bool done;
} improving;

static int improve(const char *json, void *user) {
    improving *i = user;
    (void)json;
    if (!i->done)
        put_time(i->cache, i->number, 5);
    i->done = true;
    return 0;
}

static void test_upkeep__prune_keeps_what_changed(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 1000);
    improving other = {.cache = cache, .number = 1};
    hone_filter filter = HONE_FILTER_INIT;
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    char *report = NULL;
    filter.kernel = "matmul";
    options.filter = &filter;
    options.line = improve;
    options.user = &other;
    assert_int_equal(hone_cache_prune(&report, cache, &options, NULL), HONE_OK);
    assert_true(report_number(report, "removed") == 0 && report_number(report, "changed") == 1);
    hone_free(report);
    assert_true(get_time(cache, 1) == 5);
    hone_cache_close(cache);
}

/* ---- gc ---- */

static void put_session(hone_cache *cache, uint32_t key_number, bool done, int64_t started, unsigned trials) {
    char strategy[] = "random", model[] = "", options[] = "{}", config[] = "{}", proposer[] = "random";
    hone__session session = {.strategy = strategy, .model = model, .options = options, .done = done, .started_unix_s = started, .seconds = 10};
    hone__key key = make_key(1, 1, key_number);
    uint32_t number_of;
    assert_int_equal(hone__journal_begin(cache, &key, &session, &number_of, NULL), HONE_OK);
    for (uint32_t i = 0; i < trials; i++) {
        hone__trial trial = {.config = config, .proposer = proposer, .created_unix_s = started};
        assert_int_equal(hone__journal_trial(cache, &key, number_of, i, &trial, NULL), HONE_OK);
    }
}

static uint32_t sessions_of(hone_cache *cache, uint32_t key_number) {
    hone__key key = make_key(1, 1, key_number);
    hone__session session;
    uint32_t number_of = 0;
    if (hone__journal_last(cache, &key, &number_of, &session, NULL) != HONE_OK)
        return 0;
    hone__session_clear(&session);
    return number_of + 1;
}

static void put_kernel(hone_cache *cache, uint32_t kernel) {
    char name[] = "k", language[] = "c", space[] = "{}", source[] = "";
    hone__kernel_info info = {.name = name, .language = language, .space = space, .source = source};
    hone__key key = make_key(kernel, 1, 1);
    memcpy(info.id, key.kernel, sizeof info.id);
    assert_int_equal(hone__cache_put_kernel(cache, &info, NULL), HONE_OK);
}

static bool has_kernel(hone_cache *cache, uint32_t kernel) {
    hone__kernel_info info;
    hone__key key = make_key(kernel, 1, 1);
    if (hone__cache_get_kernel(cache, key.kernel, &info, NULL) != HONE_OK)
        return false;
    hone__kernel_info_clear(&info);
    return true;
}

static void test_upkeep__gc(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    int64_t now = (int64_t)time(NULL), old = now - 40 * 86400;
    char reason[] = "no config ran", path[400];
    put_time(cache, 1, 1000);
    put_session(cache, 1, true, old, 700);          /* goes */
    put_session(cache, 2, true, now - 100, 3);      /* young */
    put_session(cache, 3, false, old, 4);           /* to be resumed */
    put_session(cache, 4, false, old, 5);           /* begun anew: goes */
    put_session(cache, 4, false, now, 1);
    put_kernel(cache, 1);
    put_kernel(cache, 9);                           /* without entries: goes */
    hone__key key = make_key(1, 1, 7), other = make_key(1, 1, 8);
    hone__failure failure = {reason, old, old + 10};
    assert_int_equal(hone__cache_put_failure(cache, &key, &failure, NULL), HONE_OK);
    failure.expires_unix_s = now + 1000;
    assert_int_equal(hone__cache_put_failure(cache, &other, &failure, NULL), HONE_OK);
    assert_int_equal(hone__claim_take(cache, &key, 0, NULL), HONE_OK); /* expires at once */
    for (int i = 0; i < 4; i++) {
        static const char *const ending[] = {".corrupt-123", ".tmp-compact-1", ".corrupt-124", "-other"};
        (void)snprintf(path, sizeof path, "%s%s", f->path, ending[i]);
        int fd = open(path, O_WRONLY | O_CREAT, 0600);
        assert_true(fd >= 0 && write(fd, "x", 1) == 1);
        (void)close(fd);
        struct timeval times[2] = {{.tv_sec = i == 2 ? now : old}, {.tv_sec = i == 2 ? now : old}};
        assert_int_equal(utimes(path, times), 0);
    }
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    char *report = NULL;
    for (int dry = 1; dry >= 0; dry--) {
        options.dry_run = (uint32_t)dry;
        assert_int_equal(hone_cache_gc(&report, cache, &options, NULL), HONE_OK);
        assert_true(report_number(report, "journal_records") == 701 + 6 && report_number(report, "failures") == 1 && report_number(report, "claims") == 1);
        assert_true(report_number(report, "files") == 2 && report_number(report, "bytes") > 0);
        /* A dry run leaves the claim, and with it the kernel. */
        assert_true(report_number(report, "kernels") == 1 - dry);
        hone_free(report);
        assert_int_equal(sessions_of(cache, 1), dry);
    }
    assert_true(sessions_of(cache, 2) == 1 && sessions_of(cache, 3) == 1 && sessions_of(cache, 4) == 2);
    assert_true(has_kernel(cache, 1) && !has_kernel(cache, 9));
    assert_true(get_time(cache, 1) == 1000);
    assert_int_equal(count_files(f->dir, ".corrupt-"), 1);
    assert_int_equal(count_files(f->dir, "-other"), 1);
    hone__failure kept;
    assert_int_equal(hone__cache_get_failure(cache, &other, &kept, NULL), HONE_OK);
    hone__failure_clear(&kept);
    assert_int_equal(hone_cache_gc(&report, cache, &options, NULL), HONE_OK);
    assert_true(report_number(report, "journal_records") == 0 && report_number(report, "files") == 0);
    hone_free(report);
    hone_cache_close(cache);
}

/* While a key is being tuned its journal stays, and so does every kernel. */
static void test_upkeep__gc_spares_a_tuning(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    int64_t old = (int64_t)time(NULL) - 40 * 86400;
    put_session(cache, 1, true, old, 2);
    put_kernel(cache, 9);
    hone__key key = make_key(1, 1, 1);
    assert_int_equal(hone__claim_take(cache, &key, 60, NULL), HONE_OK);
    char *report = NULL;
    assert_int_equal(hone_cache_gc(&report, cache, NULL, NULL), HONE_OK);
    assert_true(report_number(report, "journal_records") == 0 && report_number(report, "claims") == 0 && report_number(report, "kernels") == 0);
    hone_free(report);
    hone__claim_drop(cache, &key);
    assert_int_equal(hone_cache_gc(&report, cache, NULL, NULL), HONE_OK);
    assert_true(report_number(report, "journal_records") == 3 && report_number(report, "kernels") == 1);
    hone_free(report);
    hone_cache_close(cache);
}

/* ---- compact ---- */

static void fill_and_free(hone_cache *cache, uint32_t keep) {
    for (uint32_t i = 0; i < 400; i++)
        put_time(cache, i, 1000 + i);
    hone_filter filter = HONE_FILTER_INIT;
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    options.filter = &filter;
    filter.kernel = "matmul";
    assert_int_equal(hone_cache_prune(NULL, cache, &options, NULL), HONE_OK);
    for (uint32_t i = 0; i < keep; i++)
        put_time(cache, i, 1000 + i);
}

static void test_upkeep__compact(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    fill_and_free(cache, 10);
    struct stat before, after;
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    char *report = NULL;
    assert_int_equal(stat(f->path, &before), 0);
    options.dry_run = 1;
    assert_int_equal(hone_cache_compact(&report, cache, &options, NULL), HONE_OK);
    double promised = report_number(report, "after_bytes");
    hone_free(report);
    assert_int_equal(stat(f->path, &after), 0);
    assert_true(after.st_ino == before.st_ino && after.st_size == before.st_size);
    hone_error err = {0};
    hone_status status = hone_cache_compact(&report, cache, NULL, &err);
    if (status != HONE_OK)
        print_error("%s\n", err.message);
    assert_int_equal(status, HONE_OK);
    assert_int_equal(stat(f->path, &after), 0);
    assert_true((double)after.st_size == promised && report_number(report, "after_bytes") == promised && after.st_size * 2 < before.st_size);
    assert_true((after.st_mode & 0777) == (before.st_mode & 0777));
    hone_free(report);
    for (uint32_t i = 0; i < 10; i++)
        assert_true(get_time(cache, i) == 1000 + i);
    put_time(cache, 500, 7); /* this handle goes on */
    assert_true(get_time(cache, 500) == 7);
    hone_cache_close(cache);
    cache = open_cache(f->path);
    assert_true(entries_of(cache) == 11);
    hone_cache_close(cache);
    assert_int_equal(count_files(f->dir, ".tmp-"), 0);
    assert_int_equal(count_files(f->dir, ".corrupt-"), 0);
}

typedef struct peer {
    fixture *f;
    int to_child[2], to_parent[2];
    bool read_only;
} peer;

static void post(int fd) {
    assert_true(write(fd, "x", 1) == 1);
}

static void await(int fd) {
    char byte;
    assert_true(read(fd, &byte, 1) == 1);
}

/* Has the cache open all the time: reads before, during and after, and writes after, if it may. */
static int other_process(void *user) {
    peer *p = user;
    hone_cache *cache = NULL;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.read_only = p->read_only;
    options.writer_wait_ms = 5000;
    if (hone_cache_open(&cache, p->f->path, &options, NULL) != HONE_OK || get_time(cache, 3) != 1003)
        return 1;
    post(p->to_parent[1]);
    await(p->to_child[0]); /* compacted, and number 3 was improved in the new file */
    for (int i = 0; i < 100; i++) {
        double seen = get_time(cache, 3);
        if (seen == 33)
            break;
        if (seen != 1003 || i == 99)
            return 2;
        (void)usleep(50000);
    }
    if (!p->read_only) {
        put_time(cache, 4, 44);
        if (get_time(cache, 4) != 44)
            return 3;
    }
    hone_cache_close(cache);
    return 0;
}

static void compact_beside(fixture *f, bool read_only) {
    hone_cache *cache = open_cache(f->path);
    fill_and_free(cache, 10);
    hone_cache_close(cache);
    peer p = {.f = f, .read_only = read_only};
    assert_int_equal(pipe(p.to_child) | pipe(p.to_parent), 0);
    pid_t child = start_child(other_process, &p);
    await(p.to_parent[0]);
    cache = open_cache(f->path);
    assert_int_equal(hone_cache_compact(NULL, cache, NULL, NULL), HONE_OK);
    put_time(cache, 3, 33);
    post(p.to_child[1]);
    assert_int_equal(wait_child(child), 0);
    if (!read_only)
        assert_true(get_time(cache, 4) == 44);
    hone_cache_close(cache);
    for (int i = 0; i < 2; i++) {
        (void)close(p.to_child[i]);
        (void)close(p.to_parent[i]);
    }
}

static void test_upkeep__compact_beside_a_writer(void **state) {
    compact_beside(*state, false);
}

static void test_upkeep__compact_beside_a_reader(void **state) {
    compact_beside(*state, true);
}

/* ---- verify ---- */

static int count_findings(const char *json, void *user) {
    (void)json;
    ++*(unsigned *)user;
    return 0;
}

static void flip(const char *path, const char *needle) {
    static char bytes[1 << 20];
    int fd = open(path, O_RDWR);
    ssize_t count = pread(fd, bytes, sizeof bytes, 0);
    assert_true(count > 0);
    for (ssize_t at = 0; at + (ssize_t)strlen(needle) < count; at++) {
        if (memcmp(bytes + at, needle, strlen(needle)) == 0) {
            bytes[at] ^= 1;
            assert_true(pwrite(fd, bytes + at, 1, at) == 1);
        }
    }
    (void)close(fd);
}

static void test_upkeep__verify(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    for (uint32_t i = 0; i < 300; i++)
        put_time(cache, i, 1000 + i);
    put_session(cache, 1, true, 1000, 5);
    put_kernel(cache, 1);
    hone__cache_count(cache, "hit_exact", 3);
    assert_int_equal(hone__cache_put_note(cache, "peak", "12", NULL), HONE_OK);
    hone_cache_close(cache);
    char *report = NULL;
    int sound = 0;
    unsigned findings = 0;
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    options.line = count_findings;
    options.user = &findings;
    assert_int_equal(hone_verify(&report, &sound, f->path, &options, NULL), HONE_OK);
    assert_true(sound == 1 && findings == 0 && report_number(report, "damaged") == 0);
    assert_non_null(strstr(report, "\"entry\":{\"records\":300,\"damaged\":0,\"newer\":0}"));
    assert_non_null(strstr(report, "\"trial\":{\"records\":6,"));
    assert_non_null(strstr(report, "\"stat\":{\"records\":3,"));
    hone_free(report);
    flip(f->path, "{\"BM\":7}"); /* in the text of some records; LMDB does not see it */
    assert_int_equal(hone_verify(&report, &sound, f->path, &options, NULL), HONE_OK);
    assert_true(sound == 0 && findings >= 1 && report_number(report, "damaged") == findings);
    hone_free(report);
    assert_int_equal(truncate(f->path, 8192 + 4096), 0);
    assert_int_equal(hone_verify(&report, &sound, f->path, &options, NULL), HONE_OK);
    assert_true(sound == 0 && strstr(report, "\"structure\":\"sound\"") == NULL);
    hone_free(report);
    assert_int_equal(truncate(f->path, 0), 0);
    assert_int_equal(hone_verify(&report, &sound, f->path, &options, NULL), HONE_OK);
    assert_int_equal(sound, 0);
    hone_free(report);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(hone_verify(&report, &sound, f->path, &options, NULL), HONE_E_NOTFOUND);
    assert_null(report);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int main(void) {
    use_memory_folder();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upkeep__filter),
        cmocka_unit_test(test_upkeep__filter_mistakes),
        T(test_upkeep__prune),
        T(test_upkeep__prune_keeps_what_changed),
        T(test_upkeep__gc),
        T(test_upkeep__gc_spares_a_tuning),
        T(test_upkeep__compact),
        T(test_upkeep__compact_beside_a_writer),
        T(test_upkeep__compact_beside_a_reader),
        T(test_upkeep__verify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
