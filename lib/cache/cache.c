/* cache.c: opening and closing, entries, kernels, failures and notes. */
#include "alloc.h"
#include "clock.h"
#include "options.h"
#include "site.h"
#include "slot.h"
#include "status.h"
#include "store.h"

#include <stdio.h>
#include <unistd.h>

enum { NOTE_BYTES = 4096 };

/* ---- open and close ---- */

static uint64_t make_token(const hone_cache *cache) {
    struct {
        uint64_t time, cache, pid;
    } seed = {hone__clock_ns(), (uint64_t)(uintptr_t)cache, (uint64_t)cache->pid};
    hone__hash hash = hone__hash_bytes(&seed, sizeof seed);
    uint64_t token;
    memcpy(&token, hash.byte, sizeof token);
    return token;
}

hone_status hone_cache_open(hone_cache **out, const char *path, const hone_cache_options *options, hone_error *err) {
    if (out == NULL)
        return hone__fail(err, HONE_E_ARG, "cache", "hone_cache_open: out is NULL");
    *out = NULL;
    hone_cache_options o = HONE_CACHE_OPTIONS_INIT;
    HONE_TRY(hone__options_read(&o, sizeof o, options, "hone_cache_options", err));
    if (o.recheck > HONE_RECHECK_IGNORE)
        return hone__fail(err, HONE_E_ARG, "cache", "hone_cache_options.recheck is %u; it is one of hone_recheck", o.recheck);
    char *chosen = NULL, *resolved = NULL;
    if (path == NULL)
        HONE_TRY(hone__cache_default_path(&chosen, err));
    hone_status status =
        hone__cache_resolve_path(&resolved, path == NULL ? chosen : path, o.read_only == 0, err);
    hone__free(chosen);
    HONE_TRY(status);
    hone_cache *cache = hone__alloc(sizeof *cache);
    if (cache == NULL)
        status = hone__fail(err, HONE_E_NOMEM, "cache", "no memory to open %s", resolved);
    if (status == HONE_OK)
        status = hone__store_acquire(&cache->store, resolved, &o, err);
    hone__free(resolved);
    if (status != HONE_OK) {
        hone__free(cache);
        return status;
    }
    cache->pid = getpid();
    cache->read_only = o.read_only != 0;
    cache->wait_ms = o.writer_wait_ms == 0 ? HONE_CACHE_WAIT_MS : o.writer_wait_ms;
    cache->token = make_token(cache);
    cache->recheck = (hone_recheck)o.recheck;
    hone__mutex_init(&cache->sites_mutex);
    *out = cache;
    return HONE_OK;
}

hone_status hone_cache_new(hone_cache **out, hone_error *err) {
    if (out == NULL)
        return hone__fail(err, HONE_E_ARG, "cache", "hone_cache_new: out is NULL");
    hone_cache *cache = *out = hone__alloc(sizeof *cache);
    if (cache == NULL)
        return hone__fail(err, HONE_E_NOMEM, "cache", "no memory for a cache");
    cache->pid = getpid();
    cache->read_only = true;
    cache->token = make_token(cache);
    hone__mutex_init(&cache->sites_mutex);
    return HONE_OK;
}

static hone_status nothing(hone__txn *txn, void *user, hone_error *err) {
    (void)txn;
    (void)user;
    (void)err;
    return HONE_OK;
}

void hone_cache_close(hone_cache *cache) {
    if (cache == NULL)
        return;
    if (cache->pid == getpid()) {
        hone__wanted *wanted = atomic_load(&cache->wanted);
        (void)hone__cache_stop_wanting(cache, wanted == NULL ? 0 : wanted->stop_wait_ms);
        while (cache->old_wanted != NULL) {
            wanted = cache->old_wanted;
            cache->old_wanted = wanted->next;
            hone__wanted_leave(wanted);
        }
    }
    hone__sites_free(cache);
    if (cache->pid == getpid()) { /* in a forked child the environment is the parent's: leave it alone */
        if (atomic_load(&cache->claims) > 0)
            hone__claims_drop_all(cache);
        if (cache->store != NULL && !cache->read_only && hone__counters_pending(cache->store))
            (void)hone__store_write(cache, nothing, NULL, NULL);
        if (cache->store != NULL)
            hone__store_release(cache->store);
    }
    for (uint32_t i = 0; i < cache->pack_count; i++)
        hone__pack_close(cache->pack[i]);
    hone__free(cache->pack);
    (void)pthread_mutex_destroy(&cache->sites_mutex);
    hone__free(cache);
}

