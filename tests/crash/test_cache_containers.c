/* test_cache_containers.c: containers that share a cache directory: each process is number 1 of a PID namespace of its own. */
#define _GNU_SOURCE
#include "crash/children.h"

#include <sched.h>

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
    for (int i = 0; i < WAITS && !j->memory->finished; i++)
        hone__sleep_ms(2);
    return status;
}

static int hold_a_transaction(void *user) {
    job *j = user;
    hone_cache *cache = open_waiting(j->f->path, 5000);
    return cache != NULL && hone__store_write(cache, hold, j, NULL) == HONE_OK ? 0 : 1;
}

static int wait_for_the_lock(void *user) {
    job *j = user;
    hone_cache *cache = open_waiting(j->f->path, 60000);
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
static void test_cache_containers__writers_of_two_namespaces(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 0, 10);
    shared *first = share(), *second = share();
    job a = {.f = f, .memory = first, .work = hold_a_transaction}, b = {.f = f, .memory = second, .work = wait_for_the_lock};
    pid_t holder = start_child(in_namespace, &a);
    int status = 0;
    for (int i = 0; i < WAITS && !first->holding; i++) {
        if (waitpid(holder, &status, WNOHANG) == holder) {
            hone_cache_close(cache);
            if (no_namespaces(status))
                skip();
            fail_msg("the holder ended: %x", status);
        }
        hone__sleep_ms(2);
    }
    pid_t waiter = start_child(in_namespace, &b);
    for (int i = 0; i < WAITS && second->inner_pid == 0; i++)
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
    hone_cache *cache = open_waiting(j->f->path, 2000);
    if (cache == NULL || get_time(cache, 1) != 11)
        return 1;
    j->memory->holding++;
    for (int i = 0; i < WAITS && !j->memory->finished; i++)
        hone__sleep_ms(2);
    double again = get_time(cache, 1);
    hone_status put = put_status(cache, 2 + j->number, 20 + j->number);
    hone_cache_close(cache);
    return again == 11 && put == HONE_OK ? 0 : 2;
}

/* Two readers that are both process 1: LMDB refuses the second (EAGAIN); it must read all the same. */
static void test_cache_containers__readers_of_two_namespaces(void **state) {
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
    for (int i = 0; i < WAITS && memory->holding < 2; i++)
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

static int only_read_and_stay(void *user) {
    job *j = user;
    hone_cache *cache = NULL;
    hone_error err = {0};
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.read_only = 1;
    hone_status status = hone_cache_open(&cache, j->f->path, &options, &err);
    if (status != HONE_OK)
        print_error("%s: %s\n", hone_status_name(status), err.message);
    if (status != HONE_OK || get_time(cache, 1) != 11)
        return 1;
    j->memory->holding++;
    for (int i = 0; i < WAITS && !j->memory->finished; i++)
        hone__sleep_ms(2);
    hone_cache_close(cache);
    return 0;
}

/* The same for readers that may not write, as containers with a shared cache mounted read-only are: they have no side lock to fall back on. */
static void test_cache_containers__read_only_readers_of_two_namespaces(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    put_time(cache, 1, 11);
    hone_cache_close(cache);
    shared *memory = share();
    job j = {.f = f, .memory = memory, .work = only_read_and_stay};
    pid_t pid[2] = {start_child(in_namespace, &j), start_child(in_namespace, &j)};
    for (int i = 0; i < WAITS && memory->holding < 2 && kill(pid[0], 0) == 0; i++) {
        int status;
        if (waitpid(pid[0], &status, WNOHANG) == pid[0]) {
            (void)wait_child(pid[1]);
            (void)munmap(memory, sizeof *memory);
            if (no_namespaces(status))
                skip();
            fail_msg("a reader ended: %x", (unsigned)status);
        }
        hone__sleep_ms(2);
    }
    memory->finished = 1;
    int first = wait_child(pid[0]), second = wait_child(pid[1]), holding = memory->holding;
    (void)munmap(memory, sizeof *memory);
    assert_true(WIFEXITED(first) && WIFEXITED(second));
    assert_int_equal(WEXITSTATUS(first), 0);
    assert_int_equal(WEXITSTATUS(second), 0);
    assert_int_equal(holding, 2);
}

/* ---- claims between containers ---- */

static int claim_and_stop(void *user) {
    job *j = user;
    hone_cache *cache = open_waiting(j->f->path, 2000);
    hone__key key = make_key(1, 1, 1);
    if (cache == NULL || hone__claim_take(cache, &key, 2, NULL) != HONE_OK)
        return 1;
    j->memory->holding = 1;
    for (int i = 0; i < WAITS && !j->memory->finished; i++) /* as good as stopped: it does not renew */
        hone__sleep_ms(2);
    return hone__claim_renew(cache, &key, 60, NULL) == HONE_E_BUSY ? 0 : 2;
}

/* An owner in another container cannot be seen; its claim holds for its lease and not longer, and it is told that it lost it. */
static void test_cache_containers__a_claim_holds_for_its_lease(void **state) {
    fixture *f = *state;
    hone_cache *cache = open_cache(f->path);
    job j = {.f = f, .memory = share(), .work = claim_and_stop};
    pid_t pid = start_child(in_namespace, &j);
    int status = 0;
    for (int i = 0; i < WAITS && !j.memory->holding; i++) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            hone_cache_close(cache);
            (void)munmap(j.memory, sizeof *j.memory);
            if (no_namespaces(status))
                skip();
            fail_msg("the owner ended: %x", (unsigned)status);
        }
        hone__sleep_ms(2);
    }
    hone__key key = make_key(1, 1, 1);
    hone_error err = {0};
    hone_status taken = HONE_E_BUSY;
    uint32_t refused = 0;
    for (int i = 0; i < 2000 && taken == HONE_E_BUSY; i++) {
        taken = hone__claim_take(cache, &key, 60, &err);
        refused += taken == HONE_E_BUSY;
        hone__sleep_ms(10);
    }
    assert_int_equal(taken, HONE_OK);
    if (refused == 0)
        print_message("the lease had run out before the first try: this machine is very slow\n");
    j.memory->finished = 1;
    status = wait_child(pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    hone_cache_close(cache);
    (void)munmap(j.memory, sizeof *j.memory);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_cache_containers__writers_of_two_namespaces),
        TEST(test_cache_containers__readers_of_two_namespaces),
        TEST(test_cache_containers__read_only_readers_of_two_namespaces),
        TEST(test_cache_containers__a_claim_holds_for_its_lease),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
