/* cache_gc.c: hone_cache_gc: what nobody needs any more goes, and no entry does.  Each table is walked in bounded steps: a read transaction
 * chooses, a write transaction looks again and deletes. */
#define _GNU_SOURCE
#include "alloc.h"
#include "clock.h"
#include "file.h"
#include "slot.h"
#include "status.h"
#include "store.h"
#include "upkeep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BATCH = 512,
    SLOT_BYTES_MAX = 64,
    KEEP_S = 30 * 86400,
    SESSION_BYTES = 20 /* of a trial's slot: key and session number */
};

typedef struct tally {
    uint64_t journal_records, failures, claims, kernels, files, bytes;
} tally;

typedef struct judge {
    int64_t now, before; /* what is older than `before` may go */
    uint8_t session[SESSION_BYTES]; /* the last one judged, and what became of it */
    bool known, is_waste;
} judge;

/* One pass over a table: `is_waste` judges a record; slots of waste are collected, then deleted. */
typedef struct pass {
    hone__table table;
    hone__slot_key prefix;
    bool (*is_waste)(hone__txn *txn, MDB_val key, MDB_val value, judge *by);
    judge *by;
    uint8_t from[SLOT_BYTES_MAX + 1]; /* where to go on */
    size_t from_bytes;
    bool more;
    uint64_t seen;
    struct {
        uint8_t bytes[SLOT_BYTES_MAX];
        size_t count;
    } slot[BATCH];
    uint32_t count;
    uint64_t removed, removed_bytes;  /* of this batch */
} pass;

static bool begins_with(MDB_val key, hone__slot_key prefix) {
    return key.mv_size >= prefix.count && (prefix.count == 0 || memcmp(key.mv_data, prefix.bytes, prefix.count) == 0);
}

static hone_status choose_fn(hone__txn *txn, void *user, hone_error *err) {
    pass *p = user;
    MDB_cursor *cursor;
    MDB_val key, value;
    p->count = 0;
    p->more = false;
    p->seen = p->removed_bytes = 0;
    HONE_TRY(hone__txn_cursor(txn, p->table, &cursor));
    hone__slot_key from = p->from_bytes > 0 ? (hone__slot_key){p->from, p->from_bytes} : p->prefix;
    hone_status status = hone__cursor_seek(txn, cursor, from, &key, &value);
    for (; status == HONE_OK && begins_with(key, p->prefix); status = hone__cursor_next(txn, cursor, &key, &value)) {
        if (key.mv_size > SLOT_BYTES_MAX)
            continue; /* nothing of ours */
        if (p->count == BATCH || p->seen == BATCH * 8) {
            memcpy(p->from, key.mv_data, key.mv_size);
            p->from_bytes = key.mv_size;
            p->more = true;
            break;
        }
        p->seen++;
        if (!p->is_waste(txn, key, value, p->by))
            continue;
        memcpy(p->slot[p->count].bytes, key.mv_data, key.mv_size);
        p->slot[p->count].count = key.mv_size;
        p->removed_bytes += value.mv_size;
        p->count++;
    }
    mdb_cursor_close(cursor);
    if (status == HONE_OK || status == HONE_E_NOTFOUND)
        return HONE_OK;
    return hone__fail(err, status, "cache", "cannot read %s: %s", txn->store->path, hone_status_text(status));
}

static hone_status delete_fn(hone__txn *txn, void *user, hone_error *err) {
    pass *p = user;
    p->removed = p->removed_bytes = 0; /* this may be a second run */
    p->by->known = false;
    for (uint32_t i = 0; i < p->count; i++) {
        hone__slot_key slot = {p->slot[i].bytes, p->slot[i].count};
        MDB_val key = {slot.count, p->slot[i].bytes}, value;
        hone_status status = hone__txn_get(txn, p->table, slot, &value);
        if (status == HONE_OK && p->is_waste(txn, key, value, p->by)) {
            p->removed++;
            p->removed_bytes += value.mv_size;
            status = hone__txn_delete(txn, p->table, slot);
        }
        if (status != HONE_OK && status != HONE_E_NOTFOUND)
            return hone__fail(err, status, "cache", "cannot delete from %s: %s", txn->store->path, hone_status_text(status));
    }
    return HONE_OK;
}

static hone_status run_pass(hone_cache *cache, hone__work *work, pass *p, uint64_t *removed, uint64_t *bytes, hone_error *err) {
    p->from_bytes = 0;
    do {
        HONE_TRY(hone__store_read(cache, choose_fn, p, err));
        HONE_TRY(hone__work_step(work, p->seen, err));
        p->removed = p->count;
        if (p->count > 0 && work->options.dry_run == 0)
            HONE_TRY(hone__store_write(cache, delete_fn, p, err));
        *removed += p->removed;
        *bytes += p->removed_bytes;
    } while (p->more);
    return HONE_OK;
}

