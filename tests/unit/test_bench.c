/* test_bench.c: the evaluator client with the built-in worker, over kernels that misbehave in every way we know of.  The test program
 * is its own worker: started as `test_bench worker` it becomes hone_worker_main. */
#include "bench.h"
#include "alloc.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
#include <signal.h>

#include <cmocka.h>

static const char *self_path;
static hone__bench *bench;

/* n is odd, so that y does not end at a page: 4 * 1001 bytes leave canaries of 28 bytes before the guard at 64-byte alignment. */
static const char source[] =
    "#define _GNU_SOURCE\n"
    "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n#include <math.h>\n#include <signal.h>\n"
    "#include <sys/mman.h>\n"
    "#ifndef CASE\n#define CASE 0\n#endif\n"
    "#ifdef BOMB_ZERO\n#include \"/dev/zero\"\n#endif\n"
    "#ifdef BOMB_STDIN\n#include \"/dev/stdin\"\n#endif\n"
    "#ifdef BOMB_MACRO\n#define A(x) x x x x x x x x x x\n#define B(x) A(A(A(A(x))))\nint z[] = { B(B(B(1,))) };\n#endif\n"
    "#ifdef BOMB_TEXT\n#include \"flood.h\"\n#endif\n"
    "static int deep(volatile char *up) { volatile char here[65536]; here[0] = up[0]; return deep(here) + here[1]; }\n"
    "#include <pthread.h>\n"
    "static void *thread(void *y) { *(float *)y = 5; return 0; }\n"
    "static volatile int zero = 0;\nchar *volatile keep;\n"
    "void kernel(const float *x, float *y, float *acc, int n) {\n"
    "    static int calls = 0; calls++;\n"
    "    if (CASE == 1) for (;;) ;\n"
    "    if (CASE == 2) *(volatile int *)0 = 1;\n"
    "    if (CASE == 3) exit(0);\n"
    "    if (CASE == 4) abort();\n"
    "    if (CASE == 5) { for (int i = 0; i < n; i++) y[i] = 3 * x[i]; return; }\n"
    "    if (CASE == 6) { for (int i = 0; i < n; i++) y[i] = i == 7 ? (float)NAN : 2 * x[i]; return; }\n"
    "    if (CASE == 7) { for (int i = 0; i < n - 1; i++) y[i] = 2 * x[i]; return; }\n"
    "    if (CASE == 8) y[n + zero] = 1;\n"
    "    if (CASE == 9) y[n + 100000] = 1;\n"
    "    if (CASE == 10) ((float *)x)[3] = 1;\n"
    "    if (CASE == 11) for (;;) { keep = malloc(1 << 24); memset(keep, 1, 1); }\n"
    "    if (CASE == 12) for (int i = 0; i < 100000; i++) if (fork() < 0) break;\n"
    "    if (CASE == 13) for (int i = 0; i < 100; i++) { static char b[1 << 20]; memset(b, 'x', sizeof b); if (write(2, b, sizeof b) < 0) break; }\n"
    "    if (CASE == 14) { volatile char c[2] = {0, 0}; deep(c); }\n"
    "    if (CASE == 15 && calls > 1) { y[0] = 1e9f; return; }\n"
    "    if (CASE == 16) { for (int i = 0; i < n; i++) acc[i] += 2 * x[i]; }\n"
    "    if (CASE == 17) _exit(3);\n"
    "    if (CASE == 18) raise(SIGKILL);\n"
    "    if (CASE == 19 && (getppid() == 1 || kill(-1, 0) < 0)) kill(-1, SIGKILL);\n" /* never unless boxed in */
    "    if (CASE == 20) kill(getppid(), SIGKILL);\n"
    "    if (CASE == 21) raise(SIGSTOP);\n"
    "    if (CASE == 22) for (int i = 0; i < 100; i++) munmap((void *)((unsigned long)y & ~4095UL), 4096);\n"
    "    if (CASE == 23) { FILE *f = fopen(\"big\", \"w\"); static char b[1 << 20]; for (int i = 0; i < 64; i++) fwrite(b, 1, sizeof b, f); fclose(f); }\n"
    "    if (CASE == 24) usleep(20000);\n"
    "    if (CASE == 26) { pthread_t t; if (pthread_create(&t, 0, thread, y) != 0) return; pthread_join(t, 0); if (y[0] != 5) return; }\n"
    "    if (CASE == 25) y[-1 + zero] = 1;\n"
    "    for (int i = 0; i < n; i++) y[i] = 2 * x[i];\n"
    "    if (CASE != 16) for (int i = 0; i < n; i++) acc[i] = 3;\n"
    "}\n"
    "void reference(const float *x, float *y, float *acc, int n) {\n"
    "    for (int i = 0; i < n; i++) { y[i] = 2 * x[i]; acc[i] = 3; }\n"
    "}\n";

