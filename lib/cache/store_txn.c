/* store_txn.c: transactions with the answers to everything LMDB may say: a map that another process has grown, a full map, full reader
 * slots, a process id that is taken in another PID namespace, an environment beyond use, a file replaced under us. */
#define _GNU_SOURCE
#include "clock.h"
#include "log.h"
#include "status.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <string.h>
#include <unistd.h>

enum { RETRIES = 4, READER_CHECK_EVERY = 256 /* commits, from the first on */ };
#define LOOK_EVERY_NS 1000000000u

hone_status hone__cache_usable(const hone_cache *cache, hone_error *err) {
    if (cache == NULL)
        return hone__fail(err, HONE_E_ARG, "cache", "no cache was given");
    if (cache->pid != getpid())
        return hone__fail(err, HONE_E_FORKED, "cache", "%s was opened before fork(); open it again in the child", hone_cache_path(cache));
    return HONE_OK;
}

hone_status hone__cache_writable(const hone_cache *cache, hone_error *err) {
    HONE_TRY(hone__cache_usable(cache, err));
    if (cache->store == NULL)
        return hone__fail(err, HONE_E_PERM, "cache", "this cache has packs only, and no file to write to");
    if (cache->read_only)
        return hone__fail(err, HONE_E_PERM, "cache", "%s was opened read-only", cache->store->path);
    return HONE_OK;
}

static bool is_fatal(int rc) {
    return rc == MDB_PANIC || rc == MDB_BAD_RSLOT || rc == MDB_BAD_DBI;
}

/* Another process has made the map larger: take over its size, with no transaction of ours alive. */
static void adopt_map(hone__store *store) {
    (void)pthread_rwlock_wrlock(&store->gate);
    if (store->env != NULL && mdb_env_set_mapsize(store->env, 0) != 0)
        store->broken = true;
    (void)pthread_rwlock_unlock(&store->gate);
}

/* After MAP_FULL: stale readers may pin pages; else a larger map, up to what the user allows.  False: nothing helped. */
static bool make_room(hone__store *store) {
    int dead = 0;
    (void)pthread_rwlock_wrlock(&store->gate);
    MDB_envinfo info;
    bool helped = false;
    if (store->env != NULL && mdb_env_info(store->env, &info) == 0) {
        (void)mdb_reader_check(store->env, &dead);
        helped = dead > 0;
        if (info.me_mapsize < store->map_bytes_max) {
            size_t twice = info.me_mapsize * 2, most = (size_t)store->map_bytes_max;
            if (mdb_env_set_mapsize(store->env, twice < most ? twice : most) == 0)
                helped = true;
            else
                store->broken = true; /* LMDB has let go of the old map by then */
        }
    }
    (void)pthread_rwlock_unlock(&store->gate);
    return helped;
}

static hone_status reopen(const hone_cache *cache, hone_error *err) {
    HONE_TRY(hone__side_lock(cache->store, cache->wait_ms, err));
    hone_status status = HONE_OK;
    if (hone__store_closed(cache->store)) {
        hone__log(HONE_LOG_WARN, "cache", "%s has to be opened again", cache->store->path);
        status = hone__store_reopen(cache->store, err);
    }
    hone__side_unlock(cache->store);
    return status;
}

/* Who only reads would never notice that the file was replaced (hone_cache_compact, `mv`, a cache set aside), nor, reading a copy, that it was written.  So look
 * now and then; without waiting, and failing that, what is open serves on. */
