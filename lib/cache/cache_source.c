/* cache_source.c: a cache's entries and kernels as a source: raw records, copied out in bounded pieces so that no transaction stays open while
 * somebody works on them. */
#include "alloc.h"
#include "exchange.h"
#include "limit.h"
#include "slot.h"
#include "status.h"
#include "store.h"

enum { PIECE_BYTES = 1 << 20, PIECE_RECORDS = 1024, ODD_SLOT_MAX = 511 };

typedef struct record_place {
    uint8_t slot[HONE_SLOT_BYTES];
    size_t at, count;
    bool odd;                     /* its slot is not one */
} record_place;

typedef struct cache_source {
    hone__source source;
    const hone_cache *cache;
    hone__table table;            /* of the piece */
    size_t slot_bytes;
    hone__buf piece;
    record_place *place;
    uint32_t count, next;
    uint8_t last[ODD_SLOT_MAX];   /* the last slot of the piece, where the next one begins */
    size_t last_bytes;
    bool more;
} cache_source;

static hone_status piece_fn(hone__txn *txn, void *user, hone_error *err) {
    cache_source *from = user;
    MDB_cursor *cursor;
    MDB_val key, value;
    hone__buf_clear(&from->piece); /* this may be a second run */
    from->count = from->next = 0;
    hone__seen seen = {0, 0};
    HONE_TRY(hone__txn_cursor(txn, from->table, &cursor));
    hone_status status = hone__cursor_seek(txn, cursor, (hone__slot_key){from->last, from->last_bytes}, &key, &value);
    if (status == HONE_OK && from->last_bytes > 0 && key.mv_size == from->last_bytes && memcmp(key.mv_data, from->last, key.mv_size) == 0)
        status = hone__cursor_next(txn, cursor, &key, &value);
    while (status == HONE_OK) {
        record_place *place = &from->place[from->count++];
        *place = (record_place){.at = from->piece.length, .count = value.mv_size, .odd = key.mv_size != from->slot_bytes};
        if (!place->odd)
            memcpy(place->slot, key.mv_data, key.mv_size);
        hone__buf_bytes(&from->piece, value.mv_data, value.mv_size);
        hone__seen_add(&seen, value);
        if (from->piece.status != HONE_OK) {
            status = from->piece.status;
        } else if (from->count == PIECE_RECORDS || from->piece.length >= PIECE_BYTES) {
            break;
        } else {
            status = hone__cursor_next(txn, cursor, &key, &value);
        }
    }
    from->more = status == HONE_OK;
    if (status == HONE_OK) { /* on the last record taken; LMDB's keys are at most this long */
        from->last_bytes = key.mv_size <= sizeof from->last ? key.mv_size : 0;
        memcpy(from->last, key.mv_data, from->last_bytes);
        from->more = from->last_bytes > 0;
    }
    hone__txn_forget(&seen);
    mdb_cursor_close(cursor);
    if (status == HONE_OK || status == HONE_E_NOTFOUND)
        return HONE_OK;
    return hone__fail(err, status, "cache", "cannot read %s: %s", txn->store->path, hone_status_text(status));
}

/* Where the next record is; loads the next piece when this one is used up. */
static hone_status next_place(cache_source *from, const record_place **out, hone_error *err) {
    if (from->next == from->count) {
        if (!from->more)
            return HONE_E_NOTFOUND;
        HONE_TRY(hone__store_read(from->cache, piece_fn, from, err));
        if (from->count == 0)
            return HONE_E_NOTFOUND;
    }
    *out = &from->place[from->next++];
    return HONE_OK;
}

static hone_status source_next(hone__source *source, hone__item *item, const char **reason, hone_error *err) {
    cache_source *from = (cache_source *)(void *)source;
    const record_place *place;
    *reason = NULL;
    HONE_TRY(next_place(from, &place, err));
    memcpy(item->slot, place->slot, HONE_SLOT_BYTES);
    item->kind = HONE_ITEM_RECORD;
    item->bytes = (const uint8_t *)from->piece.data + place->at;
    item->count = place->count;
    item->strings = NULL;
    if (!place->odd)
        return HONE_OK;
    *reason = "stored under a key that is no entry's";
    return HONE_E_CORRUPT;
}

static void turn_to(cache_source *from, hone__table table, size_t slot_bytes) {
    from->table = table;
    from->slot_bytes = slot_bytes;
    from->count = from->next = 0;
    from->last_bytes = 0;
    from->more = true;
}

static hone_status source_next_kernel(hone__source *source, hone__kernel_info *info, const char **reason, hone_error *err) {
    cache_source *from = (cache_source *)(void *)source;
    const record_place *place;
    *reason = NULL;
    if (from->table != HONE_TABLE_KERNEL)
        turn_to(from, HONE_TABLE_KERNEL, 16);
    HONE_TRY(next_place(from, &place, err));
    hone_status status = place->odd ? HONE_E_CORRUPT
                                    : hone__kernel_info_decode(info, from->piece.data + place->at, place->count, (hone__slot_key){place->slot, 16});
    if (status == HONE_OK && memcmp(info->id, place->slot, 16) != 0) {
        hone__kernel_info_clear(info);
        status = HONE_E_CORRUPT;
    }
    if (status == HONE_E_CORRUPT || status == HONE_E_VERSION)
        *reason = status == HONE_E_CORRUPT ? "damaged" : "written by a newer Hone";
    else if (status != HONE_OK)
        (void)hone__fail(err, status, "cache", "cannot read a kernel of %s: %s", source->name, hone_status_text(status));
    return status;
}

static void source_close(hone__source *source) {
    cache_source *from = (cache_source *)(void *)source;
    hone__buf_free(&from->piece);
    hone__free(from->place);
    hone__free(from);
}

static hone_status count_fn(hone__txn *txn, void *user, hone_error *err) {
    (void)err;
    MDB_stat stat = {0};
    if (mdb_stat(txn->txn, txn->store->dbi[HONE_TABLE_ENTRY], &stat) == 0)
        *(uint64_t *)user = stat.ms_entries;
    return HONE_OK;
}

hone_status hone__cache_source(hone__source **out, const hone_cache *cache, hone_error *err) {
    *out = NULL;
    cache_source *from = hone__alloc(sizeof *from);
    if (from != NULL)
        from->place = hone__alloc_array(PIECE_RECORDS, sizeof *from->place);
    if (from == NULL || from->place == NULL) {
        hone__free(from);
        return hone__fail(err, HONE_E_NOMEM, "cache", "no memory to read %s", hone_cache_path(cache));
    }
    hone__buf_init(&from->piece, PIECE_BYTES + HONE_LIMIT_RECORD_BYTES);
    from->cache = cache;
    from->source = (hone__source){.name = hone_cache_path(cache), .next = source_next, .next_kernel = source_next_kernel, .close = source_close};
    turn_to(from, HONE_TABLE_ENTRY, HONE_SLOT_BYTES);
    hone_status status = hone__store_read(cache, count_fn, &from->source.entries, err);
    if (status != HONE_OK) {
        source_close(&from->source);
        return status;
    }
    *out = &from->source;
    return HONE_OK;
}
