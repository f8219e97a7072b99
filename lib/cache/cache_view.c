/* cache_view.c: looking into a cache from outside: every entry, one entry with all that is known of it, counts. */
#define _GNU_SOURCE
#include "alloc.h"
#include "clock.h"
#include "exchange.h"
#include "slot.h"
#include "status.h"
#include "store.h"

#include <sys/stat.h>

enum { SHOW_BYTES = 64 << 20 };

/* ---- each ---- */

/* Calls `visit` for every entry with no transaction open; a non-zero return stops. */
static hone_status each_entry(const hone_cache *cache, int (*visit)(const hone__entry *entry, void *user), void *user, uint64_t *damaged,
                              hone_error *err) {
    if (cache->store == NULL) { /* packs only: no entry of its own */
        if (damaged != NULL)
            *damaged = 0;
        return HONE_OK;
    }
    hone__source *source;
    uint64_t bad = 0;
    HONE_TRY(hone__cache_source(&source, cache, err));
    hone_status status;
    bool stopped = false;
    do {
        hone__item item;
        hone__entry entry;
        const char *reason = NULL;
        status = source->next(source, &item, &reason, err);
        if (status != HONE_OK && reason == NULL)
            break;
        if (status == HONE_OK)
            status = hone__item_decode(&entry, &item);
        bool left_out = status == HONE_E_CORRUPT || status == HONE_E_VERSION;
        bad += left_out;
        if (status == HONE_OK) {
            stopped = visit(&entry, user) != 0;
            hone__entry_clear(&entry);
        } else if (left_out) {
            status = HONE_OK;
        }
    } while (status == HONE_OK && !stopped);
    hone__source_close(source);
    if (damaged != NULL)
        *damaged = bad;
    return status == HONE_E_NOTFOUND ? HONE_OK : status;
}

typedef struct print_call {
    hone_entry_fn *fn;
    void *user;
    hone__buf buf;
} print_call;

static int print_one(const hone__entry *entry, void *user) {
    print_call *call = user;
    hone__buf_clear(&call->buf);
    hone__entry_print(&call->buf, entry);
    if (call->buf.status != HONE_OK)
        return 1;
    return call->fn(call->buf.data, call->user);
}

hone_status hone_cache_each(const hone_cache *cache, hone_entry_fn *fn, void *user, uint64_t *damaged, hone_error *err) {
    if (damaged != NULL)
        *damaged = 0;
    HONE_TRY(hone__cache_usable(cache, err));
    if (fn == NULL)
        return hone__fail(err, HONE_E_ARG, "cache", "hone_cache_each: fn is NULL");
    print_call call = {.fn = fn, .user = user};
    hone__buf_init(&call.buf, SHOW_BYTES);
    hone_status status = each_entry(cache, print_one, &call, damaged, err);
    if (status == HONE_OK && call.buf.status != HONE_OK)
        status = hone__fail(err, call.buf.status, "cache", "cannot print an entry of %s", hone_cache_path(cache));
    hone__buf_free(&call.buf);
    return status;
}

/* ---- show ---- */

static hone_status find_key(const hone_cache *cache, const char *key, hone__key *out, hone_error *err) {
    hone__source *source;
    HONE_TRY(hone__cache_source(&source, cache, err));
    hone_status status = hone__source_find(source, key, out, err);
    hone__source_close(source);
    return status;
}

static void print_member(hone__buf *buf, const char *name, const char *text) {
    hone__buf_printf(buf, "\"%s\":", name);
    hone__buf_json_string(buf, text == NULL ? "" : text);
}

/* The last session of the key with its trials, or null. */
static hone_status print_session(hone__buf *buf, const hone_cache *cache, const hone__key *key, hone_error *err) {
    hone__session session;
    uint32_t number, count = 0, exchanges = 0;
    hone_status status = hone__journal_last(cache, key, &number, &session, err);
    if (status == HONE_E_NOTFOUND) {
        hone__buf_text(buf, ",\"session\":null,\"trials\":[]");
        return HONE_OK;
    }
    HONE_TRY(status);
    hone__trial *trial = NULL;
    hone__exchange *exchange = NULL;
    status = hone__journal_trials(cache, key, number, &trial, &count, err);
    if (status == HONE_OK)
        status = hone__journal_exchanges(cache, key, number, &exchange, &exchanges, err);
    if (status == HONE_OK) {
        hone__buf_printf(buf, ",\"session\":{\"number\":%u,", number);
        print_member(buf, "strategy", session.strategy);
        hone__buf_char(buf, ',');
        print_member(buf, "model", session.model);
        hone__buf_printf(buf, ",\"seed\":%llu,\"done\":%s,\"runs\":%u,\"exchanges\":%u,\"started_unix_s\":%lld,\"seconds\":",
                         (unsigned long long)session.seed, session.done ? "true" : "false", session.runs, exchanges,
                         (long long)session.started_unix_s);
        hone__buf_json_double(buf, session.seconds);
        hone__buf_text(buf, ",\"options\":");
        hone__json_print_text(buf, session.options);
        hone__buf_text(buf, "},\"trials\":[");
        for (uint32_t i = 0; i < count; i++) {
            if (i > 0)
                hone__buf_char(buf, ',');
            hone__trial_print(buf, &trial[i]);
        }
        hone__buf_char(buf, ']');
    }
    for (uint32_t i = 0; i < count; i++)
        hone__trial_clear(&trial[i]);
    for (uint32_t i = 0; i < exchanges; i++)
        hone__exchange_clear(&exchange[i]);
    hone__free(trial);
    hone__free(exchange);
    hone__session_clear(&session);
    return status;
}

