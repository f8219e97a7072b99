/* test_evaluator.c: the client against evaluators that lie, flood, hang and die.  The test program is its own evaluator: started as
 * `test_evaluator evil MODE` it speaks the protocol, and breaks it in the way of MODE when it meets a config with the macro EVIL. */
#include "bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <signal.h>

#include <cmocka.h>

/* ---- the evaluator ---- */

static void say(const char *text) {
    size_t length = strlen(text);
    while (length > 0) {
        ssize_t put = write(1, text, length);
        if (put <= 0)
            _exit(9);
        text += put;
        length -= (size_t)put;
    }
}

static void answer(long id, const char *rest) {
    char line[512];
    (void)snprintf(line, sizeof line, "{\"id\":%ld,\"ok\":true%s}\n", id, rest);
    say(line);
}

/* What MODE does; returns false when the request is to be answered as usual. */
static int misbehave(const char *mode, long id) {
    char line[256];
    if (strcmp(mode, "garbage") == 0) {
        say("hello, I am a library that prints to stdout\n");
    } else if (strcmp(mode, "binary") == 0) {
        (void)!write(1, "\0\xff\xfe\x80\n", 5);
    } else if (strcmp(mode, "half") == 0) {
        say("{\"id\":");
        pause();
    } else if (strcmp(mode, "huge") == 0) {
        static char block[65536];
        memset(block, ' ', sizeof block);
        for (;;) {
            if (write(1, block, sizeof block) <= 0)
                _exit(1);
        }
    } else if (strcmp(mode, "wrong-id") == 0) {
        answer(id + 1000, ",\"samples_ns\":[1000]");
    } else if (strcmp(mode, "no-id") == 0) {
        say("{\"ok\":true}\n");
    } else if (strcmp(mode, "array") == 0) {
        say("[1,2,3]\n");
    } else if (strcmp(mode, "deep") == 0) {
        for (int i = 0; i < 100000; i++)
            say("[");
        say("\n");
    } else if (strcmp(mode, "twice") == 0) {
        answer(id, ",\"samples_ns\":[1000]");
        answer(id, ",\"samples_ns\":[2000]");
        return 1;
    } else if (strcmp(mode, "die") == 0) {
        (void)fprintf(stderr, "Traceback: the toolkit is missing\n");
        _exit(3);
    } else if (strcmp(mode, "segv") == 0) {
        raise(SIGKILL);
    } else if (strcmp(mode, "close") == 0) {
        (void)close(1);
        pause();
    } else if (strcmp(mode, "flood") == 0) {
        static char block[65536];
        memset(block, 'e', sizeof block);
        for (int i = 0; i < 1600; i++)
            (void)!write(2, block, sizeof block); /* 100 MB */
        return 0;
    } else {
        const char *body = strcmp(mode, "nan") == 0         ? ",\"samples_ns\":[1000,NaN]"
                           : strcmp(mode, "negative") == 0  ? ",\"samples_ns\":[1000,-1]"
                           : strcmp(mode, "zero") == 0      ? ",\"samples_ns\":[0]"
                           : strcmp(mode, "absurd") == 0    ? ",\"samples_ns\":[1e300]"
                           : strcmp(mode, "string") == 0    ? ",\"samples_ns\":[\"1000\"]"
                           : strcmp(mode, "empty") == 0     ? ",\"samples_ns\":[]"
                           : strcmp(mode, "nothing") == 0   ? ""
                           : strcmp(mode, "disorder") == 0  ? ",\"summary\":{\"median_ns\":5,\"low_ns\":6,\"high_ns\":7,\"mad_ns\":0,\"samples\":9}"
                           : strcmp(mode, "accuracy") == 0  ? ",\"samples_ns\":[1000],\"accuracy\":\"failed\""
                           : strcmp(mode, "code") == 0      ? NULL
                                                            : ",\"samples_ns\":[1]";
        if (body != NULL) {
            answer(id, body);
        } else {
            (void)snprintf(line, sizeof line, "{\"id\":%ld,\"ok\":false,\"error\":{\"code\":\"meltdown\",\"message\":\"core \\u0001 melted\"}}\n", id);
            say(line);
        }
    }
    return 1;
}

