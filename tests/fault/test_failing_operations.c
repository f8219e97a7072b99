/* test_failing_operations.c: as test_failing_calls.c, for what hone.h offers besides storing and looking up: sites, groups, packs, exchange, upkeep, signatures,
 * tuning.  The n-th call of each kind fails, once and for ever: a status that says so or the whole result, nothing leaked, the cache as before. */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE /* its wrappers would bypass the definitions in failing_calls.h */
#include "tuning_fixture.h"
#include "fault/failing_calls.h"
#include "file.h"

enum { KEPT = 3, NTH_MAX = 20000, FEW = 100 };

/* What the operations work on: made before anything fails. */
typedef struct ground {
    fixture *f;
    hone_kernel *kernel;
    hone_device *device;
    char pack[400], out[400], dump[400], secret[400], public[400];
    char *pack_bytes;
    size_t pack_count;
} ground;

typedef hone_status operation_fn(const ground *g, hone_cache *cache);

static int count_open_files(void) {
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

static hone_problem problem_at(const ground *g, int64_t m) {
    hone_problem problem;
    hone_problem_init(g->kernel, &problem);
    problem.size[AT_M] = m;
    return problem;
}

/* ---- operations ---- */

static hone_status use_kernel(const ground *g, hone_cache *cache) {
    hone_kernel *kernel = NULL;
    char *json = NULL;
    (void)cache;
    HONE_TRY(hone_device_json(g->device, &json, NULL));
    hone_free(json);
    hone_status status = hone_kernel_parse(&kernel, SITE_SPEC, strlen(SITE_SPEC), NULL, "k.json", NULL);
    hone_kernel_free(kernel);
    return status;
}

static hone_status ask_site(hone_site *site, const ground *g) {
    hone_problem problem[2] = {problem_at(g, 1000), problem_at(g, 500000)};
    const hone_site *both[2] = {site, site};
    const hone_config *config[2];
    hone_group_result result = HONE_GROUP_RESULT_INIT;
    hone_match match;
    hone_status status = HONE_OK;
    for (int i = 0; i < 2; i++) {
        const hone_config *one = hone_site_lookup(site, &problem[i], &match);
        assert_non_null(one); /* the default at least, whatever fails */
        assert_true(match != HONE_MATCH_EXACT || hone_config_int(one, PARAM_N) == 7);
        status = i == 0 && match != HONE_MATCH_EXACT ? HONE_E_NOMEM : status;
    }
    HONE_TRY(hone_site_resolve(&config[0], site, &problem[0], NULL, NULL, NULL));
    HONE_TRY(hone_group_lookup(config, both, problem, 2, &result, NULL));
    assert_int_equal(result.all_exact, 0);
    assert_true(hone_config_int(config[0], PARAM_N) == 0 && hone_config_int(config[1], PARAM_N) == 0);
    HONE_TRY(hone_group_lookup(config, both, problem, 1, &result, NULL));
    return status != HONE_OK || result.all_exact == 1 ? status : HONE_E_NOMEM;
}

static hone_status use_site(const ground *g, hone_cache *cache) {
    hone_site *site = NULL;
    HONE_TRY(hone_site_open(&site, cache, g->kernel, g->device, NULL, NULL));
    hone_status status = ask_site(site, g);
    hone_site_close(site);
    return status;
}

static hone_status use_explain(const ground *g, hone_cache *cache) {
    char *json = NULL;
    hone_answer *answer = NULL;
    hone_problem problem = problem_at(g, 1000);
    HONE_TRY(hone_explain(&json, cache, g->kernel, g->device, &problem, NULL));
    hone_free(json);
    HONE_TRY(hone_lookup(&answer, cache, g->kernel, g->device, &problem, NULL));
    hone_status status = hone_answer_json(answer, &json, NULL);
    hone_free(status == HONE_OK ? json : NULL);
    hone_answer_free(answer);
    return status;
}

static hone_status use_export(const ground *g, hone_cache *cache) {
    char *report = NULL;
    hone_exchange_options options = HONE_EXCHANGE_OPTIONS_INIT;
    options.force = 1;
    HONE_TRY(hone_export(&report, cache, g->out, &options, NULL));
    hone_free(report);
    return HONE_OK;
}

static hone_status use_import(const ground *g, hone_cache *cache) {
    char *report = NULL;
    HONE_TRY(hone_import(&report, cache, g->pack, NULL, NULL));
    hone_free(report);
    return HONE_OK;
}

static hone_status use_merge(const ground *g, hone_cache *cache) {
    char *report = NULL;
    const char *const in[] = {g->pack, hone_cache_path(cache)};
    hone_exchange_options options = HONE_EXCHANGE_OPTIONS_INIT;
    options.force = 1;
    HONE_TRY(hone_merge(&report, g->out, in, 2, &options, NULL));
    hone_free(report);
    return HONE_OK;
}

static hone_status use_packs(const ground *g, hone_cache *cache) {
    hone_cache *packs = NULL;
    hone_answer *answer = NULL;
    hone_problem problem = problem_at(g, 1000);
    (void)cache;
    HONE_TRY(hone_cache_new(&packs, NULL));
    hone_status status = hone_cache_add_pack(packs, g->pack, NULL, NULL);
    if (status == HONE_OK)
        status = hone_cache_add_pack_memory(packs, "memory", g->pack_bytes, g->pack_count, NULL, NULL);
    if (status == HONE_OK)
        status = hone_lookup(&answer, packs, g->kernel, g->device, &problem, NULL);
    if (status == HONE_OK && hone_answer_match(answer) != HONE_MATCH_EXACT)
        status = HONE_E_NOMEM;
    hone_answer_free(answer);
    hone_cache_close(packs);
    return status;
}

static int ignore_line(const char *json, void *user) {
    (void)json;
    (void)user;
    return 0;
}

static hone_status use_views(const ground *g, hone_cache *cache) {
    char *json = NULL;
    int flag = 0;
    hone_work_options work = HONE_WORK_OPTIONS_INIT;
    work.line = ignore_line;
    const char *path = hone_cache_path(cache);
    HONE_TRY(hone_list(&json, path, &work, NULL));
    hone_free(json);
    HONE_TRY(hone_list(&json, g->pack, &work, NULL));
    hone_free(json);
    HONE_TRY(hone_pack_stats(&json, g->pack, NULL, NULL));
    hone_free(json);
    HONE_TRY(hone_diff(&json, &flag, path, g->pack, &work, NULL));
    hone_free(json);
    assert_int_equal(flag, 0);
    HONE_TRY(hone_verify(&json, &flag, g->pack, &work, NULL));
    hone_free(json);
    return HONE_OK;
}

static hone_status use_dump(const ground *g, hone_cache *cache) {
    char *json = NULL;
    hone_work_options work = HONE_WORK_OPTIONS_INIT;
    work.force = 1;
    HONE_TRY(hone_dump(&json, hone_cache_path(cache), g->out, &work, NULL));
    hone_free(json);
    int fd = open(g->dump, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return HONE_E_IO;
    hone_status status = hone_load(&json, cache, fd, "dump", NULL, NULL);
    hone_free(status == HONE_OK ? json : NULL);
    (void)close(fd);
    return status;
}

static hone_status use_upkeep(const ground *g, hone_cache *cache) {
    char *json = NULL;
    hone_work_options work = HONE_WORK_OPTIONS_INIT;
    hone_filter filter = HONE_FILTER_INIT;
    (void)g;
    filter.kernel = "there is none";
    work.filter = &filter;
    HONE_TRY(hone_cache_prune(&json, cache, &work, NULL));
    hone_free(json);
    HONE_TRY(hone_cache_gc(&json, cache, NULL, NULL));
    hone_free(json);
    HONE_TRY(hone_cache_compact(&json, cache, NULL, NULL));
    hone_free(json);
    return HONE_OK;
}

static hone_status use_embed(const ground *g, hone_cache *cache) {
    hone_embed_options options = HONE_EMBED_OPTIONS_INIT;
    (void)cache;
    options.force = 1;
    options.format = "c-header";
    HONE_TRY(hone_embed(g->pack, g->out, &options, NULL));
    options.format = "object";
    return hone_embed(g->pack, g->out, &options, NULL);
}

static hone_status use_signatures(const ground *g, hone_cache *cache) {
    char *signer = NULL;
    (void)cache;
    HONE_TRY(hone_sign(g->pack, g->secret, NULL, 1, NULL));
    hone_status status = hone_signature_check(&signer, g->pack, NULL, g->public, NULL);
    hone_free(status == HONE_OK ? signer : NULL);
    return status == HONE_E_UNSAFE ? HONE_E_NOMEM : status; /* what OpenSSL has no memory to check is not trusted */
}

static hone_status use_tuner(const ground *g, hone_cache *cache) {
    (void)g;
    HONE_TRY(hone_tuner_start(cache, NULL, NULL));
    return hone_tuner_stop(cache, 20000, NULL);
}

static hone_status use_tune(const ground *g, hone_cache *cache) {
    char *json = NULL, command[1200];
    subject s = {.f = g->f, .cache = cache, .kernel = g->kernel, .device = g->device};
    hone_tune_options options = tune_options(&s, command, 0);
    hone_problem problem = problem_at(g, 200000);
    options.force = 1;
    options.trials_max = 2;
    hone_status status = hone_tune(&json, cache, g->kernel, g->device, &problem, &options, NULL);
    assert_int_equal(status == HONE_OK, json != NULL);
    hone_free(json);
    return status;
}

/* ---- the sweep ---- */

typedef struct fault {
    failing_kind kind;
    int code;
} fault;

static const fault faults[] = {
#ifndef HONE_SANITIZED
    {CALL_MALLOC, ENOMEM},
#endif
    {CALL_OPEN, EMFILE}, {CALL_READ, EIO},   {CALL_WRITE, ENOSPC}, {CALL_WRITE, FAIL_SHORT}, {CALL_SYNC, EIO}, {CALL_MAP, ENOMEM},
    {CALL_LOCK, ENOLCK}, {CALL_ROOM, ENOSPC}, {CALL_NAME, EACCES}, {CALL_LMDB, EIO},         {CALL_LMDB, ENOMEM},
};

/* A pack that cannot be read is a damaged one: it is not known whether its disk fails or whether it has become shorter. */
static bool expected(hone_status status, failing_kind kind) {
    if (status == HONE_E_CORRUPT)
        return kind == CALL_READ;
    static const hone_status fine[] = {HONE_OK,     HONE_E_IO,   HONE_E_NOSPACE, HONE_E_PERM,    HONE_E_STORE,
                                       HONE_E_BUSY, HONE_E_FULL, HONE_E_NOMEM,   HONE_E_NOTFOUND, HONE_E_EVALUATOR};
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        if (status == fine[i])
            return true;
    }
    return false;
}

static void expect_all(const ground *g, const char *name) {
    if (count_files(g->f->dir, ".corrupt-") != 0) /* a failed call is no damage */
        fail_msg("%s: a cache was set aside", name);
    hone_cache *cache = open_cache(g->f->path);
    hone_site *site = NULL;
    assert_int_equal(hone_site_open(&site, cache, g->kernel, g->device, NULL, NULL), HONE_OK);
    for (uint32_t i = 0; i < KEPT; i++) {
        hone_problem problem = problem_at(g, 1000 + i);
        if (look_n(site, &problem, HONE_MATCH_EXACT) != 7)
            fail_msg("%s: entry %u is gone", name, i);
    }
    hone_cache_close(cache);
}

/* False when nothing failed any more. */
static bool fail_one(const ground *g, const char *name, operation_fn *operation, const fault *what, uint32_t nth, bool for_ever, uint32_t *points) {
    size_t live = hone__alloc_live();
    int files = count_open_files();
    hone_cache *cache = open_cache(g->f->path);
    failing_start(what->kind, nth, for_ever, what->code);
    hone_status status = operation(g, cache);
    uint32_t failed = failing_stop();
    hone_cache_close(cache);
    int files_more = count_open_files() - files;
    size_t live_now = hone__alloc_live();
    if (!expected(status, what->kind) || (failed == 0 && status != HONE_OK) || live_now != live || files_more > 0)
        fail_msg("%s: %s call %u fails %s with %d: %s, %zd allocations and %d files more", name, failing_names[what->kind], nth,
                 for_ever ? "for ever" : "once", what->code, hone_status_name(status), (ssize_t)(live_now - live), files_more);
    expect_all(g, name);
    *points += failed > 0;
    return failed > 0;
}

/* Every call, where all are wanted; else the first ones, and some of the others. */
static uint32_t next_after(uint32_t nth, uint32_t first, uint32_t step) {
    return getenv("HONE_TEST_EVERY") != NULL || nth < first ? nth + 1 : nth + step;
}

static void sweep(const ground *g, const char *name, operation_fn *operation, uint32_t first, uint32_t step) {
    uint32_t points = 0;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        for (int for_ever = 0; for_ever < (step > FEW && getenv("HONE_TEST_EVERY") == NULL ? 1 : 2); for_ever++) {
            uint32_t nth = 1;
            while (nth < NTH_MAX && fail_one(g, name, operation, &faults[i], nth, for_ever != 0, &points))
                nth = next_after(nth, for_ever ? 1 : first, step);
            assert_true(nth < NTH_MAX);
        }
    }
    print_message("  %s: %u failing calls\n", name, points);
#ifndef HONE_SANITIZED
    assert_true(points > 5);
#endif
}