static cJSON *parse(const char *text) {
    cJSON *json = NULL;
    hone_error err = {0};
    if (hone__json_parse(&json, text, strlen(text), "test", &err) != HONE_OK)
        fail_msg("%s", err.message);
    return json;
}

static cJSON *prepare_body(const char *text, const char *reference) {
    cJSON *body = parse(
        "{\"kernel\":{\"name\":\"k\",\"language\":\"c\",\"source_path\":\"hostile.c\",\"include_dir\":\"/nowhere\",\"entry\":\"kernel\"},"
        "\"sizes\":{\"n\":1001},\"args\":["
        "{\"name\":\"x\",\"kind\":\"buffer\",\"dtype\":\"f32\",\"shape\":[1001],\"access\":\"in\",\"fill\":{\"kind\":\"uniform\",\"a\":1,\"b\":2},\"align\":64},"
        "{\"name\":\"y\",\"kind\":\"buffer\",\"dtype\":\"f32\",\"shape\":[1001],\"access\":\"out\",\"align\":64},"
        "{\"name\":\"acc\",\"kind\":\"buffer\",\"dtype\":\"f32\",\"shape\":[1001],\"access\":\"inout\",\"fill\":{\"kind\":\"constant\",\"a\":1,\"b\":0},\"align\":4},"
        "{\"name\":\"n\",\"kind\":\"scalar\",\"dtype\":\"i32\",\"value\":1001}],"
        "\"tolerance\":{\"rtol\":1e-4,\"atol\":1e-5},"
        "\"limits\":{\"compile_s\":15,\"run_s\":1.5,\"memory_bytes\":268435456,\"output_bytes\":1048576},\"seed\":1,\"flops\":0,\"bytes\":0}");
    cJSON_AddItemToObject(cJSON_GetObjectItemCaseSensitive(body, "kernel"), "source", cJSON_CreateString(text));
    cJSON_AddItemToObject(body, "reference", reference != NULL ? parse(reference) : cJSON_CreateNull());
    return body;
}

static hone__bench *open_bench(void) {
    const char *const command[] = {self_path, "worker", NULL};
    const hone__bench_options options = {.command = command, .compile_s = 15, .run_s = 1.5, .budget_ms = 20, .device = "cpu"};
    hone_error err = {0};
    hone__bench *opened = NULL;
    if (hone__bench_open(&opened, &options, &err) != HONE_OK)
        fail_msg("%s", err.message);
    return opened;
}

static int set_up(void **state) {
    (void)state;
    hone_error err = {0};
    bench = open_bench();
    cJSON *body = prepare_body(source, "{\"entry\":\"reference\"}");
    if (hone__bench_prepare(bench, body, NULL, NULL, &err) != HONE_OK)
        fail_msg("%s", err.message);
    cJSON_Delete(body);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    hone__bench_close(bench);
    return 0;
}

static void submit(uint64_t ticket, const char *compile) {
    hone_error err = {0};
    cJSON *body = parse(compile);
    if (hone__bench_submit(bench, ticket, body, &err) != HONE_OK)
        fail_msg("%s", err.message);
    cJSON_Delete(body);
}

static hone__measurement take(uint64_t expected) {
    uint64_t ticket = 0;
    hone__measurement result = {.outcome = HONE_OUTCOME_COUNT};
    hone_error err = {0};
    if (hone__bench_next(bench, 60000, &ticket, &result, &err) != HONE_OK)
        fail_msg("%s", err.message);
    assert_int_equal(ticket, expected);
    return result;
}

