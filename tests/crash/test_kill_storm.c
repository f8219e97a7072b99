/* test_kill_storm.c: writers, readers and tuners on one cache, one of them killed at a random moment again and again: nothing acknowledged
 * is lost, nothing comes back that was not written, claims exclude one another and fall with their owners, and every reopen works.
 * HONE_TEST_KILLS sets how many; a recorded run has thousands (tests/bench/RESULTS.md). */
#define _GNU_SOURCE
#include "crash/children.h"

#include <sys/prctl.h>

enum { WRITERS = 3, READERS = 2, TUNERS = 3, CHILDREN = WRITERS + READERS + TUNERS, RING = 24, TUNED = 2, TRIALS = 3, KILLS = 80 };

/* Written by the children, read by all.  `issued` is raised before an entry is stored and `acked` after: what is found lies between. */
typedef struct scene {
    _Atomic uint32_t issued[WRITERS][RING], acked[WRITERS][RING];
    _Atomic uint64_t journal[TUNED]; /* session << 32 | trials acknowledged in it */
    _Atomic int holder[TUNED];
    _Atomic uint32_t reads, tunings;
} scene;

typedef struct child {
    fixture *f;
    scene *s;
    uint32_t index; /* writers, then readers, then tuners */
    pid_t pid;
} child;

static uint32_t number_of(uint32_t writer, uint32_t slot) {
    return writer * RING + slot;
}

static hone__key tuned_key(uint32_t t) {
    return make_key(2, 1, t);
}

/* ---- the children: they end by being killed; an exit status tells what they found wrong ---- */

static int be_writer(child *c, hone_cache *cache, hone__rng *rng) {
    for (;;) {
        uint32_t slot = (uint32_t)hone__rng_below(rng, RING);
        uint32_t sequence = atomic_fetch_add(&c->s->issued[c->index][slot], 1) + 1;
        if (put_status(cache, number_of(c->index, slot), sequence) != HONE_OK)
            return 10;
        atomic_store(&c->s->acked[c->index][slot], sequence);
    }
}

static bool is_right(const hone_cache *cache, scene *s, uint32_t writer, uint32_t slot) {
    uint32_t least = atomic_load(&s->acked[writer][slot]);
    double found = get_time(cache, number_of(writer, slot));
    uint32_t most = atomic_load(&s->issued[writer][slot]);
    bool right = found >= least && found <= most;
    if (!right)
        print_error("writer %u slot %u: found %g, acknowledged %u, issued %u\n", writer, slot, found, least, most);
    return right;
}

static int be_reader(child *c, hone_cache *cache, hone__rng *rng) {
    for (;;) {
        if (!is_right(cache, c->s, (uint32_t)hone__rng_below(rng, WRITERS), (uint32_t)hone__rng_below(rng, RING)))
            return 20;
        atomic_fetch_add(&c->s->reads, 1);
    }
}

static int tune_once(child *c, hone_cache *cache, uint32_t t) {
    hone__key key = tuned_key(t);
    char empty[] = "", text[64];
    hone__session session = {.strategy = empty, .model = empty, .options = empty};
    hone__trial trial = {.config = empty, .proposer = empty};
    hone_error err = {0};
    hone_status status = hone__claim_take(cache, &key, 3600, &err);
    if (status == HONE_E_BUSY)
        return 0;
    if (status != HONE_OK)
        return 30;
    int before = atomic_exchange(&c->s->holder[t], getpid());
    if (before != 0 && before != getpid() && kill(before, 0) == 0) {
        char path[64], stat[200] = "";
        (void)snprintf(path, sizeof path, "/proc/%d/stat", before);
        int fd = open(path, O_RDONLY);
        ssize_t got = fd < 0 ? 0 : read(fd, stat, sizeof stat - 1);
        (void)close(fd);
        if (got > 0 && strstr(stat, ") Z") == NULL) /* killed and not yet waited for is dead */
            return 31;
    }
    uint32_t number = 0;
    if (hone__journal_begin(cache, &key, &session, &number, NULL) != HONE_OK)
        return 32;
    for (uint32_t i = 0; i < TRIALS; i++) {
        if (hone__journal_trial(cache, &key, number, i, &trial, NULL) != HONE_OK)
            return 33;
        atomic_store(&c->s->journal[t], (uint64_t)number << 32 | (i + 1));
    }
    hone__entry entry = make_entry(key, 100 + t, text);
    if (hone__cache_put(cache, &entry, true, NULL) != HONE_OK)
        return 34;
    atomic_fetch_add(&c->s->tunings, 1);
    atomic_store(&c->s->holder[t], 0);
    hone__claim_drop(cache, &key);
    return 0;
}