/* A compile that takes until it is cancelled; returns 0 when it is not for us. */
static int dawdle(const char *mode, const char *line, long id, int is_evil, long *late) {
    char text[160];
    if (strcmp(mode, "late") != 0)
        return 0;
    if (is_evil) {
        *late = id;
        return 1;
    }
    if (strstr(line, "\"op\":\"cancel\"") == NULL)
        return 0;
    (void)snprintf(text, sizeof text, "\"ids\":[%ld]", *late);
    if (strstr(line, text) != NULL) {
        (void)snprintf(text, sizeof text, "{\"id\":%ld,\"ok\":false,\"error\":{\"code\":\"cancelled\",\"message\":\"ended\"}}\n", *late);
        say(text);
    }
    answer(id, "");
    return 1;
}

static int evil(const char *mode, const char *stage, const char *parallel) {
    static char line[65536];
    char rest[256];
    int evil_handle[1000] = {0};
    long handles = 0, late = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        const char *found = strstr(line, "\"id\":");
        long id = found != NULL ? strtol(found + 5, NULL, 10) : 0;
        int is_evil = strstr(line, "EVIL") != NULL;
        if (dawdle(mode, line, id, is_evil, &late))
            continue;
        if (strstr(line, "\"op\":\"hello\"") != NULL) {
            if (strcmp(stage, "hello") == 0 && misbehave(mode, id))
                continue;
            (void)snprintf(rest, sizeof rest,
                           ",\"protocol\":1,\"parallel\":%s,\"compare\":%s,\"cancel\":true,\"device\":{\"kind\":\"toy\",\"name\":\"toy\",\"identity\":{\"a\":1}}", parallel,
                           strcmp(stage, "compare") == 0 ? "true" : "false");
            answer(id, rest);
        } else if (strstr(line, "\"op\":\"prepare\"") != NULL) {
            if (strcmp(stage, "prepare") == 0 && misbehave(mode, id))
                continue;
            answer(id, "");
        } else if (strstr(line, "\"op\":\"compile\"") != NULL) {
            if (is_evil && strcmp(stage, "compile") == 0 && misbehave(mode, id))
                continue;
            evil_handle[handles % 1000] = is_evil;
            (void)snprintf(rest, sizeof rest, ",\"handle\":%ld", handles++);
            answer(id, rest);
        } else if (strstr(line, "\"op\":\"measure\"") != NULL) {
            found = strstr(line, "\"handle\":");
            long handle = found != NULL ? strtol(found + 9, NULL, 10) : 0;
            if (evil_handle[handle % 1000] && strcmp(stage, "measure") == 0 && misbehave(mode, id))
                continue;
            (void)snprintf(rest, sizeof rest, ",\"samples_ns\":[%ld,%ld,%ld]", 1000 + handle, 1001 + handle, 1002 + handle);
            answer(id, rest);
        } else if (strstr(line, "\"op\":\"compare\"") != NULL) {
            (void)misbehave(mode, id);
        } else {
            answer(id, "");
            return 0;
        }
    }
    return 0;
}

/* ---- the client ---- */

static char self_path[4096];

static cJSON *parse(const char *text) {
    cJSON *json = NULL;
    hone_error err = {0};
    if (hone__json_parse(&json, text, strlen(text), "test", &err) != HONE_OK)
        fail_msg("%s", err.message);
    return json;
}

static hone_status open_evil(hone__bench **bench, const char *mode, const char *stage, const char *parallel, double start_s, hone_error *err) {
    const char *const command[] = {self_path, "evil", mode, stage, parallel, NULL};
    const hone__bench_options options = {.command = command, .compile_s = 0.1, .run_s = 0.1, .budget_ms = 5, .start_s = start_s};
    return hone__bench_open(bench, &options, err);
}

static void prepare(hone__bench *bench) {
    hone_error err = {0};
    cJSON *body = parse("{\"kernel\":{\"name\":\"k\"}}");
    if (hone__bench_prepare(bench, body, NULL, NULL, &err) != HONE_OK)
        fail_msg("%s", err.message);
    cJSON_Delete(body);
}

static void submit(hone__bench *bench, uint64_t ticket, int is_evil) {
    hone_error err = {0};
    cJSON *body = parse(is_evil ? "{\"defines\":[\"EVIL=1\"]}" : "{\"defines\":[\"GOOD=1\"]}");
    if (hone__bench_submit(bench, ticket, body, &err) != HONE_OK)
        fail_msg("%s", err.message);
    cJSON_Delete(body);
}

static hone__measurement take(hone__bench *bench, uint64_t expected) {
    uint64_t ticket = 0;
    hone__measurement result = {.outcome = HONE_OUTCOME_COUNT};
    hone_error err = {0};
    if (hone__bench_next(bench, 60000, &ticket, &result, &err) != HONE_OK)
        fail_msg("%s", err.message);
    assert_int_equal(ticket, expected);
    return result;
}

