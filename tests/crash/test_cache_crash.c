/* test_cache_crash.c: processes that are killed, stopped, forked or never end (those in other PID namespaces: test_cache_containers.c).  What was acknowledged stays, writers exclude
 * one another, and nobody waits longer than asked. */
#define _GNU_SOURCE
#include "crash/children.h"

enum { KILLS = 50, WRITERS = 3, PUTS = 60 };

/* ---- killed ---- */

static int write_for_ever(void *user) {
    job *j = user;
    hone_cache *cache = open_waiting(j->f->path, 10000);
    if (cache == NULL)
        return 1;
    for (;;) {
        uint32_t number = j->memory->acknowledged;
        if (put_status(cache, number, 1000 + number) != HONE_OK)
            return 2;
        j->memory->acknowledged = number + 1;
    }
}

static void test_cache_crash__killed_writers_lose_nothing(void **state) {
    fixture *f = *state;
    job j = {.f = f, .memory = share()};
    hone__rng rng;
    hone__rng_seed(&rng, seed_of("killed_writers"));
    int kills = 0;
    /* On a loaded machine many are killed before they have stored anything. */
    for (; kills < KILLS || (j.memory->acknowledged <= 10 && kills < 40 * KILLS); kills++) {
        pid_t pid = start_child(write_for_ever, &j);
        struct timespec nap = {0, (long)(hone__rng_below(&rng, 20000) + 200) * 1000};
        (void)nanosleep(&nap, NULL);
        (void)kill(pid, SIGKILL);
        int status = wait_child(pid);
        assert_true(WIFSIGNALED(status)); /* it was at work, not through with an error */
        char reason[160];
        int fd = open(f->path, O_RDONLY);
        if (fd >= 0) {
            hone__file_state found = hone__file_check(fd, reason, sizeof reason);
            (void)close(fd);
            if (found == HONE_FILE_DAMAGED)
                fail_msg("after %d kills: %s", kills + 1, reason);
        }
        hone_cache *cache = open_cache(f->path);
        for (uint32_t i = 0; i < j.memory->acknowledged; i++)
            assert_true(get_time(cache, i) == 1000 + i);
        put_time(cache, 1000000, kills + 1); /* and the next writer is not held up */
        hone_cache_close(cache);
    }
    print_message("%d kills, %u acknowledged\n", kills, (unsigned)j.memory->acknowledged);
    assert_true(j.memory->acknowledged > 10);
    assert_int_equal(count_files(f->dir, ".corrupt-"), 0);
    (void)munmap(j.memory, sizeof *j.memory);
}

/* ---- many writers ---- */

static int write_some(void *user) {
    job *j = user;
    hone_cache *cache = open_waiting(j->f->path, 60000);
    if (cache == NULL)
        return 1;
    for (uint32_t i = 0; i < PUTS; i++) {
        hone__cache_count(cache, "trial", 1);
        if (put_status(cache, j->number * PUTS + i, 500 + i) != HONE_OK)
            return 2;
    }
    hone_cache_close(cache);
    return 0;
}