static void follow_file(hone__store *store) {
    uint64_t now = hone__clock_ns(), due = atomic_load_explicit(&store->look_ns, memory_order_relaxed);
    if (now < due || !atomic_compare_exchange_strong(&store->look_ns, &due, now + LOOK_EVERY_NS) || due == 0)
        return;
    struct stat info;
    if (lstat(store->path, &info) != 0)
        return; /* deleted: the answers are still good ones */
    bool moved = hone__store_replaced(store);
    int fd = !moved && store->is_copy ? open(store->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    uint64_t state;
    if (fd >= 0) {
        moved = hone__file_state_number(fd, &state) && state != store->copy_state;
        (void)close(fd);
    }
    if (!moved || hone__side_lock(store, 0, NULL) != HONE_OK)
        return;
    (void)hone__store_reopen(store, NULL);
    hone__side_unlock(store);
    /* A large file that changes all the time must not be copied all the time. */
    uint64_t after = hone__clock_ns();
    atomic_store_explicit(&store->look_ns, after + LOOK_EVERY_NS + 20 * (after - now), memory_order_relaxed);
}

/* Two threads at it may leave the older number: then something may look newer than it is.  The gate is held. */
static void has_seen(hone__store *store, uint64_t commit) {
    if (commit > atomic_load_explicit(&store->seen_commit, memory_order_relaxed))
        atomic_store_explicit(&store->seen_commit, commit, memory_order_relaxed);
}

/* With the side lock held, a write transaction tells processes apart that LMDB's reader table cannot. */
static hone_status read_as_writer(const hone_cache *cache, hone__txn_fn *fn, void *user, hone_error *err) {
    hone__store *store = cache->store;
    hone__txn txn = {.store = store};
    HONE_TRY(hone__side_lock(store, cache->wait_ms, err));
    hone_status status = store->writing ? HONE_OK : hone__env_begin_writing(store, err);
    (void)pthread_rwlock_rdlock(&store->gate);
    int rc = store->env == NULL ? MDB_PANIC : mdb_txn_begin(store->env, NULL, 0, &txn.txn);
    if (rc == 0) {
        status = fn(&txn, user, err);
        mdb_txn_abort(txn.txn);
    } else if (status == HONE_OK) {
        status = hone__mdb_fail(err, store, rc, "read");
    }
    (void)pthread_rwlock_unlock(&store->gate);
    hone__side_unlock(store);
    return status;
}

static hone_status read_with(const hone_cache *cache, unsigned tables, hone__txn_fn *fn, void *user, hone_error *err) {
    HONE_TRY(hone__cache_usable(cache, err));
    hone__store *store = cache->store;
    if (store == NULL)
        return hone__fail(err, HONE_E_NOTFOUND, "cache", "this cache has packs only, and no file of its own");
    int rc = 0;
    follow_file(store);
    for (int i = 0; i < RETRIES; i++) {
        hone__txn txn = {.store = store};
        hone_status opened = store->tables < tables ? hone__env_tables(store, err) : HONE_OK;
        (void)pthread_rwlock_rdlock(&store->gate);
        rc = store->env == NULL || store->broken ? MDB_PANIC : mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn.txn);
        if (rc == 0) {
            bool enough = store->tables >= tables;
            has_seen(store, (uint64_t)mdb_txn_id(txn.txn));
            hone_status status = enough ? fn(&txn, user, err) : opened;
            (void)mdb_txn_commit(txn.txn); /* of what only reads: its end */
            (void)pthread_rwlock_unlock(&store->gate);
            if (is_fatal(txn.rc))
                store->broken = true;
            if (!enough && opened == HONE_OK)
                continue; /* another thread has opened the file anew meanwhile */
            return status;
        }
        if (rc == MDB_READERS_FULL) {
            int dead = 0;
            (void)mdb_reader_check(store->env, &dead);
        }
        (void)pthread_rwlock_unlock(&store->gate);
        if (rc == MDB_MAP_RESIZED) {
            adopt_map(store);
        } else if (rc == EAGAIN && !store->read_only) {
            return read_as_writer(cache, fn, user, err);
        } else if (is_fatal(rc) && i == 0) {
            store->broken = true;
            HONE_TRY(reopen(cache, err));
        } else if (rc != MDB_READERS_FULL) {
            break;
        }
    }
    return hone__mdb_fail(err, store, rc, "read");
}

hone_status hone__store_read(const hone_cache *cache, hone__txn_fn *fn, void *user, hone_error *err) {
    return read_with(cache, HONE_TABLE_COUNT, fn, user, err);
}

hone_status hone__store_read_entries(const hone_cache *cache, hone__txn_fn *fn, void *user, hone_error *err) {
    return read_with(cache, HONE_TABLE_ENTRY + 1, fn, user, err);
}

/* One attempt, with the side lock held.  *rc: what LMDB said, when that decides about trying again. */
static hone_status write_once(hone_cache *cache, hone__txn_fn *fn, void *user, int *rc, hone_error *err) {
    hone__store *store = cache->store;
    hone__txn txn = {.store = store};
    uint64_t taken[HONE_COUNTERS_MAX] = {0};
    (void)pthread_rwlock_rdlock(&store->gate);
    /* Readers that died hold pages; only who writes suffers from that, so it is not looked for when opening. */
    int dead = 0;
    if (store->env != NULL && !store->broken && store->commits % READER_CHECK_EVERY == 0)
        (void)mdb_reader_check(store->env, &dead);
    *rc = store->env == NULL || store->broken ? MDB_PANIC : mdb_txn_begin(store->env, NULL, 0, &txn.txn);
    hone_status status = HONE_OK;
    if (*rc == 0) {
        status = fn(&txn, user, err);
        if (status == HONE_OK)
            status = hone__counters_store(&txn, taken);
        if (status == HONE_OK) {
            uint64_t commit = (uint64_t)mdb_txn_id(txn.txn);
            MDB_envinfo info;
            *rc = mdb_txn_commit(txn.txn);
            if (*rc == 0 && mdb_env_info(store->env, &info) == 0 && info.me_last_txnid == commit) /* else it wrote nothing, and another will have this number */
                has_seen(store, commit);
        } else {
            mdb_txn_abort(txn.txn);
            *rc = txn.rc;
        }
    }
    if (*rc != 0) {
        status = hone__mdb_fail(err, store, *rc, "write");
    } else if (status == HONE_OK) {
        hone__counters_stored(store, taken);
        (void)atomic_fetch_add(&store->commits, 1);
    }
    (void)pthread_rwlock_unlock(&store->gate);
    return status;
}

