/* store_env.c: opening the LMDB environment of a store: check the file, set damaged ones aside, open; the tables are store_tables.c's. */
#define _GNU_SOURCE
#include "alloc.h"
#include "clock.h"
#include "log.h"
#include "status.h"
#include "store_opening.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


hone__attempt hone__opening_failed(hone__opening *o, hone_status status) {
    o->status = status;
    return HONE_ATTEMPT_FAILED;
}

hone__attempt hone__opening_damaged(hone__opening *o, const char *why) {
    (void)snprintf(o->reason, sizeof o->reason, "%s", why);
    return HONE_ATTEMPT_DAMAGED;
}

void hone__env_close(hone__store *store) {
    if (store->env != NULL)
        mdb_env_close(store->env);
    store->env = NULL;
    store->is_copy = false;
    store->tables = 0;
}

static int env_open_once(hone__store *store, size_t map_bytes, const char *path, unsigned more_flags) {
    int rc = mdb_env_create(&store->env);
    if (rc != 0) {
        store->env = NULL;
        return rc;
    }
    unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | more_flags;
    flags |= store->durable ? 0u : MDB_NOMETASYNC;
    /* What LMDB prepares for writing takes a process that only asks a sixth of its opening: three megabytes of lists and another descriptor. */
    flags |= store->read_only || !store->writing ? MDB_RDONLY : 0u;
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

hone__attempt hone__opening_judge(hone__opening *o, int rc, const char *verb) {
    hone_status status = hone__mdb_fail(o->err, o->store, rc, verb);
    if (status == HONE_E_CORRUPT || (status == HONE_E_VERSION && rc == MDB_VERSION_MISMATCH))
        return hone__opening_damaged(o, mdb_strerror(rc));
    return hone__opening_failed(o, status);
}

/* Where LMDB's lock file cannot serve a reader, a copy of its own does; hone__store_read renews it when the file moves on. */
int hone__env_open_copy(hone__store *store, int fd) {
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

enum { LOCK_BYTES = (HONE_CACHE_READERS + 2) * 64 }; /* what LMDB takes; what more it needs it adds itself */

static bool has_its_blocks(const struct stat *lock_file) {
    return lock_file->st_size >= LOCK_BYTES && lock_file->st_blocks * 512 >= (blkcnt_t)lock_file->st_size;
}

/* LMDB makes its lock file sparse and writes it by mmap: on a full disk that is a SIGBUS.  So its blocks are reserved first.  The one place
 * where we open that file: closing it drops LMDB's locks in this process, and it has none here, before its environment is open. */
static int reserve_lock_file(const hone__store *store) {
    struct stat info;
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
static hone__attempt prepare_lock_file(hone__opening *o) {
    hone__store *store = o->store;
    struct stat info;
    hone_status status = hone__check_trusted(store->lock_path, &info, store->read_only, o->err);
    bool exists = status == HONE_OK, needs_blocks = exists ? !has_its_blocks(&info) : status == HONE_E_NOTFOUND;
    int rc = needs_blocks ? reserve_lock_file(store) : 0;
    if (rc != 0 && !store->read_only)
        return hone__opening_judge(o, rc, "open");
    o->lock_file_usable = rc == 0;
    if (!exists && needs_blocks)
        status = hone__check_trusted(store->lock_path, &info, store->read_only, o->err);
    return status == HONE_OK || status == HONE_E_NOTFOUND ? HONE_ATTEMPT_DONE : hone__opening_failed(o, status);
}

static hone__attempt open_env(hone__opening *o, int fd, const struct stat *checked) {
    hone__store *store = o->store;
    int rc = EACCES;
    if (!store->read_only || (o->lock_file_usable && hone__side_serves(store, (uint64_t)checked->st_ino)))
        rc = env_open_patiently(store);
    if ((rc == EACCES || rc == ENOSPC || rc == EDQUOT) && store->read_only)
        rc = hone__env_open_copy(store, fd);
    /* The data file has just been found sound: what LMDB does not understand is the lock file, which another version of LMDB may be using. */
    if (rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH)
        return hone__opening_failed(o, hone__fail_os(o->err, HONE_E_STORE, "cache", rc, "cannot use %s (%s); remove it when no program has the cache open",
                                                     store->lock_path, mdb_strerror(rc)));
    if (rc != 0)
        return hone__opening_judge(o, rc, "open");
    if (!store->is_copy && !opened_the_same(store, checked)) {
        hone__env_close(store);
        return HONE_ATTEMPT_NEEDS_LOCK; /* look again */
    }
    return HONE_ATTEMPT_DONE;
}

/* The data file exists and is sound, or is new; `fd` is open on it. */
static hone__attempt open_sound(hone__opening *o, int fd, bool is_new, const struct stat *checked) {
    hone__store *store = o->store;
    uint64_t ino = (uint64_t)checked->st_ino;
    if (!store->read_only) {
        store->writing = store->writing || o->locked;
        bool match = false;
        hone_status status = o->locked ? hone__side_adopt(store, ino, o->err) : hone__side_match(store, ino, &match, o->err);
        if (status != HONE_OK)
            return hone__opening_failed(o, status);
        if (!o->locked && (!match || is_new))
            return HONE_ATTEMPT_NEEDS_LOCK;
    }
    hone__attempt result = prepare_lock_file(o);
    if (result == HONE_ATTEMPT_DONE)
        result = open_env(o, fd, checked);
    if (result != HONE_ATTEMPT_DONE)
        return result;
    result = hone__tables_open(o, fd);
    if (o->foreign)
        result = hone__opening_damaged(o, "it is another program's LMDB file");
    if (result == HONE_ATTEMPT_NEEDS_LOCK && store->read_only)
        result = hone__opening_damaged(o, "it has no tables");
    if (result == HONE_ATTEMPT_NEEDS_LOCK && o->locked)
        result = hone__tables_make(o);
    if (result != HONE_ATTEMPT_DONE)
        hone__env_close(store);
    return result;
}

static hone__attempt try_open(hone__opening *o) {
    hone__store *store = o->store;
    o->foreign = false;
    int fd, flags = store->read_only ? O_RDONLY : O_RDWR;
    struct stat info;
    hone_status status = hone__open_trusted(&fd, &info, store->path, flags | (o->locked && !store->read_only ? O_CREAT : 0), store->read_only, o->err);
    if (status == HONE_E_NOTFOUND && !store->read_only && !o->locked)
        return HONE_ATTEMPT_NEEDS_LOCK;
    if (status != HONE_OK)
        return hone__opening_failed(o, status);
    status = hone__check_filesystem(fd, store->path, store->allow_network_fs, o->err);
    if (status != HONE_OK) {
        (void)close(fd);
        return hone__opening_failed(o, status);
    }
    hone__attempt result;
    hone__file_state state = hone__file_check_opened(fd, &info, o->reason, sizeof o->reason);
    if (state == HONE_FILE_NEW && store->read_only)
        result = hone__opening_failed(o, hone__fail_os(o->err, HONE_E_NOTFOUND, "cache", ENOENT, "%s is empty: nothing was stored there yet", store->path));
    else if (state == HONE_FILE_UNREADABLE)
        result = hone__opening_failed(o, hone__fail_os(o->err, HONE_E_IO, "cache", errno,
                                                       "cannot read %s: %s; if that goes on, set HONE_CACHE to another disk", store->path, strerror(errno)));
    else if (state == HONE_FILE_DAMAGED)
        result = HONE_ATTEMPT_DAMAGED;
    else
        result = open_sound(o, fd, state == HONE_FILE_NEW, &info);
    if (result == HONE_ATTEMPT_DONE && hone__stamp_move(store) != HONE_OK) {
        hone__env_close(store);
        result = hone__opening_failed(o, hone__fail(o->err, HONE_E_NOMEM, "cache", "no memory to open %s", store->path));
    }
    (void)close(fd);
    if (result == HONE_ATTEMPT_DONE) {
        store->dev = (uint64_t)info.st_dev;
        store->ino = (uint64_t)info.st_ino;
        (void)atomic_fetch_add(&store->epoch, 1);
    }
    return result;
}

/* Rename a file that we cannot use, and its lock file with it, to PATH.corrupt-TIME. */
static hone_status set_aside(hone__opening *o) {
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
 * file beside it; and it is no other program's database. */
static bool was_a_cache(const hone__opening *o) {
    const hone__store *store = o->store;
    struct stat info;
    if (o->foreign)
        return false;
    if (lstat(store->lock_path, &info) == 0)
        return true;
    int fd = open(store->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool magic = fd >= 0 && hone__file_has_magic(fd);
    if (fd >= 0)
        (void)close(fd);
    return magic;
}

static hone__attempt settle(hone__opening *o) {
    hone__attempt result = try_open(o);
    for (int i = 0; i < 3 && result == HONE_ATTEMPT_NEEDS_LOCK && (o->locked || o->store->read_only); i++)
        result = try_open(o); /* somebody moved the file meanwhile */
    if (!o->locked || o->store->read_only) /* who only reads leaves a damaged file where it is */
        return result;
    if (result == HONE_ATTEMPT_DAMAGED && !was_a_cache(o))
        return hone__opening_failed(o, hone__fail(o->err, HONE_E_CORRUPT, "cache", "%s is no Hone cache (%s): name another file, or move this one away",
                                                  o->store->path, o->reason));
    /* Twice at the most: a fresh file can only be damaged by somebody at work right now. */
    for (int i = 0; i < 2 && result == HONE_ATTEMPT_DAMAGED; i++) {
        hone_status status = set_aside(o);
        if (status != HONE_OK)
            return hone__opening_failed(o, status);
        result = try_open(o);
    }
    return result;
}

/* The file is as it was, and is not looked at again.  False: it is not, or this failed; then nothing is open. */
static bool open_same(hone__store *store, bool writing) {
    hone__opening o = {.store = store, .locked = true};
    const struct stat same = {.st_dev = (dev_t)store->dev, .st_ino = (ino_t)store->ino};
    hone__env_close(store);
    store->writing = writing;
    bool opened = env_open_patiently(store) == 0 && opened_the_same(store, &same) && hone__tables_open(&o, -1) == HONE_ATTEMPT_DONE;
    if (!opened)
        hone__env_close(store);
    return opened;
}

hone_status hone__env_begin_writing(hone__store *store, hone_error *err) {
    hone_status status = HONE_OK;
    (void)pthread_rwlock_wrlock(&store->gate);
    if (!open_same(store, true))
        status = hone__env_open(store, true, 0, err);
    if (status != HONE_OK)
        (void)open_same(store, false); /* no descriptor is left, perhaps: reading goes on */
    (void)pthread_rwlock_unlock(&store->gate);
    return status;
}

hone_status hone__env_open(hone__store *store, bool locked, uint32_t wait_ms, hone_error *err) {
    hone__opening o = {.store = store, .locked = locked, .err = err};
    store->broken = false;
    hone__attempt result = settle(&o);
    if (!locked && !store->read_only && (result == HONE_ATTEMPT_NEEDS_LOCK || result == HONE_ATTEMPT_DAMAGED)) {
        HONE_TRY(hone__may_create(store->path, store->allow_network_fs, err));
        /* Damage seen without the lock may be a writer at work: look again with it. */
        HONE_TRY(hone__side_lock(store, wait_ms, err));
        o.locked = true;
        result = settle(&o);
        hone__side_unlock(store);
    }
    if (result == HONE_ATTEMPT_DONE)
        return HONE_OK;
    if (result == HONE_ATTEMPT_DAMAGED && !was_a_cache(&o))
        return hone__fail(err, HONE_E_CORRUPT, "cache", "%s is no Hone cache: %s", store->path, o.reason);
    if (result == HONE_ATTEMPT_DAMAGED)
        return hone__fail(err, HONE_E_CORRUPT, "cache", "%s cannot be used: %s; it was left as it is: whoever opens it for writing moves it to %s.corrupt-TIME and begins a new one",
                          store->path, o.reason, store->path);
    if (result == HONE_ATTEMPT_NEEDS_LOCK)
        return hone__fail(err, HONE_E_STORE, "cache", "%s keeps changing while it is opened", store->path);
    return o.status;
}