/* Config 2 of 5 is evil: it alone fails, with `outcome` and a reason that holds `part`. */
static void one_of_five(const char *mode, const char *stage, const char *parallel, hone__outcome outcome, const char *part) {
    hone_error err = {0};
    hone__bench *bench = NULL;
    if (open_evil(&bench, mode, stage, parallel, 10.0, &err) != HONE_OK)
        fail_msg("%s", err.message);
    prepare(bench);
    for (uint64_t i = 0; i < 5; i++)
        submit(bench, i, i == 2);
    for (uint64_t i = 0; i < 5; i++) {
        hone__measurement result = take(bench, i);
        if (i == 2) {
            printf("%-9s at %-8s parallel %s: %s: %.120s\n", mode, stage, parallel, hone__outcome_name(result.outcome), result.reason);
            assert_string_equal(hone__outcome_name(result.outcome), hone__outcome_name(outcome));
            if (strstr(result.reason, part) == NULL)
                fail_msg("reason lacks \"%s\": %s", part, result.reason);
        } else {
            assert_string_equal(hone__outcome_name(result.outcome), "ok");
            assert_true(result.median_ns > 999.0 && result.median_ns < 1100.0);
        }
    }
    uint64_t ticket = 0;
    hone__measurement result;
    assert_int_equal(hone__bench_next(bench, 0, &ticket, &result, &err), HONE_E_NOTFOUND);
    hone__bench_close(bench);
}

static void test_client__broken_protocol_costs_one_config(void **state) {
    (void)state;
    static const char *const stages[] = {"compile", "measure"};
    static const char *const parallel[] = {"0", "3"};
    for (int i = 0; i < 4; i++) {
        const char *stage = stages[i % 2];
        const char *p = parallel[i / 2];
        one_of_five("garbage", stage, p, HONE_OUTCOME_EVALUATOR, "no JSON");
        one_of_five("die", stage, p, HONE_OUTCOME_EVALUATOR, "toolkit is missing");
        one_of_five("close", stage, p, HONE_OUTCOME_EVALUATOR, "closed its stdout");
        one_of_five("wrong-id", stage, p, HONE_OUTCOME_EVALUATOR, "never sent");
    }
    one_of_five("binary", "measure", "3", HONE_OUTCOME_EVALUATOR, "no JSON");
    one_of_five("huge", "measure", "3", HONE_OUTCOME_EVALUATOR, "longer than the limit");
    one_of_five("deep", "measure", "3", HONE_OUTCOME_EVALUATOR, "no JSON");
    one_of_five("array", "measure", "0", HONE_OUTCOME_EVALUATOR, "no id");
    one_of_five("no-id", "measure", "0", HONE_OUTCOME_EVALUATOR, "no id");
    one_of_five("segv", "measure", "0", HONE_OUTCOME_EVALUATOR, "killed by signal 9");
}

static void test_client__impossible_times_are_refused(void **state) {
    (void)state;
    static const char *const modes[] = {"negative", "zero", "absurd", "string", "empty", "nothing", "disorder", "accuracy"};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        one_of_five(modes[i], "measure", "1", HONE_OUTCOME_EVALUATOR, "refused");
    one_of_five("nan", "measure", "1", HONE_OUTCOME_EVALUATOR, "no JSON");
    one_of_five("code", "measure", "1", HONE_OUTCOME_EVALUATOR, "meltdown");
    one_of_five("code", "compile", "1", HONE_OUTCOME_EVALUATOR, "core ? melted");
}

static void test_client__hang_is_a_timeout(void **state) {
    (void)state;
    one_of_five("half", "measure", "0", HONE_OUTCOME_TIMEOUT, "did not answer measure");
}

static void test_client__stderr_flood_does_no_harm(void **state) {
    (void)state;
    hone_error err = {0};
    hone__bench *bench = NULL;
    assert_int_equal(open_evil(&bench, "flood", "measure", "0", 10.0, &err), HONE_OK);
    prepare(bench);
    submit(bench, 1, 1);
    assert_int_equal(take(bench, 1).outcome, HONE_OUTCOME_OK);
    hone__bench_close(bench);
}

static void test_client__second_reply_is_a_fault_of_its_own(void **state) {
    (void)state;
    hone_error err = {0};
    hone__bench *bench = NULL;
    assert_int_equal(open_evil(&bench, "twice", "measure", "0", 10.0, &err), HONE_OK);
    prepare(bench);
    submit(bench, 1, 1);
    assert_int_equal(take(bench, 1).outcome, HONE_OUTCOME_OK);
    submit(bench, 2, 0);
    assert_int_equal(take(bench, 2).outcome, HONE_OUTCOME_OK); 
    hone__bench_close(bench);
}

