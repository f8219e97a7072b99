/* test_mailbox.c: prompts as files, answers as files: names, atomicity, half-written and hostile answers, resuming. */
#include "alloc.h"
#include "file.h"
#include "llm_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct box {
    char folder[64];
    char path[160];
    hone__llm *llm;
} box;

static int set_up(void **state) {
    box *b = hone__alloc(sizeof *b);
    *state = b;
    (void)snprintf(b->folder, sizeof b->folder, "/tmp/hone-test-mailbox-XXXXXX");
    if (mkdtemp(b->folder) == NULL)
        return 1;
    char inner[80]; /* the client makes the folder itself */
    (void)snprintf(inner, sizeof inner, "%s/a/b", b->folder);
    hone_error err = {0};
    if (hone__llm_open(&b->llm, &(hone__llm_options){.mailbox = inner, .timeout_s = 5}, &err) != HONE_OK)
        return 1;
    (void)snprintf(b->folder + strlen(b->folder), sizeof b->folder - strlen(b->folder), "/a/b");
    return 0;
}

static int tear_down(void **state) {
    box *b = *state;
    hone__llm_close(b->llm);
    b->folder[strlen(b->folder) - 4] = '\0';
    hone__process process;
    const char *const words[] = {"rm", "-rf", b->folder, NULL};
    if (hone__process_start(&process, words, NULL, NULL, NULL) == HONE_OK) {
        while (!hone__process_ended(&process, NULL))
            (void)usleep(1000);
        hone__process_kill(&process);
    }
    hone__free(b);
    return 0;
}

static hone_status start(box *b, uint32_t index, const char *question) {
    const hone__message message[] = {{"user", "earlier"}, {"assistant", "my answer"}, {"user", question}};
    const hone__llm_request request = {.index = index, .system = "the rules", .message = message, .message_count = 3};
    hone_error err = {0};
    return hone__llm_start(b->llm, &request, &err);
}

/* The only file of that ending; its path without the ending in b->path. */
static int find(box *b, const char *ending) {
    int count = 0;
    DIR *folder = opendir(b->folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        size_t length = strlen(entry->d_name);
        size_t tail = strlen(ending);
        if (length <= tail || strcmp(entry->d_name + length - tail, ending) != 0)
            continue;
        (void)snprintf(b->path, sizeof b->path, "%.60s/%.*s", b->folder, (int)(length - tail > 60 ? 60 : length - tail), entry->d_name);
        count++;
    }
    (void)closedir(folder);
    return count;
}

static const char *beside(const box *b, const char *ending) {
    static char path[200];
    (void)snprintf(path, sizeof path, "%s%s", b->path, ending);
    return path;
}

static void put(const box *b, const char *ending, const char *text) {
    assert_int_equal(hone__file_write(beside(b, ending), text, strlen(text), 0600, NULL), HONE_OK);
}

static hone_status wait_for(box *b, uint32_t ms, hone__llm_reply *reply, hone_error *err) {
    *err = (hone_error){0};
    return hone__llm_poll(b->llm, ms, reply, err);
}

