/* site.h: the table in memory that stands before the cache for one kernel on one device (hone_site in hone.h), and its fast path.
 *
 * Readers take no lock and write nothing that others read, but a mark "in use" once.  A slot is guarded by a sequence number: odd while it is being
 * given to another problem, and different afterwards.  What a reader hands out is an answer, which is made once, never changed, and freed with
 * its site; there is one for each different config, so their number is bounded.  Writers hold `writer`. */
#ifndef HONE_SITE_H
#define HONE_SITE_H

#include "holds.h"
#include "lookup.h"
#include "store.h"

#define HONE_SITE_PROBLEMS 4096u      /* kept by default */
#define HONE_SITE_PROBLEMS_MIN 64u
#define HONE_SITE_PROBLEMS_MAX 1048576u
#define HONE_SITE_ANSWERS_MAX 16384u  /* different answers of one site; half a kilobyte each */
#define HONE_MEMO_GONE 2u
#define HONE_SITE_WINDOW 8u           /* a problem is in one of so many slots */

typedef struct hone__answered {
    _Alignas(16) hone_config config;   /* first, and so aligned that hone__answer_word has room for its marks */
    hone_match match;                  /* HONE_MATCH_NONE: nothing is known, and the default is not valid for these sizes */
    bool improvable;                   /* a tuning could make it better: not exact, of little effort, or measured under other software */
    bool changed;                      /* exact, measured under another driver or toolkit */
    hone__effort effort;
} hone__answered;

typedef struct hone__memo_slot {
    _Atomic uint64_t hash;             /* 0: free, and nobody is behind it; HONE_MEMO_GONE: free; others are odd */
    _Atomic uintptr_t answer;          /* hone__answer_word */
    _Atomic uint32_t sequence;
    _Atomic uint32_t generation;       /* the site's, when this was found out */
    _Atomic uint32_t exact_generation; /* not exact, and nearer ones have not been looked for since: there was no exact entry then */
    _Atomic uint16_t asked;            /* round of the tuning queue in which this was put there; 0: not yet */
    _Atomic uint8_t used;              /* since the clock hand came by */
    _Atomic int64_t size[];
} hone__memo_slot;

_Static_assert(sizeof(hone__memo_slot) == 32, "a problem of four sizes is one cache line");

typedef struct hone__memo_table {
    struct hone__memo_table *older;    /* readers may still be in it */
    uint32_t mask;
    size_t stride;
    unsigned char *slot;               /* on a cache line's edge in `memory` */
    void *memory;
} hone__memo_table;

typedef uintptr_t hone__memo_fn(const hone_site *site, const hone_problem *problem, const int64_t *size);

struct hone_site {
    /* What a look-up reads. */
    hone__memo_fn *find;               /* made for this number of sizes */
    _Atomic(hone__memo_table *) table;
    _Atomic(const _Atomic uint64_t *) stamp[2]; /* neither changes before they are needed */
    const _Atomic uint64_t *epoch;
    _Atomic uint64_t seen_stamp, seen_epoch;
    _Atomic uint32_t generation;       /* counts up when an entry of the kernel has changed */
    uint32_t count;                    /* of sizes */
    bool plain;                        /* the sizes themselves are looked for: none is bucketed or ignored */
    bool never_tune;
    /* The rest. */
    hone_site *next;                   /* of its cache */
    hone_cache *cache;                 /* or NULL */
    hone_kernel *kernel;
    hone_device *device;
    pid_t pid;
    bool exactly[HONE_SIZES_MAX];      /* a constraint reads the size, or its role is exact */
    uint32_t problems_max;
    pthread_mutex_t writer;
    bool asked, change_known;
    uint64_t known_change, known_epoch; /* of the kernel in the cache, at this generation; not known yet: it was not later than this commit */
    uint32_t hand, known;              /* problems in the table; not in the table's own lines, which every look-up reads */
    _Atomic uint64_t near_ns;          /* when entries at other sizes were last looked through for what is known already */
    hone__answered **answer;           /* open addressing */
    uint32_t answer_capacity, answer_count;
    hone__answered fallback, nothing;
    _Atomic uint64_t resolved, evicted;
};

