/* test_cache_crash.c: processes that are killed, stopped, forked or in other PID namespaces.  What was acknowledged stays, writers exclude
 * one another, and nobody waits longer than asked. */
#define _GNU_SOURCE
#include "cache_fixture.h"
#include "clock.h"

#include <sched.h>
#include <sys/mman.h>

enum { KILLS = 50, WRITERS = 3, PUTS = 60 };

typedef struct shared {
    _Atomic uint32_t acknowledged; /* how many puts have returned HONE_OK */
    _Atomic int holding, finished, inner_pid;
} shared;

static shared *share(void) {
    shared *memory = mmap(NULL, sizeof *memory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    return memory;
}

typedef struct job {
    fixture *f;
    shared *memory;
    uint32_t number, wait_ms;
    int (*work)(void *user); /* for start_in_namespace */
} job;

static hone_cache *open_patient(const char *path, uint32_t wait_ms) {
    hone_cache *cache = NULL;
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.writer_wait_ms = wait_ms;
    return hone_cache_open(&cache, path, &options, NULL) == HONE_OK ? cache : NULL;
}

static hone_status put_status(hone_cache *cache, uint32_t number, double time_ns) {
    char text[64];
    hone__entry entry = make_entry(make_key(1, 1, number), time_ns, text);
    return hone__cache_put(cache, &entry, true, NULL);
}

/* ---- killed ---- */

static int write_for_ever(void *user) {
    job *j = user;
    hone_cache *cache = open_patient(j->f->path, 10000);
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
    for (int kills = 0; kills < KILLS; kills++) {
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
    print_message("%d kills, %u acknowledged\n", KILLS, (unsigned)j.memory->acknowledged);
    assert_true(j.memory->acknowledged > 10);
    assert_int_equal(count_files(f->dir, ".corrupt-"), 0);
    (void)munmap(j.memory, sizeof *j.memory);
}

/* ---- many writers ---- */

static int write_some(void *user) {
    job *j = user;
    hone_cache *cache = open_patient(j->f->path, 60000);
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
    hone_cache *cache = open_patient(((fixture *)user)->path, 1000);
    return cache != NULL && hone__store_write(cache, stop_inside, NULL, NULL) == HONE_OK ? 0 : 1;
}

static int open_and_read(void *user) {
    hone_cache *cache = open_patient(((fixture *)user)->path, 100);
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
    hone_cache *own = open_patient(((job *)user)->f->path, 1000); /* its own handle works */
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

/* ---- PID namespaces ---- */

/* A child that is process 1 of a namespace of its own. */
static int in_namespace(void *user) {
    job *j = user;
    if (unshare(CLONE_NEWPID) != 0)
        return 77;
    pid_t pid = fork();
    if (pid < 0)
        return 77;
    if (pid == 0)
        _exit(getpid() == 1 ? j->work(j) : 78);
    j->memory->inner_pid = pid;
    int status = wait_child(pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 79;
}

static hone_status hold(hone__txn *txn, void *user, hone_error *err) {
    (void)err;
    job *j = user;
    char text[64];
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    hone__entry entry = make_entry(make_key(1, 1, 1), 11, text);
    uint8_t bytes[HONE_ENTRY_SLOT_BYTES];
    hone__slot_key slot = hone__entry_slot(&entry.key, bytes);
    hone_status status = hone__entry_encode(&buf, &entry, slot);
    if (status == HONE_OK)
        status = hone__txn_put(txn, HONE_TABLE_ENTRY, slot, buf.data, buf.length);
    hone__buf_free(&buf);
    j->memory->holding = 1;
    for (int i = 0; i < 5000 && !j->memory->finished; i++)
        hone__sleep_ms(2);
    return status;
}

static int hold_a_transaction(void *user) {
    job *j = user;
    hone_cache *cache = open_patient(j->f->path, 5000);
    return cache != NULL && hone__store_write(cache, hold, j, NULL) == HONE_OK ? 0 : 1;
}

static int wait_for_the_lock(void *user) {
    job *j = user;
    hone_cache *cache = open_patient(j->f->path, 60000);
    return cache != NULL && put_status(cache, 2, 22) == HONE_OK ? 0 : 1;
}

static bool no_namespaces(int status) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("SKIPPED: unshare(CLONE_NEWPID) is not permitted here\n");
        return true;
    }
    return false;
}

/* LMDB alone lets a third writer in when a waiter of another namespace with the owner's process id is killed. */
static void test_cache_crash__writers_of_two_namespaces(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 0, 10);
    shared *first = share(), *second = share();
    job a = {.f = f, .memory = first, .work = hold_a_transaction}, b = {.f = f, .memory = second, .work = wait_for_the_lock};
    pid_t holder = start_child(in_namespace, &a);
    int status = 0;
    for (int i = 0; i < 5000 && !first->holding; i++) {
        if (waitpid(holder, &status, WNOHANG) == holder) {
            hone_cache_close(cache);
            if (no_namespaces(status))
                skip();
            fail_msg("the holder ended: %x", status);
        }
        hone__sleep_ms(2);
    }
    pid_t waiter = start_child(in_namespace, &b);
    for (int i = 0; i < 5000 && second->inner_pid == 0; i++)
        hone__sleep_ms(2);
    hone__sleep_ms(50); /* time to get to the lock */
    assert_true(second->inner_pid > 1); /* 0 and -1 would be all of us */
    assert_int_equal(kill((pid_t)second->inner_pid, SIGKILL), 0);
    (void)wait_child(waiter);
    assert_int_equal(put_status(cache, 3, 33), HONE_E_BUSY); /* the owner lives: nobody else may write */
    first->finished = 1;
    status = wait_child(holder);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(put_status(cache, 3, 33), HONE_OK);
    assert_true(get_time(cache, 1) == 11 && get_time(cache, 3) == 33 && get_time(cache, 0) == 10);
    hone_cache_close(cache);
    (void)munmap(first, sizeof *first);
    (void)munmap(second, sizeof *second);
}

static int read_and_stay(void *user) {
    job *j = user;
    hone_cache *cache = open_patient(j->f->path, 2000);
    if (cache == NULL || get_time(cache, 1) != 11)
        return 1;
    j->memory->holding++;
    for (int i = 0; i < 5000 && !j->memory->finished; i++)
        hone__sleep_ms(2);
    double again = get_time(cache, 1);
    hone_status put = put_status(cache, 2 + j->number, 20 + j->number);
    hone_cache_close(cache);
    return again == 11 && put == HONE_OK ? 0 : 2;
}

/* Two readers that are both process 1: LMDB refuses the second (EAGAIN); it must read all the same. */
static void test_cache_crash__readers_of_two_namespaces(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 11);
    hone_cache_close(cache);
    shared *memory = share();
    job jobs[2];
    pid_t pid[2];
    for (uint32_t i = 0; i < 2; i++) {
        jobs[i] = (job){.f = f, .memory = memory, .number = i, .work = read_and_stay};
        pid[i] = start_child(in_namespace, &jobs[i]);
    }
    for (int i = 0; i < 1500 && memory->holding < 2; i++)
        hone__sleep_ms(2);
    memory->finished = 1;
    int first = wait_child(pid[0]), second = wait_child(pid[1]);
    int holding = memory->holding;
    (void)munmap(memory, sizeof *memory);
    if (no_namespaces(first))
        skip();
    assert_true(WIFEXITED(first) && WIFEXITED(second));
    assert_int_equal(WEXITSTATUS(first), 0);
    assert_int_equal(WEXITSTATUS(second), 0);
    assert_int_equal(holding, 2);
}

/* ---- claims of processes that die ---- */

static int claim_and_die(void *user) {
    fixture *f = user;
    hone_cache *cache = open_patient(f->path, 2000);
    hone__key key = make_key(1, 1, 1);
    if (cache == NULL || hone__claim_take(cache, &key, 3600, NULL) != HONE_OK)
        return 1;
    return 0; /* without dropping it, without closing */
}

static int claim_and_stay(void *user) {
    job *j = user;
    hone_cache *cache = open_patient(j->f->path, 2000);
    hone__key key = make_key(1, 1, 2);
    if (cache == NULL || hone__claim_take(cache, &key, 3600, NULL) != HONE_OK)
        return 1;
    j->memory->holding = 1;
    for (int i = 0; i < 5000 && !j->memory->finished; i++)
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
    for (int i = 0; i < 5000 && !j.memory->holding; i++)
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
        TEST(test_cache_crash__writers_of_two_namespaces),
        TEST(test_cache_crash__readers_of_two_namespaces),
        TEST(test_cache_crash__claims_of_the_dead_fall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
