/* import_batch.c: the thread that unpacks what an import writes.  The writing stays with the caller's thread: it calls back, and LMDB's pages come
 * from its part of the heap, which grows in large steps (glibc makes other threads' grow page by page, with a system call each). */
#define _GNU_SOURCE
#include "import_batch.h"
#include "alloc.h"
#include "limit.h"
#include "pack_format.h"
#include "status.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

enum { BATCH_BYTES = 16 << 20, SHOW_EVERY = 64, LARGE_PAGE = 2 << 20, LARGE_ENTRIES = 2048 };

struct hone__batches {
    hone__source *source;
    const hone_filter *filter;
    bool early, threaded;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    hone__batch batch[2];
    unsigned writing;             /* which one is next, or being written */
    bool free[2];                 /* to be unpacked into; under the mutex */
    bool stop;
};

/* ---- unpacking ---- */

/* Let the writer see what is there; true when it does not want more. */
static bool show(hone__batches *all, hone__batch *b, bool full) {
    (void)pthread_mutex_lock(&all->mutex);
    b->ready = b->count;
    b->full = full;
    bool stop = all->stop;
    (void)pthread_cond_broadcast(&all->changed);
    (void)pthread_mutex_unlock(&all->mutex);
    return stop;
}

static bool passes(const hone__batches *all, const hone__item *record) {
    hone__entry entry;
    if (all->filter == NULL || hone__item_decode(&entry, record) != HONE_OK)
        return true;
    bool good = hone__filter_passes(all->filter, &entry);
    hone__entry_clear(&entry);
    return good;
}

static hone_status add(hone__batches *all, hone__batch *b, const hone__item *item) {
    hone__pending *p = &b->pending[b->count];
    *p = (hone__pending){.at = b->bytes.length, .fate = HONE_MERGE_IMPORTED};
    memcpy(p->slot, item->slot, HONE_SLOT_BYTES);
    hone_status status = hone__item_record(&b->bytes, item);
    if (status == HONE_E_CORRUPT || status == HONE_E_VERSION) {
        b->bytes.length = p->at;
        p->fate = HONE_MERGE_REJECTED;
        p->reason = status == HONE_E_CORRUPT ? "damaged" : "written by a newer Hone";
        b->count++;
        return HONE_OK;
    }
    if (status != HONE_OK)
        return hone__fail(&b->error, status, "exchange", "cannot read an entry of %s: %s", all->source->name, hone_status_text(status));
    p->count = b->bytes.length - p->at;
    hone__item record = hone__pending_item(b, p);
    if (!passes(all, &record)) {
        b->bytes.length = p->at;
        p->count = 0;
        p->fate = HONE_MERGE_FILTERED;
        p->reason = "left out by the filter";
    }
    b->count++;
    return HONE_OK;
}

static hone_status add_next(hone__batches *all, hone__batch *b) {
    hone__item item;
    const char *reason = NULL;
    memset(item.slot, 0, HONE_SLOT_BYTES);
    hone_status status = all->source->next(all->source, &item, &reason, &b->error);
    if (status == HONE_OK)
        return add(all, b, &item);
    if (reason == NULL)
        return status;
    hone__pending *p = &b->pending[b->count++]; /* this entry only */
    *p = (hone__pending){.at = b->bytes.length, .fate = HONE_MERGE_REJECTED, .reason = reason};
    memcpy(p->slot, item.slot, HONE_SLOT_BYTES);
    return HONE_OK;
}

static void fill(hone__batches *all, hone__batch *b) {
    b->status = HONE_OK;
    while (b->status == HONE_OK && b->count < HONE_BATCH_ENTRIES && b->bytes.length < BATCH_BYTES) {
        b->status = add_next(all, b);
        if (b->count % SHOW_EVERY == 0 && all->early && show(all, b, false))
            break;
    }
    (void)show(all, b, true);
}

static void *unpack_thread(void *user) {
    hone__batches *all = user;
    for (unsigned turn = 0;; turn ^= 1) {
        (void)pthread_mutex_lock(&all->mutex);
        while (!all->free[turn] && !all->stop)
            (void)pthread_cond_wait(&all->changed, &all->mutex);
        all->free[turn] = false;
        bool stop = all->stop;
        (void)pthread_mutex_unlock(&all->mutex);
        if (stop)
            return NULL;
        fill(all, &all->batch[turn]);
        if (all->batch[turn].status != HONE_OK)
            return NULL;
    }
}

