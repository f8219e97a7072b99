/* journal.c: sessions, trials and exchanges in the table `trial`: everything measured and said is written down before anything is
 * made of it, so that a tuning that was killed goes on where it was. */
#include "alloc.h"
#include "log.h"
#include "slot.h"
#include "status.h"
#include "store.h"

typedef hone_status encode_fn(hone__buf *buf, const void *record, hone__slot_key slot);
typedef hone_status decode_fn(void *record, const void *bytes, size_t count, hone__slot_key slot);
typedef void clear_fn(void *record);

typedef struct journal_call {
    const hone__key *key;
    uint32_t number, index;
    uint8_t kind;
    const void *record;      /* to write */
    encode_fn *encode;
    decode_fn *decode;       /* to read */
    clear_fn *clear;
    size_t item_bytes;
    char *items;
    uint32_t count, capacity, damaged;
} journal_call;

static hone_status encode_session(hone__buf *buf, const void *record, hone__slot_key slot) {
    return hone__session_encode(buf, record, slot);
}

static hone_status encode_trial(hone__buf *buf, const void *record, hone__slot_key slot) {
    return hone__trial_encode(buf, record, slot);
}

static hone_status encode_exchange(hone__buf *buf, const void *record, hone__slot_key slot) {
    return hone__exchange_encode(buf, record, slot);
}

static hone_status decode_trial(void *record, const void *bytes, size_t count, hone__slot_key slot) {
    return hone__trial_decode(record, bytes, count, slot);
}

static hone_status decode_exchange(void *record, const void *bytes, size_t count, hone__slot_key slot) {
    return hone__exchange_decode(record, bytes, count, slot);
}

static void clear_trial(void *record) {
    hone__trial_clear(record);
}

static void clear_exchange(void *record) {
    hone__exchange_clear(record);
}

/* ---- sessions ---- */

/* The number of the key's last session, from the keys alone; HONE_E_NOTFOUND when it has none. */
static hone_status last_number(hone__txn *txn, const hone__key *key, uint32_t *number) {
    uint8_t end[HONE_TRIAL_SLOT_BYTES];
    MDB_cursor *cursor;
    MDB_val at, value;
    hone__slot_key slot = hone__trial_slot(key, UINT32_MAX, UINT8_MAX, UINT32_MAX, end);
    HONE_TRY(hone__txn_cursor(txn, HONE_TABLE_TRIAL, &cursor));
    hone_status status = hone__cursor_seek(txn, cursor, slot, &at, &value);
    /* Nothing is stored at the very end itself, so the one before is the last of this key or of a smaller one. */
    int rc = 0;
    if (status == HONE_OK)
        rc = mdb_cursor_get(cursor, &at, &value, MDB_PREV);
    else if (status == HONE_E_NOTFOUND)
        rc = mdb_cursor_get(cursor, &at, &value, MDB_LAST);
    if (status == HONE_OK || status == HONE_E_NOTFOUND)
        status = hone__mdb_status(rc);
    if (status == HONE_OK && (at.mv_size != HONE_TRIAL_SLOT_BYTES || memcmp(at.mv_data, key->key, 16) != 0))
        status = HONE_E_NOTFOUND;
    if (status == HONE_OK)
        *number = hone__get_be32((const uint8_t *)at.mv_data + 16);
    mdb_cursor_close(cursor);
    return status;
}

typedef struct session_call {
    const hone__key *key;
    uint32_t number;
    hone__session *out;
    const hone__session *in;
} session_call;

static hone_status last_fn(hone__txn *txn, void *user, hone_error *err) {
    session_call *call = user;
    uint8_t bytes[HONE_TRIAL_SLOT_BYTES];
    MDB_val value;
    hone_status status = last_number(txn, call->key, &call->number);
    if (status == HONE_OK) {
        hone__slot_key slot = hone__trial_slot(call->key, call->number, HONE_JOURNAL_SESSION, 0, bytes);
        status = hone__txn_get(txn, HONE_TABLE_TRIAL, slot, &value);
        if (status == HONE_OK)
            status = hone__session_decode(call->out, value.mv_data, value.mv_size, slot);
    }
    if (status == HONE_OK)
        return HONE_OK;
    return hone__fail(err, status, "cache", status == HONE_E_NOTFOUND ? "no tuning of this key in %s" : "the last tuning of this key in %s cannot be read",
                      txn->store->path);
}