static void test_mailbox__writes_a_readable_prompt(void **state) {
    box *b = *state;
    assert_int_equal(start(b, 7, "which configs?"), HONE_OK);
    assert_int_equal(find(b, ".prompt.md"), 1);
    assert_non_null(strstr(b->path, "/0007-"));
    assert_int_equal(strlen(strrchr(b->path, '/') + 1), 4 + 1 + 8);
    char *text = NULL;
    assert_int_equal(hone__file_read(beside(b, ".prompt.md"), 1 << 20, &text, NULL, NULL), HONE_OK);
    const char *parts[] = {"the rules", "earlier", "my answer", "which configs?", strrchr(b->path, '/') + 1, ".answer.md"};
    const char *from = text;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        from = strstr(from, parts[i]);
        if (from == NULL)
            fail_msg("\"%s\" is missing, or out of order", parts[i]);
    }
    hone__free(text);
    struct stat info;
    assert_int_equal(stat(b->folder, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
}

static void test_mailbox__takes_an_answer_with_each_ending(void **state) {
    box *b = *state;
    static const char *const endings[] = {".answer.md", ".answer.json", ".answer.txt"};
    for (uint32_t i = 0; i < 3; i++) {
        hone__llm_reply reply;
        hone_error err;
        char question[16];
        (void)snprintf(question, sizeof question, "q%u", i);
        assert_int_equal(start(b, i, question), HONE_OK);
        assert_int_equal(wait_for(b, 0, &reply, &err), HONE_E_TIMEOUT);
        assert_int_equal(find(b, ".prompt.md"), 1);
        put(b, endings[i], "{\"configs\": []}");
        assert_int_equal(wait_for(b, 0, &reply, &err), HONE_E_TIMEOUT); /* may still be growing */
        assert_int_equal(wait_for(b, 3000, &reply, &err), HONE_OK);
        assert_string_equal(reply.text, "{\"configs\": []}");
        assert_true(reply.seconds > 0.2);
        hone__llm_reply_clear(&reply);
        assert_int_equal(unlink(beside(b, ".prompt.md")), 0);
    }
}

static void test_mailbox__waits_until_the_answer_rests(void **state) {
    box *b = *state;
    hone__llm_reply reply;
    hone_error err;
    assert_int_equal(start(b, 0, "q"), HONE_OK);
    assert_int_equal(find(b, ".prompt.md"), 1);
    FILE *file = fopen(beside(b, ".answer.md"), "w");
    assert_non_null(file);
    for (int i = 0; i < 6; i++) { /* empty at first, then growing in steps shorter than the rest */
        assert_int_equal(wait_for(b, 120, &reply, &err), HONE_E_TIMEOUT);
        assert_true(fprintf(file, "part %d;", i) > 0);
        assert_int_equal(fflush(file), 0);
    }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(wait_for(b, 3000, &reply, &err), HONE_OK);
    assert_non_null(strstr(reply.text, "part 5;"));
    hone__llm_reply_clear(&reply);
}

static void test_mailbox__finds_an_old_answer_again(void **state) {
    box *b = *state;
    hone__llm_reply reply;
    hone_error err;
    assert_int_equal(start(b, 3, "same"), HONE_OK);
    assert_int_equal(find(b, ".prompt.md"), 1);
    put(b, ".answer.md", "kept");
    const struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, beside(b, ".answer.md"), old, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, beside(b, ".prompt.md"), old, 0), 0);
    hone__llm_cancel(b->llm);
    /* The same request again, as after a crash: at once, and the prompt is not written anew. */
    assert_int_equal(start(b, 3, "same"), HONE_OK);
    assert_int_equal(wait_for(b, 0, &reply, &err), HONE_OK);
    assert_string_equal(reply.text, "kept");
    hone__llm_reply_clear(&reply);
    struct stat info;
    assert_int_equal(stat(beside(b, ".prompt.md"), &info), 0);
    assert_int_equal(info.st_mtim.tv_sec, 1000000000);
    /* Another question, and the same question at another place, have names of their own. */
    assert_int_equal(start(b, 3, "other"), HONE_OK);
    assert_int_equal(wait_for(b, 0, &reply, &err), HONE_E_TIMEOUT);
    hone__llm_cancel(b->llm);
    assert_int_equal(start(b, 4, "same"), HONE_OK);
    assert_int_equal(wait_for(b, 0, &reply, &err), HONE_E_TIMEOUT);
    assert_int_equal(find(b, ".prompt.md"), 3);
}

static void test_mailbox__restores_a_damaged_prompt(void **state) {
    box *b = *state;
    assert_int_equal(start(b, 0, "q"), HONE_OK);
    assert_int_equal(find(b, ".prompt.md"), 1);
    put(b, ".prompt.md", "torn");
    hone__llm_cancel(b->llm);
    assert_int_equal(start(b, 0, "q"), HONE_OK);
    char *text = NULL;
    assert_int_equal(hone__file_read(beside(b, ".prompt.md"), 1 << 20, &text, NULL, NULL), HONE_OK);
    assert_non_null(strstr(text, "the rules"));
    hone__free(text);
}

