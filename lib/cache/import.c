/* import.c: a pack's entries into a cache, many in one transaction; appended while they lie beyond everything in the table, else compared one by one.
 * A thread writes what the caller's unpacks, a step behind it in the same batch; while one batch is committed the next is begun.  It calls nobody
 * back.  A batch is kept until it is committed, so that the transaction can be repeated. */
#include "alloc.h"
#include "exchange.h"
#include "limit.h"
#include "pack_format.h"
#include "slot.h"
#include "status.h"
#include "store.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

enum { BATCH_BYTES = 16 << 20, BATCH_ENTRIES = 16384, STEP_ENTRIES = 64 };

/* One entry on its way into the table. */
typedef struct pending {
    uint8_t slot[HONE_SLOT_BYTES];
    size_t at, count;             /* of its record in the batch */
    hone__merge_fate fate;
    bool conflicts;
    const char *reason;
} pending;

typedef enum batch_state {
    BATCH_FILLING,                /* more may come: what is ready may be written */
    BATCH_COMPLETE,
    BATCH_WRITTEN,                /* or failed: the thread is through with it */
    BATCH_GIVEN_UP                /* nothing of it shall stay */
} batch_state;

/* What one transaction writes.  `ready` and `state` are under the import's lock; entries from `ready` on are the filler's, the ones before the writer's. */
typedef struct batch {
    struct importing *im;
    hone__buf bytes;              /* has all the room that it may need, so that it stays where it is */
    pending *pending;
    uint32_t count, ready;
    batch_state state;
    bool has_failures;            /* the cache remembers failed tunings: they end when an entry arrives */
    hone_status status;
    hone_error error;
} batch;

typedef struct importing {
    hone_cache *cache;
    const hone_exchange_options *options;
    hone__tally tally;
    batch batch[2];
    batch *filling;
    uint64_t seen, expected, kernels;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    pthread_t thread;
    bool running, over;           /* `over`: no batch comes any more */
} importing;

/* ---- inside a transaction ---- */

static hone__item item_of(const batch *b, const pending *p) {
    hone__item item = {.kind = HONE_ITEM_RECORD, .bytes = (const uint8_t *)b->bytes.data + p->at, .count = p->count};
    memcpy(item.slot, p->slot, HONE_SLOT_BYTES);
    return item;
}

/* Does the new entry replace the old one? */
static hone_status decide(const batch *b, pending *p, MDB_val old_bytes, bool *replaces) {
    hone__item item = item_of(b, p), old = {.kind = HONE_ITEM_RECORD, .bytes = old_bytes.mv_data, .count = old_bytes.mv_size};
    memcpy(old.slot, p->slot, HONE_SLOT_BYTES);
    *replaces = false;
    p->conflicts = false;
    p->reason = NULL;
    if (item.count == old.count && memcmp(item.bytes, old.bytes, old.count) == 0) {
        p->fate = HONE_MERGE_SAME;
        return HONE_OK;
    }
    hone__view mine, theirs;
    hone_status status = hone__view_make(&mine, &old);
    if (status == HONE_E_VERSION) {
        p->fate = HONE_MERGE_KEPT_OTHER;
        p->reason = "the cache has an entry of a newer Hone";
        p->conflicts = true;
        return HONE_OK;
    }
    p->fate = HONE_MERGE_IMPORTED;
    *replaces = true;
    if (status != HONE_OK)
        return status == HONE_E_CORRUPT ? HONE_OK : status; /* damaged: replaced */
    HONE_TRY(hone__view_make(&theirs, &item));
    p->conflicts = true;
    int order = 0;
    uint64_t ours = hone__view_rank(&mine).created, new = hone__view_rank(&theirs).created;
    if (b->im->options->policy == HONE_MERGE_OURS)
        order = -1;
    else if (b->im->options->policy == HONE_MERGE_THEIRS)
        order = 1;
    else if (b->im->options->policy == HONE_MERGE_NEWEST && ours != new)
        order = new > ours ? 1 : -1;
    else
        HONE_TRY(hone__view_compare(&order, &mine, &old, &theirs, &item));
    *replaces = order > 0;
    if (!*replaces) {
        p->fate = HONE_MERGE_KEPT_OTHER;
        p->reason = "the cache's is preferred";
    }
    return HONE_OK;
}

static bool lies_beyond(hone__txn *txn, const uint8_t slot[HONE_SLOT_BYTES], hone_status *status) {
    MDB_cursor *cursor;
    MDB_val key, value;
    *status = hone__txn_cursor(txn, HONE_TABLE_ENTRY, &cursor);
    if (*status != HONE_OK)
        return false;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    bool beyond = rc == MDB_NOTFOUND;
    if (rc == 0) {
        size_t shorter = key.mv_size < HONE_SLOT_BYTES ? key.mv_size : HONE_SLOT_BYTES;
        int order = memcmp(key.mv_data, slot, shorter);
        beyond = order < 0 || (order == 0 && key.mv_size < HONE_SLOT_BYTES);
    }
    mdb_cursor_close(cursor);
    return beyond;
}

