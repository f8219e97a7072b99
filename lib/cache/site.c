/* site.c: hone_site: one kernel on one device, asked before every launch. */
#include "alloc.h"
#include "options.h"
#include "site.h"
#include "status.h"

#include <string.h>
#include <unistd.h>

static const _Atomic uint64_t never_changes;

/* ---- asking ---- */

/* Everything but a known and current answer; kept out of the fast path's registers. */
__attribute__((noinline, cold)) static uintptr_t ask(const hone_site *site, const hone_problem *problem) {
    return hone__answer_word(hone__site_ask((hone_site *)(uintptr_t)site, problem));
}

__attribute__((noinline, cold)) static void want(const hone_site *site, const hone_problem *problem, uintptr_t answer) {
    hone__site_want((hone_site *)(uintptr_t)site, problem, hone__answer_of(answer));
}

/* May this one be put into the tuner's queue? */
HONE_FAST bool is_wanted(const hone_site *site, hone__memo_slot *slot, uintptr_t answer) {
    if ((answer & HONE_ANSWER_IMPROVABLE) == 0 || site->never_tune || site->cache == NULL)
        return false;
    const hone__wanted *wanted = atomic_load_explicit(&site->cache->wanted, memory_order_acquire);
    return wanted != NULL && atomic_load_explicit(&wanted->round, memory_order_relaxed) != atomic_load_explicit(&slot->asked, memory_order_relaxed);
}

/* A known and current answer, or 0.  `count` is a constant in each of the functions that this becomes part of. */
HONE_FAST uintptr_t find(const hone_site *site, const hone_problem *problem, const int64_t *size, size_t count) {
    uintptr_t answer;
    uint32_t generation;
    hone__memo_slot *slot = hone__memo_find(site, size, count, hone__memo_hash(size, count), &answer, &generation);
    if (__builtin_expect(slot == NULL || generation != atomic_load_explicit(&site->generation, memory_order_relaxed), 0))
        return 0;
    if (atomic_load_explicit(&slot->used, memory_order_relaxed) == 0)
        atomic_store_explicit(&slot->used, 1, memory_order_relaxed);
    if (__builtin_expect(is_wanted(site, slot, answer), 0))
        want(site, problem, answer);
    return answer;
}

static uintptr_t find_any(const hone_site *site, const hone_problem *problem, const int64_t *size) {
    return find(site, problem, size, site->count);
}

#define FIND_OF(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#define FIND_FUNCTION(n)                                                                                       \
    static uintptr_t find_##n(const hone_site *site, const hone_problem *problem, const int64_t *size) {        \
        return find(site, problem, size, n);                                                                   \
    }
#define FIND_NAME(n) find_##n,
FIND_OF(FIND_FUNCTION)
static hone__memo_fn *const find_functions[] = {find_any, FIND_OF(FIND_NAME)};

/* Bucketed and ignored sizes take one more step. */
__attribute__((noinline)) static uintptr_t find_shared(const hone_site *site, const hone_problem *problem) {
    int64_t size[HONE_SIZES_MAX];
    return hone__site_sizes(site, problem, size) ? site->find(site, problem, size) : 0;
}

HONE_FAST uintptr_t answer_to(const hone_site *site, const hone_problem *problem) {
    uintptr_t answer = 0;
    if (__builtin_expect(problem->count == site->count && hone__site_current(site), 1))
        answer = __builtin_expect(site->plain, 1) ? site->find(site, problem, problem->size) : find_shared(site, problem);
    return __builtin_expect(answer == 0, 0) ? ask(site, problem) : answer;
}

const hone_config *hone__site_answer(const hone_site *site, const hone_problem *problem, const hone__answered **answer) {
    *answer = hone__answer_of(answer_to(site, problem));
    return (*answer)->match != HONE_MATCH_NONE ? &(*answer)->config : NULL;
}

const hone_config *hone_site_lookup(const hone_site *site, const hone_problem *problem, hone_match *match) {
    uintptr_t answer = answer_to(site, problem);
    hone_match how = (hone_match)(answer & HONE_ANSWER_MATCH);
    if (match != NULL)
        *match = how;
    return how != HONE_MATCH_NONE ? &hone__answer_of(answer)->config : NULL;
}

/* ---- opening ---- */

static hone_status read_options(hone_site_options *out, const hone_site_options *options, hone_error *err) {
    *out = (hone_site_options)HONE_SITE_OPTIONS_INIT;
    HONE_TRY(hone__options_read(out, sizeof *out, options, "hone_site_options", err));
    if (out->problems_max == 0)
        out->problems_max = HONE_SITE_PROBLEMS;
    if (out->problems_max < HONE_SITE_PROBLEMS_MIN)
        out->problems_max = HONE_SITE_PROBLEMS_MIN;
    if (out->problems_max > HONE_SITE_PROBLEMS_MAX)
        return hone__fail(err, HONE_E_ARG, "site", "problems_max is %u; at most %u are kept in memory", out->problems_max, HONE_SITE_PROBLEMS_MAX);
    return HONE_OK;
}