static void expect_failure(box *b, hone_status status, const char *part) {
    hone__llm_reply reply;
    hone_error err;
    assert_int_equal(wait_for(b, 3000, &reply, &err), status);
    assert_null(reply.text);
    if (strstr(err.message, part) == NULL)
        fail_msg("message: %s", err.message);
}

static void test_mailbox__refuses_hostile_answers(void **state) {
    box *b = *state;
    assert_int_equal(start(b, 0, "link"), HONE_OK);
    assert_int_equal(find(b, ".prompt.md"), 1);
    assert_int_equal(symlink("/etc/passwd", beside(b, ".answer.md")), 0);
    expect_failure(b, HONE_E_PROVIDER, "symbolic link");
    assert_int_equal(unlink(beside(b, ".answer.md")), 0);

    assert_int_equal(start(b, 0, "link"), HONE_OK);
    assert_int_equal(mkfifo(beside(b, ".answer.json"), 0600), 0);
    expect_failure(b, HONE_E_PROVIDER, "not a plain file");
    assert_int_equal(unlink(beside(b, ".answer.json")), 0);

    assert_int_equal(start(b, 0, "link"), HONE_OK);
    assert_int_equal(mkdir(beside(b, ".answer.txt"), 0700), 0);
    expect_failure(b, HONE_E_PROVIDER, "not a plain file");
    assert_int_equal(rmdir(beside(b, ".answer.txt")), 0);

    assert_int_equal(start(b, 0, "link"), HONE_OK);
    put(b, ".answer.md", "bad \xff bytes");
    expect_failure(b, HONE_E_REPLY, "UTF-8");
}

static void test_mailbox__bounds_the_answer(void **state) {
    box *b = *state;
    for (int over = -1; over <= 1; over++) {
        assert_int_equal(start(b, 0, "size"), HONE_OK);
        assert_int_equal(find(b, ".prompt.md"), 1);
        size_t bytes = (size_t)((long)HONE_LIMIT_REPLY_BYTES + over);
        char *text = hone__alloc(bytes);
        memset(text, 'x', bytes);
        assert_int_equal(hone__file_write(beside(b, ".answer.md"), text, bytes, 0600, NULL), HONE_OK);
        hone__free(text);
        if (over > 0) {
            expect_failure(b, HONE_E_REPLY, "more than 8388608 bytes");
        } else {
            hone__llm_reply reply;
            hone_error err;
            assert_int_equal(wait_for(b, 3000, &reply, &err), HONE_OK);
            assert_int_equal(strlen(reply.text), bytes);
            hone__llm_reply_clear(&reply);
        }
    }
}

static void test_mailbox__keeps_waiting_on_blank_answers_until_the_deadline(void **state) {
    box *b = *state;
    hone__llm_close(b->llm);
    hone_error err = {0};
    assert_int_equal(hone__llm_open(&b->llm, &(hone__llm_options){.mailbox = b->folder, .timeout_s = 1}, &err), HONE_OK);
    assert_int_equal(start(b, 0, "blank"), HONE_OK);
    assert_int_equal(find(b, ".prompt.md"), 1);
    put(b, ".answer.md", " \n\t");
    expect_failure(b, HONE_E_PROVIDER, "within 1 s");
}

static void test_mailbox__says_what_is_wrong_with_the_folder(void **state) {
    box *b = *state;
    char path[100];
    (void)snprintf(path, sizeof path, "%s/file", b->folder);
    assert_int_equal(hone__file_write(path, "x", 1, 0600, NULL), HONE_OK);
    hone__llm *llm = NULL;
    hone_error err = {0};
    assert_int_not_equal(hone__llm_open(&llm, &(hone__llm_options){.mailbox = path}, &err), HONE_OK);
    assert_null(llm);
    assert_non_null(strstr(err.message, "file"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mailbox__writes_a_readable_prompt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mailbox__takes_an_answer_with_each_ending, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mailbox__waits_until_the_answer_rests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mailbox__finds_an_old_answer_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mailbox__restores_a_damaged_prompt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mailbox__refuses_hostile_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mailbox__bounds_the_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mailbox__keeps_waiting_on_blank_answers_until_the_deadline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mailbox__says_what_is_wrong_with_the_folder, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