static int be_tuner(child *c, hone_cache *cache, hone__rng *rng) {
    for (;;) {
        int wrong = tune_once(c, cache, (uint32_t)hone__rng_below(rng, TUNED));
        if (wrong != 0)
            return wrong;
    }
}

static int live(void *user) {
    child *c = user;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test must not leave us at work */
    hone__rng rng;
    hone__rng_seed(&rng, (uint64_t)getpid());
    hone_cache *cache = open_waiting(c->f->path, 60000);
    if (cache == NULL)
        return 1;
    if (c->index < WRITERS)
        return be_writer(c, cache, &rng);
    return c->index < WRITERS + READERS ? be_reader(c, cache, &rng) : be_tuner(c, cache, &rng);
}

/* ---- the killer ---- */

static void check_everything(fixture *f, scene *s, uint32_t kills) {
    char reason[160];
    int fd = open(f->path, O_RDONLY);
    if (fd < 0)
        return; /* killed before there was one */
    hone__file_state state = hone__file_check(fd, reason, sizeof reason);
    (void)close(fd);
    if (state == HONE_FILE_DAMAGED)
        fail_msg("after %u kills: %s", kills, reason);
    hone_cache *cache = open_waiting(f->path, 60000);
    assert_non_null(cache);
    for (uint32_t w = 0; w < WRITERS; w++) {
        for (uint32_t slot = 0; slot < RING; slot++)
            assert_true(is_right(cache, s, w, slot));
    }
    for (uint32_t t = 0; t < TUNED; t++) {
        uint64_t acked = atomic_load(&s->journal[t]);
        if (acked == 0)
            continue;
        hone__key key = tuned_key(t);
        hone__trial *trial = NULL;
        uint32_t count = 0;
        assert_int_equal(hone__journal_trials(cache, &key, (uint32_t)(acked >> 32), &trial, &count, NULL), HONE_OK);
        for (uint32_t i = 0; i < count; i++)
            hone__trial_clear(&trial[i]);
        hone__free(trial);
        assert_true(count >= (uint32_t)acked);
    }
    hone_cache_close(cache);
}

static void test_kill_storm__nothing_acknowledged_is_lost(void **state) {
    fixture *f = *state;
    const char *given = getenv("HONE_TEST_KILLS");
    uint32_t wanted = given == NULL ? KILLS : (uint32_t)strtoul(given, NULL, 10), kills = 0, killed[3] = {0};
    scene *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(s != MAP_FAILED);
    hone__rng rng;
    hone__rng_seed(&rng, seed_of("kill_storm"));
    child children[CHILDREN];
    for (uint32_t i = 0; i < CHILDREN; i++) {
        children[i] = (child){.f = f, .s = s, .index = i};
        children[i].pid = start_child(live, &children[i]);
    }
    uint64_t start = hone__clock_ns();
    while (kills < wanted) {
        struct timespec nap = {0, (long)(hone__rng_below(&rng, 4000) + 100) * 1000};
        (void)nanosleep(&nap, NULL);
        child *victim = &children[hone__rng_below(&rng, CHILDREN)];
        assert_true(victim->pid > 1);
        (void)kill(victim->pid, SIGKILL);
        int status = wait_child(victim->pid);
        if (!WIFSIGNALED(status))
            fail_msg("child %u had ended by itself with %d", victim->index, WEXITSTATUS(status));
        kills++;
        killed[victim->index < WRITERS ? 0 : victim->index < WRITERS + READERS ? 1 : 2]++;
        check_everything(f, s, kills);
        victim->pid = start_child(live, victim);
    }
    for (uint32_t i = 0; i < CHILDREN; i++) {
        (void)kill(children[i].pid, SIGKILL);
        assert_true(WIFSIGNALED(wait_child(children[i].pid)));
    }
    check_everything(f, s, kills);
    uint64_t stored = 0;
    for (uint32_t i = 0; i < WRITERS * RING; i++)
        stored += atomic_load(&s->acked[i / RING][i % RING]);
    print_message("%u kills (%u writers, %u readers, %u tuners) in %.1f s: %llu stores acknowledged and none lost, %u reads right, %u tunings\n", kills, killed[0],
                  killed[1], killed[2], (double)(hone__clock_ns() - start) / 1e9, (unsigned long long)stored, atomic_load(&s->reads),
                  atomic_load(&s->tunings));
    assert_int_equal(count_files(f->dir, ".corrupt-"), 0);
    (void)munmap(s, sizeof *s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kill_storm__nothing_acknowledged_is_lost, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
