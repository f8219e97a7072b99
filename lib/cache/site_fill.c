/* site_fill.c: what a site does when its table has no current answer: see what has changed, ask the cache, remember within bounds. */
#include "alloc.h"
#include "clock.h"
#include "site.h"

#include <string.h>
#include <unistd.h>

/* Sparse tables: an unforeseen second probe costs more than the rest of a look-up. */
enum { CACHE_LINE = 64, NEAR_AGAIN_NS = 50000000, SPARSE = 4, SLOTS_MIN = 64 };

/* ---- tables ---- */

hone__memo_table *hone__memo_table_new(uint32_t size_count, uint32_t problems) {
    uint32_t slots = SLOTS_MIN;
    while (slots < SPARSE * problems)
        slots *= 2;
    size_t stride = sizeof(hone__memo_slot) + size_count * sizeof(int64_t);
    stride = (stride + CACHE_LINE / 2 - 1) / (CACHE_LINE / 2) * (CACHE_LINE / 2);
    hone__memo_table *table = hone__alloc(sizeof *table);
    if (table == NULL)
        return NULL;
    table->memory = hone__alloc((size_t)slots * stride + CACHE_LINE);
    if (table->memory == NULL) {
        hone__free(table);
        return NULL;
    }
    table->mask = slots - 1;
    table->stride = stride;
    size_t off = (CACHE_LINE - (uintptr_t)table->memory % CACHE_LINE) % CACHE_LINE;
    table->slot = (unsigned char *)table->memory + off;
    return table;
}

typedef struct memo_item {
    uint64_t hash;
    uint32_t generation, exact_generation;
    uintptr_t answer;
    const int64_t *size;
} memo_item;

/* Give a slot to a problem.  `writer` is held.  Every store is a release: who sees one of them sees the odd sequence number too. */
static void fill(hone__memo_slot *slot, const memo_item *item, uint32_t size_count) {
    uint32_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
    atomic_store_explicit(&slot->sequence, sequence + 1, memory_order_relaxed);
    for (uint32_t i = 0; i < size_count; i++)
        atomic_store_explicit(&slot->size[i], item->size[i], memory_order_release);
    atomic_store_explicit(&slot->answer, item->answer, memory_order_release);
    atomic_store_explicit(&slot->generation, item->generation, memory_order_release);
    atomic_store_explicit(&slot->exact_generation, item->exact_generation, memory_order_release);
    atomic_store_explicit(&slot->asked, 0, memory_order_release);
    atomic_store_explicit(&slot->used, 1, memory_order_release);
    atomic_store_explicit(&slot->hash, item->hash, memory_order_release);
    atomic_store_explicit(&slot->sequence, sequence + 2, memory_order_release);
}

static bool is_taken(uint64_t hash) {
    return hash != 0 && hash != HONE_MEMO_GONE;
}

static hone__memo_slot *free_slot(const hone__memo_table *table, uint64_t hash) {
    for (uint64_t i = 0; i < HONE_SITE_WINDOW; i++) {
        hone__memo_slot *slot = hone__memo_slot_at(table, (hash >> 1) + i);
        if (!is_taken(atomic_load_explicit(&slot->hash, memory_order_relaxed)))
            return slot;
    }
    return NULL;
}

/* Take a problem out.  Its slot is marked, not freed: readers stop at a free one, and others of the window may lie behind. */
static void evict(hone_site *site, hone__memo_slot *slot) {
    uint32_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
    atomic_store_explicit(&slot->sequence, sequence + 1, memory_order_relaxed);
    atomic_store_explicit(&slot->hash, HONE_MEMO_GONE, memory_order_release);
    atomic_store_explicit(&slot->sequence, sequence + 2, memory_order_release);
    site->known--;
    atomic_fetch_add_explicit(&site->evicted, 1, memory_order_relaxed);
}

/* The next of `count` slots from `first` that was not used since the hand last came by. */
static hone__memo_slot *victim(hone_site *site, const hone__memo_table *table, uint64_t first, uint64_t count) {
    hone__memo_slot *slot = NULL;
    for (uint64_t i = 0; i < 2 * count; i++) {
        hone__memo_slot *next = hone__memo_slot_at(table, first + site->hand++ % count);
        if (!is_taken(atomic_load_explicit(&next->hash, memory_order_relaxed)))
            continue;
        slot = next;
        if (atomic_exchange_explicit(&slot->used, 0, memory_order_relaxed) == 0)
            break;
    }
    return slot;
}

