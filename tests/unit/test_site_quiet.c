/* test_site_quiet.c: what a warm look-up does not do: lock, call the kernel, allocate, wait for anybody.  Shown, not claimed: the C library's locks are
 * counted by functions of this program, system calls kill a child in seccomp's strict mode, and other threads hold every lock there is. */
#define _GNU_SOURCE
#include "site_fixture.h"

#include <dlfcn.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { LOOKS = 10000 };

/* ---- counting ---- */

static atomic_uint_fast64_t locks, allocations;

/* Sanitizers have functions of these names themselves. */
#ifndef HONE_SANITIZED
#define COUNTED_LOCK(name, type)                                      \
    int name(type *lock) {                                            \
        static int (*real)(type *);                                   \
        if (real == NULL) {                                           \
            void *found = dlsym(RTLD_NEXT, #name);                    \
            memcpy(&real, &found, sizeof real);                       \
        }                                                             \
        atomic_fetch_add(&locks, 1);                                  \
        return real(lock);                                            \
    }
COUNTED_LOCK(pthread_mutex_lock, pthread_mutex_t)
COUNTED_LOCK(pthread_mutex_trylock, pthread_mutex_t)
COUNTED_LOCK(pthread_rwlock_rdlock, pthread_rwlock_t)
COUNTED_LOCK(pthread_rwlock_wrlock, pthread_rwlock_t)
COUNTED_LOCK(pthread_rwlock_tryrdlock, pthread_rwlock_t)
COUNTED_LOCK(pthread_rwlock_trywrlock, pthread_rwlock_t)
COUNTED_LOCK(pthread_spin_lock, pthread_spinlock_t volatile)

void *__libc_malloc(size_t bytes);
void *malloc(size_t bytes) {
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(bytes);
}
void *__libc_calloc(size_t count, size_t bytes);
void *calloc(size_t count, size_t bytes) {
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(count, bytes);
}
#endif

/* An exact, a near and a default answer, known to the site. */
typedef struct warmed {
    hone_problem exact, near, other;
} warmed;

static warmed warm_up(const subject *s) {
    warmed w = {problem_of(s, 1024), problem_of(s, 2048), problem_of(s, 900000)};
    site_put(s, s->cache, &w.exact, (kept){.n = 7, .time_ns = 1e6});
    assert_int_equal(look_n(s->site, &w.exact, HONE_MATCH_EXACT), 7);
    assert_int_equal(look_n(s->site, &w.near, HONE_MATCH_NEAR_SHAPE), 7);
    assert_int_equal(look_n(s->site, &w.other, HONE_MATCH_DEFAULT), 0);
    return w;
}

/* How many of them were not what they should be. */
static int look_at_all(const hone_site *site, const warmed *w) {
    int wrong = 0;
    for (int i = 0; i < LOOKS; i++) {
        hone_match match;
        const hone_config *config = hone_site_lookup(site, &w->exact, &match);
        wrong += match != HONE_MATCH_EXACT || hone_config_int(config, PARAM_N) != 7;
        config = hone_site_lookup(site, &w->near, &match);
        wrong += match != HONE_MATCH_NEAR_SHAPE || hone_config_int(config, PARAM_N) != 7;
        config = hone_site_lookup(site, &w->other, &match);
        wrong += match != HONE_MATCH_DEFAULT || hone_config_int(config, PARAM_N) != 0;
    }
    return wrong;
}

static void test_site_quiet__no_lock_and_no_allocation(void **state) {
    subject *s = *state;
#ifdef HONE_SANITIZED
    print_message("a sanitizer has taken the places where locks are counted\n");
    skip();
#endif
    warmed w = warm_up(s);
    uint64_t locks_before = atomic_load(&locks), allocations_before = atomic_load(&allocations);
    assert_true(locks_before > 0 && allocations_before > 0); /* they are counted */
    int wrong = look_at_all(s->site, &w);
    uint64_t locks_after = atomic_load(&locks), allocations_after = atomic_load(&allocations);
    assert_int_equal(wrong, 0);
    assert_int_equal(locks_after, locks_before);
    assert_int_equal(allocations_after, allocations_before);
}

/* ---- system calls ---- */

typedef struct confined {
    const hone_site *site;
    const warmed *w;
    bool slip; /* make one call, to see that it is noticed */
} confined;

static int look_confined(void *user) {
    const confined *c = user;
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
        return 77;
    if (c->slip)
        (void)syscall(SYS_getppid);
    (void)syscall(SYS_exit, look_at_all(c->site, c->w) == 0 ? 0 : 1); /* exit_group is not allowed */
    return 1;
}

static void test_site_quiet__no_system_call(void **state) {
    subject *s = *state;
    warmed w = warm_up(s);
    confined c = {s->site, &w, false};
    int status = wait_child(start_child(look_confined, &c));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("seccomp's strict mode is not available here\n");
        skip();
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    c.slip = true;
    status = wait_child(start_child(look_confined, &c));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

/* ---- everybody else holds everything ---- */

typedef struct holder {
    subject *s;
    pthread_barrier_t held, done;
} holder;

static void *hold_all(void *user) {
    holder *h = user;
    hone__store *store = h->s->cache->store;
    intptr_t failed = hone__side_lock(store, 5000, NULL) != HONE_OK; /* `writer` and the lock between processes */
    failed += pthread_rwlock_wrlock(&store->gate) + pthread_mutex_lock(&store->counter_names);
    failed += pthread_mutex_lock(&h->s->site->writer) + pthread_mutex_lock(&h->s->cache->sites_mutex);
    (void)pthread_barrier_wait(&h->held);
    (void)pthread_barrier_wait(&h->done);
    (void)pthread_mutex_unlock(&h->s->cache->sites_mutex);
    (void)pthread_mutex_unlock(&h->s->site->writer);
    (void)pthread_mutex_unlock(&store->counter_names);
    (void)pthread_rwlock_unlock(&store->gate);
    hone__side_unlock(store);
    return (void *)failed;
}

static void test_site_quiet__waits_for_nobody(void **state) {
    subject *s = *state;
    warmed w = warm_up(s);
    holder h = {.s = s};
    pthread_t thread;
    void *failed = NULL;
    assert_int_equal(pthread_barrier_init(&h.held, NULL, 2) + pthread_barrier_init(&h.done, NULL, 2), 0);
    assert_int_equal(pthread_create(&thread, NULL, hold_all, &h), 0);
    (void)pthread_barrier_wait(&h.held);
    int wrong = look_at_all(s->site, &w); /* a lock would be a deadlock, and the test's timeout */
    (void)pthread_barrier_wait(&h.done);
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    assert_int_equal(wrong, 0);
    (void)pthread_barrier_destroy(&h.held);
    (void)pthread_barrier_destroy(&h.done);
}

/* A writer in the middle of a transaction, in another process and stopped, holds up neither warm nor cold look-ups. */
static hone_status stop_here(hone__txn *txn, void *user, hone_error *err) {
    (void)txn;
    (void)user;
    (void)err;
    (void)raise(SIGSTOP);
    return HONE_OK;
}

static int write_and_stop(void *user) {
    hone_cache *cache = open_cache(user);
    return hone__store_write(cache, stop_here, NULL, NULL) == HONE_OK ? 0 : 1;
}

static void test_site_quiet__beside_a_stopped_writer(void **state) {
    subject *s = *state;
    warmed w = warm_up(s);
    pid_t pid = start_child(write_and_stop, s->f->path);
    int status;
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(look_at_all(s->site, &w), 0);
    hone_problem cold = problem_of(s, 4096);
    assert_int_equal(look_n(s->site, &cold, HONE_MATCH_NEAR_SHAPE), 7);
    (void)kill(pid, SIGKILL);
    (void)wait_child(pid);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, subject_setup, subject_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_site_quiet__no_lock_and_no_allocation),
        TEST(test_site_quiet__no_system_call),
        TEST(test_site_quiet__waits_for_nobody),
        TEST(test_site_quiet__beside_a_stopped_writer),
    };
    return cmocka_run_group_tests_name("site_quiet", tests, NULL, NULL);
}
