/* test_out_file_thread.c: a file so large that a thread writes it past the page cache: its bytes, its failures, and nothing left behind. */
#define _GNU_SOURCE
#include "alloc.h"
#include "out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Beyond what goes through the page cache; neither a whole number of buffers nor of disk blocks. */
enum { FILE_BYTES = (40 << 20) + 12345, CHUNK_BYTES = 70001, HEAD_BYTES = 256 };

typedef struct place {
    char folder[64], path[96];
} place;

static void make_place(place *p) {
    (void)snprintf(p->folder, sizeof p->folder, "/tmp/hone-out-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    (void)snprintf(p->path, sizeof p->path, "%s/out", p->folder);
}

/* rmdir fails when a temporary file was left in it. */
static void remove_place(const place *p) {
    (void)unlink(p->path);
    assert_int_equal(rmdir(p->folder), 0);
}

static void fill(uint8_t *to, size_t at, size_t count) {
    for (size_t i = 0; i < count; i++)
        to[i] = (uint8_t)((at + i) * 2654435761u >> 13);
}

static hone_status write_much(hone__out_file *file, size_t bytes, hone_error *err) {
    static uint8_t chunk[CHUNK_BYTES];
    for (size_t at = 0; at < bytes;) {
        size_t step = bytes - at < CHUNK_BYTES ? bytes - at : CHUNK_BYTES;
        fill(chunk, at, step);
        hone_status status = hone__out_write(file, chunk, step, err);
        if (status != HONE_OK)
            return status;
        at += step;
    }
    return HONE_OK;
}

static void check_file(const char *path, size_t bytes) {
    static uint8_t chunk[CHUNK_BYTES], wanted[CHUNK_BYTES];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    for (size_t at = 0; at < bytes;) {
        size_t step = bytes - at < CHUNK_BYTES ? bytes - at : CHUNK_BYTES;
        fill(wanted, at, step);
        if (at == 0)
            memset(wanted, 'h', HEAD_BYTES);
        assert_int_equal(fread(chunk, 1, step, file), step);
        assert_memory_equal(chunk, wanted, step);
        at += step;
    }
    assert_int_equal(fgetc(file), EOF);
    assert_int_equal(fclose(file), 0);
}

static void test_out_file_thread__writes_all_bytes(void **state) {
    (void)state;
    static const size_t bytes[] = {FILE_BYTES, 36 << 20}; /* the second: whole buffers, and nothing after them */
    for (size_t i = 0; i < 2; i++) {
        place p;
        hone__out_file *file;
        hone_error err = {0};
        uint8_t head[HEAD_BYTES];
        make_place(&p);
        memset(head, 'h', sizeof head);
        assert_int_equal(hone__out_open(&file, p.path, HONE_OUT_NO_SYNC, 0600, &err), HONE_OK);
        assert_int_equal(write_much(file, bytes[i], &err), HONE_OK);
        assert_int_equal(hone__out_rewrite(file, head, sizeof head, &err), HONE_OK);
        assert_int_equal(hone__out_finish(file, &err), HONE_OK);
        check_file(p.path, bytes[i]);
        remove_place(&p);
    }
}

static void test_out_file_thread__leaves_nothing_when_aborted(void **state) {
    (void)state;
    place p;
    hone__out_file *file;
    make_place(&p);
    size_t live = hone__alloc_live();
    assert_int_equal(hone__out_open(&file, p.path, 0, 0600, NULL), HONE_OK);
    assert_int_equal(write_much(file, FILE_BYTES, NULL), HONE_OK);
    hone__out_abort(file);
    assert_int_equal(hone__alloc_live(), live);
    assert_int_equal(access(p.path, F_OK), -1);
    remove_place(&p);
}

/* Where the filesystem has files without a name, as /tmp of every test machine that we know. */
static void test_out_file_thread__leaves_nothing_when_killed(void **state) {
    (void)state;
    place p;
    int status;
    make_place(&p);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        hone__out_file *file;
        bool written = hone__out_open(&file, p.path, 0, 0600, NULL) == HONE_OK && write_much(file, 3 << 20, NULL) == HONE_OK;
        _exit(written && kill(getpid(), SIGKILL) == 0 ? 1 : 2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    int fd = open(p.folder, O_TMPFILE | O_RDWR, 0600);
    if (fd < 0)
        skip();
    (void)close(fd);
    remove_place(&p);
}

/* The limit on the size of a file stands for a full disk: the thread's write fails, and somebody must be told. */
static void test_out_file_thread__tells_of_a_failed_write(void **state) {
    (void)state;
    struct rlimit before, limit;
    place p;
    make_place(&p);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    for (size_t mib = 31; mib < 40; mib += 2) { /* before the thread begins, in it, and in its last buffers */
        hone__out_file *file;
        hone_error err = {0};
        size_t live = hone__alloc_live();
        limit = before;
        limit.rlim_cur = mib << 20;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        assert_int_equal(hone__out_open(&file, p.path, 0, 0600, &err), HONE_OK);
        hone_status status = write_much(file, FILE_BYTES, &err);
        if (status == HONE_OK)
            status = hone__out_finish(file, &err);
        else
            hone__out_abort(file);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_not_equal(status, HONE_OK);
        assert_non_null(strstr(err.message, p.path));
        assert_int_equal(hone__alloc_live(), live);
        assert_int_equal(access(p.path, F_OK), -1);
    }
    remove_place(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_out_file_thread__writes_all_bytes),
        cmocka_unit_test(test_out_file_thread__leaves_nothing_when_aborted),
        cmocka_unit_test(test_out_file_thread__leaves_nothing_when_killed),
        cmocka_unit_test(test_out_file_thread__tells_of_a_failed_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
