/* cache_prune.c: hone_cache_prune: entries that a filter chooses are deleted, batch by batch.  A batch is chosen in a read transaction and deleted
 * in a write transaction, which looks again: what a tuning has improved in between stays. */
#include "alloc.h"
#include "exchange.h"
#include "slot.h"
#include "status.h"
#include "store.h"
#include "upkeep.h"

enum { BATCH = 256 };

typedef struct doomed {
    uint8_t slot[HONE_ENTRY_SLOT_BYTES];
    uint8_t checksum[HONE_RECORD_CHECKSUM_BYTES]; /* of the record that was chosen */
    uint64_t bytes;
} doomed;

typedef struct prune_call {
    doomed item[BATCH];
    uint32_t count;
    uint64_t removed, changed, bytes, damaged;
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
            const char *end = (const char *)value.mv_data + value.mv_size;
            if (value.mv_size == item->bytes && memcmp(end - sizeof item->checksum, item->checksum, sizeof item->checksum) == 0) {
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
            call->bytes += call->item[i].bytes;
        call->removed += call->count;
    }
    call->count = 0;
    return status;
}

static hone_status judge(hone__work *work, prune_call *call, const hone__item *item, const hone__entry *entry, hone__buf *line, hone_error *err) {
    if (!hone__filter_passes(&work->filter, entry))
        return HONE_OK;
    doomed *chosen = &call->item[call->count++];
    memcpy(chosen->slot, item->slot, sizeof chosen->slot);
    memcpy(chosen->checksum, item->bytes + item->count - sizeof chosen->checksum, sizeof chosen->checksum);
    chosen->bytes = item->count;
    if (work->options.line == NULL)
        return HONE_OK;
    hone__buf_clear(line);
    hone__entry_print(line, entry);
    return hone__work_line(work, line, err);
}

static hone_status prune_all(hone_cache *cache, hone__work *work, prune_call *call, hone__source *source, hone_error *err) {
    hone__buf line;
    hone__buf_init(&line, HONE_LIMIT_RECORD_BYTES * 2);
    hone_status status = HONE_OK;
    while (status == HONE_OK) {
        hone__item item;
        hone__entry entry;
        const char *reason;
        status = source->next(source, &item, &reason, err);
        if (status == HONE_OK)
            status = hone__item_decode(&entry, &item);
        if (status == HONE_E_CORRUPT || status == HONE_E_VERSION) {
            call->damaged++;
            status = HONE_OK;
        } else if (status == HONE_OK) {
            status = judge(work, call, &item, &entry, &line, err);
            hone__entry_clear(&entry);
            if (status == HONE_OK)
                status = hone__work_step(work, 1, err);
            if (status == HONE_OK && call->count == BATCH)
                status = flush(cache, work, call, err);
        }
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
    hone__source *source;
    prune_call *call = hone__alloc(sizeof *call);
    if (call == NULL)
        return hone__fail(err, HONE_E_NOMEM, "cache", "no memory to choose entries");
    hone_status status = hone__cache_source(&source, cache, err);
    if (status == HONE_OK) {
        work.total = source->entries;
        status = prune_all(cache, &work, call, source, err);
        hone__source_close(source);
    }
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    hone__buf_printf(&buf, "{\"hone\":1,\"dry_run\":%s,\"entries\":%llu,\"removed\":%llu,\"removed_bytes\":%llu,\"kept\":%llu,\"changed\":%llu,\"damaged\":%llu}",
                     work.options.dry_run != 0 ? "true" : "false", (unsigned long long)work.done, (unsigned long long)call->removed,
                     (unsigned long long)call->bytes, (unsigned long long)(work.done - call->removed), (unsigned long long)call->changed,
                     (unsigned long long)call->damaged);
    hone__free(call);
    return hone__work_end(report, &buf, status, err);
}