hone_status hone__journal_last(const hone_cache *cache, const hone__key *key, uint32_t *number, hone__session *out, hone_error *err) {
    memset(out, 0, sizeof *out);
    *number = 0;
    session_call call = {.key = key, .out = out};
    hone_status status = hone__store_read(cache, last_fn, &call, err);
    if (status == HONE_E_CORRUPT) {
        /* Without its head a session cannot be continued: a new one begins. */
        hone__log(HONE_LOG_WARN, "cache", "the journal of a tuning in %s is damaged; it starts afresh", hone_cache_path(cache));
        hone__cache_count(cache, "journal_corrupt", 1);
        return hone__fail(err, HONE_E_NOTFOUND, "cache", "the last tuning of this key is damaged");
    }
    if (status == HONE_OK)
        *number = call.number;
    return status;
}

static hone_status put_at(hone__txn *txn, const hone__key *key, uint32_t number, uint8_t kind, uint32_t index, encode_fn *encode,
                          const void *record, hone_error *err) {
    uint8_t bytes[HONE_TRIAL_SLOT_BYTES];
    hone__slot_key slot = hone__trial_slot(key, number, kind, index, bytes);
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    hone_status status = encode(&buf, record, slot);
    if (status != HONE_OK)
        (void)hone__fail(err, status, "cache", "cannot write the journal: %s", status == HONE_E_LIMIT ? "a text in it is too long" : hone_status_text(status));
    else
        status = hone__txn_put(txn, HONE_TABLE_TRIAL, slot, buf.data, buf.length);
    hone__buf_free(&buf);
    return status;
}

static hone_status begin_fn(hone__txn *txn, void *user, hone_error *err) {
    session_call *call = user;
    hone_status status = last_number(txn, call->key, &call->number);
    if (status == HONE_E_NOTFOUND)
        call->number = 0;
    else if (status != HONE_OK)
        return hone__fail(err, status, "cache", "cannot read the journal in %s", txn->store->path);
    else if (call->number == UINT32_MAX - 1)
        return hone__fail(err, HONE_E_LIMIT, "cache", "too many tunings of one key in %s", txn->store->path);
    else
        call->number++;
    return put_at(txn, call->key, call->number, HONE_JOURNAL_SESSION, 0, encode_session, call->in, err);
}

hone_status hone__journal_begin(hone_cache *cache, const hone__key *key, const hone__session *session, uint32_t *number, hone_error *err) {
    session_call call = {.key = key, .in = session};
    HONE_TRY(hone__store_write(cache, begin_fn, &call, err));
    *number = call.number;
    return HONE_OK;
}

/* ---- appending ---- */

static hone_status append_fn(hone__txn *txn, void *user, hone_error *err) {
    journal_call *call = user;
    return put_at(txn, call->key, call->number, call->kind, call->index, call->encode, call->record, err);
}

hone_status hone__journal_update(hone_cache *cache, const hone__key *key, uint32_t number, const hone__session *session, hone_error *err) {
    journal_call call = {.key = key, .number = number, .kind = HONE_JOURNAL_SESSION, .record = session, .encode = encode_session};
    return hone__store_write(cache, append_fn, &call, err);
}

hone_status hone__journal_trial(hone_cache *cache, const hone__key *key, uint32_t number, uint32_t index, const hone__trial *trial, hone_error *err) {
    journal_call call = {
        .key = key, .number = number, .index = index, .kind = HONE_JOURNAL_TRIAL, .record = trial, .encode = encode_trial};
    return hone__store_write(cache, append_fn, &call, err);
}

hone_status hone__journal_exchange(hone_cache *cache, const hone__key *key, uint32_t number, const hone__exchange *exchange, hone_error *err) {
    journal_call call = {.key = key,
                         .number = number,
                         .index = exchange->index,
                         .kind = HONE_JOURNAL_EXCHANGE,
                         .record = exchange,
                         .encode = encode_exchange};
    return hone__store_write(cache, append_fn, &call, err);
}

