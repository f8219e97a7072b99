/* store_env.c: opening the LMDB environment of a store: check the file, set damaged ones aside, open, find the tables, read the
 * format record. */
#define _GNU_SOURCE
#include "alloc.h"
#include "clock.h"
#include "file.h"
#include "log.h"
#include "status.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const table_names[HONE_TABLE_COUNT] = {"meta", "entry", "trial", "claim", "kernel", "stat"};
static const hone__slot_key format_slot = {"format", 6};

typedef struct format_record {
    char *application, *tool_version;
    uint32_t reader, writer;
    int64_t created_unix_s;
} format_record;

static const hone__field format_fields[] = {
    HONE_FIELD(TEXT, format_record, application, 64), HONE_FIELD(U32, format_record, reader, 0),
    HONE_FIELD(U32, format_record, writer, 0),        HONE_FIELD(TEXT, format_record, tool_version, 64),
    HONE_FIELD(I64, format_record, created_unix_s, 0),
};
static const hone__layout format_layout = {HONE_RECORD_META, sizeof(format_record), format_fields,
                                           sizeof format_fields / sizeof format_fields[0]};

/* What an attempt to open came to, besides a plain failure. */
typedef enum attempt {
    ATTEMPT_DONE,
    ATTEMPT_FAILED,
    ATTEMPT_NEEDS_LOCK, /* something has to be made or changed */
    ATTEMPT_DAMAGED     /* not a cache of ours, or no longer one; `reason` says why */
} attempt;

typedef struct opening {
    hone__store *store;
    bool locked, lock_file_usable;
    hone_status status;
    hone_error *err;
    char reason[160];
} opening;

static attempt failed(opening *o, hone_status status) {
    o->status = status;
    return ATTEMPT_FAILED;
}

static attempt damaged(opening *o, const char *why) {
    (void)snprintf(o->reason, sizeof o->reason, "%s", why);
    return ATTEMPT_DAMAGED;
}

void hone__env_close(hone__store *store) {
    if (store->env != NULL)
        mdb_env_close(store->env);
    store->env = NULL;
    store->is_copy = false;
}

static int env_open_once(hone__store *store, size_t map_bytes, const char *path, unsigned more_flags) {
    int rc = mdb_env_create(&store->env);
    if (rc != 0) {
        store->env = NULL;
        return rc;
    }
    unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | more_flags;
    flags |= store->durable ? 0u : MDB_NOMETASYNC;
    flags |= store->read_only ? MDB_RDONLY : 0u;
    rc = mdb_env_set_maxreaders(store->env, HONE_CACHE_READERS);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(store->env, 16);
    if (rc == 0)
        rc = mdb_env_set_mapsize(store->env, map_bytes);
    if (rc == 0)
        rc = mdb_env_open(store->env, path, flags, 0600);
    if (rc != 0)
        hone__env_close(store);
    return rc;
}

/* EAGAIN, EINVAL and ENOENT happen when another process opens or closes at the same moment.  ENOMEM: less address space is allowed. */
static int env_open_patiently(hone__store *store) {
    uint64_t map_bytes = store->map_bytes_max;
    int rc = 0;
    for (int races = 0; races < 5;) {
        rc = env_open_once(store, (size_t)map_bytes, store->path, 0);
        if (rc == ENOMEM && map_bytes >= 2 * HONE_CACHE_MAP_BYTES_MIN) {
            map_bytes /= 2;
            continue;
        }
        if (rc != EAGAIN && rc != EINVAL && rc != ENOENT)
            return rc;
        races++;
        hone__sleep_ms(1 + (uint32_t)(hone__clock_ns() % 4u));
    }
    return rc;
}

static attempt judge_mdb(opening *o, int rc, const char *verb) {
    hone_status status = hone__mdb_fail(o->err, o->store, rc, verb);
    if (status == HONE_E_CORRUPT || (status == HONE_E_VERSION && rc == MDB_VERSION_MISMATCH))
        return damaged(o, mdb_strerror(rc));
    return failed(o, status);
}

/* Where LMDB's lock file cannot serve a reader, a copy of its own does; hone__store_read renews it when the file moves on. */
static int env_open_copy(hone__store *store, int fd) {
    int copy;
    uint64_t state = 0;
    char path[32];
    int rc = hone__snapshot_make(fd, store->map_bytes_max, &copy, &state);
    if (rc != 0)
        return rc;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", copy);
    rc = env_open_once(store, (size_t)store->map_bytes_max, path, MDB_NOLOCK);
    (void)close(copy); /* LMDB has its own descriptor now */
    store->copy_state = state;
    store->is_copy = rc == 0;
    return rc;
}