static hone_status print_kernel(hone__buf *buf, const hone_cache *cache, const hone__key *key, hone_error *err) {
    hone__kernel_info info;
    hone_status status = hone__cache_get_kernel(cache, key->kernel, &info, err);
    if (status == HONE_E_NOTFOUND || status == HONE_E_CORRUPT) {
        hone__buf_text(buf, ",\"kernel\":null");
        return HONE_OK;
    }
    HONE_TRY(status);
    hone__buf_text(buf, ",\"kernel\":");
    hone__kernel_info_print(buf, &info);
    hone__kernel_info_clear(&info);
    return HONE_OK;
}

static hone_status hand_over(char **json, hone__buf *buf, hone_status status, hone_error *err) {
    if (status == HONE_OK && buf->status != HONE_OK)
        status = hone__fail(err, buf->status, "cache", "cannot print: %s", hone_status_text(buf->status));
    if (status == HONE_OK) {
        *json = hone__buf_take(buf);
        if (*json == NULL)
            status = hone__fail(err, HONE_E_NOMEM, "cache", "no memory to print");
    }
    hone__buf_free(buf);
    return status;
}

hone_status hone_cache_show(char **json, const hone_cache *cache, const char *key, hone_error *err) {
    if (json == NULL)
        return hone__fail(err, HONE_E_ARG, "cache", "hone_cache_show: json is NULL");
    *json = NULL;
    HONE_TRY(hone__cache_usable(cache, err));
    hone__key found;
    hone__entry entry;
    HONE_TRY(find_key(cache, key, &found, err));
    HONE_TRY(hone__cache_get(cache, &found, &entry, err));
    hone__buf buf;
    hone__buf_init(&buf, SHOW_BYTES);
    hone__buf_text(&buf, "{\"entry\":");
    hone__entry_print(&buf, &entry);
    hone__entry_clear(&entry);
    hone_status status = print_session(&buf, cache, &found, err);
    if (status == HONE_OK)
        status = print_kernel(&buf, cache, &found, err);
    hone__buf_char(&buf, '}');
    return hand_over(json, &buf, status, err);
}

/* ---- stats ---- */

typedef struct stats_call {
    hone__buf *buf;
    size_t start;
} stats_call;

static hone_status print_counters(hone__txn *txn, hone__buf *buf) {
    hone__store *store = txn->store;
    MDB_cursor *cursor;
    MDB_val key, value;
    uint64_t pending[HONE_COUNTERS_MAX] = {0};
    unsigned known = atomic_load_explicit(&store->counter_count, memory_order_acquire), printed = 0;
    for (unsigned i = 0; i < known; i++)
        pending[i] = atomic_load_explicit(&store->counter[i].pending, memory_order_relaxed);
    HONE_TRY(hone__txn_cursor(txn, HONE_TABLE_STAT, &cursor));
    hone_status status = hone__cursor_seek(txn, cursor, (hone__slot_key){"c:", 2}, &key, &value);
    while (status == HONE_OK && key.mv_size > 2 && memcmp(key.mv_data, "c:", 2) == 0) {
        char name[HONE_COUNTER_NAME_BYTES];
        uint64_t count;
        if (hone__counter_decode(key, value, name, &count)) {
            for (unsigned i = 0; i < known; i++) {
                if (strcmp(store->counter[i].name, name) == 0) {
                    count += pending[i];
                    pending[i] = 0;
                }
            }
            hone__buf_text(buf, printed++ == 0 ? "" : ",");
            hone__buf_json_string(buf, name);
            hone__buf_printf(buf, ":%llu", (unsigned long long)count);
        }
        status = hone__cursor_next(txn, cursor, &key, &value);
    }
    mdb_cursor_close(cursor);
    for (unsigned i = 0; i < known; i++) {
        if (pending[i] == 0)
            continue;
        hone__buf_text(buf, printed++ == 0 ? "" : ",");
        hone__buf_json_string(buf, store->counter[i].name);
        hone__buf_printf(buf, ":%llu", (unsigned long long)pending[i]);
    }
    return status == HONE_E_NOTFOUND ? HONE_OK : status;
}

