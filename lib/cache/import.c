/* import.c: a pack's entries into a cache, many in one transaction; appended while they lie beyond everything in the table, else compared one by one.
 * While a full batch is being written the next one is unpacked: the writing is a thread of its own then, and calls nobody back. */
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

enum { BATCH_BYTES = 16 << 20, BATCH_ENTRIES = 16384 };

/* One entry on its way into the table. */
typedef struct pending {
    uint8_t slot[HONE_SLOT_BYTES];
    size_t at, count;             /* of its record in the batch */
    hone__merge_fate fate;
    bool conflicts;
    const char *reason;
} pending;

/* What one transaction writes. */
typedef struct batch {
    hone_cache *cache;
    const hone_exchange_options *options;
    hone__buf bytes;
    pending *pending;
    uint32_t count;
    bool has_failures;            /* the cache remembers failed tunings: they end when an entry arrives */
    bool running;                 /* `thread` writes it; all else is the thread's until it is joined */
    pthread_t thread;
    hone_status status;
    hone_error error;
} batch;

typedef struct importing {
    hone_cache *cache;
    const hone_exchange_options *options;
    hone__tally tally;
    batch batch[2];
    batch *filling, *writing;
    uint64_t seen, expected, kernels;
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
    if (b->options->policy == HONE_MERGE_OURS)
        order = -1;
    else if (b->options->policy == HONE_MERGE_THEIRS)
        order = 1;
    else if (b->options->policy == HONE_MERGE_NEWEST && ours != new)
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

/* Repeatable: it decides anew each time. */
static hone_status batch_fn(hone__txn *txn, void *user, hone_error *err) {
    batch *b = user;
    hone_status status = HONE_OK;
    bool write = b->options->dry_run == 0;
    bool beyond = b->count > 0 && lies_beyond(txn, b->pending[0].slot, &status);
    if (status == HONE_OK)
        status = find_failures(txn, &b->has_failures);
    for (uint32_t i = 0; i < b->count && status == HONE_OK; i++)
        status = put_one(b, txn, &b->pending[i], beyond, write);
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
    b->status = b->options->dry_run != 0 ? hone__store_read(b->cache, batch_fn, b, &b->error) : hone__store_write(b->cache, batch_fn, b, &b->error);
}

static void *write_thread(void *user) {
    write_batch(user);
    return NULL;
}

/* Signals are the business of the threads that were there before. */
static void begin_writing(batch *b) {
    sigset_t all, before;
    (void)sigfillset(&all);
    bool masked = pthread_sigmask(SIG_SETMASK, &all, &before) == 0;
    b->running = pthread_create(&b->thread, NULL, write_thread, b) == 0;
    if (masked)
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!b->running)
        write_batch(b);
}

static void join(batch *b) {
    if (b->running)
        (void)pthread_join(b->thread, NULL);
    b->running = false;
}

/* Wait for the batch that is being written, and tell what became of its entries. */
static hone_status settle(importing *im, hone_error *err) {
    batch *b = im->writing;
    join(b);
    if (b->count == 0)
        return HONE_OK;
    if (b->status != HONE_OK) {
        if (err != NULL)
            *err = b->error;
        return b->status;
    }
    for (uint32_t i = 0; i < b->count; i++) {
        const pending *p = &b->pending[i];
        hone__item item = item_of(b, p);
        im->tally.counts.conflicting += p->conflicts;
        HONE_TRY(tell(im, &item, p->fate, p->reason, err));
    }
    b->count = 0;
    hone__buf_clear(&b->bytes);
    if (im->options->progress != NULL && im->options->progress(im->seen, im->expected, im->options->user) != 0)
        return hone__fail(err, HONE_E_CANCELLED, "exchange", "the import was cancelled");
    return HONE_OK;
}

/* `last`: nothing comes after, so there is nothing to do meanwhile. */
static hone_status flush(importing *im, bool last, hone_error *err) {
    HONE_TRY(settle(im, err));
    batch *b = im->filling;
    im->filling = im->writing;
    im->writing = b;
    if (b->count == 0)
        return HONE_OK;
    if (!last) {
        begin_writing(b);
        return HONE_OK;
    }
    write_batch(b);
    return settle(im, err);
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
    return b->count == BATCH_ENTRIES || b->bytes.length >= BATCH_BYTES ? flush(im, false, err) : HONE_OK;
}

static hone_status import_entries(importing *im, hone__source *source, hone_error *err) {
    for (;;) {
        hone__item item;
        const char *reason = NULL;
        hone_status status = source->next(source, &item, &reason, err);
        if (status == HONE_E_NOTFOUND)
            return flush(im, true, err);
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
    importing im = {.cache = cache, .options = &o, .expected = opened.source->entries};
    im.tally = (hone__tally){.name = pack_path, .kind = opened.pack != NULL ? "pack" : "cache"};
    hone_status status = HONE_OK;
    for (int i = 0; i < 2; i++) {
        im.batch[i] = (batch){.cache = cache, .options = &o, .pending = hone__alloc_array(BATCH_ENTRIES, sizeof(pending))};
        hone__buf_init(&im.batch[i].bytes, (size_t)BATCH_BYTES + HONE_LIMIT_RECORD_BYTES);
        if (im.batch[i].pending == NULL)
            status = hone__fail(err, HONE_E_NOMEM, "exchange", "no memory to import");
    }
    im.filling = &im.batch[0];
    im.writing = &im.batch[1];
    if (status == HONE_OK)
        status = import_entries(&im, opened.source, err);
    if (status == HONE_OK)
        status = import_kernels(&im, opened.source, err);
    if (status == HONE_OK)
        status = hone__exchange_report(report, &o, &im.tally, 1, NULL, NULL, im.kernels, err);
    for (int i = 0; i < 2; i++) {
        join(&im.batch[i]);
        hone__buf_free(&im.batch[i].bytes);
        hone__free(im.batch[i].pending);
    }
    hone__source_shut(&opened);
    return status;
}