/* Twice the slots.  The old table stays as it is, for readers that are in it. */
static void grow(hone_site *site) {
    hone__memo_table *old = atomic_load_explicit(&site->table, memory_order_relaxed);
    hone__memo_table *table = hone__memo_table_new(site->count, 2 * ((old->mask + 1) / SPARSE));
    if (table == NULL)
        return; /* then something is evicted */
    int64_t size[HONE_SIZES_MAX];
    uint32_t known = 0;
    for (uint64_t i = 0; i <= old->mask; i++) {
        hone__memo_slot *from = hone__memo_slot_at(old, i);
        memo_item item = {.hash = atomic_load(&from->hash),
                          .generation = atomic_load(&from->generation),
                          .exact_generation = atomic_load(&from->exact_generation),
                          .answer = atomic_load(&from->answer),
                          .size = size};
        hone__memo_slot *to = !is_taken(item.hash) ? NULL : free_slot(table, item.hash);
        if (to == NULL)
            continue;
        for (uint32_t n = 0; n < site->count; n++)
            size[n] = atomic_load(&from->size[n]);
        fill(to, &item, site->count);
        atomic_store(&to->asked, atomic_load(&from->asked));
        known++;
    }
    site->known = known;
    table->older = old;
    atomic_store_explicit(&site->table, table, memory_order_release);
}

static void remember(hone_site *site, const memo_item *item) {
    uintptr_t there;
    uint32_t generation;
    hone__memo_slot *slot = hone__memo_find(site, item->size, site->count, item->hash, &there, &generation);
    if (slot != NULL) {
        /* The generation last: who sees the new one sees the new answer. */
        atomic_store_explicit(&slot->answer, item->answer, memory_order_release);
        atomic_store_explicit(&slot->generation, item->generation, memory_order_release);
        if (there != item->answer)
            atomic_store_explicit(&slot->asked, 0, memory_order_relaxed);
        return;
    }
    hone__memo_table *table = atomic_load_explicit(&site->table, memory_order_relaxed);
    if (SPARSE * site->known > table->mask && site->known < site->problems_max) {
        grow(site);
        table = atomic_load_explicit(&site->table, memory_order_relaxed);
    }
    slot = free_slot(table, item->hash);
    if (slot == NULL) {
        slot = victim(site, table, item->hash >> 1, HONE_SITE_WINDOW);
        evict(site, slot);
    } else if (site->known >= site->problems_max) {
        evict(site, victim(site, table, 0, (uint64_t)table->mask + 1));
    }
    site->known++;
    fill(slot, item, site->count);
}

/* ---- answers ---- */

static uint64_t hash_answer(const hone__answered *answer) {
    uint64_t flags = (uint64_t)answer->match | (uint64_t)answer->effort << 8 | (uint64_t)answer->changed << 16;
    uint64_t first;
    hone__hash hash = hone__hash_bytes(&answer->config.values, sizeof answer->config.values);
    memcpy(&first, hash.byte, sizeof first);
    return first ^ flags;
}

static bool same_answer(const hone__answered *a, const hone__answered *b) {
    return a->match == b->match && a->effort == b->effort && a->changed == b->changed &&
           hone__config_equal(&a->config.values, &b->config.values);
}

static bool grow_answers(hone_site *site) {
    uint32_t capacity = site->answer_capacity == 0 ? 64 : 2 * site->answer_capacity;
    hone__answered **grown = hone__alloc_array(capacity, sizeof(hone__answered *));
    if (grown == NULL)
        return false;
    for (uint32_t i = 0; i < site->answer_capacity; i++) {
        if (site->answer[i] == NULL)
            continue;
        uint64_t at = hash_answer(site->answer[i]);
        while (grown[at % capacity] != NULL)
            at++;
        grown[at % capacity] = site->answer[i];
    }
    hone__free(site->answer);
    site->answer = grown;
    site->answer_capacity = capacity;
    return true;
}

/* The one answer that is equal to `made`; NULL when there is no room for another. */
static const hone__answered *intern(hone_site *site, const hone__answered *made) {
    if (2 * site->answer_count >= site->answer_capacity && !grow_answers(site))
        return NULL;
    uint64_t at = hash_answer(made);
    for (; site->answer[at % site->answer_capacity] != NULL; at++) {
        if (same_answer(site->answer[at % site->answer_capacity], made))
            return site->answer[at % site->answer_capacity];
    }
    hone__answered *kept = site->answer_count < HONE_SITE_ANSWERS_MAX ? hone__alloc(sizeof *kept) : NULL;
    if (kept == NULL)
        return NULL;
    *kept = *made;
    site->answer[at % site->answer_capacity] = kept;
    site->answer_count++;
    return kept;
}

/* ---- what has changed ---- */

typedef struct change_call {
    const uint8_t *kernel_id;
    uint64_t generation, txn;
} change_call;