/* ---- what the writer sees ---- */

/* Signals are the business of the threads that were there before. */
static bool begin_thread(hone__batches *all) {
    sigset_t every, before;
    (void)sigfillset(&every);
    bool masked = pthread_sigmask(SIG_SETMASK, &every, &before) == 0;
    bool begun = pthread_create(&all->thread, NULL, unpack_thread, all) == 0;
    if (masked)
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return begun;
}

/* Thousands of first touches of small pages took a quarter of this thread's time.  A few entries are not worth two megabytes. */
static void prefer_large_pages(hone__buf *buf, uint64_t entries) {
    uintptr_t from = ((uintptr_t)buf->data + LARGE_PAGE - 1) & ~(uintptr_t)(LARGE_PAGE - 1);
    if (entries >= LARGE_ENTRIES)
        (void)madvise((void *)from, BATCH_BYTES, MADV_HUGEPAGE);
}

hone_status hone__batches_new(hone__batches **out, hone__source *source, const hone_filter *filter, bool early, hone_error *err) {
    size_t most = (size_t)BATCH_BYTES + HONE_LIMIT_RECORD_BYTES;
    hone__batches *all = hone__alloc(sizeof *all);
    *out = NULL;
    bool good = all != NULL;
    for (int i = 0; good && i < 2; i++) {
        hone__batch *b = &all->batch[i];
        b->pending = hone__alloc_array(HONE_BATCH_ENTRIES, sizeof *b->pending);
        hone__buf_init(&b->bytes, most);
        good = b->pending != NULL && hone__buf_room(&b->bytes, most) != NULL; /* what is not used is not touched */
        if (good)
            prefer_large_pages(&b->bytes, source->entries);
        hone__buf_clear(&b->bytes);
        all->free[i] = true;
    }
    if (!good) {
        for (int i = 0; all != NULL && i < 2; i++) {
            hone__buf_free(&all->batch[i].bytes);
            hone__free(all->batch[i].pending);
        }
        hone__free(all);
        return hone__fail(err, HONE_E_NOMEM, "exchange", "no memory to import");
    }
    all->source = source;
    all->filter = filter;
    all->early = early;
    (void)pthread_mutex_init(&all->mutex, NULL);
    (void)pthread_cond_init(&all->changed, NULL);
    all->threaded = begin_thread(all);
    *out = all;
    return HONE_OK;
}

void hone__batches_free(hone__batches *all) {
    if (all == NULL)
        return;
    (void)pthread_mutex_lock(&all->mutex);
    all->stop = true;
    (void)pthread_cond_broadcast(&all->changed);
    (void)pthread_mutex_unlock(&all->mutex);
    if (all->threaded)
        (void)pthread_join(all->thread, NULL);
    for (int i = 0; i < 2; i++) {
        hone__buf_free(&all->batch[i].bytes);
        hone__free(all->batch[i].pending);
    }
    (void)pthread_mutex_destroy(&all->mutex);
    (void)pthread_cond_destroy(&all->changed);
    hone__free(all);
}

hone__batch *hone__batches_next(hone__batches *all) {
    hone__batch *b = &all->batch[all->writing];
    if (!all->threaded)
        fill(all, b);
    return b;
}

void hone__batches_done(hone__batches *all, hone__batch *b) {
    b->count = b->ready = 0;
    b->full = false;
    hone__buf_clear(&b->bytes);
    (void)pthread_mutex_lock(&all->mutex);
    all->free[all->writing] = true;
    all->writing ^= 1;
    (void)pthread_cond_broadcast(&all->changed);
    (void)pthread_mutex_unlock(&all->mutex);
}

uint32_t hone__batch_ready(hone__batches *all, hone__batch *b, uint32_t wanted) {
    (void)pthread_mutex_lock(&all->mutex);
    while (b->ready <= wanted && !b->full)
        (void)pthread_cond_wait(&all->changed, &all->mutex);
    uint32_t ready = b->ready;
    (void)pthread_mutex_unlock(&all->mutex);
    return ready;
}

bool hone__batch_has_records(hone__batches *all, hone__batch *b) {
    for (uint32_t i = 0, ready = 0;; i++) {
        if (i == ready)
            ready = hone__batch_ready(all, b, i);
        if (i == ready)
            return false;
        if (b->pending[i].count > 0)
            return true;
    }
}