typedef struct expectation {
    const char *compile;
    hone__outcome outcome;
    const char *reason; /* a part of it; NULL: whatever */
} expectation;

static void check_all(const expectation *expected, size_t count) {
    for (size_t i = 0; i < count; i++)
        submit(100 + i, expected[i].compile);
    for (size_t i = 0; i < count; i++) {
        hone__measurement result = take(100 + i);
        printf("%-50.50s %-15s %s\n", expected[i].compile, hone__outcome_name(result.outcome), result.reason);
        assert_string_equal(hone__outcome_name(result.outcome), hone__outcome_name(expected[i].outcome));
        if (expected[i].reason != NULL && strstr(result.reason, expected[i].reason) == NULL)
            fail_msg("reason lacks \"%s\": %s", expected[i].reason, result.reason);
        if (result.outcome == HONE_OUTCOME_OK) {
            assert_int_equal(result.accuracy, HONE_ACCURACY_PASSED);
            assert_true(result.median_ns > 0.0 && result.low_ns <= result.median_ns && result.median_ns <= result.high_ns);
        } else {
            assert_true(result.median_ns == 0.0);
        }
    }
}

static void test_worker__each_misdeed_costs_one_config(void **state) {
    (void)state;
    static const expectation cases[] = {
        {"{\"defines\":[\"CASE=0\"]}", HONE_OUTCOME_OK, NULL},
        {"{\"defines\":[\"CASE=1\"]}", HONE_OUTCOME_TIMEOUT, "first run"},
        {"{\"defines\":[\"CASE=2\"]}", HONE_OUTCOME_CRASH, "null pointer"},
        {"{\"defines\":[\"CASE=3\"]}", HONE_OUTCOME_CRASH, "called exit"},
        {"{\"defines\":[\"CASE=4\"]}", HONE_OUTCOME_CRASH, "signal 6"},
        {"{\"defines\":[\"CASE=5\"]}", HONE_OUTCOME_WRONG, "elements of y are wrong"},
        {"{\"defines\":[\"CASE=6\"]}", HONE_OUTCOME_NAN, "y[7]: nan"},
        {"{\"defines\":[\"CASE=7\"]}", HONE_OUTCOME_NAN, "y[1000]"},
        {"{\"defines\":[\"CASE=8\"]}", HONE_OUTCOME_WRONG, "at byte 4004 of buffer y"},
        {"{\"defines\":[\"CASE=9\"]}", HONE_OUTCOME_CRASH, "at byte 404004 of buffer y"},
        {"{\"defines\":[\"CASE=10\"]}", HONE_OUTCOME_CRASH, "input buffer x (byte 12)"},
        {"{\"defines\":[\"CASE=13\"]}", HONE_OUTCOME_RESOURCES, "stdout and stderr"},
        {"{\"defines\":[\"CASE=14\"]}", HONE_OUTCOME_CRASH, "stack"},
        {"{\"defines\":[\"CASE=15\"]}", HONE_OUTCOME_NAN, "after the timed runs"},
        {"{\"defines\":[\"CASE=16\"]}", HONE_OUTCOME_WRONG, "acc"},
        {"{\"defines\":[\"CASE=17\"]}", HONE_OUTCOME_CRASH, "called exit (status 3)"},
        {"{\"defines\":[\"CASE=18\"]}", HONE_OUTCOME_CRASH, "signal 9"},
        {"{\"defines\":[\"CASE=22\"]}", HONE_OUTCOME_CRASH, "inside buffer y"},
        {"{\"defines\":[\"CASE=23\"]}", HONE_OUTCOME_RESOURCES, "file"},
        {"{\"defines\":[\"CASE=24\"]}", HONE_OUTCOME_OK, NULL},
        {"{\"defines\":[\"CASE=25\"]}", HONE_OUTCOME_WRONG, "before buffer y"},
        {"{\"defines\":[\"CASE=0\"],\"options\":[\"-O3\"]}", HONE_OUTCOME_OK, NULL},
        {"{\"defines\":[\"CASE=26\"],\"options\":[\"-pthread\"]}", HONE_OUTCOME_OK, NULL},
    };
    check_all(cases, sizeof cases / sizeof cases[0]);
}