/* LMDB makes its lock file sparse and writes it by mmap: on a full disk that is a SIGBUS.  So its blocks are reserved first.  The one place
 * where we open that file: closing it drops LMDB's locks in this process, and it has none here, before its environment is open. */
static int reserve_lock_file(const hone__store *store) {
    enum { LOCK_BYTES = (HONE_CACHE_READERS + 2) * 64 }; /* what LMDB takes; what more it needs it adds itself */
    struct stat info;
    if (lstat(store->lock_path, &info) == 0 && info.st_size >= LOCK_BYTES && info.st_blocks * 512 >= (blkcnt_t)info.st_size)
        return 0; /* it has its blocks */
    int fd = open(store->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return errno == ENOSPC || errno == EDQUOT ? errno : 0; /* the rest LMDB finds out, and says */
    int rc = 0;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
        off_t bytes = info.st_size > LOCK_BYTES ? info.st_size : LOCK_BYTES;
        while ((rc = fallocate(fd, 0, 0, bytes) == 0 ? 0 : errno) == EINTR)
            continue;
    }
    (void)close(fd);
    return rc == ENOSPC || rc == EDQUOT ? rc : 0; /* filesystems without fallocate stay as they were */
}

/* The format record says whose file this is. */
static attempt check_format(opening *o, MDB_txn *txn, MDB_dbi dbi) {
    MDB_val key = {format_slot.count, (void *)(uintptr_t)format_slot.bytes}, value;
    int rc = mdb_get(txn, dbi, &key, &value);
    if (rc == MDB_NOTFOUND)
        return damaged(o, "it has no format record");
    if (rc != 0)
        return judge_mdb(o, rc, "read");
    format_record format;
    hone_status status = hone__record_decode(&format, &format_layout, value.mv_data, value.mv_size, format_slot);
    if (status == HONE_E_CORRUPT)
        return damaged(o, "its format record is damaged");
    attempt result = ATTEMPT_DONE;
    if (status == HONE_E_VERSION || (status == HONE_OK && format.reader > HONE_CACHE_VERSION))
        result = failed(o, hone__fail(o->err, HONE_E_VERSION, "cache",
                                      "%s was written by a newer Hone that this one (%s) cannot read; update it, or set HONE_CACHE to another file",
                                      o->store->path, HONE_VERSION_STRING));
    else if (status != HONE_OK)
        result = failed(o, hone__fail(o->err, status, "cache", "cannot read the format record of %s", o->store->path));
    else if (strcmp(format.application, "hone") != 0 || format.reader == 0 || format.reader > format.writer)
        result = damaged(o, "it belongs to another program");
    if (status == HONE_OK)
        hone__record_clear(&format, &format_layout);
    return result;
}

/* Tables by name; ATTEMPT_NEEDS_LOCK when one is missing. */
static attempt find_tables(opening *o, MDB_txn *txn, unsigned create) {
    hone__store *store = o->store;
    for (int t = 0; t < HONE_TABLE_COUNT; t++) {
        int rc = mdb_dbi_open(txn, table_names[t], create, &store->dbi[t]);
        if (rc == MDB_NOTFOUND)
            return ATTEMPT_NEEDS_LOCK;
        if (rc != 0)
            return judge_mdb(o, rc, "open the tables of");
        unsigned flags = 0;
        rc = mdb_dbi_flags(txn, store->dbi[t], &flags);
        if (rc != 0)
            return judge_mdb(o, rc, "open the tables of");
        if (flags != 0)
            return damaged(o, "its tables have flags that Hone never sets");
    }
    return ATTEMPT_DONE;
}