static void test_cache_crash__processes_write_together(void **state) {
    fixture *f = *state;
    job jobs[WRITERS];
    pid_t pid[WRITERS];
    for (uint32_t w = 0; w < WRITERS; w++) {
        jobs[w] = (job){.f = f, .number = w};
        pid[w] = start_child(write_some, &jobs[w]); /* all of them create the file at once */
    }
    for (int w = 0; w < WRITERS; w++) {
        int status = wait_child(pid[w]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    hone_cache *cache = open_cache(f->path);
    for (uint32_t i = 0; i < WRITERS * PUTS; i++)
        assert_true(get_time(cache, i) == 500 + i % PUTS);
    char *json;
    assert_int_equal(hone_cache_stats(&json, cache, NULL), HONE_OK);
    cJSON *stats = cJSON_Parse(json);
    assert_int_equal(cJSON_GetObjectItem(cJSON_GetObjectItem(stats, "counters"), "trial")->valueint, WRITERS * PUTS);
    cJSON_Delete(stats);
    hone_free(json);
    hone_cache_close(cache);
    assert_int_equal(count_files(f->dir, ".corrupt-"), 0);
}

/* ---- stopped ---- */

static hone_status stop_inside(hone__txn *txn, void *user, hone_error *err) {
    (void)txn;
    (void)user;
    (void)err;
    (void)raise(SIGSTOP);
    return HONE_OK;
}

static int stop_while_writing(void *user) {
    hone_cache *cache = open_waiting(((fixture *)user)->path, 1000);
    return cache != NULL && hone__store_write(cache, stop_inside, NULL, NULL) == HONE_OK ? 0 : 1;
}

static int open_and_read(void *user) {
    hone_cache *cache = open_waiting(((fixture *)user)->path, 100);
    if (cache == NULL)
        return 1;
    double time_ns = get_time(cache, 1);
    hone_cache_close(cache);
    return time_ns == 11 ? 0 : 2;
}

static void test_cache_crash__a_stopped_writer_is_busy_not_a_hang(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 11);
    pid_t pid = start_child(stop_while_writing, f);
    int status;
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    uint64_t start = hone__clock_ns();
    assert_int_equal(put_status(cache, 2, 22), HONE_E_BUSY);
    uint64_t waited_ms = (hone__clock_ns() - start) / 1000000;
    assert_true(waited_ms >= 200 && waited_ms < 20000); /* the default is 250 ms; the upper bound only tells it from a hang */
    assert_true(get_time(cache, 1) == 11);
    assert_int_equal(WEXITSTATUS(wait_child(start_child(open_and_read, f))), 0); /* opening is not held up either */
    (void)kill(pid, SIGKILL);
    (void)wait_child(pid);
    assert_int_equal(put_status(cache, 2, 22), HONE_OK);
    hone_cache_close(cache);
}

/* ---- forked ---- */

static int ignore_entry(const char *json, void *user) {
    (void)json;
    (void)user;
    return 0;
}

static int use_parents_handle(void *user) {
    hone_cache *cache = ((job *)user)->f == NULL ? NULL : *(hone_cache **)((job *)user)->memory;
    hone__key key = make_key(1, 1, 1);
    hone__entry entry;
    hone_error err = {0};
    char *json;
    if (hone__cache_get(cache, &key, &entry, &err) != HONE_E_FORKED || strstr(err.message, "child") == NULL)
        return 1;
    if (put_status(cache, 1, 1) != HONE_E_FORKED)
        return 2;
    if (hone_cache_each(cache, ignore_entry, NULL, NULL, NULL) != HONE_E_FORKED || hone_cache_stats(&json, cache, NULL) != HONE_E_FORKED)
        return 3;
    if (hone__claim_take(cache, &key, 5, NULL) != HONE_E_FORKED)
        return 4;
    hone__cache_count(cache, "trial", 1);
    hone_cache *own = open_waiting(((job *)user)->f->path, 1000); /* its own handle works */
    if (own == NULL || get_time(own, 1) != 11 || put_status(own, 2, 22) != HONE_OK)
        return 5;
    hone_cache_close(own);
    hone_cache_close(cache); /* frees the handle and leaves the parent's environment alone */
    return 0;
}

static void test_cache_crash__forked_children_are_told(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 11);
    job j = {.f = f, .memory = (shared *)(void *)&cache};
    int status = wait_child(start_child(use_parents_handle, &j));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(get_time(cache, 1) == 11 && get_time(cache, 2) == 22);
    put_time(cache, 3, 33);
    hone_cache_close(cache);
}

/* ---- a reader that never ends ---- */

static hone_status stay_inside(hone__txn *txn, void *user, hone_error *err) {
    (void)txn;
    (void)err;
    job *j = user;
    j->memory->holding = 1;
    while (!j->memory->finished)
        hone__sleep_ms(2);
    return HONE_OK;
}

static int read_for_ever(void *user) {
    job *j = user;
    hone_cache *cache = open_waiting(j->f->path, 2000);
    return cache != NULL && hone__store_read(cache, stay_inside, j, NULL) == HONE_OK ? 0 : 1;
}

/* It pins the pages of its snapshot: the file grows to its limit and then refuses, with nothing lost and nobody waiting; and when the reader
 * is gone, its pages are used again. */
