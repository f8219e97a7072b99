/* cache_verify.c: is a cache file sound?  First every page is followed with pread, without LMDB, which a damaged tree can crash; only then LMDB
 * opens the file and every record of every table is decoded.  A program that must not go down with a file that changes meanwhile calls this
 * in a process of its own, as `hone verify` does. */
#define _GNU_SOURCE
#include "alloc.h"
#include "slot.h"
#include "status.h"
#include "store.h"
#include "upkeep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 256 };

static const char *const table_names[HONE_TABLE_COUNT] = {"meta", "entry", "trial", "claim", "kernel", "stat"};

typedef struct finding {
    uint8_t slot[64];
    size_t slot_bytes;
    hone_status status;
    const char *reason;
} finding;

typedef struct table_count {
    uint64_t records, damaged, newer;
} table_count;

typedef struct verify_call {
    hone__table table;
    uint8_t from[512];
    size_t from_bytes;
    bool more;
    table_count seen; /* in this chunk */
    finding found[CHUNK];
    uint32_t found_count;
} verify_call;

/* ---- one record ---- */

static hone_status check_entry(MDB_val key, MDB_val value, const char **reason) {
    uint8_t bytes[HONE_ENTRY_SLOT_BYTES];
    hone__entry entry;
    HONE_TRY(hone__entry_decode(&entry, value.mv_data, value.mv_size, (hone__slot_key){key.mv_data, key.mv_size}));
    hone__slot_key own = hone__entry_slot(&entry.key, bytes);
    bool same = own.count == key.mv_size && memcmp(own.bytes, key.mv_data, own.count) == 0;
    hone__entry_clear(&entry);
    *reason = "it lies under the key of another entry";
    return same ? HONE_OK : HONE_E_CORRUPT;
}

static hone_status check_trial(MDB_val key, MDB_val value, const char **reason) {
    hone__slot_key slot = {key.mv_data, key.mv_size};
    uint8_t kind = key.mv_size == HONE_TRIAL_SLOT_BYTES ? ((const uint8_t *)key.mv_data)[20] : UINT8_MAX;
    union {
        hone__session session;
        hone__trial trial;
        hone__exchange exchange;
    } record;
    switch (kind) {
    case HONE_JOURNAL_SESSION:
        HONE_TRY(hone__session_decode(&record.session, value.mv_data, value.mv_size, slot));
        hone__session_clear(&record.session);
        return HONE_OK;
    case HONE_JOURNAL_TRIAL:
        HONE_TRY(hone__trial_decode(&record.trial, value.mv_data, value.mv_size, slot));
        hone__trial_clear(&record.trial);
        return HONE_OK;
    case HONE_JOURNAL_EXCHANGE:
        HONE_TRY(hone__exchange_decode(&record.exchange, value.mv_data, value.mv_size, slot));
        hone__exchange_clear(&record.exchange);
        return HONE_OK;
    default:
        *reason = "its key is none of the journal's";
        return HONE_E_CORRUPT;
    }
}

static hone_status check_kernel(MDB_val key, MDB_val value, const char **reason) {
    hone__kernel_info info;
    HONE_TRY(hone__kernel_info_decode(&info, value.mv_data, value.mv_size, (hone__slot_key){key.mv_data, key.mv_size}));
    bool same = key.mv_size == sizeof info.id && memcmp(info.id, key.mv_data, sizeof info.id) == 0;
    hone__kernel_info_clear(&info);
    *reason = "it lies under the key of another kernel";
    return same ? HONE_OK : HONE_E_CORRUPT;
}

static hone_status check_stat(MDB_val key, MDB_val value, const char **reason) {
    hone__slot_key slot = {key.mv_data, key.mv_size};
    const char *name = key.mv_data;
    char counter[HONE_COUNTER_NAME_BYTES];
    uint64_t count;
    hone__failure failure;
    if (key.mv_size >= 2 && memcmp(name, "c:", 2) == 0)
        return hone__counter_decode(key, value, counter, &count) ? HONE_OK : HONE_E_CORRUPT;
    if (key.mv_size >= 2 && memcmp(name, "n:", 2) == 0)
        return hone__note_check(slot, value);
    if (key.mv_size >= 2 && memcmp(name, "g:", 2) == 0)
        return hone__generation_check(slot, value);
    if (key.mv_size == HONE_FAILURE_SLOT_BYTES && memcmp(name, "f:", 2) == 0) {
        HONE_TRY(hone__failure_decode(&failure, value.mv_data, value.mv_size, slot));
        hone__failure_clear(&failure);
        return HONE_OK;
    }
    *reason = "its key is none of counters, notes, generations and failures";
    return HONE_E_CORRUPT;
}