/* Problems that share an entry of the cache share a slot, unless a constraint may tell them apart: what is valid for one is then not always
 * valid for the other. */
static void choose_sizes(hone_site *site) {
    const hone_kernel *kernel = site->kernel;
    site->plain = true;
    for (uint32_t i = 0; i < kernel->size_count; i++) {
        bool exactly = kernel->size[i].role == HONE_ROLE_EXACT;
        for (uint32_t c = 0; c < kernel->space->constraint_count && !exactly; c++)
            exactly = hone__expr_reads(kernel->space->constraint[c].expr, i);
        site->exactly[i] = exactly;
        site->plain = site->plain && exactly;
    }
}

static void free_site(hone_site *site) {
    for (uint32_t i = 0; i < site->answer_capacity; i++)
        hone__free(site->answer[i]);
    hone__free(site->answer);
    for (hone__memo_table *table = atomic_load(&site->table); table != NULL;) {
        hone__memo_table *older = table->older;
        hone__free(table->memory);
        hone__free(table);
        table = older;
    }
    (void)pthread_mutex_destroy(&site->writer);
    hone_kernel_free(site->kernel);
    hone_device_free(site->device);
    hone__free(site);
}

hone_status hone_site_open(hone_site **out, hone_cache *cache, const hone_kernel *kernel, const hone_device *device,
                           const hone_site_options *options, hone_error *err) {
    if (out == NULL)
        return hone__fail(err, HONE_E_ARG, "site", "hone_site_open: out is NULL");
    *out = NULL;
    hone_site_options o;
    if (kernel == NULL || device == NULL)
        return hone__fail(err, HONE_E_ARG, "site", "kernel and device must be given");
    HONE_TRY(read_options(&o, options, err));
    if (cache != NULL)
        HONE_TRY(hone__cache_usable(cache, err));
    hone_site *site = hone__alloc(sizeof *site);
    hone__memo_table *table = site == NULL ? NULL : hone__memo_table_new(kernel->size_count, 1);
    if (table == NULL) {
        hone__free(site);
        return hone__fail(err, HONE_E_NOMEM, "site", "no memory for a site of %s", kernel->name);
    }
    atomic_init(&site->table, table);
    site->cache = cache;
    site->kernel = hone__kernel_share(kernel);
    site->device = hone__device_share(device);
    site->pid = cache != NULL ? cache->pid : getpid();
    site->count = kernel->size_count;
    site->problems_max = o.problems_max;
    site->never_tune = o.never_tune != 0;
    hone__store *store = cache != NULL ? cache->store : NULL; /* packs never change */
    site->stamp[0] = site->stamp[1] = &never_changes;
    site->epoch = store != NULL ? &store->epoch : &never_changes;
    site->seen_stamp = store != NULL ? UINT64_MAX : 0; /* not current: the first two look-ups see to what else they need */
    site->fallback = (hone__answered){.config = {.space = site->kernel->space, .values = site->kernel->space->base},
                                      .improvable = true,
                                      .match = HONE_MATCH_DEFAULT};
    site->find = find_functions[site->count < sizeof find_functions / sizeof find_functions[0] ? site->count : 0];
    choose_sizes(site);
    hone__mutex_init(&site->writer);
    if (cache != NULL) {
        (void)pthread_mutex_lock(&cache->sites_mutex);
        site->next = cache->sites;
        cache->sites = site;
        (void)pthread_mutex_unlock(&cache->sites_mutex);
    }
    *out = site;
    return HONE_OK;
}

void hone_site_close(hone_site *site) {
    if (site == NULL)
        return;
    hone_cache *cache = site->cache;
    if (cache != NULL && site->pid == getpid()) {
        (void)pthread_mutex_lock(&cache->sites_mutex);
        hone_site **link = &cache->sites;
        while (*link != NULL && *link != site)
            link = &(*link)->next;
        if (*link == site)
            *link = site->next;
        (void)pthread_mutex_unlock(&cache->sites_mutex);
    }
    free_site(site);
}

void hone__sites_layer_added(hone_cache *cache) {
    (void)pthread_mutex_lock(&cache->sites_mutex);
    for (hone_site *site = cache->sites; site != NULL; site = site->next)
        atomic_fetch_add(&site->generation, 1);
    (void)pthread_mutex_unlock(&cache->sites_mutex);
}

void hone__sites_free(hone_cache *cache) {
    for (hone_site *site = cache->sites; site != NULL;) {
        hone_site *next = site->next;
        free_site(site);
        site = next;
    }
    cache->sites = NULL;
}