static void test_client__failing_start_is_told_at_once(void **state) {
    (void)state;
    static const struct {
        const char *mode, *stage, *part;
    } cases[] = {{"die", "hello", "toolkit is missing"}, {"garbage", "hello", "no JSON"},   {"close", "hello", "closed its stdout"},
                 {"code", "hello", "core ? melted"},       {"nothing", "hello", "protocol"}, {"half", "hello", "did not answer hello"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone_error err = {0};
        hone__bench *bench = NULL;
        assert_int_equal(open_evil(&bench, cases[i].mode, cases[i].stage, "0", 0.3, &err), HONE_E_EVALUATOR);
        assert_null(bench);
        printf("%s\n", err.message);
        if (strstr(err.message, cases[i].part) == NULL)
            fail_msg("message lacks \"%s\": %s", cases[i].part, err.message);
    }
    const char *const missing[] = {"/nowhere/evaluator", NULL};
    const hone__bench_options options = {.command = missing};
    hone_error err = {0};
    hone__bench *bench = NULL;
    assert_int_equal(hone__bench_open(&bench, &options, &err), HONE_E_EVALUATOR);
    assert_non_null(strstr(err.message, "/nowhere/evaluator"));
    assert_int_equal(hone__bench_open(&bench, &options, NULL), HONE_E_EVALUATOR);
}

static void test_client__failing_prepare_is_told(void **state) {
    (void)state;
    static const char *const modes[] = {"die", "code", "garbage"};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        hone_error err = {0};
        hone__bench *bench = NULL;
        assert_int_equal(open_evil(&bench, modes[i], "prepare", "0", 10.0, &err), HONE_OK);
        cJSON *body = parse("{\"kernel\":{\"name\":\"k\"}}");
        assert_int_equal(hone__bench_prepare(bench, body, NULL, NULL, &err), HONE_E_EVALUATOR);
        printf("%s\n", err.message);
        cJSON_Delete(body);
        hone__bench_close(bench);
    }
}

static void test_client__gives_up_in_the_end(void **state) {
    (void)state;
    hone_error err = {0};
    hone__bench *bench = NULL;
    assert_int_equal(open_evil(&bench, "die", "compile", "2", 10.0, &err), HONE_OK);
    prepare(bench);
    for (uint64_t i = 0; i < 40; i++)
        submit(bench, i, 1);
    hone_status status = HONE_OK;
    int results = 0;
    while (status == HONE_OK) {
        uint64_t ticket;
        hone__measurement result;
        status = hone__bench_next(bench, 60000, &ticket, &result, &err);
        results += status == HONE_OK;
    }
    assert_int_equal(status, HONE_E_EVALUATOR);
    assert_in_range(results, 1, 30);
    assert_non_null(strstr(err.message, "in a row"));
    hone__bench_close(bench);
}

static void test_client__cancel_keeps_what_runs(void **state) {
    (void)state;
    hone_error err = {0};
    hone__bench *bench = NULL;
    assert_int_equal(open_evil(&bench, "none", "none", "2", 10.0, &err), HONE_OK);
    prepare(bench);
    for (uint64_t i = 0; i < 50; i++)
        submit(bench, i, 0);
    (void)take(bench, 0);
    hone__bench_cancel(bench);
    for (uint64_t i = 100; i < 110; i++)
        submit(bench, i, 0);
    uint64_t last = 0;
    for (;;) {
        uint64_t ticket;
        hone__measurement result;
        if (hone__bench_next(bench, 60000, &ticket, &result, &err) != HONE_OK)
            break;
        assert_int_equal(result.outcome, HONE_OUTCOME_OK);
        assert_true(ticket < 5 || ticket >= 100);
        last = ticket;
    }
    assert_int_equal(last, 109);
    hone__bench_close(bench);
}

static int compare_with(const char *mode, hone__finalist finalist[3], hone_error *err) {
    hone__bench *bench = NULL;
    assert_int_equal(open_evil(&bench, mode, "compare", "0", 10.0, err), HONE_OK);
    prepare(bench);
    for (uint64_t i = 0; i < 3; i++) {
        submit(bench, i, 0);
        assert_int_equal(take(bench, i).outcome, HONE_OUTCOME_OK);
        finalist[i] = (hone__finalist){.ticket = i};
    }
    const hone__compare_options options = {.budget_ms = 200};
    int status = hone__bench_compare(bench, finalist, 3, &options, NULL, NULL, err);
    hone__bench_close(bench);
    return status;
}