static hone_status check_record(hone__table table, MDB_val key, MDB_val value, const char **reason) {
    *reason = "it does not decode";
    switch (table) {
    case HONE_TABLE_ENTRY:
        return check_entry(key, value, reason);
    case HONE_TABLE_TRIAL:
        return check_trial(key, value, reason);
    case HONE_TABLE_CLAIM:
        return hone__claim_check((hone__slot_key){key.mv_data, key.mv_size}, value);
    case HONE_TABLE_KERNEL:
        return check_kernel(key, value, reason);
    case HONE_TABLE_STAT:
        return check_stat(key, value, reason);
    case HONE_TABLE_META: /* the one record of it was read when the file was opened */
    case HONE_TABLE_COUNT:
        break;
    }
    return HONE_OK;
}

/* ---- a table, chunk by chunk ---- */

static void note_finding(verify_call *call, MDB_val key, hone_status status, const char *reason) {
    finding *at = &call->found[call->found_count++];
    at->slot_bytes = key.mv_size < sizeof at->slot ? key.mv_size : sizeof at->slot;
    memcpy(at->slot, key.mv_data, at->slot_bytes);
    at->status = status;
    at->reason = status == HONE_E_VERSION ? "it was written by a newer Hone" : reason;
}

static hone_status chunk_fn(hone__txn *txn, void *user, hone_error *err) {
    verify_call *call = user;
    MDB_cursor *cursor;
    MDB_val key, value;
    call->seen = (table_count){0}; /* this may be a second run */
    call->found_count = 0;
    call->more = false;
    hone__seen seen = {0, 0};
    HONE_TRY(hone__txn_cursor(txn, call->table, &cursor));
    hone_status status = hone__cursor_seek(txn, cursor, (hone__slot_key){call->from, call->from_bytes}, &key, &value);
    for (; status == HONE_OK; status = hone__cursor_next(txn, cursor, &key, &value)) {
        if (call->seen.records == CHUNK) {
            call->from_bytes = key.mv_size < sizeof call->from ? key.mv_size : sizeof call->from;
            memcpy(call->from, key.mv_data, call->from_bytes);
            call->more = true;
            break;
        }
        const char *reason = NULL;
        hone_status checked = check_record(call->table, key, value, &reason);
        hone__seen_add(&seen, value);
        call->seen.records++;
        if (checked == HONE_E_NOMEM) {
            status = checked;
            break;
        }
        if (checked == HONE_OK)
            continue;
        call->seen.newer += checked == HONE_E_VERSION;
        call->seen.damaged += checked != HONE_E_VERSION;
        note_finding(call, key, checked, reason);
    }
    hone__txn_forget(&seen);
    mdb_cursor_close(cursor);
    if (status == HONE_OK || status == HONE_E_NOTFOUND)
        return HONE_OK;
    return hone__fail(err, status, "cache", "cannot read %s: %s", txn->store->path, hone_status_text(status));
}

static hone_status tell(const verify_call *call, hone__work *work, hone_error *err) {
    hone__buf line;
    hone__buf_init(&line, 4096);
    hone_status status = HONE_OK;
    for (uint32_t i = 0; i < call->found_count && status == HONE_OK; i++) {
        const finding *at = &call->found[i];
        hone__buf_clear(&line);
        hone__buf_printf(&line, "{\"table\":\"%s\",\"slot\":\"", table_names[call->table]);
        for (size_t b = 0; b < at->slot_bytes; b++)
            hone__buf_printf(&line, "%02x", at->slot[b]);
        hone__buf_printf(&line, "\",\"status\":\"%s\",\"reason\":", hone_status_name(at->status));
        hone__buf_json_string(&line, at->reason);
        hone__buf_char(&line, '}');
        status = hone__work_line(work, &line, err);
    }
    hone__buf_free(&line);
    return status;
}

static hone_status verify_table(const hone_cache *cache, verify_call *call, hone__work *work, table_count *sum, hone_error *err) {
    call->from_bytes = 0;
    do {
        HONE_TRY(hone__store_read(cache, chunk_fn, call, err));
        sum->records += call->seen.records;
        sum->damaged += call->seen.damaged;
        sum->newer += call->seen.newer;
        HONE_TRY(tell(call, work, err));
        HONE_TRY(hone__work_step(work, call->seen.records, err));
    } while (call->more);
    return HONE_OK;
}

