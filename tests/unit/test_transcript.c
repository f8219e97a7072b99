/* test_transcript.c: transcripts written, torn, damaged and replayed (spec/transcript.md). */
#include "alloc.h"
#include "file.h"
#include "llm_impl.h"
#include "log.h"
#include "rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];

static int set_up(void **state) {
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/hone-test-transcript-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 || close(fd) != 0;
}

static int tear_down(void **state) {
    (void)state;
    hone__secret_forget_all();
    return unlink(path);
}

static hone_status append(uint32_t index, const char *reply) {
    const hone__transcript_line line = {.index = index,
                                        .request = "{\"system\":\"s\",\"messages\":[{\"role\":\"user\",\"text\":\"q\"}]}",
                                        .reply = reply,
                                        .finish = "length",
                                        .tokens_in = 10,
                                        .tokens_out = 20,
                                        .seconds = 1.5,
                                        .provider = "chat",
                                        .model = "m"};
    hone_error err = {0};
    return hone__transcript_append(path, &line, &err);
}

static char *content(size_t *bytes) {
    char *text = NULL;
    assert_int_equal(hone__file_read(path, 1 << 26, &text, bytes, NULL), HONE_OK);
    return text;
}

static void set_content(const char *text) {
    assert_int_equal(hone__file_write(path, text, strlen(text), 0600, NULL), HONE_OK);
}

static void test_transcript__reads_back_what_was_written(void **state) {
    (void)state;
    assert_int_equal(append(0, "first\n\"quoted\" \xe2\x82\xac"), HONE_OK);
    assert_int_equal(append(1, NULL), HONE_OK);
    assert_int_equal(append(0, "again"), HONE_OK);
    hone__transcript *transcript = NULL;
    hone_error err = {0};
    assert_int_equal(hone__transcript_read(&transcript, path, &err), HONE_OK);
    assert_int_equal(hone__transcript_count(transcript), 3);
    hone__transcript_line line;
    assert_true(hone__transcript_find(transcript, 0, &line));
    assert_string_equal(line.reply, "again"); /* the last one counts */
    assert_string_equal(line.request, "{\"system\":\"s\",\"messages\":[{\"role\":\"user\",\"text\":\"q\"}]}");
    assert_string_equal(line.finish, "length");
    assert_string_equal(line.provider, "chat");
    assert_string_equal(line.model, "m");
    assert_int_equal(line.tokens_in, 10);
    assert_int_equal(line.tokens_out, 20);
    assert_true(line.seconds > 1.4 && line.seconds < 1.6);
    assert_true(hone__transcript_find(transcript, 1, &line));
    assert_null(line.reply);
    assert_false(hone__transcript_find(transcript, 2, &line));
    hone__transcript_free(transcript);
    size_t bytes = 0;
    char *text = content(&bytes);
    assert_int_equal(strncmp(text, "{\"hone_transcript\":1,", 21), 0);
    assert_int_equal(text[bytes - 1], '\n');
    hone__free(text);
}

/* Cut at every byte: what was whole is read, the rest is dropped, and the next line still lands well. */
static void test_transcript__survives_a_torn_end(void **state) {
    (void)state;
    assert_int_equal(append(0, "zero"), HONE_OK);
    assert_int_equal(append(1, "one"), HONE_OK);
    size_t bytes = 0;
    char *whole = content(&bytes);
    size_t header = strcspn(whole, "\n") + 1;
    size_t second = header + strcspn(whole + header, "\n") + 1;
    for (size_t cut = 0; cut <= bytes; cut++) {
        assert_int_equal(hone__file_write(path, whole, cut, 0600, NULL), HONE_OK);
        hone__transcript *transcript = NULL;
        hone_error err = {0};
        hone_status status = hone__transcript_read(&transcript, path, &err);
        if (cut + 1 < header) {
            assert_int_equal(status, HONE_E_CORRUPT);
        } else {
            assert_int_equal(status, HONE_OK);
            assert_int_equal(hone__transcript_count(transcript), cut < second ? 0 : cut < bytes ? 1 : 2);
        }
        hone__transcript_free(transcript);
        assert_int_equal(append(9, "nine"), HONE_OK);
        assert_int_equal(hone__transcript_read(&transcript, path, &err), HONE_OK);
        hone__transcript_line line;
        assert_true(hone__transcript_find(transcript, 9, &line));
        assert_int_equal(hone__transcript_count(transcript), cut < second ? 1 : cut < bytes ? 2 : 3);
        hone__transcript_free(transcript);
    }
    hone__free(whole);
}

static void test_transcript__leaves_other_files_alone(void **state) {
    (void)state;
    static const char *const others[] = {"my precious notes\n", "{\"name\":\"a spec\"}\n", "{\"hone_transcripts\":1}\n", "\n"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        set_content(others[i]);
        assert_int_equal(append(0, "x"), HONE_E_CORRUPT);
        char *text = content(NULL);
        assert_string_equal(text, others[i]);
        hone__free(text);
        hone__transcript *transcript = NULL;
        assert_int_equal(hone__transcript_read(&transcript, path, NULL), HONE_E_CORRUPT);
        assert_null(transcript);
    }
}