/* ---- ground ---- */

static int ground_setup(void **state) {
    ground *g = calloc(1, sizeof *g);
    if (g == NULL || fixture_setup((void **)&g->f) != 0)
        return -1;
    g->kernel = site_kernel(SITE_SPEC);
    g->device = site_device(8, "550.1");
    (void)snprintf(g->pack, sizeof g->pack, "%s/made.pack", g->f->dir);
    (void)snprintf(g->out, sizeof g->out, "%s/out", g->f->dir);
    (void)snprintf(g->dump, sizeof g->dump, "%s/dump", g->f->dir);
    (void)snprintf(g->secret, sizeof g->secret, "%s/secret", g->f->dir);
    (void)snprintf(g->public, sizeof g->public, "%s/public", g->f->dir);
    hone_cache *cache = open_cache(g->f->path);
    subject s = {.f = g->f, .cache = cache, .kernel = g->kernel, .device = g->device};
    for (uint32_t i = 0; i < KEPT; i++) {
        hone_problem problem = problem_at(g, 1000 + i);
        site_put(&s, cache, &problem, (kept){.n = 7, .time_ns = 1000});
    }
    assert_int_equal(hone_export(NULL, cache, g->pack, NULL, NULL), HONE_OK);
    assert_int_equal(hone_dump(NULL, g->f->path, g->dump, NULL, NULL), HONE_OK);
    assert_int_equal(hone_key_generate(g->secret, g->public, "test", NULL), HONE_OK);
    assert_int_equal(hone__file_read(g->pack, 1 << 20, &g->pack_bytes, &g->pack_count, NULL), HONE_OK);
    hone_cache_close(cache);
    *state = g;
    return 0;
}