/* ---- the file ---- */

static hone_status check_pages(const char *path, char *reason, size_t reason_bytes, uint64_t *file_bytes, hone__file_state *state, hone_error *err) {
    int fd;
    struct stat info;
    HONE_TRY(hone__open_trusted(&fd, &info, path, O_RDONLY, true, err));
    *file_bytes = (uint64_t)info.st_size;
    *state = hone__file_check_whole(fd, reason, reason_bytes);
    int code = errno;
    (void)close(fd);
    if (*state == HONE_FILE_UNREADABLE)
        return hone__fail_os(err, HONE_E_IO, "cache", code, "cannot read %s: %s", path, strerror(code));
    return HONE_OK;
}

static hone_status check_tables(const hone_cache *cache, hone__work *work, table_count sum[HONE_TABLE_COUNT], hone_error *err) {
    verify_call *call = hone__alloc(sizeof *call);
    if (call == NULL)
        return hone__fail(err, HONE_E_NOMEM, "cache", "no memory to check %s", hone_cache_path(cache));
    hone_status status = HONE_OK;
    for (int t = 0; t < HONE_TABLE_COUNT && status == HONE_OK; t++) {
        call->table = (hone__table)t;
        status = verify_table(cache, call, work, &sum[t], err);
    }
    hone__free(call);
    return status;
}

static void print(hone__buf *buf, const char *path, uint64_t file_bytes, const char *pages, const table_count sum[HONE_TABLE_COUNT], bool sound) {
    uint64_t damaged = 0, newer = 0;
    hone__buf_text(buf, "{\"hone\":1,\"path\":");
    hone__buf_json_string(buf, path);
    hone__buf_printf(buf, ",\"kind\":\"cache\",\"sound\":%s,\"bytes\":%llu,\"structure\":", sound ? "true" : "false", (unsigned long long)file_bytes);
    hone__buf_json_string(buf, pages[0] == '\0' ? "sound" : pages);
    hone__buf_text(buf, ",\"tables\":{");
    for (int t = 0; t < HONE_TABLE_COUNT; t++) {
        hone__buf_printf(buf, "%s\"%s\":{\"records\":%llu,\"damaged\":%llu,\"newer\":%llu}", t == 0 ? "" : ",", table_names[t],
                         (unsigned long long)sum[t].records, (unsigned long long)sum[t].damaged, (unsigned long long)sum[t].newer);
        damaged += sum[t].damaged;
        newer += sum[t].newer;
    }
    hone__buf_printf(buf, "},\"damaged\":%llu,\"newer\":%llu}", (unsigned long long)damaged, (unsigned long long)newer);
}

hone_status hone__cache_verify(hone__buf *buf, const char *path, hone__work *work, bool *sound, hone_error *err) {
    char reason[160] = "", *resolved = NULL;
    uint64_t file_bytes = 0;
    hone__file_state state = HONE_FILE_DAMAGED;
    table_count sum[HONE_TABLE_COUNT] = {0};
    *sound = false;
    HONE_TRY(hone__cache_resolve_path(&resolved, path, false, err));
    hone_status status = check_pages(resolved, reason, sizeof reason, &file_bytes, &state, err);
    if (status == HONE_OK && state == HONE_FILE_NEW)
        (void)snprintf(reason, sizeof reason, "it is empty: nothing was stored there yet");
    if (status == HONE_OK && state == HONE_FILE_SOUND) {
        hone_cache *cache = NULL;
        hone_error inner = {0};
        hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
        options.read_only = 1;
        options.map_bytes_max = file_bytes > HONE_CACHE_MAP_BYTES ? file_bytes : 0;
        hone_status opened = hone_cache_open(&cache, resolved, &options, &inner);
        if (opened == HONE_OK)
            opened = check_tables(cache, work, sum, &inner);
        hone_cache_close(cache);
        if (opened == HONE_E_CORRUPT || opened == HONE_E_VERSION)
            (void)snprintf(reason, sizeof reason, "%.150s", inner.message);
        else if (opened != HONE_OK)
            status = hone__fail_os(err, opened, "cache", inner.os_code, "%s", inner.message);
    }
    if (status == HONE_OK) {
        *sound = reason[0] == '\0';
        for (int t = 0; t < HONE_TABLE_COUNT; t++)
            *sound = *sound && sum[t].damaged == 0;
        print(buf, resolved, file_bytes, reason, sum, *sound);
    }
    hone__free(resolved);
    return status;
}