static void test_worker__kernels_do_not_reach_beyond_their_run(void **state) {
    (void)state;
    static const expectation cases[] = {
        {"{\"defines\":[\"CASE=21\"]}", HONE_OUTCOME_TIMEOUT, "limit"},
        {"{\"defines\":[\"CASE=12\"]}", HONE_OUTCOME_OK, NULL}, /* the bomb's fork is refused, and the kernel goes on */
        {"{\"defines\":[\"CASE=0\"],\"options\":[\"-O1\"]}", HONE_OUTCOME_OK, NULL},
    };
    check_all(cases, sizeof cases / sizeof cases[0]);
    /* Killing whatever it sees: refused, or its own box at most. */
    submit(1, "{\"defines\":[\"CASE=19\"]}");
    submit(2, "{\"defines\":[\"CASE=20\"]}");
    submit(3, "{\"defines\":[\"CASE=0\"],\"options\":[\"-O2\",\"-DAGAIN\"]}");
    (void)take(1);
    (void)take(2);
    assert_int_equal(take(3).outcome, HONE_OUTCOME_OK);
}

static void test_worker__memory_bomb_is_stopped(void **state) {
    (void)state;
#ifdef HONE_SANITIZED
    skip(); /* the address space of a sanitized process cannot be limited */
#else
    static const expectation cases[] = {{"{\"defines\":[\"CASE=11\"]}", HONE_OUTCOME_RESOURCES, "memory limit"}};
    check_all(cases, 1);
#endif
}

static void test_worker__compilers_are_limited(void **state) {
    (void)state;
    static const expectation cases[] = {
        {"{\"defines\":[\"CASE=)\"]}", HONE_OUTCOME_COMPILE_ERROR, "hostile.c:"},
        {"{\"defines\":[\"CASE=0\",\"kernel(a,b,c,d)=kernel(a)\"]}", HONE_OUTCOME_COMPILE_ERROR, NULL},
        {"{\"defines\":[\"BOMB_STDIN\",\"CASE=0\"]}", HONE_OUTCOME_OK, NULL},
        {"{\"defines\":[\"CASE=0\"],\"options\":[\"-no-such-option\"]}", HONE_OUTCOME_COMPILE_ERROR, "no-such-option"},
        {"{\"defines\":[\"CASE=0\"],\"options\":[\"-lnosuchlibrary\"]}", HONE_OUTCOME_COMPILE_ERROR, "nosuchlibrary"},
    };
    check_all(cases, sizeof cases / sizeof cases[0]);
    /* Which limit a bomb meets first depends on the compiler and the machine: the point is that it meets one. */
    static const char *const bombs[] = {"{\"defines\":[\"BOMB_ZERO\"]}", "{\"defines\":[\"BOMB_MACRO\"]}"};
    for (uint64_t i = 0; i < 2; i++)
        submit(i, bombs[i]);
    for (uint64_t i = 0; i < 2; i++) {
        hone__measurement result = take(i);
        printf("%s %s %s\n", bombs[i], hone__outcome_name(result.outcome), result.reason);
        assert_true(result.outcome == HONE_OUTCOME_COMPILE_TIMEOUT || result.outcome == HONE_OUTCOME_RESOURCES ||
                    result.outcome == HONE_OUTCOME_COMPILE_ERROR);
        assert_true(result.reason[0] != '\0');
    }
}