/* ---- what is waste ---- */

static bool is_claimed(hone__txn *txn, const uint8_t key[16]) {
    MDB_val value;
    hone__slot_key slot = {key, 16};
    return hone__txn_get(txn, HONE_TABLE_CLAIM, slot, &value) == HONE_OK && !hone__claim_is_dead(slot, value);
}

/* The slot of another session of the same key that comes later. */
static bool has_later_session(hone__txn *txn, const uint8_t session[SESSION_BYTES]) {
    uint8_t end[HONE_TRIAL_SLOT_BYTES];
    MDB_cursor *cursor;
    MDB_val key, value;
    memcpy(end, session, SESSION_BYTES);
    memset(end + SESSION_BYTES, 0xff, sizeof end - SESSION_BYTES);
    if (hone__txn_cursor(txn, HONE_TABLE_TRIAL, &cursor) != HONE_OK)
        return false;
    bool found = hone__cursor_seek(txn, cursor, (hone__slot_key){end, sizeof end}, &key, &value) == HONE_OK &&
                 key.mv_size == HONE_TRIAL_SLOT_BYTES && memcmp(key.mv_data, session, 16) == 0;
    mdb_cursor_close(cursor);
    return found;
}

static bool session_is_waste(hone__txn *txn, const uint8_t session[SESSION_BYTES], const judge *by) {
    uint8_t bytes[HONE_TRIAL_SLOT_BYTES] = {0};
    MDB_val value;
    hone__session head;
    memcpy(bytes, session, SESSION_BYTES);
    bytes[SESSION_BYTES] = HONE_JOURNAL_SESSION;
    hone__slot_key slot = {bytes, sizeof bytes};
    if (is_claimed(txn, session))
        return false;
    hone_status status = hone__txn_get(txn, HONE_TABLE_TRIAL, slot, &value);
    if (status == HONE_OK)
        status = hone__session_decode(&head, value.mv_data, value.mv_size, slot);
    if (status == HONE_E_NOTFOUND || status == HONE_E_CORRUPT)
        return true; /* without its head nobody finds it */
    if (status != HONE_OK)
        return false; /* a newer Hone's */
    bool old = head.started_unix_s < by->before;
    bool over = head.done || has_later_session(txn, session);
    hone__session_clear(&head);
    return old && over;
}

/* The head comes first of a session's records and goes first, so the verdict on a session is kept while its records pass by. */
static bool journal_is_waste(hone__txn *txn, MDB_val key, MDB_val value, judge *by) {
    (void)value;
    if (key.mv_size != HONE_TRIAL_SLOT_BYTES)
        return false;
    if (!by->known || memcmp(by->session, key.mv_data, SESSION_BYTES) != 0) {
        memcpy(by->session, key.mv_data, SESSION_BYTES);
        by->known = true;
        by->is_waste = session_is_waste(txn, by->session, by);
    }
    return by->is_waste;
}

static bool failure_is_waste(hone__txn *txn, MDB_val key, MDB_val value, judge *by) {
    hone__failure failure;
    (void)txn;
    hone_status status = hone__failure_decode(&failure, value.mv_data, value.mv_size, (hone__slot_key){key.mv_data, key.mv_size});
    if (status != HONE_OK)
        return status == HONE_E_CORRUPT;
    bool expired = failure.expires_unix_s <= by->now;
    hone__failure_clear(&failure);
    return expired;
}

static bool claim_is_waste(hone__txn *txn, MDB_val key, MDB_val value, judge *by) {
    (void)txn;
    (void)by;
    return hone__claim_is_dead((hone__slot_key){key.mv_data, key.mv_size}, value);
}

/* Does the table hold a slot that begins so? */
static bool has_prefix(hone__txn *txn, hone__table table, hone__slot_key prefix) {
    MDB_cursor *cursor;
    MDB_val key, value;
    if (hone__txn_cursor(txn, table, &cursor) != HONE_OK)
        return true;
    hone_status status = hone__cursor_seek(txn, cursor, prefix, &key, &value);
    bool found = status == HONE_OK ? begins_with(key, prefix) : status != HONE_E_NOTFOUND;
    mdb_cursor_close(cursor);
    return found;
}

