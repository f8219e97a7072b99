/* import.c: a pack's entries into a cache, many in one transaction; appended while they lie beyond everything in the table, else compared one by one.
 * A thread of its own unpacks (import_batch.c), ahead of the one that writes and calls back. */
#include "exchange.h"
#include "import_batch.h"
#include "limit.h"
#include "pack_format.h"
#include "slot.h"
#include "status.h"
#include "store.h"

#include <string.h>

enum { KERNELS_AT_ONCE = 256, KERNEL_BYTES = 4 << 20 };

typedef struct kernel_record {
    uint8_t id[16];
    size_t at, count;             /* in kernel_bytes */
} kernel_record;

typedef struct importing {
    hone_cache *cache;
    const hone_exchange_options *options;
    hone__tally tally;
    uint64_t seen, expected, kernels;
    hone__buf kernel_bytes;       /* what one transaction writes of kernels */
    kernel_record kernel[KERNELS_AT_ONCE];
    uint32_t kernel_count;
} importing;

/* What one transaction writes. */
typedef struct writing {
    const hone_exchange_options *options;
    hone__batches *batches;
    hone__batch *batch;
    bool has_failures;            /* the cache remembers failed tunings: they end when an entry arrives */
} writing;

/* ---- inside a transaction ---- */

/* Does the new entry replace the old one? */
static hone_status decide(const writing *w, hone__pending *p, MDB_val old_bytes, bool *replaces) {
    hone__item item = hone__pending_item(w->batch, p), old = {.kind = HONE_ITEM_RECORD, .bytes = old_bytes.mv_data, .count = old_bytes.mv_size};
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
    if (w->options->policy == HONE_MERGE_OURS)
        order = -1;
    else if (w->options->policy == HONE_MERGE_THEIRS)
        order = 1;
    else if (w->options->policy == HONE_MERGE_NEWEST && ours != new)
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

static hone_status put_one(const writing *w, hone__txn *txn, hone__pending *p, bool beyond) {
    hone__slot_key slot = {p->slot, HONE_SLOT_BYTES};
    const char *record = w->batch->bytes.data + p->at;
    MDB_val old;
    p->fate = HONE_MERGE_IMPORTED;
    p->conflicts = false;
    p->reason = NULL;
    bool replaces = true;
    hone_status status = beyond ? HONE_E_NOTFOUND : hone__txn_get(txn, HONE_TABLE_ENTRY, slot, &old);
    if (status == HONE_OK)
        HONE_TRY(decide(w, p, old, &replaces));
    else if (status != HONE_E_NOTFOUND)
        return status;
    if (!replaces || w->options->dry_run != 0)
        return HONE_OK;
    HONE_TRY(beyond ? hone__txn_append(txn, HONE_TABLE_ENTRY, slot, record, p->count) : hone__txn_put(txn, HONE_TABLE_ENTRY, slot, record, p->count));
    if (!w->has_failures)
        return HONE_OK;
    uint8_t failure[2 + 16] = {'f', ':'};
    memcpy(failure + 2, p->slot + 16, 16);
    status = hone__txn_delete(txn, HONE_TABLE_STAT, (hone__slot_key){failure, sizeof failure});
    return status == HONE_E_NOTFOUND ? HONE_OK : status;
}

/* Repeatable: it decides anew each time.  It may begin while the batch is still being unpacked. */
static hone_status batch_fn(hone__txn *txn, void *user, hone_error *err) {
    writing *w = user;
    bool beyond = false, asked = false;
    hone_status status = hone__txn_has_prefix(txn, HONE_TABLE_STAT, (hone__slot_key){"f:", 2}, &w->has_failures);
    for (uint32_t i = 0, ready = 0; status == HONE_OK; i++) {
        if (i == ready)
            ready = hone__batch_ready(w->batches, w->batch, i);
        if (i == ready)
            break;
        hone__pending *p = &w->batch->pending[i];
        if (p->count == 0)
            continue;
        if (!asked)
            beyond = lies_beyond(txn, p->slot, &status);
        asked = true;
        if (status == HONE_OK)
            status = put_one(w, txn, p, beyond);
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

/* Tell what became of the entries of a batch. */
static hone_status tell_batch(importing *im, const hone__batch *b, hone_error *err) {
    for (uint32_t i = 0; i < b->ready; i++) {
        const hone__pending *p = &b->pending[i];
        hone__item item = hone__pending_item(b, p);
        im->seen++;
        im->tally.counts.seen++;
        im->tally.counts.conflicting += p->conflicts;
        HONE_TRY(tell(im, &item, p->fate, p->reason, err));
    }
    if (b->ready > 0 && im->options->progress != NULL && im->options->progress(im->seen, im->expected, im->options->user) != 0)
        return hone__fail(err, HONE_E_CANCELLED, "exchange", "the import was cancelled");
    return HONE_OK;
}

static hone_status import_entries(importing *im, hone__batches *batches, hone_error *err) {
    for (bool last = false; !last;) {
        hone__batch *b = hone__batches_next(batches);
        writing w = {.options = im->options, .batches = batches, .batch = b};
        if (hone__batch_has_records(batches, b))
            HONE_TRY(im->options->dry_run != 0 ? hone__store_read(im->cache, batch_fn, &w, err) : hone__store_write(im->cache, batch_fn, &w, err));
        (void)hone__batch_ready(batches, b, HONE_BATCH_ENTRIES); /* until nothing more is added */
        HONE_TRY(tell_batch(im, b, err));
        if (b->status != HONE_OK && b->status != HONE_E_NOTFOUND) {
            if (err != NULL)
                *err = b->error;
            return b->status;
        }
        last = b->status == HONE_E_NOTFOUND;
        hone__batches_done(batches, b);
    }
    return HONE_OK;
}

static hone_status kernels_fn(hone__txn *txn, void *user, hone_error *err) {
    const importing *im = user;
    for (uint32_t i = 0; i < im->kernel_count; i++) {
        const kernel_record *k = &im->kernel[i];
        hone_status status = hone__txn_put(txn, HONE_TABLE_KERNEL, (hone__slot_key){k->id, sizeof k->id}, im->kernel_bytes.data + k->at, k->count);
        if (status != HONE_OK)
            return hone__fail(err, status, "exchange", "cannot import kernels into %s: %s", txn->store->path, hone_status_text(status));
    }
    return HONE_OK;
}

static hone_status flush_kernels(importing *im, hone_error *err) {
    if (im->kernel_count > 0)
        HONE_TRY(hone__store_write(im->cache, kernels_fn, im, err));
    im->kernel_count = 0;
    hone__buf_clear(&im->kernel_bytes);
    return HONE_OK;
}

/* A commit waits for the disk, so kernels share one. */
static hone_status keep_kernel(importing *im, const hone__kernel_info *info, hone_error *err) {
    kernel_record *k = &im->kernel[im->kernel_count];
    memcpy(k->id, info->id, sizeof k->id);
    k->at = im->kernel_bytes.length;
    hone_status status = hone__kernel_info_encode(&im->kernel_bytes, info, (hone__slot_key){k->id, sizeof k->id});
    if (status != HONE_OK)
        return hone__fail(err, status, "exchange", "cannot keep the kernel %s: %s", info->name, hone_status_text(status));
    k->count = im->kernel_bytes.length - k->at;
    im->kernel_count++;
    return im->kernel_count == KERNELS_AT_ONCE || im->kernel_bytes.length >= KERNEL_BYTES ? flush_kernels(im, err) : HONE_OK;
}

static hone_status import_kernel(importing *im, hone__kernel_info *info, hone_error *err) {
    static char none[] = "";
    hone__kernel_info old, kept = *info;
    if (im->options->without_source != 0)
        kept.source = none;
    hone_status status = hone__cache_get_kernel(im->cache, info->id, &old, NULL);
    if (status == HONE_OK) {
        bool better = hone__pack_kernel_compare(&kept, &old) < 0;
        hone__kernel_info_clear(&old);
        if (!better)
            return HONE_OK;
    } else if (status != HONE_E_NOTFOUND && status != HONE_E_CORRUPT) {
        return HONE_OK; /* of a newer Hone: it stays */
    }
    im->kernels++;
    return im->options->dry_run != 0 ? HONE_OK : keep_kernel(im, &kept, err);
}

static hone_status import_kernels(importing *im, hone__source *source, hone_error *err) {
    for (;;) {
        hone__kernel_info info;
        const char *reason = NULL;
        hone_status status = source->next_kernel(source, &info, &reason, err);
        if (status == HONE_E_NOTFOUND)
            return flush_kernels(im, err);
        if (status != HONE_OK && reason == NULL)
            return status;
        if (status != HONE_OK) {
            im->tally.counts.rejected_kernels++;
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
    hone__buf_init(&im.kernel_bytes, (size_t)KERNEL_BYTES + HONE_LIMIT_RECORD_BYTES);
    hone__batches *batches = NULL;
    /* The walk over a cache takes its gate, which may be the one that the transaction holds. */
    hone_status status = hone__batches_new(&batches, opened.source, o.filter, opened.pack != NULL, err);
    if (status == HONE_OK)
        status = import_entries(&im, batches, err);
    hone__batches_free(batches);
    if (status == HONE_OK)
        status = import_kernels(&im, opened.source, err);
    if (status == HONE_OK)
        status = hone__exchange_report(report, &o, &im.tally, 1, NULL, NULL, im.kernels, err);
    hone__buf_free(&im.kernel_bytes);
    hone__source_shut(&opened);
    return status;
}