const char *hone_cache_path(const hone_cache *cache) {
    return cache == NULL ? NULL : cache->store == NULL ? "" : cache->store->path;
}

/* ---- entries ---- */

typedef struct entry_call {
    const hone__key *key;
    hone__entry *out;
} entry_call;

static bool same_key(const hone__key *a, const hone__key *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

hone_status hone__txn_entry(hone__txn *txn, const hone__key *key, hone__entry *out) {
    uint8_t bytes[HONE_ENTRY_SLOT_BYTES];
    hone__slot_key slot = hone__entry_slot(key, bytes);
    MDB_val value;
    HONE_TRY(hone__txn_get(txn, HONE_TABLE_ENTRY, slot, &value));
    HONE_TRY(hone__entry_decode(out, value.mv_data, value.mv_size, slot));
    if (same_key(&out->key, key))
        return HONE_OK;
    hone__entry_clear(out);
    return HONE_E_CORRUPT;
}

static hone_status get_fn(hone__txn *txn, void *user, hone_error *err) {
    entry_call *call = user;
    hone_status status = hone__txn_entry(txn, call->key, call->out);
    if (status == HONE_E_NOTFOUND)
        return hone__fail(err, status, "cache", "no entry for this key");
    if (status == HONE_E_CORRUPT)
        return hone__fail(err, status, "cache", "the entry of this key in %s is damaged; it counts as a miss, and the next tuning replaces it",
                          txn->store->path);
    if (status != HONE_OK)
        return hone__fail(err, status, "cache", "cannot read the entry of this key in %s: %s", txn->store->path, hone_status_text(status));
    return HONE_OK;
}

hone_status hone__cache_get(const hone_cache *cache, const hone__key *key, hone__entry *out, hone_error *err) {
    memset(out, 0, sizeof *out);
    entry_call call = {.key = key, .out = out};
    hone_status status = hone__store_read_entries(cache, get_fn, &call, err);
    if (status == HONE_E_CORRUPT)
        hone__cache_count(cache, "miss_corrupt", 1);
    return status;
}

static hone_status fail_encode(hone_error *err, hone_status status, const char *what) {
    return hone__fail(err, status, "cache", "cannot store this %s: %s", what,
                      status == HONE_E_LIMIT ? "a text in it is too long" : hone_status_text(status));
}

/* ---- entries of a kernel ---- */

typedef struct list_call {
    const uint8_t *kernel_id;
    hone__entry_list list;
    uint32_t damaged;
} list_call;

static hone_status list_fn(hone__txn *txn, void *user, hone_error *err) {
    list_call *call = user;
    hone__entry_list_clear(&call->list); /* this may be a second run */
    call->damaged = 0;
    MDB_cursor *cursor;
    MDB_val key, value;
    HONE_TRY(hone__txn_cursor(txn, HONE_TABLE_ENTRY, &cursor));
    hone_status status = hone__cursor_seek(txn, cursor, (hone__slot_key){call->kernel_id, 8}, &key, &value);
    while (status == HONE_OK && call->list.count < call->list.max) {
        if (key.mv_size < 8 || memcmp(key.mv_data, call->kernel_id, 8) != 0)
            break;
        hone__entry entry;
        hone_status decoded = hone__entry_decode(&entry, value.mv_data, value.mv_size, (hone__slot_key){key.mv_data, key.mv_size});
        if (decoded == HONE_E_NOMEM)
            status = decoded;
        else if (decoded != HONE_OK)
            call->damaged++;
        else if (memcmp(entry.key.kernel, call->kernel_id, 16) != 0)
            hone__entry_clear(&entry); /* shares the first eight bytes only */
        else
            status = hone__entry_list_add(&call->list, &entry);
        if (status == HONE_OK)
            status = hone__cursor_next(txn, cursor, &key, &value);
    }
    mdb_cursor_close(cursor);
    if (status == HONE_OK || status == HONE_E_NOTFOUND)
        return HONE_OK;
    return hone__fail(err, status, "cache", "cannot list the entries in %s: %s", txn->store->path, hone_status_text(status));
}

hone_status hone__cache_of_kernel(const hone_cache *cache, const uint8_t kernel_id[16], uint32_t max, hone__entry **out, uint32_t *count,
                                  hone_error *err) {
    *out = NULL;
    *count = 0;
    list_call call = {.kernel_id = kernel_id, .list = {.max = max}};
    hone_status status = hone__store_read_entries(cache, list_fn, &call, err);
    if (status != HONE_OK) {
        hone__entry_list_clear(&call.list);
        return status;
    }
    if (call.damaged > 0)
        hone__cache_count(cache, "miss_corrupt", call.damaged);
    *out = call.list.entry;
    *count = call.list.count;
    return HONE_OK;
}

/* ---- single records: kernels, failures, notes ---- */

typedef struct record_call {
    hone__table table;
    hone__slot_key slot;
    hone__buf encoded;
    hone_status (*decode)(void *out, const void *bytes, size_t count, hone__slot_key slot);
    void *out;
    const char *what;
} record_call;

static hone_status put_record_fn(hone__txn *txn, void *user, hone_error *err) {
    (void)err;
    record_call *call = user;
    MDB_val old;
    /* The same bytes again are not worth a commit's page copies; kernels are put at every tuning. */
    if (hone__txn_get(txn, call->table, call->slot, &old) == HONE_OK && old.mv_size == call->encoded.length &&
        memcmp(old.mv_data, call->encoded.data, old.mv_size) == 0)
        return HONE_OK;
    return hone__txn_put(txn, call->table, call->slot, call->encoded.data, call->encoded.length);
}

static hone_status get_record_fn(hone__txn *txn, void *user, hone_error *err) {
    record_call *call = user;
    MDB_val value;
    hone_status status = hone__txn_get(txn, call->table, call->slot, &value);
    if (status == HONE_OK)
        status = call->decode(call->out, value.mv_data, value.mv_size, call->slot);
    if (status == HONE_OK)
        return HONE_OK;
    return hone__fail(err, status, "cache", status == HONE_E_NOTFOUND ? "no such %s in %s" : "the %s in %s cannot be read", call->what,
                      txn->store->path);
}

static hone_status put_record(hone_cache *cache, record_call *call, hone_status encoded, hone_error *err) {
    hone_status status = encoded == HONE_OK ? hone__store_write(cache, put_record_fn, call, err) : fail_encode(err, encoded, call->what);
    hone__buf_free(&call->encoded);
    return status;
}

hone_status hone__cache_put_kernel(hone_cache *cache, const hone__kernel_info *info, hone_error *err) {
    HONE_TRY(hone__cache_writable(cache, err));
    record_call call = {.table = HONE_TABLE_KERNEL, .slot = {info->id, 16}, .what = "kernel"};
    hone__buf_init(&call.encoded, HONE_LIMIT_RECORD_BYTES);
    return put_record(cache, &call, hone__kernel_info_encode(&call.encoded, info, call.slot), err);
}

static hone_status decode_kernel(void *out, const void *bytes, size_t count, hone__slot_key slot) {
    return hone__kernel_info_decode(out, bytes, count, slot);
}

hone_status hone__cache_get_kernel(const hone_cache *cache, const uint8_t id[16], hone__kernel_info *out, hone_error *err) {
    memset(out, 0, sizeof *out);
    record_call call = {.table = HONE_TABLE_KERNEL, .slot = {id, 16}, .decode = decode_kernel, .out = out, .what = "kernel"};
    return hone__store_read(cache, get_record_fn, &call, err);
}

hone_status hone__cache_put_failure(hone_cache *cache, const hone__key *key, const hone__failure *failure, hone_error *err) {
    HONE_TRY(hone__cache_writable(cache, err));
    uint8_t bytes[HONE_FAILURE_SLOT_BYTES];
    record_call call = {.table = HONE_TABLE_STAT, .slot = hone__failure_slot(key, bytes), .what = "failure"};
    hone__buf_init(&call.encoded, HONE_LIMIT_RECORD_BYTES);
    return put_record(cache, &call, hone__failure_encode(&call.encoded, failure, call.slot), err);
}

static hone_status decode_failure(void *out, const void *bytes, size_t count, hone__slot_key slot) {
    return hone__failure_decode(out, bytes, count, slot);
}

hone_status hone__cache_past_failure(const hone_cache *cache, const hone__key *key, hone__failure *out, hone_error *err) {
    memset(out, 0, sizeof *out);
    uint8_t bytes[HONE_FAILURE_SLOT_BYTES];
    record_call call = {.table = HONE_TABLE_STAT, .slot = hone__failure_slot(key, bytes), .decode = decode_failure, .out = out, .what = "failure"};
    return hone__store_read(cache, get_record_fn, &call, err);
}

hone_status hone__cache_get_failure(const hone_cache *cache, const hone__key *key, hone__failure *out, hone_error *err) {
    HONE_TRY(hone__cache_past_failure(cache, key, out, err));
    int64_t now = hone__clock_unix_s();
    if (out->expires_unix_s > now && out->created_unix_s <= now + 2) /* one from the future: the clock was set back since */
        return HONE_OK;
    hone__failure_clear(out);
    return hone__fail(err, HONE_E_NOTFOUND, "cache", "the failure of this key has expired");
}

typedef struct note_record {
    char *text;
} note_record;

static const hone__field note_fields[] = {HONE_FIELD(TEXT, note_record, text, NOTE_BYTES)};
static const hone__layout note_layout = {HONE_RECORD_NOTE, sizeof(note_record), note_fields, 1};

/* "n:" and the name. */
static hone_status note_slot(const char *name, char out[HONE_LIMIT_NAME_BYTES + 3], hone__slot_key *slot, hone_error *err) {
    size_t length = strnlen(name, HONE_LIMIT_NAME_BYTES + 1);
    if (length == 0 || length > HONE_LIMIT_NAME_BYTES)
        return hone__fail(err, HONE_E_ARG, "cache", "the name of a note has 1 to %u bytes", HONE_LIMIT_NAME_BYTES);
    (void)snprintf(out, HONE_LIMIT_NAME_BYTES + 3, "n:%s", name);
    *slot = (hone__slot_key){out, length + 2};
    return HONE_OK;
}

hone_status hone__cache_put_note(hone_cache *cache, const char *name, const char *text, hone_error *err) {
    HONE_TRY(hone__cache_writable(cache, err));
    char bytes[HONE_LIMIT_NAME_BYTES + 3];
    record_call call = {.table = HONE_TABLE_STAT, .what = "note"};
    HONE_TRY(note_slot(name, bytes, &call.slot, err));
    size_t length = strnlen(text, NOTE_BYTES + 1);
    if (length > NOTE_BYTES)
        return hone__fail(err, HONE_E_LIMIT, "cache", "a note has at most %d bytes", NOTE_BYTES);
    note_record note = {hone__strndup(text, length)};
    if (note.text == NULL)
        return hone__fail(err, HONE_E_NOMEM, "cache", "no memory for a note");
    hone__buf_init(&call.encoded, HONE_LIMIT_RECORD_BYTES);
    hone_status status = hone__record_encode(&call.encoded, &note_layout, &note, call.slot);
    hone__free(note.text);
    return put_record(cache, &call, status, err);
}

static hone_status decode_note(void *out, const void *bytes, size_t count, hone__slot_key slot) {
    return hone__record_decode(out, &note_layout, bytes, count, slot);
}

hone_status hone__cache_get_note(const hone_cache *cache, const char *name, char **text, hone_error *err) {
    *text = NULL;
    char bytes[HONE_LIMIT_NAME_BYTES + 3];
    note_record note = {NULL};
    record_call call = {.table = HONE_TABLE_STAT, .decode = decode_note, .out = &note, .what = "note"};
    HONE_TRY(note_slot(name, bytes, &call.slot, err));
    HONE_TRY(hone__store_read(cache, get_record_fn, &call, err));
    *text = note.text;
    return HONE_OK;
}

typedef struct prefix_call {
    hone__slot_key prefix;
    bool found;
} prefix_call;

static hone_status has_notes_fn(hone__txn *txn, void *user, hone_error *err) {
    prefix_call *call = user;
    (void)err;
    return hone__txn_has_prefix(txn, HONE_TABLE_STAT, call->prefix, &call->found);
}

bool hone__cache_has_notes(const hone_cache *cache, const char *name) {
    char bytes[HONE_LIMIT_NAME_BYTES + 3];
    prefix_call call = {.found = false};
    return note_slot(name, bytes, &call.prefix, NULL) == HONE_OK && hone__store_read(cache, has_notes_fn, &call, NULL) == HONE_OK && call.found;
}

hone_status hone__note_check(hone__slot_key slot, MDB_val value) {
    note_record note;
    HONE_TRY(hone__record_decode(&note, &note_layout, value.mv_data, value.mv_size, slot));
    hone__free(note.text);
    return HONE_OK;
}
