/* contention_stores.h: what programs keep tuning results in, behind three calls, for bench_contention.c: Hone's cache, the JSON file that is read,
 * merged and replaced, a file for each key, SQLite in WAL mode, plain LMDB.  Each process opens its own. */
#ifndef CONTENTION_STORES_H
#define CONTENTION_STORES_H

#include "cache_fixture.h"

#include <cJSON.h>
#include <sqlite3.h>

enum { RECORD_BYTES = 700 };

typedef struct store {
    char path[512];
    hone_cache *cache;
    MDB_env *env;
    MDB_dbi dbi;
    sqlite3 *db;
    sqlite3_stmt *insert, *select;
    cJSON *json;               /* as last read */
    struct timespec json_time;
    off_t json_bytes;
} store;

typedef struct store_kind {
    const char *name;
    const char *survives_power_loss; /* what has been acknowledged */
    void (*open)(store *s);
    bool (*insert)(store *s, uint32_t key);
    bool (*get)(store *s, uint32_t key);
    void (*close)(store *s);
} store_kind;

static void need(bool fine, const char *what) {
    if (fine)
        return;
    (void)fprintf(stderr, "bench_contention: %s\n", what);
    _exit(1);
}

static void key_text(uint32_t key, char text[40]) {
    (void)snprintf(text, 40, "%032x", key * 2654435761u);
}

static const char *record(uint32_t key) {
    static char text[RECORD_BYTES + 1];
    (void)snprintf(text, sizeof text, "{\"BM\":%u,\"pad\":\"", key % 1000);
    size_t length = strlen(text);
    memset(text + length, 'x', RECORD_BYTES - length);
    text[RECORD_BYTES - 2] = '"';
    text[RECORD_BYTES - 1] = '}';
    return text;
}

/* ---- Hone ---- */

static void hone_open_store(store *s) {
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.writer_wait_ms = 60000; /* everybody here waits for the others as long as it takes */
    need(hone_cache_open(&s->cache, s->path, &options, NULL) == HONE_OK, "the cache does not open");
}

static bool hone_insert(store *s, uint32_t key) {
    char text[64];
    static char pad[300];
    memset(pad, 'p', sizeof pad - 1);
    hone__entry entry = make_entry(make_key(1, 1, key), 1000 + key, text);
    entry.stop = pad;
    return hone__cache_put(s->cache, &entry, false, NULL) == HONE_OK;
}

static bool hone_get(store *s, uint32_t key) {
    return get_time(s->cache, key) == 1000 + key;
}

static void hone_close_store(store *s) {
    hone_cache_close(s->cache);
}

/* ---- one JSON file: read, merge, replace ---- */

static void json_open(store *s) {
    (void)s;
}

static cJSON *json_load(const char *path) {
    int fd = open(path, O_RDONLY);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0)
        return cJSON_CreateObject();
    char *text = calloc(1, (size_t)info.st_size + 1);
    ssize_t got = text == NULL ? -1 : read(fd, text, (size_t)info.st_size);
    (void)close(fd);
    cJSON *json = got < 0 ? NULL : cJSON_Parse(text);
    free(text);
    return json == NULL ? cJSON_CreateObject() : json;
}

static bool write_file(const char *path, const char *text) {
    char temporary[600];
    (void)snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    size_t bytes = strlen(text);
    bool fine = fd >= 0 && write(fd, text, bytes) == (ssize_t)bytes;
    fine = close(fd) == 0 && fine;
    return fine && rename(temporary, path) == 0;
}

static bool json_insert(store *s, uint32_t key) {
    char name[40];
    key_text(key, name);
    cJSON *json = json_load(s->path);
    (void)cJSON_AddStringToObject(json, name, record(key));
    char *text = cJSON_PrintUnformatted(json);
    bool fine = text != NULL && write_file(s->path, text);
    cJSON_free(text);
    cJSON_Delete(json);
    return fine;
}

/* As such caches do: read the file again when it has changed. */
static bool json_get(store *s, uint32_t key) {
    char name[40];
    struct stat info;
    key_text(key, name);
    if (stat(s->path, &info) != 0)
        return false;
    if (s->json == NULL || info.st_mtim.tv_nsec != s->json_time.tv_nsec || info.st_mtim.tv_sec != s->json_time.tv_sec || info.st_size != s->json_bytes) {
        cJSON_Delete(s->json);
        s->json = json_load(s->path);
        s->json_time = info.st_mtim;
        s->json_bytes = info.st_size;
    }
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(s->json, name);
    return cJSON_IsString(found) && strcmp(found->valuestring, record(key)) == 0;
}

static void json_close(store *s) {
    cJSON_Delete(s->json);
}

/* ---- a file for each key ---- */

static void file_open(store *s) {
    need(mkdir(s->path, 0700) == 0 || errno == EEXIST, "no folder for the files");
}

static bool file_insert(store *s, uint32_t key) {
    char path[600], name[40];
    key_text(key, name);
    (void)snprintf(path, sizeof path, "%s/%s", s->path, name);
    return write_file(path, record(key));
}