static attempt open_tables(opening *o, int fd) {
    MDB_txn *txn;
    int rc = mdb_txn_begin(o->store->env, NULL, MDB_RDONLY, &txn);
    if (rc == EAGAIN && !o->store->read_only) /* the same process id lives in another PID namespace: only writers are told apart */
        return ATTEMPT_NEEDS_LOCK;
    if (rc == EAGAIN) {
        hone__env_close(o->store);
        rc = env_open_copy(o->store, fd);
        if (rc == 0)
            rc = mdb_txn_begin(o->store->env, NULL, MDB_RDONLY, &txn);
    }
    if (rc != 0)
        return judge_mdb(o, rc, "read");
    attempt result = find_tables(o, txn, 0);
    if (result == ATTEMPT_DONE)
        result = check_format(o, txn, o->store->dbi[HONE_TABLE_META]);
    if (result != ATTEMPT_DONE) {
        mdb_txn_abort(txn);
        return result;
    }
    rc = mdb_txn_commit(txn); /* keeps the table handles */
    return rc == 0 ? ATTEMPT_DONE : judge_mdb(o, rc, "read");
}

static hone_status put_format(hone__store *store, MDB_txn *txn, int *rc) {
    char application[] = "hone", version[] = HONE_VERSION_STRING;
    format_record format = {application, version, HONE_CACHE_VERSION, HONE_CACHE_VERSION, hone__clock_unix_s()};
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    hone_status status = hone__record_encode(&buf, &format_layout, &format, format_slot);
    if (status == HONE_OK) {
        MDB_val key = {format_slot.count, (void *)(uintptr_t)format_slot.bytes}, value = {buf.length, buf.data};
        *rc = mdb_put(txn, store->dbi[HONE_TABLE_META], &key, &value, 0);
    }
    hone__buf_free(&buf);
    return status;
}

static attempt make_tables(opening *o) {
    hone__store *store = o->store;
    MDB_txn *txn;
    MDB_dbi root;
    MDB_stat stat = {0};
    int rc = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (rc != 0)
        return judge_mdb(o, rc, "write");
    attempt result = ATTEMPT_DONE;
    rc = mdb_dbi_open(txn, NULL, 0, &root);
    if (rc == 0)
        rc = mdb_stat(txn, root, &stat);
    bool fresh = rc == 0 && stat.ms_entries == 0;
    if (rc != 0)
        result = judge_mdb(o, rc, "read");
    else
        result = find_tables(o, txn, fresh ? MDB_CREATE : 0);
    if (result == ATTEMPT_NEEDS_LOCK)
        result = damaged(o, "it is an LMDB file without Hone's tables");
    if (result == ATTEMPT_DONE && fresh && put_format(store, txn, &rc) != HONE_OK)
        result = failed(o, hone__fail(o->err, HONE_E_NOMEM, "cache", "no memory to make %s", store->path));
    if (result == ATTEMPT_DONE && rc != 0)
        result = judge_mdb(o, rc, "write");
    if (result == ATTEMPT_DONE)
        result = check_format(o, txn, store->dbi[HONE_TABLE_META]);
    if (result != ATTEMPT_DONE) {
        mdb_txn_abort(txn);
        return result;
    }
    rc = mdb_txn_commit(txn);
    if (rc != 0)
        return judge_mdb(o, rc, "write");
    if (fresh)
        hone__folder_sync(store->path); /* LMDB syncs the file and not its name: a power failure could take the whole new cache */
    return ATTEMPT_DONE;
}

/* Between our look at the file and LMDB's opening it by name, another process may have put another file there; then LMDB would have one file
 * and the lock file of the other. */
static bool opened_the_same(const hone__store *store, const struct stat *checked) {
    struct stat opened, named;
    int fd;
    if (mdb_env_get_fd(store->env, &fd) != 0 || fstat(fd, &opened) != 0 || lstat(store->path, &named) != 0)
        return false;
    return opened.st_ino == checked->st_ino && opened.st_dev == checked->st_dev && named.st_ino == checked->st_ino && named.st_dev == checked->st_dev &&
           (!store->read_only || hone__side_serves(store, (uint64_t)checked->st_ino));
}

/* The lock file must be ours before it is used and, if it was just made in a folder like /tmp, still ours afterwards. */
static attempt prepare_lock_file(opening *o) {
    hone__store *store = o->store;
    hone_status status = hone__check_trusted(store->lock_path, store->read_only, o->err);
    int rc = status == HONE_OK || status == HONE_E_NOTFOUND ? reserve_lock_file(store) : 0;
    if (rc != 0 && !store->read_only)
        return judge_mdb(o, rc, "open");
    o->lock_file_usable = rc == 0;
    if (status == HONE_E_NOTFOUND)
        status = hone__check_trusted(store->lock_path, store->read_only, o->err);
    return status == HONE_OK || status == HONE_E_NOTFOUND ? ATTEMPT_DONE : failed(o, status);
}

