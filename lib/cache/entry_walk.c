/* entry_walk.c: every entry of a cache in slot order, for who pulls.  Entries are copied out a bounded chunk at a time and no transaction is
 * open in between, so that a slow reader pins no pages; what is stored meanwhile behind the place that was reached is not seen. */
#include "alloc.h"
#include "slot.h"
#include "status.h"
#include "store.h"

enum { CHUNK = 64, CHUNK_BYTES = 4 << 20 };

struct hone__entry_walk {
    const hone_cache *cache;
    uint8_t from[512];      /* the first slot wanted */
    size_t from_bytes;      /* 0: the very first */
    bool more;
    uint32_t count, next;
    uint64_t damaged, newer;
    hone__entry entry[CHUNK];
    hone__raw_record raw[CHUNK];
};

static void chunk_clear(hone__entry_walk *walk) {
    for (uint32_t i = 0; i < walk->count; i++)
        hone__entry_clear(&walk->entry[i]);
    walk->count = walk->next = 0;
}

static hone_status chunk_fn(hone__txn *txn, void *user, hone_error *err) {
    hone__entry_walk *walk = user;
    chunk_clear(walk);
    walk->more = false;
    uint64_t damaged = 0, newer = 0, bytes = 0;
    MDB_cursor *cursor;
    MDB_val key, value;
    HONE_TRY(hone__txn_cursor(txn, HONE_TABLE_ENTRY, &cursor));
    hone_status status = hone__cursor_seek(txn, cursor, (hone__slot_key){walk->from, walk->from_bytes}, &key, &value);
    while (status == HONE_OK) {
        if ((walk->count == CHUNK || bytes > CHUNK_BYTES) && key.mv_size <= sizeof walk->from) {
            memcpy(walk->from, key.mv_data, key.mv_size);
            walk->from_bytes = key.mv_size;
            walk->more = true;
            break;
        }
        hone__entry *entry = &walk->entry[walk->count];
        hone_status decoded = hone__entry_decode(entry, value.mv_data, value.mv_size, (hone__slot_key){key.mv_data, key.mv_size});
        bytes += value.mv_size;
        if (decoded == HONE_OK) {
            hone__raw_record *raw = &walk->raw[walk->count++];
            raw->bytes = value.mv_size;
            memcpy(raw->checksum, (const char *)value.mv_data + value.mv_size - sizeof raw->checksum, sizeof raw->checksum);
        } else if (decoded == HONE_E_NOMEM) {
            status = decoded;
        } else if (decoded == HONE_E_VERSION) {
            newer++;
        } else {
            damaged++;
        }
        if (status == HONE_OK)
            status = hone__cursor_next(txn, cursor, &key, &value);
    }
    mdb_cursor_close(cursor);
    if (status != HONE_OK && status != HONE_E_NOTFOUND)
        return hone__fail(err, status, "cache", "cannot list %s: %s", txn->store->path, hone_status_text(status));
    walk->damaged += damaged;
    walk->newer += newer;
    return HONE_OK;
}

hone_status hone__entry_walk_open(hone__entry_walk **out, const hone_cache *cache, hone_error *err) {
    *out = NULL;
    HONE_TRY(hone__cache_usable(cache, err));
    hone__entry_walk *walk = hone__alloc(sizeof *walk);
    if (walk == NULL)
        return hone__fail(err, HONE_E_NOMEM, "cache", "no memory to list entries");
    walk->cache = cache;
    walk->more = true;
    *out = walk;
    return HONE_OK;
}

hone_status hone__entry_walk_next(hone__entry_walk *walk, const hone__entry **out, hone_error *err) {
    *out = NULL;
    while (walk->next == walk->count) {
        if (!walk->more)
            return HONE_E_NOTFOUND;
        HONE_TRY(hone__store_read(walk->cache, chunk_fn, walk, err));
    }
    *out = &walk->entry[walk->next++];
    return HONE_OK;
}

hone__raw_record hone__entry_walk_raw(const hone__entry_walk *walk) {
    return walk->raw[walk->next - 1];
}

uint64_t hone__entry_walk_damaged(const hone__entry_walk *walk) {
    return walk == NULL ? 0 : walk->damaged;
}

uint64_t hone__entry_walk_newer(const hone__entry_walk *walk) {
    return walk == NULL ? 0 : walk->newer;
}

void hone__entry_walk_close(hone__entry_walk *walk) {
    if (walk == NULL)
        return;
    chunk_clear(walk);
    hone__free(walk);
}

/* ---- how many, and kernels ---- */

static hone_status count_fn(hone__txn *txn, void *user, hone_error *err) {
    MDB_stat stat;
    int rc = mdb_stat(txn->txn, txn->store->dbi[HONE_TABLE_ENTRY], &stat);
    if (rc != 0)
        return hone__mdb_fail(err, txn->store, rc, "read");
    *(uint64_t *)user = stat.ms_entries;
    return HONE_OK;
}

hone_status hone__cache_count_entries(const hone_cache *cache, uint64_t *count, hone_error *err) {
    *count = 0;
    return hone__store_read(cache, count_fn, count, err);
}

typedef struct kernel_call {
    uint8_t from[17];      /* the id after which to go on, and a zero: the least slot behind it */
    size_t from_bytes;
    hone__kernel_info *out;
    uint64_t damaged;
} kernel_call;

static hone_status kernel_fn(hone__txn *txn, void *user, hone_error *err) {
    kernel_call *call = user;
    MDB_cursor *cursor;
    MDB_val key, value;
    uint64_t damaged = 0;
    HONE_TRY(hone__txn_cursor(txn, HONE_TABLE_KERNEL, &cursor));
    hone_status status = hone__cursor_seek(txn, cursor, (hone__slot_key){call->from, call->from_bytes}, &key, &value);
    for (; status == HONE_OK; status = hone__cursor_next(txn, cursor, &key, &value)) {
        status = hone__kernel_info_decode(call->out, value.mv_data, value.mv_size, (hone__slot_key){key.mv_data, key.mv_size});
        if (status == HONE_OK || status == HONE_E_NOMEM)
            break;
        damaged++;
    }
    mdb_cursor_close(cursor);
    call->damaged = damaged;
    if (status == HONE_OK || status == HONE_E_NOTFOUND)
        return status;
    return hone__fail(err, status, "cache", "cannot list the kernels of %s: %s", txn->store->path, hone_status_text(status));
}

hone_status hone__cache_next_kernel(const hone_cache *cache, const uint8_t *after, hone__kernel_info *out, uint64_t *damaged, hone_error *err) {
    kernel_call call = {.out = out};
    if (after != NULL) {
        memcpy(call.from, after, 16);
        call.from_bytes = sizeof call.from;
    }
    hone_status status = hone__store_read(cache, kernel_fn, &call, err);
    *damaged += call.damaged;
    return status;
}