static void test_cache_crash__a_reader_that_never_ends(void **state) {
    fixture *f = *state;
    hone_cache *cache = NULL;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.map_bytes_max = 1; /* the smallest there is: 1 MiB */
    assert_int_equal(hone_cache_open(&cache, f->path, &options, NULL), HONE_OK);
    put_time(cache, 1, 11);
    job j = {.f = f, .memory = share()};
    pid_t pid = start_child(read_for_ever, &j);
    for (int i = 0; i < WAITS && !j.memory->holding; i++)
        hone__sleep_ms(2);
    assert_int_equal(j.memory->holding, 1);
    uint32_t stored = 0;
    hone_status status = HONE_OK;
    while (stored < 2000 && (status = put_status(cache, 2, 1000 + stored)) == HONE_OK)
        stored++;
    assert_int_equal(status, HONE_E_FULL);
    assert_true(stored > 10);
    assert_true(get_time(cache, 1) == 11 && get_time(cache, 2) == 999 + stored);
    assert_true(pid > 1);
    (void)kill(pid, SIGKILL);
    (void)wait_child(pid);
    for (uint32_t i = 0; i < 2 * stored; i++) /* far more than would fit if its pages were still held */
        assert_int_equal(put_status(cache, 2, 5000 + i), HONE_OK);
    assert_true(get_time(cache, 1) == 11 && get_time(cache, 2) == 4999 + 2 * stored);
    hone_cache_close(cache);
    (void)munmap(j.memory, sizeof *j.memory);
}

/* ---- claims of processes that die ---- */

static int claim_and_die(void *user) {
    fixture *f = user;
    hone_cache *cache = open_waiting(f->path, 2000);
    hone__key key = make_key(1, 1, 1);
    if (cache == NULL || hone__claim_take(cache, &key, 3600, NULL) != HONE_OK)
        return 1;
    return 0; /* without dropping it, without closing */
}

static int claim_and_stay(void *user) {
    job *j = user;
    hone_cache *cache = open_waiting(j->f->path, 2000);
    hone__key key = make_key(1, 1, 2);
    if (cache == NULL || hone__claim_take(cache, &key, 3600, NULL) != HONE_OK)
        return 1;
    j->memory->holding = 1;
    for (int i = 0; i < WAITS && !j->memory->finished; i++)
        hone__sleep_ms(2);
    hone_cache_close(cache); /* closing drops what was not dropped */
    return 0;
}

static void test_cache_crash__claims_of_the_dead_fall(void **state) {
    fixture *f = *state;
    hone__key dead = make_key(1, 1, 1), live = make_key(1, 1, 2);
    hone_error err = {0};
    assert_int_equal(WEXITSTATUS(wait_child(start_child(claim_and_die, f))), 0);
    hone_cache *cache = open_cache(f->path);
    assert_int_equal(hone__claim_take(cache, &dead, 60, &err), HONE_OK);
    hone__claim_drop(cache, &dead);
    job j = {.f = f, .memory = share()};
    pid_t pid = start_child(claim_and_stay, &j);
    for (int i = 0; i < WAITS && !j.memory->holding; i++)
        hone__sleep_ms(2);
    assert_int_equal(hone__claim_take(cache, &live, 60, &err), HONE_E_BUSY);
    char number[32];
    (void)snprintf(number, sizeof number, "process %ld ", (long)pid);
    assert_non_null(strstr(err.message, number));
    j.memory->finished = 1;
    assert_int_equal(WEXITSTATUS(wait_child(pid)), 0);
    assert_int_equal(hone__claim_take(cache, &live, 60, &err), HONE_OK);
    hone_cache_close(cache);
    (void)munmap(j.memory, sizeof *j.memory);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_cache_crash__killed_writers_lose_nothing),
        TEST(test_cache_crash__processes_write_together),
        TEST(test_cache_crash__a_stopped_writer_is_busy_not_a_hang),
        TEST(test_cache_crash__forked_children_are_told),
        TEST(test_cache_crash__a_reader_that_never_ends),
        TEST(test_cache_crash__claims_of_the_dead_fall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