static void test_compare__lies_are_refused(void **state) {
    (void)state;
    static const char *const modes[] = {"nothing", "nan", "die", "garbage", "zero", "code"};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        hone_error err = {0};
        hone__finalist finalist[3];
        assert_int_equal(compare_with(modes[i], finalist, &err), HONE_E_EVALUATOR);
        printf("%s: %s\n", modes[i], err.message);
        for (int k = 0; k < 3; k++) { /* the single measurements stand */
            assert_int_equal(finalist[k].rank, k);
            assert_true(finalist[k].result.median_ns > 999.0);
        }
    }
}

static void test_compare__alternates_measurements_without_compare(void **state) {
    (void)state;
    hone_error err = {0};
    hone__bench *bench = NULL;
    assert_int_equal(open_evil(&bench, "none", "none", "0", 10.0, &err), HONE_OK);
    prepare(bench);
    hone__finalist finalist[2];
    for (uint64_t i = 0; i < 300; i++) { /* far handles differ by a tenth and more in this toy's times */
        submit(bench, i, 0);
        assert_int_equal(take(bench, i).outcome, HONE_OUTCOME_OK);
    }
    finalist[0] = (hone__finalist){.ticket = 50};
    finalist[1] = (hone__finalist){.ticket = 0};
    if (hone__bench_compare(bench, finalist, 2, NULL, NULL, NULL, &err) != HONE_OK)
        fail_msg("%s", err.message);
    assert_int_equal(finalist[0].rank, 1);
    assert_int_equal(finalist[1].rank, 0);
    assert_false(finalist[0].tied_with_best);
    assert_true(finalist[0].result.samples >= 12);
    hone__bench_close(bench);
}

/* One compile that does not end is overtaken; cancelled, it delays nobody, and the evaluator that did it lives on. */
static void test_client__straggler_is_overtaken_and_cancelled(void **state) {
    (void)state;
    hone_error err = {0};
    hone__bench *bench = NULL;
    const char *const command[] = {self_path, "evil", "late", "compile", "4", NULL};
    const hone__bench_options options = {.command = command, .compile_s = 60.0, .run_s = 0.1, .budget_ms = 5};
    if (hone__bench_open(&bench, &options, &err) != HONE_OK)
        fail_msg("%s", err.message);
    prepare(bench);
    for (uint64_t i = 0; i < 6; i++)
        submit(bench, i, i == 1);
    assert_int_equal(take(bench, 0).outcome, HONE_OUTCOME_OK);
    for (uint64_t i = 2; i < 5; i++)
        assert_int_equal(take(bench, i).outcome, HONE_OUTCOME_OK);
    hone__bench_cancel(bench); /* the straggler goes; 5 is done, or goes too */
    uint64_t ticket = 0;
    hone__measurement result;
    while (hone__bench_next(bench, 100, &ticket, &result, &err) != HONE_E_NOTFOUND) {
    }
    prepare(bench); /* waits until nothing is in flight: for the straggler, were it not cancelled, a minute */
    submit(bench, 6, 0);
    result = take(bench, 6);
    assert_true(result.median_ns > 1004.0); /* the handles go on: the same process */
    hone__bench_close(bench);
}

int main(int argc, char **argv) {
    if (argc > 4 && strcmp(argv[1], "evil") == 0)
        return evil(argv[2], argv[3], argv[4]);
    ssize_t length = readlink("/proc/self/exe", self_path, sizeof self_path - 1);
    if (length <= 0)
        return 1;
    self_path[length] = '\0';
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client__broken_protocol_costs_one_config),
        cmocka_unit_test(test_client__impossible_times_are_refused),
        cmocka_unit_test(test_client__hang_is_a_timeout),
        cmocka_unit_test(test_client__stderr_flood_does_no_harm),
        cmocka_unit_test(test_client__second_reply_is_a_fault_of_its_own),
        cmocka_unit_test(test_client__failing_start_is_told_at_once),
        cmocka_unit_test(test_client__failing_prepare_is_told),
        cmocka_unit_test(test_client__gives_up_in_the_end),
        cmocka_unit_test(test_client__cancel_keeps_what_runs),
        cmocka_unit_test(test_client__straggler_is_overtaken_and_cancelled),
        cmocka_unit_test(test_compare__lies_are_refused),
        cmocka_unit_test(test_compare__alternates_measurements_without_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
