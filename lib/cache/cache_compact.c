/* cache_compact.c: hone_cache_compact: the file is written anew without its free pages and takes the old one's place by rename.
 *
 * What must not happen is that LMDB's lock file of the old data file serves the new one, because transaction numbers in it would choose the
 * wrong meta page.  So, all under the side lock:  1. the side file says that nobody's lock file is there;  2. the lock file goes;  3. the new
 * data file takes its place;  4. a lock file goes that somebody made meanwhile for the old one;  5. the side file names the new data file.
 * Who opens in between finds another inode than its own in the side file, and waits for the lock or reads a copy (store_env.c). */
#define _GNU_SOURCE
#include "alloc.h"
#include "file.h"
#include "status.h"
#include "store.h"
#include "upkeep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WAIT_MS_LEAST = 2000 };

typedef struct compact_call {
    hone__store *store;
    char *path; /* of the new file */
    int fd;
    uint64_t before_bytes, after_bytes;
    hone_error *err;
} compact_call;

static hone_status fail_file(const compact_call *call, int code, const char *verb, const char *path) {
    return hone__fail_os(call->err, hone__status_of_errno(code), "cache", code, "cannot %s %s: %s; the cache is as it was", verb, path, strerror(code));
}

static hone_status make_file(compact_call *call) {
    size_t bytes = strlen(call->store->path) + 48;
    call->path = hone__alloc(bytes);
    if (call->path == NULL)
        return hone__fail(call->err, HONE_E_NOMEM, "cache", "no memory to compact %s", call->store->path);
    (void)snprintf(call->path, bytes, "%s.tmp-compact-%ld", call->store->path, (long)getpid());
    (void)unlink(call->path); /* of a process that died and had our number */
    call->fd = open(call->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return call->fd < 0 ? fail_file(call, errno, "create", call->path) : HONE_OK;
}

/* The new file has the owner's wishes about who may read it. */
static hone_status copy_mode(const compact_call *call, const struct stat *old) {
    return fchmod(call->fd, old->st_mode & 0777) == 0 ? HONE_OK : fail_file(call, errno, "set the mode of", call->path);
}

static hone_status write_copy(compact_call *call) {
    int rc = mdb_env_copyfd2(call->store->env, call->fd, MDB_CP_COMPACT);
    if (rc == MDB_INCOMPATIBLE)
        return hone__fail_os(call->err, HONE_E_CORRUPT, "cache", rc, "%s has pages that nothing leads to; use `hone dump` and `hone load` into a new cache",
                             call->store->path);
    if (rc != 0)
        return hone__mdb_fail(call->err, call->store, rc, "compact");
    if (fsync(call->fd) != 0)
        return fail_file(call, errno, "sync", call->path);
    char reason[160];
    if (hone__file_check(call->fd, reason, sizeof reason) != HONE_FILE_SOUND)
        return hone__fail(call->err, HONE_E_CORRUPT, "cache", "the new file is not sound (%s); the cache is as it was", reason);
    struct stat info;
    if (fstat(call->fd, &info) != 0)
        return fail_file(call, errno, "look at", call->path);
    call->after_bytes = (uint64_t)info.st_size;
    return HONE_OK;
}

/* Steps 1 to 5 above. */
static hone_status take_place(compact_call *call) {
    hone__store *store = call->store;
    struct stat info;
    if (fstat(call->fd, &info) != 0)
        return fail_file(call, errno, "look at", call->path);
    HONE_TRY(hone__side_adopt(store, 0, call->err));
    if (rename(call->path, store->path) != 0) {
        hone_status status = fail_file(call, errno, "rename to", store->path);
        return status;
    }
    (void)unlink(store->lock_path);
    hone__folder_sync(store->path);
    hone__free(call->path);
    call->path = NULL;
    /* Should this fail, the next writer finds number 0 in the side file and does the same. */
    return hone__side_adopt(store, (uint64_t)info.st_ino, call->err);
}

/* The side lock is held and the gate is ours alone. */
static hone_status compact_locked(compact_call *call, bool dry_run) {
    hone__store *store = call->store;
    struct stat info;
    if (store->env == NULL)
        return hone__fail(call->err, HONE_E_STORE, "cache", "%s cannot be used", store->path);
    if (lstat(store->path, &info) != 0)
        return fail_file(call, errno, "look at", store->path);
    call->before_bytes = (uint64_t)info.st_size;
    HONE_TRY(make_file(call));
    HONE_TRY(copy_mode(call, &info));
    HONE_TRY(write_copy(call));
    if (dry_run || call->after_bytes >= call->before_bytes)
        return HONE_OK;
    hone__env_close(store);
    hone_status status = take_place(call);
    hone_status opened = hone__env_open(store, true, 0, status == HONE_OK ? call->err : NULL);
    return status == HONE_OK ? opened : status;
}

hone_status hone_cache_compact(char **report, hone_cache *cache, const hone_work_options *options, hone_error *err) {
    if (report != NULL)
        *report = NULL;
    hone__work work;
    HONE_TRY(hone__work_begin(&work, options, err));
    HONE_TRY(hone__cache_writable(cache, err));
    hone__store *store = cache->store;
    compact_call call = {.store = store, .fd = -1, .err = err};
    HONE_TRY(hone__side_lock(store, cache->wait_ms < WAIT_MS_LEAST ? WAIT_MS_LEAST : cache->wait_ms, err));
    hone_status status = HONE_OK;
    if (store->env == NULL || hone__store_replaced(store))
        status = hone__store_reopen(store, err);
    (void)pthread_rwlock_wrlock(&store->gate);
    if (status == HONE_OK)
        status = compact_locked(&call, work.options.dry_run != 0);
    (void)pthread_rwlock_unlock(&store->gate);
    hone__side_unlock(store);
    if (call.fd >= 0)
        (void)close(call.fd);
    if (call.path != NULL)
        (void)unlink(call.path);
    hone__free(call.path);
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    hone__buf_printf(&buf, "{\"hone\":1,\"dry_run\":%s,\"before_bytes\":%llu,\"after_bytes\":%llu}", work.options.dry_run != 0 ? "true" : "false",
                     (unsigned long long)call.before_bytes,
                     (unsigned long long)(call.after_bytes < call.before_bytes ? call.after_bytes : call.before_bytes));
    return hone__work_end(report, &buf, status, err);
}