/* A tuning under way has stored its kernel, and its entry not yet: nothing goes while there is a claim. */
static bool kernel_is_waste(hone__txn *txn, MDB_val key, MDB_val value, judge *by) {
    (void)value;
    (void)by;
    if (key.mv_size != 16 || has_prefix(txn, HONE_TABLE_CLAIM, (hone__slot_key){NULL, 0}))
        return false;
    return !has_prefix(txn, HONE_TABLE_ENTRY, (hone__slot_key){key.mv_data, 8});
}

static hone_status collect_tables(hone_cache *cache, hone__work *work, judge *by, tally *out, hone_error *err) {
    pass *p = hone__alloc(sizeof *p);
    if (p == NULL)
        return hone__fail(err, HONE_E_NOMEM, "cache", "no memory to look for waste");
    const struct {
        hone__table table;
        hone__slot_key prefix;
        bool (*is_waste)(hone__txn *txn, MDB_val key, MDB_val value, judge *by);
        uint64_t *removed;
    } step[] = {
        {HONE_TABLE_CLAIM, {NULL, 0}, claim_is_waste, &out->claims},
        {HONE_TABLE_TRIAL, {NULL, 0}, journal_is_waste, &out->journal_records},
        {HONE_TABLE_STAT, {"f:", 2}, failure_is_waste, &out->failures},
        {HONE_TABLE_KERNEL, {NULL, 0}, kernel_is_waste, &out->kernels},
    };
    hone_status status = HONE_OK;
    for (size_t i = 0; i < sizeof step / sizeof step[0] && status == HONE_OK; i++) {
        *p = (pass){.table = step[i].table, .prefix = step[i].prefix, .is_waste = step[i].is_waste, .by = by};
        by->known = false;
        status = run_pass(cache, work, p, step[i].removed, &out->bytes, err);
    }
    hone__free(p);
    return status;
}

/* ---- files beside the cache ---- */

/* PATH.corrupt-*, set aside by an opener, and PATH.tmp-*, left behind by a writer that died. */
static bool is_leftover(const char *name, const char *base) {
    size_t length = strlen(base);
    if (strncmp(name, base, length) != 0)
        return false;
    return strncmp(name + length, ".corrupt-", 9) == 0 || strncmp(name + length, ".tmp-", 5) == 0;
}

static hone_status collect_files(hone_cache *cache, const hone__work *work, int64_t before, tally *out, hone_error *err) {
    const char *path = cache->store->path, *slash = strrchr(path, '/');
    char *folder = hone__path_dir(path);
    DIR *open_folder = folder == NULL ? NULL : opendir(folder);
    hone__free(folder);
    if (open_folder == NULL || slash == NULL) {
        if (open_folder != NULL)
            (void)closedir(open_folder);
        return hone__fail_os(err, HONE_E_IO, "cache", errno, "cannot list the folder of %s", path);
    }
    for (const struct dirent *item = readdir(open_folder); item != NULL; item = readdir(open_folder)) {
        struct stat info;
        if (!is_leftover(item->d_name, slash + 1) || fstatat(dirfd(open_folder), item->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (!S_ISREG(info.st_mode) || info.st_uid != geteuid() || info.st_mtime >= before)
            continue;
        if (work->options.dry_run == 0 && unlinkat(dirfd(open_folder), item->d_name, 0) != 0)
            continue;
        out->files++;
        out->bytes += (uint64_t)info.st_blocks * 512u;
    }
    (void)closedir(open_folder);
    return HONE_OK;
}

hone_status hone_cache_gc(char **report, hone_cache *cache, const hone_work_options *options, hone_error *err) {
    if (report != NULL)
        *report = NULL;
    hone__work work;
    HONE_TRY(hone__work_begin(&work, options, err));
    HONE_TRY(work.options.dry_run != 0 ? hone__cache_usable(cache, err) : hone__cache_writable(cache, err));
    int64_t now = hone__clock_unix_s();
    uint64_t keep = work.options.keep_s == 0 ? KEEP_S : work.options.keep_s;
    judge by = {.now = now, .before = keep < (uint64_t)now ? now - (int64_t)keep : 0};
    tally out = {0};
    hone_status status = collect_tables(cache, &work, &by, &out, err);
    if (status == HONE_OK)
        status = collect_files(cache, &work, by.before, &out, err);
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    hone__buf_printf(&buf, "{\"hone\":1,\"dry_run\":%s,\"journal_records\":%llu,\"failures\":%llu,\"claims\":%llu,\"kernels\":%llu,\"files\":%llu,\"bytes\":%llu}",
                     work.options.dry_run != 0 ? "true" : "false", (unsigned long long)out.journal_records, (unsigned long long)out.failures,
                     (unsigned long long)out.claims, (unsigned long long)out.kernels, (unsigned long long)out.files, (unsigned long long)out.bytes);
    return hone__work_end(report, &buf, status, err);
}