/* ---- reading back ---- */

static void items_free(journal_call *call) {
    for (uint32_t i = 0; i < call->count; i++)
        call->clear(call->items + i * call->item_bytes);
    hone__free(call->items);
    call->items = NULL;
    call->count = call->capacity = call->damaged = 0;
}

static hone_status item_room(journal_call *call) {
    if (call->count < call->capacity)
        return HONE_OK;
    uint32_t capacity = call->capacity == 0 ? 32 : call->capacity * 2;
    char *grown = hone__realloc(call->items, capacity * call->item_bytes);
    if (grown == NULL)
        return HONE_E_NOMEM;
    call->items = grown;
    call->capacity = capacity;
    return HONE_OK;
}

static hone_status read_items_fn(hone__txn *txn, void *user, hone_error *err) {
    journal_call *call = user;
    items_free(call); /* this may be a second run */
    uint8_t first[HONE_TRIAL_SLOT_BYTES];
    MDB_cursor *cursor;
    MDB_val key, value;
    hone__slot_key from = hone__trial_slot(call->key, call->number, call->kind, 0, first);
    HONE_TRY(hone__txn_cursor(txn, HONE_TABLE_TRIAL, &cursor));
    hone_status status = hone__cursor_seek(txn, cursor, from, &key, &value);
    while (status == HONE_OK) {
        if (key.mv_size != HONE_TRIAL_SLOT_BYTES || memcmp(key.mv_data, first, HONE_TRIAL_SLOT_BYTES - 4) != 0)
            break;
        status = item_room(call);
        if (status != HONE_OK)
            break;
        hone_status decoded = call->decode(call->items + call->count * call->item_bytes, value.mv_data, value.mv_size,
                                           (hone__slot_key){key.mv_data, key.mv_size});
        if (decoded == HONE_OK)
            call->count++;
        else if (decoded == HONE_E_NOMEM)
            status = decoded;
        else
            call->damaged++;
        if (status == HONE_OK)
            status = hone__cursor_next(txn, cursor, &key, &value);
    }
    mdb_cursor_close(cursor);
    if (status == HONE_OK || status == HONE_E_NOTFOUND)
        return HONE_OK;
    return hone__fail(err, status, "cache", "cannot read the journal in %s: %s", txn->store->path, hone_status_text(status));
}

static hone_status read_items(const hone_cache *cache, journal_call *call, hone_error *err) {
    hone_status status = hone__store_read(cache, read_items_fn, call, err);
    if (status != HONE_OK)
        items_free(call);
    else if (call->damaged > 0)
        hone__cache_count(cache, "journal_corrupt", call->damaged);
    return status;
}

hone_status hone__journal_trials(const hone_cache *cache, const hone__key *key, uint32_t number, hone__trial **out, uint32_t *count, hone_error *err) {
    *out = NULL;
    *count = 0;
    journal_call call = {.key = key,
                         .number = number,
                         .kind = HONE_JOURNAL_TRIAL,
                         .decode = decode_trial,
                         .clear = clear_trial,
                         .item_bytes = sizeof(hone__trial)};
    HONE_TRY(read_items(cache, &call, err));
    *out = (hone__trial *)(void *)call.items;
    *count = call.count;
    return HONE_OK;
}

hone_status hone__journal_exchanges(const hone_cache *cache, const hone__key *key, uint32_t number, hone__exchange **out, uint32_t *count,
                                    hone_error *err) {
    *out = NULL;
    *count = 0;
    journal_call call = {.key = key,
                         .number = number,
                         .kind = HONE_JOURNAL_EXCHANGE,
                         .decode = decode_exchange,
                         .clear = clear_exchange,
                         .item_bytes = sizeof(hone__exchange)};
    HONE_TRY(read_items(cache, &call, err));
    *out = (hone__exchange *)(void *)call.items;
    *count = call.count;
    return HONE_OK;
}