static void test_transcript__names_the_damaged_line(void **state) {
    (void)state;
    static const struct {
        const char *text;
        hone_status status;
        const char *part;
    } cases[] = {
        {"{\"hone_transcript\":2}\n", HONE_E_VERSION, "version 2"},
        {"{\"hone_transcript\":\"1\"}\n", HONE_E_CORRUPT, "not a transcript"},
        {"{\"hone_transcript\":1}\nnonsense\n", HONE_E_CORRUPT, "line 2"},
        {"{\"hone_transcript\":1}\n[]\n", HONE_E_CORRUPT, "line 2: not an object"},
        {"{\"hone_transcript\":1}\n{\"index\":0,\"request\":{},\"reply\":null}\n{\"index\":-1,\"request\":{},\"reply\":null}\n", HONE_E_CORRUPT, "line 3"},
        {"{\"hone_transcript\":1}\n{\"index\":1.5,\"request\":{},\"reply\":null}\n", HONE_E_CORRUPT, "index"},
        {"{\"hone_transcript\":1}\n{\"index\":1,\"request\":\"\",\"reply\":null}\n", HONE_E_CORRUPT, "request"},
        {"{\"hone_transcript\":1}\n{\"index\":1,\"request\":{},\"reply\":4}\n", HONE_E_CORRUPT, "reply"},
        {"{\"hone_transcript\":1}\n{\"index\":1,\"request\":{},\"reply\":\"\xff\"}\n", HONE_E_CORRUPT, "UTF-8"},
        {"{\"hone_transcript\":1,\"more\":{}}\n\n{\"index\":1,\"request\":{},\"reply\":\"x\",\"more\":1}\n", HONE_OK, ""},
        {"{\"hone_transcript\":1}", HONE_OK, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        set_content(cases[i].text);
        hone__transcript *transcript = NULL;
        hone_error err = {0};
        hone_status status = hone__transcript_read(&transcript, path, &err);
        if (status != cases[i].status || strstr(err.message, cases[i].part) == NULL)
            fail_msg("%s: %s %s", cases[i].text, hone_status_name(status), err.message);
        hone__transcript_free(transcript);
    }
}

static void test_transcript__keeps_secrets_and_broken_text_out(void **state) {
    (void)state;
    hone__secret_add("canary-key-123456");
    const hone__transcript_line lines[] = {
        {.index = 0, .request = "plain text with canary-key-123456 and \xff", .reply = "canary-key-123456"},
        {.index = 1, .request = "{\"system\":\"\xfe\",\"messages\":[]}", .reply = "b\xc0\xaf"},
    };
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(hone__transcript_append(path, &lines[i], NULL), HONE_OK);
    char *text = content(NULL);
    assert_null(strstr(text, "canary"));
    hone__free(text);
    hone__transcript *transcript = NULL;
    hone_error err = {0};
    if (hone__transcript_read(&transcript, path, &err) != HONE_OK)
        fail_msg("%s", err.message);
    hone__transcript_line line;
    assert_true(hone__transcript_find(transcript, 0, &line));
    assert_non_null(strstr(line.request, "\"role\":\"user\",\"text\":\"plain text with"));
    hone__transcript_free(transcript);
}

static void test_transcript__makes_the_request_text(void **state) {
    (void)state;
    const hone__message message[] = {{"user", "a\"b"}, {"assistant", "c"}};
    char *text = hone__llm_request_json(&(hone__llm_request){.system = "s", .message = message, .message_count = 2});
    assert_string_equal(text, "{\"system\":\"s\",\"messages\":[{\"role\":\"user\",\"text\":\"a\\\"b\"},{\"role\":\"assistant\",\"text\":\"c\"}]}");
    hone__free(text);
}

static int notes;

static void count_notes(hone_log_level level, const char *subsystem, const char *message, void *user) {
    (void)level;
    (void)subsystem;
    (void)user;
    notes += strstr(message, "not the one on record") != NULL;
}

static void test_transcript__replays_by_index(void **state) {
    (void)state;
    assert_int_equal(append(0, "zero"), HONE_OK);
    assert_int_equal(append(1, "one"), HONE_OK);
    assert_int_equal(append(2, NULL), HONE_OK);
    hone__llm *llm = NULL;
    hone_error err = {0};
    assert_int_equal(hone__llm_open(&llm, &(hone__llm_options){.replay = path, .tokens_max = 1000}, &err), HONE_OK);
    assert_int_equal(hone__llm_provider(llm), HONE_PROVIDER_REPLAY);
    assert_string_equal(hone__llm_model(llm), "m");
    hone_set_log(count_notes, HONE_LOG_DEBUG, NULL);
    notes = 0;
    static const struct {
        uint32_t index;
        const char *question, *reply;
        int notes;
    } asked[] = {{1, "q", "one", 0}, {0, "something else", "zero", 1}, {2, "q", NULL, 1}, {3, "q", NULL, 1}};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        const hone__message message = {"user", asked[i].question};
        const hone__llm_request request = {.index = asked[i].index, .system = "s", .message = &message, .message_count = 1};
        hone__llm_reply reply;
        assert_int_equal(hone__llm_start(llm, &request, &err), HONE_OK);
        hone_status status = hone__llm_poll(llm, 0, &reply, &err);
        assert_int_equal(notes, asked[i].notes);
        if (asked[i].reply == NULL) {
            assert_int_equal(status, HONE_E_PROVIDER);
            assert_non_null(strstr(err.message, "has no reply to request"));
            continue;
        }
        assert_int_equal(status, HONE_OK);
        assert_string_equal(reply.text, asked[i].reply);
        assert_true(reply.truncated);
        assert_int_equal(reply.tokens_in + reply.tokens_out, 30);
        hone__llm_reply_clear(&reply);
    }
    hone_set_log(NULL, HONE_LOG_ERROR, NULL);
    hone__llm_close(llm);
    assert_int_not_equal(hone__llm_open(&llm, &(hone__llm_options){.replay = "/nowhere/t.jsonl"}, &err), HONE_OK);
}