/* ---- queue of what should be tuned (wanted.c) ---- */

typedef struct hone__want {
    hone_kernel *kernel;               /* shared */
    hone_device *device;
    hone_problem problem;
    bool recheck;                      /* there is an exact entry, measured under other software */
    uint64_t not_before_ns;            /* another process was at it: look again then; 0: at once */
} hone__want;

typedef struct hone__wanted {
    struct hone__wanted *next;
    _Atomic uint16_t round;            /* counts up when what failed may be asked for again */
    hone__effort effort;               /* what the tuner gives: less than that is worth asking for */
    pthread_mutex_t mutex;
    pthread_cond_t change;
    hone__want *ring;
    uint32_t capacity, slots, first, count;
    uint32_t deferred;                 /* of `count`; they do not take room from others */
    uint32_t holders;                  /* the cache and the worker */
    uint64_t next_round_ns;            /* 0: not yet known */
    atomic_bool closing, full;
    bool worker_gone, busy;
    pthread_t worker;
    hone__pack *layer[HONE_LAYERS_MAX];/* added to the cache since the worker last looked */
    uint32_t layer_count;
    uint64_t done, failed;
    _Atomic uint64_t dropped;
    uint32_t stop_wait_ms;
} hone__wanted;

hone_status hone__wanted_new(hone__wanted **out, uint32_t capacity, hone_error *err);
/* Give up one of the two holds; the last one frees. */
void hone__wanted_leave(hone__wanted *wanted);
/* Is there no room?  Counts that something would have been put in. */
bool hone__wanted_is_full(hone__wanted *wanted);
/* Put a problem in; false when the queue is full or closing.  Never waits but for the mutex. */
bool hone__wanted_push(hone__wanted *wanted, const hone_site *site, const hone_problem *problem, bool recheck);
/* For the worker: wait for the next one; false when the queue is closing.  hone__want_clear frees what was taken. */
bool hone__wanted_pop(hone__wanted *wanted, uint32_t retry_s, hone__want *out);
/* A pack has been added to the cache. */
hone_status hone__wanted_layer(hone__wanted *wanted, hone__pack *pack, hone_error *err);
/* For the worker: put those packs under its own handle. */
void hone__wanted_take_layers(hone__wanted *wanted, hone_cache *own);
void hone__wanted_finished(hone__wanted *wanted, bool success);
/* Another process is at it: put it back, to be looked at again after so long.  Takes the want over. */
void hone__wanted_defer(hone__wanted *wanted, hone__want *want, uint32_t pause_ms);
/* The worker's last act. */
void hone__wanted_gone(hone__wanted *wanted);
void hone__want_clear(hone__want *want);
/* Wait until nothing is queued or under way; false at the deadline. */
bool hone__wanted_idle(hone__wanted *wanted, uint32_t wait_ms);
/* Close and take it off the cache. */
bool hone__cache_stop_wanting(hone_cache *cache, uint32_t wait_ms);

/* What sites remember was found without this layer. */
void hone__sites_layer_added(hone_cache *cache);
/* Everything of a cache that is being closed. */
void hone__sites_free(hone_cache *cache);

/* ---- slow path (site_fill.c) ---- */
hone__memo_table *hone__memo_table_new(uint32_t size_count, uint32_t problems);
/* Find out and remember; never NULL. */
const hone__answered *hone__site_ask(hone_site *site, const hone_problem *problem);
/* Make an answer the site's own; NULL when there is no room for another. */
const hone__answered *hone__site_keep(hone_site *site, const hone__answered *made);
/* hone_site_lookup, with all that is known of the answer. */
const hone_config *hone__site_answer(const hone_site *site, const hone_problem *problem, const hone__answered **answer);
/* Ask the tuner for this problem, once a round. */
void hone__site_want(hone_site *site, const hone_problem *problem, const hone__answered *answer);
/* The sizes as the table knows them; false when one is out of the kernel's range. */
bool hone__site_sizes(const hone_site *site, const hone_problem *problem, int64_t out[HONE_SIZES_MAX]);

