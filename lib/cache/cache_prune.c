/* cache_prune.c: hone_cache_prune: entries that a filter chooses are deleted, batch by batch.  A batch is chosen in a read transaction and deleted
 * in a write transaction, which looks again: what a tuning has improved in between stays. */
#include "alloc.h"
#include "slot.h"
#include "status.h"
#include "store.h"
#include "upkeep.h"

enum { BATCH = 256 };

typedef struct doomed {
    uint8_t slot[HONE_ENTRY_SLOT_BYTES];
    hone__raw_record raw; /* the record that was chosen */
} doomed;

typedef struct prune_call {
    doomed item[BATCH];
    uint32_t count;
    uint64_t removed, changed, bytes;
    uint64_t batch_removed, batch_changed, batch_bytes;
} prune_call;

static hone_status delete_fn(hone__txn *txn, void *user, hone_error *err) {
    prune_call *call = user;
    call->batch_removed = call->batch_changed = call->batch_bytes = 0; /* this may be a second run */
    for (uint32_t i = 0; i < call->count; i++) {
        const doomed *item = &call->item[i];
        hone__slot_key slot = {item->slot, sizeof item->slot};
        MDB_val value;
        hone_status status = hone__txn_get(txn, HONE_TABLE_ENTRY, slot, &value);
        if (status == HONE_OK) {
            const size_t tail = sizeof item->raw.checksum;
            const char *end = (const char *)value.mv_data + value.mv_size;
            if (value.mv_size == item->raw.bytes && memcmp(end - tail, item->raw.checksum, tail) == 0) {
                call->batch_bytes += value.mv_size;
                call->batch_removed++;
                status = hone__txn_delete(txn, HONE_TABLE_ENTRY, slot);
            } else {
                call->batch_changed++;
            }
        }
        if (status != HONE_OK && status != HONE_E_NOTFOUND)
            return hone__fail(err, status, "cache", "cannot delete from %s: %s", txn->store->path, hone_status_text(status));
    }
    return HONE_OK;
}

static hone_status flush(hone_cache *cache, const hone__work *work, prune_call *call, hone_error *err) {
    hone_status status = HONE_OK;
    if (call->count > 0 && work->options.dry_run == 0) {
        status = hone__store_write(cache, delete_fn, call, err);
        if (status == HONE_OK) {
            call->removed += call->batch_removed;
            call->changed += call->batch_changed;
            call->bytes += call->batch_bytes;
        }
    } else {
        for (uint32_t i = 0; i < call->count; i++)
            call->bytes += call->item[i].raw.bytes;
        call->removed += call->count;
    }
    call->count = 0;
    return status;
}

static hone_status prune_all(hone_cache *cache, hone__work *work, prune_call *call, hone__entry_walk *walk, hone_error *err) {
    hone__buf line;
    hone__buf_init(&line, HONE_LIMIT_RECORD_BYTES * 2);
    const hone__entry *entry;
    hone_status status;
    while ((status = hone__entry_walk_next(walk, &entry, err)) == HONE_OK) {
        status = hone__work_step(work, 1, err);
        if (status == HONE_OK && hone__filter_passes(&work->filter, entry)) {
            doomed *item = &call->item[call->count++];
            (void)hone__entry_slot(&entry->key, item->slot);
            item->raw = hone__entry_walk_raw(walk);
            if (work->options.line != NULL) {
                hone__buf_clear(&line);
                hone__entry_print(&line, entry);
                status = hone__work_line(work, &line, err);
            }
        }
        if (status == HONE_OK && call->count == BATCH)
            status = flush(cache, work, call, err);
        if (status != HONE_OK)
            break;
    }
    hone__buf_free(&line);
    return status == HONE_E_NOTFOUND ? flush(cache, work, call, err) : status;
}

hone_status hone_cache_prune(char **report, hone_cache *cache, const hone_work_options *options, hone_error *err) {
    if (report != NULL)
        *report = NULL;
    hone__work work;
    HONE_TRY(hone__work_begin(&work, options, err));
    HONE_TRY(work.options.dry_run != 0 ? hone__cache_usable(cache, err) : hone__cache_writable(cache, err));
    if (hone__filter_is_empty(&work.filter))
        return hone__fail(err, HONE_E_ARG, "cache", "nothing says which entries to remove; remove the file to remove them all");
    HONE_TRY(hone__cache_count_entries(cache, &work.total, err));
    hone__entry_walk *walk;
    prune_call *call = hone__alloc(sizeof *call);
    if (call == NULL)
        return hone__fail(err, HONE_E_NOMEM, "cache", "no memory to choose entries");
    hone_status status = hone__entry_walk_open(&walk, cache, err);
    if (status == HONE_OK)
        status = prune_all(cache, &work, call, walk, err);
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    hone__buf_printf(&buf, "{\"hone\":1,\"dry_run\":%s,\"entries\":%llu,\"removed\":%llu,\"removed_bytes\":%llu,\"kept\":%llu,\"changed\":%llu,\"damaged\":%llu}",
                     work.options.dry_run != 0 ? "true" : "false", (unsigned long long)work.done, (unsigned long long)call->removed,
                     (unsigned long long)call->bytes, (unsigned long long)(work.done - call->removed), (unsigned long long)call->changed,
                     (unsigned long long)(hone__entry_walk_damaged(walk) + hone__entry_walk_newer(walk)));
    hone__entry_walk_close(walk);
    hone__free(call);
    return hone__work_end(report, &buf, status, err);
}