static hone_status put_one(batch *b, hone__txn *txn, pending *p, bool beyond, bool write) {
    hone__slot_key slot = {p->slot, HONE_SLOT_BYTES};
    const char *record = b->bytes.data + p->at;
    MDB_val old;
    p->fate = HONE_MERGE_IMPORTED;
    p->conflicts = false;
    p->reason = NULL;
    bool replaces = true;
    hone_status status = beyond ? HONE_E_NOTFOUND : hone__txn_get(txn, HONE_TABLE_ENTRY, slot, &old);
    if (status == HONE_OK)
        HONE_TRY(decide(b, p, old, &replaces));
    else if (status != HONE_E_NOTFOUND)
        return status;
    if (!replaces || !write)
        return HONE_OK;
    HONE_TRY(beyond ? hone__txn_append(txn, HONE_TABLE_ENTRY, slot, record, p->count) : hone__txn_put(txn, HONE_TABLE_ENTRY, slot, record, p->count));
    if (!b->has_failures)
        return HONE_OK;
    uint8_t failure[2 + 16] = {'f', ':'};
    memcpy(failure + 2, p->slot + 16, 16);
    status = hone__txn_delete(txn, HONE_TABLE_STAT, (hone__slot_key){failure, sizeof failure});
    return status == HONE_E_NOTFOUND ? HONE_OK : status;
}

static hone_status find_failures(hone__txn *txn, bool *found) {
    MDB_cursor *cursor;
    MDB_val key, value;
    HONE_TRY(hone__txn_cursor(txn, HONE_TABLE_STAT, &cursor));
    hone_status status = hone__cursor_seek(txn, cursor, (hone__slot_key){"f:", 2}, &key, &value);
    *found = status == HONE_OK && key.mv_size > 2 && memcmp(key.mv_data, "f:", 2) == 0;
    mdb_cursor_close(cursor);
    return status == HONE_E_NOTFOUND ? HONE_OK : status;
}

/* How many entries there are now, waiting for one beyond `have`; `have` itself: there are no more. */
static hone_status await(batch *b, uint32_t have, uint32_t *ready) {
    importing *im = b->im;
    (void)pthread_mutex_lock(&im->lock);
    while (b->ready == have && b->state == BATCH_FILLING)
        (void)pthread_cond_wait(&im->moved, &im->lock);
    *ready = b->ready;
    hone_status status = b->state == BATCH_GIVEN_UP ? HONE_E_CANCELLED : HONE_OK;
    (void)pthread_mutex_unlock(&im->lock);
    return status;
}

/* Repeatable: it decides anew each time. */
static hone_status batch_fn(hone__txn *txn, void *user, hone_error *err) {
    batch *b = user;
    uint32_t ready = 0;
    bool write = b->im->options->dry_run == 0, beyond = false;
    hone_status status = await(b, 0, &ready);
    if (status == HONE_OK && ready > 0)
        beyond = lies_beyond(txn, b->pending[0].slot, &status);
    if (status == HONE_OK)
        status = find_failures(txn, &b->has_failures);
    for (uint32_t i = 0; i < ready && status == HONE_OK; i++) {
        status = put_one(b, txn, &b->pending[i], beyond, write);
        if (status == HONE_OK && i + 1 == ready)
            status = await(b, ready, &ready);
    }
    if (status != HONE_OK)
        return hone__fail(err, status, "exchange", "cannot import into %s: %s", txn->store->path, hone_status_text(status));
    return HONE_OK;
}

/* ---- around it ---- */

static hone_status tell(importing *im, const hone__item *item, hone__merge_fate fate, const char *reason, hone_error *err) {
    hone__merge_counts *counts = &im->tally.counts;
    uint64_t *all[] = {&counts->imported, &counts->same, &counts->kept_other, &counts->rejected, &counts->filtered, &counts->removed};
    ++*all[fate];
    hone__merge_event event = {fate, 0, item, reason};
    if (hone__exchange_event(im->options, &im->tally, &event) != 0)
        return hone__fail(err, HONE_E_CANCELLED, "exchange", "the import was cancelled");
    return HONE_OK;
}

static void write_batch(batch *b) {
    hone_cache *cache = b->im->cache;
    b->status = b->im->options->dry_run != 0 ? hone__store_read(cache, batch_fn, b, &b->error) : hone__store_write(cache, batch_fn, b, &b->error);
}