static void test_worker__compiler_flood_is_stopped(void **state) {
    (void)state;
    /* Each level includes itself twice and complains: 2^20 messages unless somebody stops it. */
    char dir[] = "/tmp/hone-flood-XXXXXX";
    char path[64];
    char compile[256];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/flood.h", dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fputs("#pragma message \"a message that is long enough to fill the pipe of the compiler's stderr before long\"\n"
                "#if __INCLUDE_LEVEL__ < 20\n#include \"flood.h\"\n#include \"flood.h\"\n#endif\n", file);
    (void)fclose(file);
    (void)snprintf(compile, sizeof compile, "{\"defines\":[\"BOMB_TEXT\"],\"options\":[\"-I%s\"]}", dir);
    submit(1, compile);
    hone__measurement result = take(1);
    (void)unlink(path);
    (void)rmdir(dir);
    printf("%s %s\n", hone__outcome_name(result.outcome), result.reason);
    assert_int_equal(result.outcome, HONE_OUTCOME_RESOURCES);
    assert_non_null(strstr(result.reason, "bytes of messages"));
}

static void test_worker__slow_config_is_abandoned(void **state) {
    (void)state;
    hone__bench_set_incumbent(bench, 1000000.0);
    submit(1, "{\"defines\":[\"CASE=24\"],\"options\":[\"-O2\",\"-DSLOW\"]}");
    hone__measurement result = take(1);
    hone__bench_set_incumbent(bench, 0.0);
    assert_int_equal(result.outcome, HONE_OUTCOME_SLOW);
    assert_true(result.median_ns > 1.5e7 && result.samples >= 1 && result.samples <= 4);
}

static void test_worker__compare_ranks_and_ties(void **state) {
    (void)state;
    hone_error err = {0};
    submit(1, "{\"defines\":[\"CASE=24\"],\"options\":[\"-DF=1\"]}");
    submit(2, "{\"defines\":[\"CASE=0\"],\"options\":[\"-O2\",\"-DF=2\"]}");
    submit(3, "{\"defines\":[\"CASE=0\"],\"options\":[\"-O2\",\"-DF=3\"]}");
    for (uint64_t i = 1; i <= 3; i++)
        assert_int_equal(take(i).outcome, HONE_OUTCOME_OK);
    hone__finalist finalists[3] = {{.ticket = 1}, {.ticket = 2}, {.ticket = 3}};
    const hone__compare_options options = {.budget_ms = 1000};
    if (hone__bench_compare(bench, finalists, 3, &options, NULL, NULL, &err) != HONE_OK)
        fail_msg("%s", err.message);
    assert_int_equal(finalists[0].rank, 2);
    assert_false(finalists[0].tied_with_best);
    assert_int_equal(finalists[1].rank + finalists[2].rank, 1);
    assert_true(finalists[1].result.samples > 0 && finalists[1].result.median_ns > 0.0);
    hone__finalist unknown = {.ticket = 999};
    assert_int_equal(hone__bench_compare(bench, &unknown, 1, NULL, NULL, NULL, &err), HONE_E_ARG);
}

static void test_worker__survives_its_own_death(void **state) {
    (void)state;
    hone_error err = {0};
    submit(1, "{\"defines\":[\"CASE=0\"],\"options\":[\"-DK=1\"]}");
    assert_int_equal(take(1).outcome, HONE_OUTCOME_OK);
    /* Kill the worker behind the client's back, then compare: everything is compiled again. */
    submit(2, "{\"defines\":[\"CASE=24\"],\"options\":[\"-DK=2\"]}");
    assert_int_equal(take(2).outcome, HONE_OUTCOME_OK);
    char line[64];
    (void)snprintf(line, sizeof line, "/proc/self/task/%ld/children", (long)getpid());
    FILE *file = fopen(line, "r");
    if (file == NULL)
        skip();
    long child = 0;
    char text[256] = "";
    if (fgets(text, sizeof text, file) != NULL)
        child = strtol(text, NULL, 10);
    (void)fclose(file);
    assert_true(child > 1);
    (void)kill((pid_t)child, SIGKILL);
    hone__finalist finalists[2] = {{.ticket = 1}, {.ticket = 2}};
    const hone__compare_options options = {.budget_ms = 300};
    if (hone__bench_compare(bench, finalists, 2, &options, NULL, NULL, &err) != HONE_OK)
        fail_msg("%s", err.message);
    assert_int_equal(finalists[0].rank, 0);
    submit(3, "{\"defines\":[\"CASE=0\"],\"options\":[\"-DK=3\"]}");
    assert_int_equal(take(3).outcome, HONE_OUTCOME_OK);
}