/* ---- fast path ---- */

/* Look-ups are short enough for calls and spilled registers to show. */
#define HONE_FAST static inline __attribute__((always_inline))

HONE_FAST hone__memo_slot *hone__memo_slot_at(const hone__memo_table *table, uint64_t at) {
    return (hone__memo_slot *)(void *)(table->slot + (at & table->mask) * table->stride);
}

/* An answer with what the fast path needs of it in the low bits, so that it does not have to read it. */
enum { HONE_ANSWER_MATCH = 7, HONE_ANSWER_IMPROVABLE = 8, HONE_ANSWER_MARKS = 15 };

HONE_FAST uintptr_t hone__answer_word(const hone__answered *answer) {
    return (uintptr_t)answer | (uintptr_t)answer->match | (answer->improvable ? HONE_ANSWER_IMPROVABLE : 0u);
}

HONE_FAST const hone__answered *hone__answer_of(uintptr_t word) {
    return (const hone__answered *)(word & ~(uintptr_t)HONE_ANSWER_MARKS);
}

HONE_FAST bool hone__site_current(const hone_site *site) {
    const _Atomic uint64_t *first = atomic_load_explicit(&site->stamp[0], memory_order_acquire);
    const _Atomic uint64_t *second = atomic_load_explicit(&site->stamp[1], memory_order_acquire);
    uint64_t a = atomic_load_explicit(first, memory_order_relaxed), b = atomic_load_explicit(second, memory_order_relaxed);
    return (a > b ? a : b) == atomic_load_explicit(&site->seen_stamp, memory_order_relaxed) &&
           atomic_load_explicit(site->epoch, memory_order_relaxed) == atomic_load_explicit(&site->seen_epoch, memory_order_relaxed);
}

/* The slot of a problem, whatever the age of its answer; NULL when it is not there. */
HONE_FAST hone__memo_slot *hone__memo_find(const hone_site *site, const int64_t *size, size_t count, uint64_t hash, uintptr_t *answer,
                                           uint32_t *generation) {
    const hone__memo_table *table = atomic_load_explicit(&site->table, memory_order_acquire);
    for (uint64_t i = 0; i < HONE_SITE_WINDOW; i++) {
        hone__memo_slot *slot = hone__memo_slot_at(table, (hash >> 1) + i);
        uint64_t there = atomic_load_explicit(&slot->hash, memory_order_acquire);
        if (there == 0)
            return NULL;
        if (there != hash)
            continue;
        /* Acquire at each load: none may move past the second look at the sequence number. */
        uint32_t before = atomic_load_explicit(&slot->sequence, memory_order_acquire);
        uint64_t differ = before & 1;
        for (size_t n = 0; n < count; n++)
            differ |= (uint64_t)atomic_load_explicit(&slot->size[n], memory_order_acquire) ^ (uint64_t)size[n];
        *generation = atomic_load_explicit(&slot->generation, memory_order_acquire);
        *answer = atomic_load_explicit(&slot->answer, memory_order_acquire);
        if (differ == 0 && atomic_load_explicit(&slot->sequence, memory_order_relaxed) == before)
            return slot;
    }
    return NULL;
}

/* Products of pairs of sizes, as in XXH3 and wyhash, but with neither their branches on length nor their byte order: this hash stays in memory. */
HONE_FAST uint64_t hone__memo_hash(const int64_t *size, size_t count) {
    __extension__ typedef unsigned __int128 wide;
    const uint64_t step = 0x9e3779b97f4a7c15u;
    uint64_t key = step, sum = count;
    size_t n = 0;
    for (; n + 2 <= count; n += 2, key += 2 * step) {
        wide product = (wide)((uint64_t)size[n] ^ key) * ((uint64_t)size[n + 1] ^ (key + step));
        sum += (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    if (n < count)
        sum += (uint64_t)size[n] ^ key;
    wide last = (wide)(sum ^ sum >> 32) * step;
    return ((uint64_t)last ^ (uint64_t)(last >> 64)) | 1;
}

#endif