/* The batches in turn.  After one that failed the next is not written, either. */
static void *write_thread(void *user) {
    importing *im = user;
    for (batch *b = im->filling;; b = b == &im->batch[0] ? &im->batch[1] : &im->batch[0]) {
        const batch *other = b == &im->batch[0] ? &im->batch[1] : &im->batch[0];
        (void)pthread_mutex_lock(&im->lock);
        while (!im->over && b->ready == 0 && b->state != BATCH_COMPLETE)
            (void)pthread_cond_wait(&im->moved, &im->lock);
        bool end = b->state == BATCH_WRITTEN || (b->ready == 0 && b->state != BATCH_COMPLETE), failed = other->status != HONE_OK;
        (void)pthread_mutex_unlock(&im->lock);
        if (end)
            return NULL;
        if (!failed)
            write_batch(b);
        (void)pthread_mutex_lock(&im->lock);
        if (failed) {
            b->status = other->status;
            b->error = other->error;
        }
        b->state = BATCH_WRITTEN;
        b->ready = 0;
        (void)pthread_cond_broadcast(&im->moved);
        (void)pthread_mutex_unlock(&im->lock);
    }
}

/* Signals are the business of the threads that were there before. */
static void begin_writing(importing *im) {
    sigset_t all, before;
    (void)sigfillset(&all);
    bool masked = pthread_sigmask(SIG_SETMASK, &all, &before) == 0;
    im->running = pthread_create(&im->thread, NULL, write_thread, im) == 0;
    if (masked)
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* What was filled may be written. */
static void publish(importing *im, batch_state state) {
    batch *b = im->filling;
    (void)pthread_mutex_lock(&im->lock);
    b->ready = b->count;
    b->state = state;
    (void)pthread_cond_broadcast(&im->moved);
    (void)pthread_mutex_unlock(&im->lock);
}

/* Wait for a batch, and tell what became of its entries.  It is empty then. */
static hone_status settle(importing *im, batch *b, hone_error *err) {
    (void)pthread_mutex_lock(&im->lock);
    while (im->running && b->state == BATCH_COMPLETE)
        (void)pthread_cond_wait(&im->moved, &im->lock);
    b->state = BATCH_FILLING;
    b->ready = 0;
    (void)pthread_mutex_unlock(&im->lock);
    uint32_t count = b->count;
    b->count = 0;
    if (b->status != HONE_OK) {
        if (err != NULL)
            *err = b->error;
        return b->status;
    }
    for (uint32_t i = 0; i < count; i++) {
        const pending *p = &b->pending[i];
        hone__item item = item_of(b, p);
        im->tally.counts.conflicting += p->conflicts;
        HONE_TRY(tell(im, &item, p->fate, p->reason, err));
    }
    hone__buf_clear(&b->bytes);
    if (count > 0 && im->options->progress != NULL && im->options->progress(im->seen, im->expected, im->options->user) != 0)
        return hone__fail(err, HONE_E_CANCELLED, "exchange", "the import was cancelled");
    return HONE_OK;
}

/* The batch in hand is full, or the last. */
static hone_status flush(importing *im, hone_error *err) {
    batch *b = im->filling;
    publish(im, BATCH_COMPLETE);
    if (!im->running) {
        write_batch(b);
        return settle(im, b, err);
    }
    im->filling = b == &im->batch[0] ? &im->batch[1] : &im->batch[0];
    return settle(im, im->filling, err);
}

static hone_status finish(importing *im, hone_error *err) {
    if (im->filling->count > 0)
        HONE_TRY(flush(im, err));
    return settle(im, im->filling == &im->batch[0] ? &im->batch[1] : &im->batch[0], err);
}

static void end_writing(importing *im) {
    (void)pthread_mutex_lock(&im->lock);
    im->over = true;
    if (im->filling->state == BATCH_FILLING)
        im->filling->state = im->filling->count > 0 ? BATCH_GIVEN_UP : BATCH_WRITTEN;
    (void)pthread_cond_broadcast(&im->moved);
    (void)pthread_mutex_unlock(&im->lock);
    if (im->running)
        (void)pthread_join(im->thread, NULL);
    im->running = false;
}

static bool passes(const importing *im, const hone__item *record) {
    hone__entry entry;
    if (im->options->filter == NULL || hone__item_decode(&entry, record) != HONE_OK)
        return true;
    bool good = hone__filter_passes(im->options->filter, &entry);
    hone__entry_clear(&entry);
    return good;
}

static hone_status add(importing *im, const hone__item *item, hone_error *err) {
    batch *b = im->filling;
    pending *p = &b->pending[b->count];
    *p = (pending){.at = b->bytes.length};
    memcpy(p->slot, item->slot, HONE_SLOT_BYTES);
    hone_status status = hone__item_record(&b->bytes, item);
    if (status == HONE_E_CORRUPT || status == HONE_E_VERSION)
        return tell(im, item, HONE_MERGE_REJECTED, status == HONE_E_CORRUPT ? "damaged" : "written by a newer Hone", err);
    if (status != HONE_OK)
        return hone__fail(err, status, "exchange", "cannot read an entry of %s: %s", im->tally.name, hone_status_text(status));
    p->count = b->bytes.length - p->at;
    hone__item record = item_of(b, p);
    if (!passes(im, &record)) {
        b->bytes.length = p->at;
        return tell(im, item, HONE_MERGE_FILTERED, "left out by the filter", err);
    }
    b->count++;
    if (b->count == BATCH_ENTRIES || b->bytes.length >= BATCH_BYTES)
        return flush(im, err);
    if (b->count % STEP_ENTRIES == 0) {
        if (!im->running)
            begin_writing(im);
        if (im->running)
            publish(im, BATCH_FILLING);
    }
    return HONE_OK;
}

static hone_status import_entries(importing *im, hone__source *source, hone_error *err) {
    for (;;) {
        hone__item item;
        const char *reason = NULL;
        hone_status status = source->next(source, &item, &reason, err);
        if (status == HONE_E_NOTFOUND)
            return finish(im, err);
        if (status != HONE_OK && reason == NULL)
            return status;
        im->seen++;
        im->tally.counts.seen++;
        HONE_TRY(status == HONE_OK ? add(im, &item, err) : tell(im, &item, HONE_MERGE_REJECTED, reason, err));
    }
}

static hone_status import_kernel(importing *im, hone__kernel_info *info, hone_error *err) {
    static char none[] = "";
    hone__kernel_info old, kept = *info;
    if (im->options->without_source != 0)
        kept.source = none;
    im->kernels++;
    hone_status status = hone__cache_get_kernel(im->cache, info->id, &old, NULL);
    if (status == HONE_OK) {
        bool better = hone__pack_kernel_compare(&kept, &old) < 0;
        hone__kernel_info_clear(&old);
        if (!better)
            return HONE_OK;
    } else if (status != HONE_E_NOTFOUND && status != HONE_E_CORRUPT) {
        return HONE_OK; /* of a newer Hone: it stays */
    }
    return im->options->dry_run != 0 ? HONE_OK : hone__cache_put_kernel(im->cache, &kept, err);
}

static hone_status import_kernels(importing *im, hone__source *source, hone_error *err) {
    for (;;) {
        hone__kernel_info info;
        const char *reason = NULL;
        hone_status status = source->next_kernel(source, &info, &reason, err);
        if (status == HONE_E_NOTFOUND)
            return HONE_OK;
        if (status != HONE_OK && reason == NULL)
            return status;
        if (status != HONE_OK) {
            hone__tally_reason(&im->tally, reason);
            continue;
        }
        status = import_kernel(im, &info, err);
        hone__kernel_info_clear(&info);
        HONE_TRY(status);
    }
}

hone_status hone_import(char **report, hone_cache *cache, const char *pack_path, const hone_exchange_options *options, hone_error *err) {
    if (report != NULL)
        *report = NULL;
    hone_exchange_options o;
    HONE_TRY(hone__exchange_options(&o, options, err));
    HONE_TRY(o.dry_run != 0 ? hone__cache_usable(cache, err) : hone__cache_writable(cache, err));
    hone__opened opened;
    HONE_TRY(hone__source_open(&opened, pack_path, o.pack, err));
    importing im = {.cache = cache, .options = &o, .expected = opened.source->entries, .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};
    im.tally = (hone__tally){.name = pack_path, .kind = opened.pack != NULL ? "pack" : "cache"};
    hone_status status = HONE_OK;
    for (int i = 0; i < 2; i++) {
        batch *b = &im.batch[i];
        *b = (batch){.im = &im, .pending = hone__alloc_array(BATCH_ENTRIES, sizeof(pending))};
        hone__buf_init(&b->bytes, (size_t)BATCH_BYTES + HONE_LIMIT_RECORD_BYTES);
        if (b->pending == NULL || hone__buf_room(&b->bytes, b->bytes.max) == NULL)
            status = hone__fail(err, HONE_E_NOMEM, "exchange", "no memory to import");
        hone__buf_clear(&b->bytes);
    }
    im.filling = &im.batch[0];
    if (status == HONE_OK)
        status = import_entries(&im, opened.source, err);
    end_writing(&im);
    if (status == HONE_OK)
        status = import_kernels(&im, opened.source, err);
    if (status == HONE_OK)
        status = hone__exchange_report(report, &o, &im.tally, 1, NULL, NULL, im.kernels, err);
    for (int i = 0; i < 2; i++) {
        hone__buf_free(&im.batch[i].bytes);
        hone__free(im.batch[i].pending);
    }
    hone__source_shut(&opened);
    return status;
}