static hone_status change_fn(hone__txn *txn, void *user, hone_error *err) {
    (void)err;
    change_call *call = user;
    call->generation = hone__generation_read(txn, call->kernel_id);
    call->txn = (uint64_t)mdb_txn_id(txn->txn);
    return HONE_OK;
}

/* What the first look-up finds is at least as new as what this process has seen of the file; to see what has changed since is the next one's business, so that a process
 * that asks once does not pay for it.  `writer` is held. */
static void begin(hone_site *site) {
    site->known_epoch = atomic_load(site->epoch);
    site->known_change = atomic_load(&site->cache->store->seen_commit);
    site->asked = true;
}

/* The kernel's generation, and whether that is news.  `writer` is held. */
static void look_for_change(hone_site *site) {
    const _Atomic uint64_t *at[2];
    if (!hone__stamp_need(site->cache->store, at))
        return;
    uint64_t epoch = atomic_load(site->epoch), a = atomic_load(at[0]), b = atomic_load(at[1]);
    uint64_t stamp = a > b ? a : b;
    change_call call = {.kernel_id = site->kernel->id};
    if (hone__store_read(site->cache, change_fn, &call, NULL) == HONE_OK) {
        /* A commit is in the meta page a moment before readers are given it: then look again. */
        stamp = call.txn < stamp ? call.txn : stamp;
        bool changed = site->change_known ? call.generation != site->known_change : call.generation > site->known_change;
        if (changed || epoch != site->known_epoch)
            atomic_fetch_add_explicit(&site->generation, 1, memory_order_relaxed);
        site->change_known = true;
        site->known_change = call.generation;
        site->known_epoch = epoch;
    }
    /* When it could not be read, what is known stays, until the next commit. */
    atomic_store_explicit(&site->seen_epoch, epoch, memory_order_relaxed);
    atomic_store_explicit(&site->seen_stamp, stamp, memory_order_relaxed);
    atomic_store_explicit(&site->stamp[0], at[0], memory_order_release);
    atomic_store_explicit(&site->stamp[1], at[1], memory_order_release);
}

/* After a commit by anyone: was it one that concerns this kernel?  Who finds another thread at it goes on with what is known. */
static void notice(hone_site *site) {
    if (site->cache == NULL || hone__site_current(site) || pthread_mutex_trylock(&site->writer) != 0)
        return;
    if (site->asked)
        look_for_change(site);
    else
        begin(site);
    (void)pthread_mutex_unlock(&site->writer);
}

/* An answer that is not exact is good until there is an exact one; looking through all entries for a nearer one takes its time, and is done
 * for one problem at a time, with pauses. */
static bool may_wait(hone_site *site, hone__memo_slot *slot, const hone_problem *problem, uint32_t generation) {
    if (atomic_load_explicit(&slot->exact_generation, memory_order_relaxed) != generation) {
        hone__key key = hone__key_make(site->kernel, site->device, problem->size);
        hone__entry entry;
        hone_status status = hone__layers_get(site->cache, &key, &entry, NULL);
        if (status == HONE_OK) {
            hone__entry_clear(&entry);
            return false;
        }
        atomic_store_explicit(&slot->exact_generation, generation, memory_order_relaxed);
    }
    uint64_t last = atomic_load(&site->near_ns), now = hone__clock_ns();
    return now - last < NEAR_AGAIN_NS || !atomic_compare_exchange_strong(&site->near_ns, &last, now);
}

/* ---- asking the cache ---- */

bool hone__site_sizes(const hone_site *site, const hone_problem *problem, int64_t out[HONE_SIZES_MAX]) {
    if (problem->count != site->count)
        return false;
    for (uint32_t i = 0; i < site->count; i++) {
        const hone__size *size = &site->kernel->size[i];
        if (problem->size[i] < size->min || problem->size[i] > size->max)
            return false;
        out[i] = site->exactly[i] ? problem->size[i] : hone__size_key_value(size, problem->size[i]);
    }
    return true;
}

static const hone__answered *the_default(const hone_site *site, const hone_problem *problem) {
    return hone__space_holds(site->kernel->space, problem->size, &site->kernel->space->base, NULL) ? &site->fallback : &site->nothing;
}