/* Failures that are still believed. */
static hone_status count_failures(hone__txn *txn, uint64_t *count) {
    MDB_cursor *cursor;
    MDB_val key, value;
    int64_t now = hone__clock_unix_s();
    *count = 0;
    HONE_TRY(hone__txn_cursor(txn, HONE_TABLE_STAT, &cursor));
    hone_status status = hone__cursor_seek(txn, cursor, (hone__slot_key){"f:", 2}, &key, &value);
    while (status == HONE_OK && key.mv_size > 2 && memcmp(key.mv_data, "f:", 2) == 0) {
        hone__failure failure;
        if (hone__failure_decode(&failure, value.mv_data, value.mv_size, (hone__slot_key){key.mv_data, key.mv_size}) == HONE_OK) {
            *count += failure.expires_unix_s > now;
            hone__failure_clear(&failure);
        }
        status = hone__cursor_next(txn, cursor, &key, &value);
    }
    mdb_cursor_close(cursor);
    return status == HONE_E_NOTFOUND ? HONE_OK : status;
}

static hone_status stats_fn(hone__txn *txn, void *user, hone_error *err) {
    stats_call *call = user;
    hone__buf *buf = call->buf;
    hone__store *store = txn->store;
    hone__buf_clear(buf);
    static const struct {
        const char *name;
        hone__table table;
    } tables[] = {{"entries", HONE_TABLE_ENTRY}, {"journal_records", HONE_TABLE_TRIAL}, {"kernels", HONE_TABLE_KERNEL}, {"claims", HONE_TABLE_CLAIM}};
    struct stat file = {0};
    MDB_envinfo info = {0};
    MDB_stat table = {0};
    (void)stat(store->path, &file);
    (void)mdb_env_info(store->env, &info);
    hone__buf_char(buf, '{');
    print_member(buf, "path", store->path);
    hone__buf_printf(buf, ",\"file_bytes\":%llu,\"map_bytes\":%llu,\"map_bytes_max\":%llu", (unsigned long long)file.st_size,
                     (unsigned long long)info.me_mapsize, (unsigned long long)store->map_bytes_max);
    uint64_t pages = 0;
    for (int t = 0; t < HONE_TABLE_COUNT; t++) {
        if (mdb_stat(txn->txn, store->dbi[t], &table) == 0)
            pages += table.ms_branch_pages + table.ms_leaf_pages + table.ms_overflow_pages;
    }
    hone__buf_printf(buf, ",\"used_bytes\":%llu", (unsigned long long)(pages * table.ms_psize));
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        int rc = mdb_stat(txn->txn, store->dbi[tables[t].table], &table);
        if (rc != 0)
            return hone__mdb_fail(err, store, rc, "read");
        hone__buf_printf(buf, ",\"%s\":%llu", tables[t].name, (unsigned long long)table.ms_entries);
    }
    uint64_t failures = 0;
    if (count_failures(txn, &failures) != HONE_OK)
        return hone__fail(err, HONE_E_STORE, "cache", "cannot read the failures in %s", store->path);
    hone__buf_printf(buf, ",\"failures\":%llu", (unsigned long long)failures);
    hone__buf_printf(buf, ",\"readers\":%u,\"commits\":%llu,\"format\":%u,\"lmdb\":", info.me_numreaders, (unsigned long long)info.me_last_txnid,
                     HONE_CACHE_VERSION);
    int major, minor, patch;
    (void)mdb_version(&major, &minor, &patch);
    hone__buf_printf(buf, "\"%d.%d.%d\",\"read_only\":%s,\"counters\":{", major, minor, patch, store->read_only ? "true" : "false");
    hone_status status = print_counters(txn, buf);
    if (status != HONE_OK)
        return hone__fail(err, status, "cache", "cannot read the counters in %s", store->path);
    hone__buf_text(buf, "}}");
    return HONE_OK;
}

hone_status hone_cache_stats(char **json, const hone_cache *cache, hone_error *err) {
    if (json == NULL)
        return hone__fail(err, HONE_E_ARG, "cache", "hone_cache_stats: json is NULL");
    *json = NULL;
    hone__buf buf;
    hone__buf_init(&buf, SHOW_BYTES);
    stats_call call = {.buf = &buf};
    hone_status status = hone__store_read(cache, stats_fn, &call, err);
    return hand_over(json, &buf, status, err);
}
