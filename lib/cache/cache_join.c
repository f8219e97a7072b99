/* cache_join.c: putting entries.  Of two entries of one key the better evidence stays (spec/record.md section 6), whoever comes first. */
#include "alloc.h"
#include "slot.h"
#include "status.h"
#include "store.h"

typedef struct join_call {
    hone_cache *cache;
    const hone__entry *entry; /* as they were given; only the keys are used of them */
    hone__entry *stored;      /* as a reader will see them: encoding mends doubles and text */
    hone__buf *encoded;
    uint32_t count;
    bool replace, dry_run;
    const hone__entry *superseded; /* is replaced whatever the figures say; or NULL */
    hone__join *result;
} join_call;

static hone_status join_one(hone__txn *txn, const join_call *call, uint32_t i, hone_error *err) {
    uint8_t bytes[HONE_ENTRY_SLOT_BYTES], failure[HONE_FAILURE_SLOT_BYTES];
    const hone__key *key = &call->stored[i].key;
    hone__slot_key slot = hone__entry_slot(key, bytes);
    hone__join result = HONE_JOIN_ADDED;
    hone__entry old;
    hone_status status = hone__txn_entry(txn, key, &old);
    if (status == HONE_OK) {
        int order = hone__entry_compare(&call->stored[i], &old);
        bool over = call->replace || (call->superseded != NULL && hone__entry_compare(call->superseded, &old) == 0);
        result = order == 0 ? HONE_JOIN_SAME : over || order < 0 ? HONE_JOIN_REPLACED : HONE_JOIN_KEPT;
        hone__entry_clear(&old);
    } else if (status == HONE_E_VERSION) {
        result = HONE_JOIN_NEWER;
    } else if (status != HONE_E_NOTFOUND && status != HONE_E_CORRUPT) {
        return hone__fail(err, status, "cache", "cannot read %s: %s", txn->store->path, hone_status_text(status));
    }
    call->result[i] = result;
    if (call->dry_run || result == HONE_JOIN_NEWER)
        return HONE_OK;
    if (result == HONE_JOIN_ADDED || result == HONE_JOIN_REPLACED)
        HONE_TRY(hone__txn_put(txn, HONE_TABLE_ENTRY, slot, call->encoded[i].data, call->encoded[i].length));
    status = hone__txn_delete(txn, HONE_TABLE_STAT, hone__failure_slot(key, failure));
    return status == HONE_E_NOTFOUND ? HONE_OK : status;
}

static hone_status join_fn(hone__txn *txn, void *user, hone_error *err) {
    join_call *call = user;
    for (uint32_t i = 0; i < call->count; i++)
        HONE_TRY(join_one(txn, call, i, err));
    return HONE_OK;
}

static hone_status encode_one(join_call *call, uint32_t i, hone_error *err) {
    uint8_t bytes[HONE_ENTRY_SLOT_BYTES];
    hone__slot_key slot = hone__entry_slot(&call->entry[i].key, bytes);
    hone__buf *buf = &call->encoded[i];
    hone__buf_init(buf, HONE_LIMIT_RECORD_BYTES);
    hone_status status = hone__entry_encode(buf, &call->entry[i], slot);
    if (status == HONE_OK)
        status = hone__entry_decode(&call->stored[i], buf->data, buf->length, slot);
    if (status == HONE_OK)
        return HONE_OK;
    return hone__fail(err, status, "cache", "cannot store this entry: %s", status == HONE_E_LIMIT ? "a text in it is too long" : hone_status_text(status));
}

static hone_status join(join_call *call, hone_error *err) {
    hone_cache *cache = call->cache;
    HONE_TRY(call->dry_run ? hone__cache_usable(cache, err) : hone__cache_writable(cache, err));
    call->stored = hone__alloc_array(call->count, sizeof *call->stored);
    call->encoded = hone__alloc_array(call->count, sizeof *call->encoded);
    hone_status status = call->stored == NULL || call->encoded == NULL ? hone__fail(err, HONE_E_NOMEM, "cache", "no memory to store entries") : HONE_OK;
    for (uint32_t i = 0; i < call->count && status == HONE_OK; i++)
        status = encode_one(call, i, err);
    if (status == HONE_OK)
        status = call->dry_run ? hone__store_read(cache, join_fn, call, err) : hone__store_write(cache, join_fn, call, err);
    for (uint32_t i = 0; i < call->count; i++) {
        if (call->stored != NULL)
            hone__entry_clear(&call->stored[i]);
        if (call->encoded != NULL)
            hone__buf_free(&call->encoded[i]);
    }
    hone__free(call->stored);
    hone__free(call->encoded);
    return status;
}

hone_status hone__cache_join(hone_cache *cache, const hone__entry *entry, uint32_t count, bool replace, bool dry_run, hone__join *result,
                             hone_error *err) {
    join_call call = {.cache = cache, .entry = entry, .count = count, .replace = replace, .dry_run = dry_run, .result = result};
    return join(&call, err);
}

static hone_status put_one(hone_cache *cache, const hone__entry *entry, bool replace, const hone__entry *superseded, hone_error *err) {
    hone__join result;
    join_call call = {.cache = cache, .entry = entry, .count = 1, .replace = replace, .superseded = superseded, .result = &result};
    HONE_TRY(join(&call, err));
    if (result == HONE_JOIN_NEWER)
        return hone__fail(err, HONE_E_VERSION, "cache", "the entry of this key in %s was written by a newer Hone and is kept", hone_cache_path(cache));
    return HONE_OK;
}

hone_status hone__cache_put(hone_cache *cache, const hone__entry *entry, bool replace, hone_error *err) {
    return put_one(cache, entry, replace, NULL, err);
}

hone_status hone__cache_put_over(hone_cache *cache, const hone__entry *entry, const hone__entry *superseded, hone_error *err) {
    return put_one(cache, entry, false, superseded, err);
}