static void expect_prepare_error(const char *text, const char *reference, const char *part) {
    hone_error err = {0};
    hone__bench *other = open_bench();
    cJSON *body = prepare_body(text, reference);
    assert_int_equal(hone__bench_prepare(other, body, NULL, NULL, &err), HONE_E_SPEC);
    cJSON_Delete(body);
    printf("%s\n", err.message);
    if (strstr(err.message, part) == NULL)
        fail_msg("message lacks \"%s\": %s", part, err.message);
    body = prepare_body(source, NULL); /* the evaluator is still of use */
    if (hone__bench_prepare(other, body, NULL, NULL, &err) != HONE_OK)
        fail_msg("%s", err.message);
    cJSON_Delete(body);
    hone__bench_close(other);
}

static void test_prepare__a_failing_reference_is_named(void **state) {
    (void)state;
    expect_prepare_error(source, "{\"source\":\"void r( {\",\"source_path\":\"truth.c\",\"entry\":\"r\"}", "truth.c:1");
    expect_prepare_error(source, "{\"source\":\"void r(float*x,float*y,float*a,int n){*(volatile int*)0=n;}\",\"entry\":\"r\"}", "signal 11");
    expect_prepare_error(source, "{\"source\":\"#include <stdlib.h>\\nvoid r(float*x,float*y,float*a,int n){exit(0);}\",\"entry\":\"r\"}", "called exit");
}

static void test_prepare__without_reference_is_unchecked(void **state) {
    (void)state;
    hone_error err = {0};
    cJSON *body = prepare_body(source, NULL);
    if (hone__bench_prepare(bench, body, NULL, NULL, &err) != HONE_OK)
        fail_msg("%s", err.message);
    cJSON_Delete(body);
    submit(1, "{\"defines\":[\"CASE=5\"]}");
    hone__measurement result = take(1);
    assert_int_equal(result.outcome, HONE_OUTCOME_OK);
    assert_int_equal(result.accuracy, HONE_ACCURACY_UNCHECKED);
}

static int count_folders(void) {
    int count = 0;
    DIR *dir = opendir(getenv("TMPDIR"));
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        count += strncmp(entry->d_name, "hone-worker-", 12) == 0;
    (void)closedir(dir);
    return count;
}

static void test_worker__leaves_no_files(void **state) {
    (void)state;
    hone__bench *other = open_bench();
    hone__bench_close(other);
    /* Folders of workers of this machine that are alive belong to others; those of ours carry our bench's worker.  So only count that
     * opening and closing leaves no more than before; a janitor may take its time on a busy machine. */
    int before = count_folders(), after;
    other = open_bench();
    hone__bench_close(other);
    for (int i = 0; (after = count_folders()) > before && i < 3000; i++)
        usleep(10000);
    assert_true(after <= before);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return hone_worker_main(argc, argv);
    char dir[] = "/tmp/hone-test-bench-XXXXXX";
    if (mkdtemp(dir) == NULL || setenv("TMPDIR", dir, 1) != 0)
        return 1;
    self_path = "/proc/self/exe";
    char exe[4096];
    ssize_t length = readlink(self_path, exe, sizeof exe - 1);
    if (length > 0) {
        exe[length] = '\0';
        self_path = exe;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker__each_misdeed_costs_one_config),
        cmocka_unit_test(test_worker__kernels_do_not_reach_beyond_their_run),
        cmocka_unit_test(test_worker__memory_bomb_is_stopped),
        cmocka_unit_test(test_worker__compilers_are_limited),
        cmocka_unit_test(test_worker__compiler_flood_is_stopped),
        cmocka_unit_test(test_worker__slow_config_is_abandoned),
        cmocka_unit_test(test_worker__compare_ranks_and_ties),
        cmocka_unit_test(test_worker__survives_its_own_death),
        cmocka_unit_test(test_prepare__a_failing_reference_is_named),
        cmocka_unit_test(test_worker__leaves_no_files),
        cmocka_unit_test(test_prepare__without_reference_is_unchecked),
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    usleep(200000); /* the janitor of a killed worker */
    (void)rmdir(dir);
    return failed;
}