/* Whatever a file holds: read or refused, with a message, without leaks. */
static void test_transcript__withstands_mutations(void **state) {
    (void)state;
    uint64_t seed = getenv("HONE_TEST_SEED") != NULL ? strtoull(getenv("HONE_TEST_SEED"), NULL, 10) : 20261123;
    print_message("seed %llu\n", (unsigned long long)seed);
    hone__rng rng;
    hone__rng_seed(&rng, seed);
    assert_int_equal(append(0, "zero"), HONE_OK);
    assert_int_equal(append(1, "one"), HONE_OK);
    size_t bytes = 0;
    char *whole = content(&bytes);
    size_t live = hone__alloc_live();
    char *text = hone__alloc(bytes);
    for (int i = 0; i < 3000; i++) {
        memcpy(text, whole, bytes);
        for (uint64_t n = hone__rng_below(&rng, 4) + 1; n > 0; n--)
            text[hone__rng_below(&rng, bytes)] = "{}[]\",:\n0-\\\xffx"[hone__rng_below(&rng, 14)];
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, bytes, file), bytes);
        assert_int_equal(fclose(file), 0);
        hone__transcript *transcript = NULL;
        hone_error err = {0};
        hone_status status = hone__transcript_read(&transcript, path, &err);
        assert_true((status == HONE_OK) == (transcript != NULL));
        assert_true(status == HONE_OK || err.message[0] != '\0');
        hone__transcript_line line;
        if (transcript != NULL && hone__transcript_find(transcript, 1, &line))
            assert_non_null(line.request);
        hone__transcript_free(transcript);
    }
    hone__free(text);
    assert_int_equal(hone__alloc_live(), live);
    hone__free(whole);
}

static void test_transcript__refuses_a_bomb(void **state) {
    (void)state;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "{\"hone_transcript\":1}\n{\"index\":0,\"reply\":null,\"request\":{\"a\":0") > 0);
    for (int i = 0; i < 200000; i++)
        assert_true(fprintf(file, ",\"k%d\":0", i) > 0);
    assert_true(fprintf(file, "}}\n") > 0);
    assert_int_equal(fclose(file), 0);
    hone__transcript *transcript = NULL;
    assert_int_equal(hone__transcript_read(&transcript, path, NULL), HONE_E_CORRUPT);
}

static void test_transcript__survives_failing_allocations(void **state) {
    (void)state;
    assert_int_equal(append(0, "zero"), HONE_OK);
    for (size_t nth = 1; nth < 60; nth++) {
        size_t live = hone__alloc_live();
        hone__transcript *transcript = NULL;
        hone__alloc_fail_at(nth, 0);
        hone_status status = hone__transcript_read(&transcript, path, NULL);
        hone__alloc_fail_at(0, 0);
        assert_true((status == HONE_OK) == (transcript != NULL));
        hone__transcript_free(transcript);
        hone__alloc_fail_at(nth, 1);
        (void)append(0, "zero"); /* whole or not at all */
        hone__alloc_fail_at(0, 0);
        assert_int_equal(hone__alloc_live(), live);
    }
    hone__transcript *transcript = NULL;
    assert_int_equal(hone__transcript_read(&transcript, path, NULL), HONE_OK);
    hone__transcript_free(transcript);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_transcript__reads_back_what_was_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_transcript__survives_a_torn_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_transcript__leaves_other_files_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_transcript__names_the_damaged_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_transcript__keeps_secrets_and_broken_text_out, set_up, tear_down),
        cmocka_unit_test(test_transcript__makes_the_request_text),
        cmocka_unit_test_setup_teardown(test_transcript__replays_by_index, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_transcript__withstands_mutations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_transcript__refuses_a_bomb, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_transcript__survives_failing_allocations, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
