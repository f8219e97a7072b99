/* test_cache_thread.c: one handle used by many threads: readers, a lister and a writer at once; handles opened and closed meanwhile.
 * Meant for ThreadSanitizer as well. */
#include "cache_fixture.h"

enum { READERS = 6, KEYS = 24, ROUNDS = 60 };

typedef struct world {
    fixture *f;
    hone_cache *cache;
    atomic_int stop, wrong, reads;
} world;

/* Times only fall, and tell which key they belong to. */
static double time_of(uint32_t key, uint32_t round) {
    return 1e6 * (key + 1) + (ROUNDS - round);
}

static bool belongs(uint32_t key, double time_ns) {
    return time_ns > 1e6 * (key + 1) - 1 && time_ns <= 1e6 * (key + 1) + ROUNDS;
}

static void *read_loop(void *user) {
    world *w = user;
    for (uint32_t i = 0; !atomic_load(&w->stop); i++) {
        double time_ns = get_time(w->cache, i % KEYS);
        if (time_ns != 0 && !belongs(i % KEYS, time_ns))
            atomic_fetch_add(&w->wrong, 1);
        hone__cache_count(w->cache, i % 2 == 0 ? "hit_exact" : "miss_no_entry", 1);
        atomic_fetch_add(&w->reads, 1);
    }
    return NULL;
}

static int count_entry(const char *json, void *user) {
    if (json[0] != '{')
        atomic_fetch_add(&((world *)user)->wrong, 1);
    return 0;
}

static void *list_loop(void *user) {
    world *w = user;
    while (!atomic_load(&w->stop)) {
        char *json = NULL;
        if (hone_cache_each(w->cache, count_entry, w, NULL, NULL) != HONE_OK || hone_cache_stats(&json, w->cache, NULL) != HONE_OK)
            atomic_fetch_add(&w->wrong, 1);
        hone_free(json);
    }
    return NULL;
}

static void *open_loop(void *user) {
    world *w = user;
    while (!atomic_load(&w->stop)) {
        hone_cache *own = open_waiting(w->f->path, 60000);
        if (own == NULL)
            atomic_fetch_add(&w->wrong, 1);
        else if (get_time(own, 0) < 0)
            atomic_fetch_add(&w->wrong, 1);
        hone_cache_close(own);
    }
    return NULL;
}

static void test_cache_thread__readers_and_a_writer(void **state) {
    world w = {.f = *state, .cache = open_waiting(((fixture *)*state)->path, 60000)};
    hone_cache *writer = open_waiting(w.f->path, 60000); /* a handle of its own: T* needs exclusive use, const T* does not */
    pthread_t thread[READERS + 2];
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, read_loop, &w), 0);
    assert_int_equal(pthread_create(&thread[READERS], NULL, list_loop, &w), 0);
    assert_int_equal(pthread_create(&thread[READERS + 1], NULL, open_loop, &w), 0);
    for (uint32_t round = 0; round < ROUNDS; round++)
        put_time(writer, round % KEYS, time_of(round % KEYS, round));
    atomic_store(&w.stop, 1);
    for (int i = 0; i < READERS + 2; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(w.wrong, 0);
    assert_true(w.reads > READERS);
    hone_cache_close(writer);
    char *json;
    assert_int_equal(hone_cache_stats(&json, w.cache, NULL), HONE_OK);
    cJSON *stats = cJSON_Parse(json), *counters = cJSON_GetObjectItem(stats, "counters");
    double counted = cJSON_GetObjectItem(counters, "hit_exact")->valuedouble;
    const cJSON *missed = cJSON_GetObjectItem(counters, "miss_no_entry");
    assert_true(counted + (missed == NULL ? 0 : missed->valuedouble) == w.reads); /* no count is lost or doubled */
    cJSON_Delete(stats);
    hone_free(json);
    hone_cache_close(w.cache);
}

static void *write_loop(void *user) {
    world *w = user;
    hone_cache *own = open_waiting(w->f->path, 60000);
    int first = atomic_fetch_add(&w->reads, 1) * 100;
    if (own == NULL) {
        atomic_fetch_add(&w->wrong, 1);
        return NULL;
    }
    for (int i = 0; i < 15; i++) {
        char text[64];
        hone__entry entry = make_entry(make_key(1, 1, (uint32_t)(first + i)), 100 + i, text);
        if (hone__cache_put(own, &entry, true, NULL) != HONE_OK)
            atomic_fetch_add(&w->wrong, 1);
    }
    hone_cache_close(own);
    return NULL;
}

static void test_cache_thread__writers_take_turns(void **state) {
    world w = {.f = *state};
    pthread_t thread[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, write_loop, &w), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(w.wrong, 0);
    hone_cache *cache = open_cache(w.f->path);
    for (uint32_t t = 0; t < 4; t++) {
        for (uint32_t i = 0; i < 15; i++)
            assert_true(get_time(cache, t * 100 + i) == 100 + i);
    }
    hone_cache_close(cache);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_cache_thread__readers_and_a_writer),
        TEST(test_cache_thread__writers_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