static attempt open_env(opening *o, int fd, const struct stat *checked) {
    hone__store *store = o->store;
    int rc = EACCES;
    if (!store->read_only || (o->lock_file_usable && hone__side_serves(store, (uint64_t)checked->st_ino)))
        rc = env_open_patiently(store);
    if ((rc == EACCES || rc == ENOSPC || rc == EDQUOT) && store->read_only)
        rc = env_open_copy(store, fd);
    /* The data file has just been found sound: what LMDB does not understand is the lock file, which another version of LMDB may be using. */
    if (rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH)
        return failed(o, hone__fail_os(o->err, HONE_E_STORE, "cache", rc, "cannot use %s (%s); remove it when no program has the cache open",
                                       store->lock_path, mdb_strerror(rc)));
    if (rc != 0)
        return judge_mdb(o, rc, "open");
    if (!store->is_copy && !opened_the_same(store, checked)) {
        hone__env_close(store);
        return ATTEMPT_NEEDS_LOCK; /* look again */
    }
    return ATTEMPT_DONE;
}

/* The data file exists and is sound, or is new; `fd` is open on it. */
static attempt open_sound(opening *o, int fd, bool is_new, const struct stat *checked) {
    hone__store *store = o->store;
    uint64_t ino = (uint64_t)checked->st_ino;
    if (!store->read_only) {
        bool match = false;
        hone_status status = o->locked ? hone__side_adopt(store, ino, o->err) : hone__side_match(store, ino, &match, o->err);
        if (status != HONE_OK)
            return failed(o, status);
        if (!o->locked && (!match || is_new))
            return ATTEMPT_NEEDS_LOCK;
    }
    attempt result = prepare_lock_file(o);
    if (result == ATTEMPT_DONE)
        result = open_env(o, fd, checked);
    if (result != ATTEMPT_DONE)
        return result;
    int dead = 0;
    (void)mdb_reader_check(store->env, &dead);
    result = open_tables(o, fd);
    if (result == ATTEMPT_NEEDS_LOCK && store->read_only)
        result = damaged(o, "it has no tables");
    if (result == ATTEMPT_NEEDS_LOCK && o->locked)
        result = make_tables(o);
    if (result != ATTEMPT_DONE)
        hone__env_close(store);
    return result;
}

static attempt try_open(opening *o) {
    hone__store *store = o->store;
    int fd, flags = store->read_only ? O_RDONLY : O_RDWR;
    hone_status status = hone__open_trusted(&fd, store->path, flags | (o->locked && !store->read_only ? O_CREAT : 0), store->read_only, o->err);
    if (status == HONE_E_NOTFOUND && !store->read_only && !o->locked)
        return ATTEMPT_NEEDS_LOCK;
    if (status != HONE_OK)
        return failed(o, status);
    struct stat info;
    attempt result;
    if (fstat(fd, &info) != 0) {
        result = failed(o, hone__fail_os(o->err, HONE_E_IO, "cache", errno, "cannot look at %s", store->path));
    } else {
        hone__file_state state = hone__file_check(fd, o->reason, sizeof o->reason);
        if (state == HONE_FILE_NEW && store->read_only)
            result = failed(o, hone__fail_os(o->err, HONE_E_NOTFOUND, "cache", ENOENT, "%s is empty: nothing was stored there yet", store->path));
        else if (state == HONE_FILE_UNREADABLE)
            result = failed(o, hone__fail_os(o->err, HONE_E_IO, "cache", errno, "cannot read %s: %s; if that goes on, set HONE_CACHE to another disk",
                                             store->path, strerror(errno)));
        else if (state == HONE_FILE_DAMAGED)
            result = ATTEMPT_DAMAGED;
        else
            result = open_sound(o, fd, state == HONE_FILE_NEW, &info);
    }
    if (result == ATTEMPT_DONE && hone__stamp_map(store, fd, fstat(fd, &info) == 0 ? (uint64_t)info.st_size : 0) != HONE_OK) { /* it was empty, perhaps */
        hone__env_close(store);
        result = failed(o, hone__fail(o->err, HONE_E_NOMEM, "cache", "no memory to open %s", store->path));
    }
    (void)close(fd);
    if (result == ATTEMPT_DONE) {
        store->dev = (uint64_t)info.st_dev;
        store->ino = (uint64_t)info.st_ino;
    }
    return result;
}