static hone_status write_locked(hone_cache *cache, hone__txn_fn *fn, void *user, hone_error *err) {
    hone__store *store = cache->store;
    hone_status status = HONE_E_STORE;
    bool reopened = false;
    for (int i = 0; i < RETRIES; i++) {
        if (!reopened && (hone__store_closed(store) || hone__store_replaced(store))) {
            hone__log(HONE_LOG_WARN, "cache", "%s was replaced or failed, and is opened again", store->path);
            HONE_TRY(hone__store_reopen(store, err));
            reopened = true;
        }
        if (!store->writing)
            HONE_TRY(hone__env_begin_writing(store, err));
        int rc = 0;
        status = write_once(cache, fn, user, &rc, err);
        if (rc == MDB_MAP_RESIZED)
            adopt_map(store);
        else if (is_fatal(rc))
            store->broken = true;
        else if (rc != MDB_MAP_FULL || !make_room(store))
            return status;
    }
    return status;
}

hone_status hone__store_write(hone_cache *cache, hone__txn_fn *fn, void *user, hone_error *err) {
    HONE_TRY(hone__cache_writable(cache, err));
    hone_status status = hone__side_lock(cache->store, cache->wait_ms, err);
    if (status == HONE_OK) {
        status = write_locked(cache, fn, user, err);
        hone__side_unlock(cache->store);
    }
    if (status == HONE_E_BUSY)
        hone__store_count(cache->store, "store_busy", 1);
    else if (status != HONE_OK && status != HONE_E_NOTFOUND && status != HONE_E_EXISTS && status != HONE_E_CANCELLED)
        hone__store_count(cache->store, "store_error", 1);
    return status;
}

/* ---- values ---- */

static hone_status note(hone__txn *txn, int rc) {
    if (rc != 0 && rc != MDB_NOTFOUND)
        txn->rc = rc;
    return hone__mdb_status(rc);
}

static MDB_val val(hone__slot_key slot) {
    return (MDB_val){slot.count, (void *)(uintptr_t)slot.bytes};
}

hone_status hone__txn_get(hone__txn *txn, hone__table table, hone__slot_key slot, MDB_val *out) {
    MDB_val key = val(slot);
    return note(txn, mdb_get(txn->txn, txn->store->dbi[table], &key, out));
}

hone_status hone__txn_put(hone__txn *txn, hone__table table, hone__slot_key slot, const void *bytes, size_t count) {
    MDB_val key = val(slot), value = {count, (void *)(uintptr_t)bytes};
    if (table == HONE_TABLE_ENTRY)
        HONE_TRY(hone__generation_mark(txn, slot));
    return note(txn, mdb_put(txn->txn, txn->store->dbi[table], &key, &value, 0));
}

hone_status hone__txn_append(hone__txn *txn, hone__table table, hone__slot_key slot, const void *bytes, size_t count) {
    MDB_val key = val(slot), value = {count, (void *)(uintptr_t)bytes};
    if (table == HONE_TABLE_ENTRY)
        HONE_TRY(hone__generation_mark(txn, slot));
    return note(txn, mdb_put(txn->txn, txn->store->dbi[table], &key, &value, MDB_APPEND));
}

hone_status hone__txn_delete(hone__txn *txn, hone__table table, hone__slot_key slot) {
    MDB_val key = val(slot);
    if (table == HONE_TABLE_ENTRY)
        HONE_TRY(hone__generation_mark(txn, slot));
    return note(txn, mdb_del(txn->txn, txn->store->dbi[table], &key, NULL));
}

hone_status hone__txn_cursor(hone__txn *txn, hone__table table, MDB_cursor **out) {
    return note(txn, mdb_cursor_open(txn->txn, txn->store->dbi[table], out));
}

hone_status hone__cursor_seek(hone__txn *txn, MDB_cursor *cursor, hone__slot_key from, MDB_val *key, MDB_val *value) {
    if (from.count == 0)
        return note(txn, mdb_cursor_get(cursor, key, value, MDB_FIRST));
    *key = val(from);
    return note(txn, mdb_cursor_get(cursor, key, value, MDB_SET_RANGE));
}

hone_status hone__cursor_next(hone__txn *txn, MDB_cursor *cursor, MDB_val *key, MDB_val *value) {
    return note(txn, mdb_cursor_get(cursor, key, value, MDB_NEXT));
}

hone_status hone__txn_has_prefix(hone__txn *txn, hone__table table, hone__slot_key prefix, bool *found) {
    MDB_cursor *cursor;
    MDB_val key, value;
    HONE_TRY(hone__txn_cursor(txn, table, &cursor));
    hone_status status = hone__cursor_seek(txn, cursor, prefix, &key, &value);
    *found = status == HONE_OK && key.mv_size > prefix.count && memcmp(key.mv_data, prefix.bytes, prefix.count) == 0;
    mdb_cursor_close(cursor);
    return status == HONE_E_NOTFOUND ? HONE_OK : status;
}

void hone__txn_forget(const hone__seen *seen) {
    long page = sysconf(_SC_PAGESIZE);
    if (seen->low == 0 || page <= 0)
        return;
    uintptr_t from = seen->low & ~((uintptr_t)page - 1);
    /* The map is shared and read-only for us: the pages stay in the system's cache, and whoever needs one again gets it from there. */
    (void)madvise((void *)from, (size_t)(seen->high - from), MADV_DONTNEED);
}