static int ground_teardown(void **state) {
    ground *g = *state;
    hone__free(g->pack_bytes);
    hone_kernel_free(g->kernel);
    hone_device_free(g->device);
    (void)fixture_teardown((void **)&g->f);
    free(g);
    return 0;
}

static void test_failing_operations__of_launches(void **state) {
    sweep(*state, "kernel", use_kernel, 10, 29);
    sweep(*state, "site", use_site, 20, 3);
    sweep(*state, "explain", use_explain, 20, 17);
    sweep(*state, "packs", use_packs, 20, 5);
    sweep(*state, "tuner", use_tuner, 20, 3);
}

static void test_failing_operations__of_exchange(void **state) {
    sweep(*state, "export", use_export, 20, 7);
    sweep(*state, "import", use_import, 20, 7);
    sweep(*state, "merge", use_merge, 20, 7);
    sweep(*state, "embed", use_embed, 20, 7);
    sweep(*state, "signatures", use_signatures, 70, 7);
}

static void test_failing_operations__of_upkeep(void **state) {
    sweep(*state, "views", use_views, 20, 17);
    sweep(*state, "dump and load", use_dump, 20, 17);
    sweep(*state, "prune, gc, compact", use_upkeep, 20, 7);
}

static void test_failing_operations__of_tuning(void **state) {
    sweep(*state, "tune", use_tune, 1, FEW + 1); /* each takes a process of its own */
}

int main(int argc, char **argv) {
    TUNING_MAIN(argc, argv)
    use_memory_folder();
#define TEST(name) cmocka_unit_test_setup_teardown(name, ground_setup, ground_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_failing_operations__of_launches),
        TEST(test_failing_operations__of_exchange),
        TEST(test_failing_operations__of_upkeep),
        TEST(test_failing_operations__of_tuning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