/* Rename a file that we cannot use, and its lock file with it, to PATH.corrupt-TIME. */
static hone_status set_aside(opening *o) {
    hone__store *store = o->store;
    size_t bytes = strlen(store->path) + 64;
    char *aside = hone__alloc(bytes), *aside_lock = hone__alloc(bytes);
    hone_status status = HONE_OK;
    if (aside == NULL || aside_lock == NULL) {
        status = hone__fail(o->err, HONE_E_NOMEM, "cache", "no memory to set %s aside", store->path);
    } else {
        struct stat info;
        long long now = (long long)hone__clock_unix_s();
        (void)snprintf(aside, bytes, "%s.corrupt-%lld", store->path, now);
        for (int i = 2; lstat(aside, &info) == 0 && i < 1000; i++)
            (void)snprintf(aside, bytes, "%s.corrupt-%lld-%d", store->path, now, i);
        (void)snprintf(aside_lock, bytes, "%s-lock", aside);
        if (rename(store->path, aside) != 0) {
            int code = errno;
            status = hone__fail_os(o->err, hone__status_of_errno(code), "cache", code, "%s cannot be used (%s) nor moved away: %s", store->path,
                                   o->reason, strerror(code));
        } else {
            (void)rename(store->lock_path, aside_lock);
            hone__log(HONE_LOG_WARN, "cache", "%s could not be used (%s); it is now %s, and a new one was started", store->path, o->reason, aside);
        }
    }
    hone__free(aside);
    hone__free(aside_lock);
    return status;
}

/* A slip of the pen (`--cache kernel.json`) must not move somebody's file: a cache has LMDB's magic, or at least, once it was in use, a lock
 * file beside it. */
static bool was_a_cache(const hone__store *store) {
    struct stat info;
    if (lstat(store->lock_path, &info) == 0)
        return true;
    int fd = open(store->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool magic = fd >= 0 && hone__file_has_magic(fd);
    if (fd >= 0)
        (void)close(fd);
    return magic;
}

static attempt settle(opening *o) {
    attempt result = try_open(o);
    for (int i = 0; i < 3 && result == ATTEMPT_NEEDS_LOCK && (o->locked || o->store->read_only); i++)
        result = try_open(o); /* somebody moved the file meanwhile */
    if (!o->locked || o->store->read_only) /* who only reads leaves a damaged file where it is */
        return result;
    if (result == ATTEMPT_DAMAGED && !was_a_cache(o->store))
        return failed(o, hone__fail(o->err, HONE_E_CORRUPT, "cache", "%s is no Hone cache (%s): name another file, or move this one away", o->store->path,
                                    o->reason));
    /* Twice at the most: a fresh file can only be damaged by somebody at work right now. */
    for (int i = 0; i < 2 && result == ATTEMPT_DAMAGED; i++) {
        hone_status status = set_aside(o);
        if (status != HONE_OK)
            return failed(o, status);
        result = try_open(o);
    }
    return result;
}

hone_status hone__env_open(hone__store *store, bool locked, uint32_t wait_ms, hone_error *err) {
    opening o = {.store = store, .locked = locked, .err = err};
    store->broken = false;
    attempt result = settle(&o);
    if (!locked && !store->read_only && (result == ATTEMPT_NEEDS_LOCK || result == ATTEMPT_DAMAGED)) {
        /* Damage seen without the lock may be a writer at work: look again with it. */
        HONE_TRY(hone__side_lock(store, wait_ms, err));
        o.locked = true;
        result = settle(&o);
        hone__side_unlock(store);
    }
    if (result == ATTEMPT_DONE)
        return HONE_OK;
    if (result == ATTEMPT_DAMAGED && !was_a_cache(store))
        return hone__fail(err, HONE_E_CORRUPT, "cache", "%s is no Hone cache: %s", store->path, o.reason);
    if (result == ATTEMPT_DAMAGED)
        return hone__fail(err, HONE_E_CORRUPT, "cache", "%s cannot be used: %s; it was left as it is: whoever opens it for writing moves it to %s.corrupt-TIME and begins a new one",
                          store->path, o.reason, store->path);
    if (result == ATTEMPT_NEEDS_LOCK)
        return hone__fail(err, HONE_E_STORE, "cache", "%s keeps changing while it is opened", store->path);
    return o.status;
}