/* False: no memory, nothing to remember. */
static bool resolve(hone_site *site, const hone_problem *problem, hone__answered *out) {
    hone__query query;
    if (hone__lookup_query(&query, site->cache, site->kernel, site->device, problem, NULL) != HONE_OK)
        return false;
    hone_answer *answer = hone__alloc(sizeof *answer); /* a page of a stack that may not have been so deep before */
    if (answer == NULL)
        return false;
    hone_status status = hone__lookup_resolve(answer, &query, NULL, NULL);
    *out = (hone__answered){.match = HONE_MATCH_NONE, .improvable = true};
    if (status == HONE_OK) {
        out->match = answer->match;
        out->config = answer->config;
        out->effort = answer->match == HONE_MATCH_EXACT ? answer->source.effort : HONE_EFFORT_NONE;
        out->changed = answer->changed[0] != '\0';
        out->improvable = answer->match != HONE_MATCH_EXACT || out->effort < HONE_EFFORT_THOROUGH || out->changed;
    }
    hone_answer_free(answer);
    atomic_fetch_add_explicit(&site->resolved, 1, memory_order_relaxed);
    return status == HONE_OK || status == HONE_E_CONFIG;
}

const hone__answered *hone__site_keep(hone_site *site, const hone__answered *made) {
    (void)pthread_mutex_lock(&site->writer);
    const hone__answered *kept = intern(site, made);
    (void)pthread_mutex_unlock(&site->writer);
    return kept;
}

static const hone__answered *resolve_and_remember(hone_site *site, const hone_problem *problem, memo_item *item) {
    hone__answered made;
    if (!resolve(site, problem, &made))
        return the_default(site, problem);
    (void)pthread_mutex_lock(&site->writer);
    const hone__answered *kept = intern(site, &made);
    if (kept != NULL) {
        item->answer = hone__answer_word(kept);
        remember(site, item);
    }
    (void)pthread_mutex_unlock(&site->writer);
    if (kept != NULL)
        return kept;
    if (site->cache != NULL)
        hone__cache_count(site->cache, "miss_memory", 1);
    return the_default(site, problem);
}

const hone__answered *hone__site_ask(hone_site *site, const hone_problem *problem) {
    int64_t size[HONE_SIZES_MAX];
    const hone__answered *answer = NULL;
    uintptr_t word = 0;
    uint32_t generation = 0;
    if (problem->struct_size < sizeof *problem || !hone__site_sizes(site, problem, size))
        return &site->nothing;
    uint64_t hash = hone__memo_hash(size, site->count);
    if (site->pid != getpid()) { /* a forked child has this memory, but neither the cache nor, perhaps, the mutex */
        return hone__memo_find(site, size, site->count, hash, &word, &generation) != NULL ? hone__answer_of(word) : the_default(site, problem);
    }
    notice(site);
    uint32_t wanted = atomic_load_explicit(&site->generation, memory_order_relaxed);
    hone__memo_slot *slot = hone__memo_find(site, size, site->count, hash, &word, &generation);
    if (slot != NULL)
        answer = hone__answer_of(word);
    bool known = slot != NULL && generation == wanted;
    if (!known && slot != NULL && answer->match != HONE_MATCH_EXACT)
        known = may_wait(site, slot, problem, wanted);
    if (!known) {
        memo_item item = {.hash = hash, .generation = wanted, .exact_generation = wanted, .size = size};
        answer = resolve_and_remember(site, problem, &item);
    }
    if (answer->improvable && !site->never_tune && site->cache != NULL && atomic_load(&site->cache->wanted) != NULL)
        hone__site_want(site, problem, answer);
    return answer;
}

void hone__site_want(hone_site *site, const hone_problem *problem, const hone__answered *answer) {
    hone__wanted *wanted = atomic_load(&site->cache->wanted);
    int64_t size[HONE_SIZES_MAX];
    uintptr_t there;
    uint32_t generation;
    if (wanted == NULL || !hone__site_sizes(site, problem, size))
        return;
    bool recheck = answer->changed && site->cache->recheck == HONE_RECHECK_TUNE;
    bool worth = answer->match != HONE_MATCH_EXACT || answer->effort < wanted->effort || recheck;
    uint16_t round = atomic_load(&wanted->round);
    uint64_t hash = hone__memo_hash(size, site->count);
    hone__memo_slot *slot = hone__memo_find(site, size, site->count, hash, &there, &generation);
    if (slot == NULL || atomic_load(&slot->asked) == round || (worth && hone__wanted_is_full(wanted)))
        return; /* launches come by here again and again while the queue is full: no lock, no system call */
    if (site->pid != getpid())
        return;
    (void)pthread_mutex_lock(&site->writer);
    slot = hone__memo_find(site, size, site->count, hash, &there, &generation);
    bool asked = slot == NULL || atomic_load(&slot->asked) == round;
    if (!asked && (!worth || hone__wanted_push(wanted, site, problem, recheck)))
        atomic_store(&slot->asked, round);
    (void)pthread_mutex_unlock(&site->writer);
}