static bool file_get(store *s, uint32_t key) {
    char path[600], name[40], text[RECORD_BYTES + 1] = "";
    key_text(key, name);
    (void)snprintf(path, sizeof path, "%s/%s", s->path, name);
    int fd = open(path, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : read(fd, text, RECORD_BYTES);
    if (fd >= 0)
        (void)close(fd);
    return got == RECORD_BYTES && strcmp(text, record(key)) == 0;
}

static void file_close(store *s) {
    (void)s;
}

/* ---- SQLite in WAL mode ---- */

static void sqlite_open_with(store *s, const char *synchronous) {
    need(sqlite3_open(s->path, &s->db) == SQLITE_OK, "SQLite does not open");
    (void)sqlite3_busy_timeout(s->db, 60000);
    need(sqlite3_exec(s->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL) == SQLITE_OK, "SQLite has no WAL mode");
    need(sqlite3_exec(s->db, synchronous, NULL, NULL, NULL) == SQLITE_OK, "SQLite refuses a pragma");
    need(sqlite3_exec(s->db, "CREATE TABLE IF NOT EXISTS entry (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID", NULL, NULL, NULL) == SQLITE_OK,
         "SQLite makes no table");
    need(sqlite3_prepare_v2(s->db, "INSERT OR REPLACE INTO entry VALUES (?, ?)", -1, &s->insert, NULL) == SQLITE_OK, "SQLite prepares nothing");
    need(sqlite3_prepare_v2(s->db, "SELECT value FROM entry WHERE key = ?", -1, &s->select, NULL) == SQLITE_OK, "SQLite prepares nothing");
}

static void sqlite_open_normal(store *s) {
    sqlite_open_with(s, "PRAGMA synchronous=NORMAL");
}

static void sqlite_open_full(store *s) {
    sqlite_open_with(s, "PRAGMA synchronous=FULL");
}

static bool sqlite_insert(store *s, uint32_t key) {
    char name[40];
    key_text(key, name);
    (void)sqlite3_bind_text(s->insert, 1, name, -1, SQLITE_TRANSIENT);
    (void)sqlite3_bind_text(s->insert, 2, record(key), -1, SQLITE_TRANSIENT);
    bool fine = sqlite3_step(s->insert) == SQLITE_DONE;
    return sqlite3_reset(s->insert) == SQLITE_OK && fine;
}

static bool sqlite_get(store *s, uint32_t key) {
    char name[40];
    key_text(key, name);
    (void)sqlite3_bind_text(s->select, 1, name, -1, SQLITE_TRANSIENT);
    bool fine = sqlite3_step(s->select) == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(s->select, 0), record(key)) == 0;
    (void)sqlite3_reset(s->select);
    return fine;
}

static void sqlite_close_store(store *s) {
    (void)sqlite3_finalize(s->insert);
    (void)sqlite3_finalize(s->select);
    (void)sqlite3_close(s->db);
}

/* ---- plain LMDB ---- */

static void lmdb_open_with(store *s, unsigned flags) {
    MDB_txn *txn;
    need(mdb_env_create(&s->env) == 0 && mdb_env_set_mapsize(s->env, 1u << 30) == 0, "no LMDB environment");
    need(mdb_env_open(s->env, s->path, MDB_NOSUBDIR | flags, 0600) == 0, "LMDB does not open");
    need(mdb_txn_begin(s->env, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, NULL, 0, &s->dbi) == 0 && mdb_txn_commit(txn) == 0, "LMDB makes no table");
}

static void lmdb_open_sync(store *s) {
    lmdb_open_with(s, 0);
}

static void lmdb_open_nometasync(store *s) {
    lmdb_open_with(s, MDB_NOMETASYNC);
}

static bool lmdb_insert(store *s, uint32_t key) {
    char name[40];
    MDB_txn *txn;
    key_text(key, name);
    MDB_val k = {strlen(name), name}, v = {RECORD_BYTES, (void *)(uintptr_t)record(key)};
    if (mdb_txn_begin(s->env, NULL, 0, &txn) != 0)
        return false;
    if (mdb_put(txn, s->dbi, &k, &v, 0) == 0)
        return mdb_txn_commit(txn) == 0;
    mdb_txn_abort(txn);
    return false;
}

static bool lmdb_get(store *s, uint32_t key) {
    char name[40], text[RECORD_BYTES + 1] = "";
    MDB_txn *txn;
    key_text(key, name);
    MDB_val k = {strlen(name), name}, v;
    if (mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn) != 0)
        return false;
    bool found = mdb_get(txn, s->dbi, &k, &v) == 0 && v.mv_size == RECORD_BYTES;
    if (found)
        memcpy(text, v.mv_data, RECORD_BYTES);
    mdb_txn_abort(txn);
    return found && strcmp(text, record(key)) == 0;
}

static void lmdb_close(store *s) {
    mdb_env_close(s->env);
}

static const store_kind store_kinds[] = {
    {"hone", "all but the last", hone_open_store, hone_insert, hone_get, hone_close_store},
    {"json_read_merge_replace", "not said", json_open, json_insert, json_get, json_close},
    {"file_per_key_rename", "not said", file_open, file_insert, file_get, file_close},
    {"sqlite_wal_normal", "until the last checkpoint", sqlite_open_normal, sqlite_insert, sqlite_get, sqlite_close_store},
    {"sqlite_wal_full", "all", sqlite_open_full, sqlite_insert, sqlite_get, sqlite_close_store},
    {"lmdb_nometasync", "all but the last", lmdb_open_nometasync, lmdb_insert, lmdb_get, lmdb_close},
    {"lmdb", "all", lmdb_open_sync, lmdb_insert, lmdb_get, lmdb_close},
};

#endif
