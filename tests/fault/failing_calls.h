/* failing_calls.h: the calls that the cache makes into the C library and into LMDB, with a say in which of them fail.  A program's own
 * definitions come before those of shared libraries, so what LMDB itself calls is caught too.  Header only, for programs of one
 * source file; one thread at a time. */
#ifndef FAILING_CALLS_H
#define FAILING_CALLS_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

typedef enum failing_kind {
    CALL_NONE,
    CALL_MALLOC, /* of everybody in the process; not under sanitizers, which have their own */
    CALL_OPEN,
    CALL_READ,
    CALL_WRITE,
    CALL_SYNC,
    CALL_MAP,
    CALL_LOCK,
    CALL_ROOM,   /* ftruncate, fallocate */
    CALL_NAME,   /* rename, unlink */
    CALL_LMDB,
    CALL_KINDS
} failing_kind;

static const char *const failing_names[CALL_KINDS] = {"none", "malloc", "open",      "read", "write", "sync",
                                                      "mmap", "lock",   "ftruncate", "name", "LMDB"};

enum { FAIL_SHORT = -1 }; /* as a code of CALL_WRITE: half of it is written */

typedef struct failing_plan {
    failing_kind kind;
    uint32_t nth;      /* 1: the next */
    bool for_ever;
    int code;          /* errno, or LMDB's */
    uint32_t seen, failed;
} failing_plan;

static failing_plan failing;

/* Everything that is written to a file and made durable can be recorded besides. */
typedef void written_fn(int fd, const void *bytes, size_t count, off_t at);
typedef void synced_fn(int fd);
static written_fn *failing_on_write;
static synced_fn *failing_on_sync;
static bool failing_skips_sync = true; /* the tests do not pull the plug, and run faster without */

__attribute__((unused)) static void failing_start(failing_kind kind, uint32_t nth, bool for_ever, int code) {
    failing = (failing_plan){kind, nth, for_ever, code, 0, 0};
}

/* How many calls failed. */
__attribute__((unused)) static uint32_t failing_stop(void) {
    uint32_t failed = failing.failed;
    failing = (failing_plan){CALL_NONE, 0, false, 0, 0, 0};
    return failed;
}

static bool call_fails(failing_kind kind) {
    if (failing.kind != kind)
        return false;
    failing.seen++;
    bool fails = failing.seen == failing.nth || (failing.for_ever && failing.seen > failing.nth);
    failing.failed += fails;
    if (fails)
        errno = failing.code;
    return fails;
}

#define SHIM __attribute__((visibility("default")))

#ifndef HONE_SANITIZED
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);

SHIM void *malloc(size_t bytes) {
    return call_fails(CALL_MALLOC) ? NULL : __libc_malloc(bytes);
}

SHIM void *calloc(size_t count, size_t bytes) {
    return call_fails(CALL_MALLOC) ? NULL : __libc_calloc(count, bytes);
}

SHIM void *realloc(void *old, size_t bytes) {
    return call_fails(CALL_MALLOC) ? NULL : __libc_realloc(old, bytes);
}
#endif

SHIM int open(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    bool creates = (flags & O_CREAT) != 0;
#ifdef O_TMPFILE
    creates = creates || (flags & O_TMPFILE) == O_TMPFILE;
#endif
    int mode = creates ? va_arg(list, int) : 0;
    va_end(list);
    return call_fails(CALL_OPEN) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

SHIM ssize_t read(int fd, void *out, size_t count) {
    return call_fails(CALL_READ) ? -1 : syscall(SYS_read, fd, out, count);
}

/* For tests of races: called after a pread. */
static void (*failing_after_read)(int fd, off_t at);

SHIM ssize_t pread(int fd, void *out, size_t count, off_t at) {
    ssize_t got = call_fails(CALL_READ) ? -1 : syscall(SYS_pread64, fd, out, count, at);
    if (failing_after_read != NULL)
        failing_after_read(fd, at);
    return got;
}

SHIM ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    if (call_fails(CALL_WRITE)) {
        if (failing.code != FAIL_SHORT)
            return -1;
        count /= 2;
    }
    ssize_t done = syscall(SYS_pwrite64, fd, bytes, count, at);
    if (done > 0 && failing_on_write != NULL)
        failing_on_write(fd, bytes, (size_t)done, at);
    return done;
}

SHIM ssize_t writev(int fd, const struct iovec *part, int parts) {
    if (call_fails(CALL_WRITE)) {
        if (failing.code != FAIL_SHORT)
            return -1;
        parts /= 2;
    }
    off_t at = failing_on_write == NULL ? 0 : lseek(fd, 0, SEEK_CUR);
    ssize_t done = parts == 0 ? 0 : syscall(SYS_writev, fd, part, parts);
    ssize_t left = done;
    for (int i = 0; i < parts && left > 0 && failing_on_write != NULL; i++) {
        size_t count = (ssize_t)part[i].iov_len < left ? part[i].iov_len : (size_t)left;
        failing_on_write(fd, part[i].iov_base, count, at);
        at += (off_t)count;
        left -= (ssize_t)count;
    }
    return done;
}

static int sync_call(int fd, long number) {
    if (call_fails(CALL_SYNC))
        return -1;
    if (failing_on_sync != NULL)
        failing_on_sync(fd);
    return failing_skips_sync ? 0 : (int)syscall(number, fd);
}

SHIM int fsync(int fd) {
    return sync_call(fd, SYS_fsync);
}

SHIM int fdatasync(int fd) {
    return sync_call(fd, SYS_fdatasync);
}

SHIM void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t at) {
    if (call_fails(CALL_MAP))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, at); /* NOLINT: an address comes back as a number */
}

SHIM int ftruncate(int fd, off_t bytes) {
    return call_fails(CALL_ROOM) ? -1 : (int)syscall(SYS_ftruncate, fd, bytes);
}

SHIM int fallocate(int fd, int mode, off_t at, off_t bytes) {
    return call_fails(CALL_ROOM) ? -1 : (int)syscall(SYS_fallocate, fd, mode, at, bytes);
}

SHIM int rename(const char *from, const char *to) {
    return call_fails(CALL_NAME) ? -1 : (int)syscall(SYS_rename, from, to);
}

SHIM int unlink(const char *path) {
    return call_fails(CALL_NAME) ? -1 : (int)syscall(SYS_unlink, path);
}

SHIM int fcntl(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    long argument = va_arg(list, long);
    va_end(list);
    bool locks = command == F_SETLK || command == F_SETLKW || command == F_GETLK || command == 37 /* F_OFD_SETLK */;
    return locks && call_fails(CALL_LOCK) ? -1 : (int)syscall(SYS_fcntl, fd, command, argument);
}

/* ---- LMDB ---- */

/* The library's own function of that name. */
#define REAL(name, type)                                                                                     \
    static type real;                                                                                        \
    if (real == NULL) {                                                                                      \
        void *symbol = dlsym(RTLD_NEXT, #name);                                                              \
        __builtin_memcpy(&real, &symbol, sizeof real);                                                       \
    }

typedef int env_create_fn(MDB_env **env);
typedef int env_open_fn(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);
typedef int env_size_fn(MDB_env *env, size_t bytes);
typedef int env_count_fn(MDB_env *env, unsigned count);
typedef int env_check_fn(MDB_env *env, int *dead);
typedef int env_info_fn(MDB_env *env, MDB_envinfo *info);
typedef int txn_begin_fn(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
typedef int txn_commit_fn(MDB_txn *txn);
typedef int dbi_open_fn(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *dbi);
typedef int dbi_flags_fn(MDB_txn *txn, MDB_dbi dbi, unsigned *flags);
typedef int dbi_stat_fn(MDB_txn *txn, MDB_dbi dbi, MDB_stat *stat);
typedef int get_fn_type(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value);
typedef int put_fn_type(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned flags);
typedef int cursor_open_fn(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor);
typedef int cursor_get_fn(MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op);
typedef int cursor_del_fn(MDB_cursor *cursor, unsigned flags);

/* For tests of races: called just before LMDB opens a file. */
static void (*failing_before_env_open)(const char *path);

SHIM int mdb_env_create(MDB_env **env) {
    REAL(mdb_env_create, env_create_fn *)
    return call_fails(CALL_LMDB) ? failing.code : real(env);
}

SHIM int mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode) {
    REAL(mdb_env_open, env_open_fn *)
    if (failing_before_env_open != NULL)
        failing_before_env_open(path);
    return call_fails(CALL_LMDB) ? failing.code : real(env, path, flags, mode);
}

SHIM int mdb_env_set_mapsize(MDB_env *env, size_t bytes) {
    REAL(mdb_env_set_mapsize, env_size_fn *)
    return call_fails(CALL_LMDB) ? failing.code : real(env, bytes);
}

SHIM int mdb_env_set_maxreaders(MDB_env *env, unsigned count) {
    REAL(mdb_env_set_maxreaders, env_count_fn *)
    return call_fails(CALL_LMDB) ? failing.code : real(env, count);
}

SHIM int mdb_env_info(MDB_env *env, MDB_envinfo *info) {
    REAL(mdb_env_info, env_info_fn *)
    return call_fails(CALL_LMDB) ? failing.code : real(env, info);
}

SHIM int mdb_reader_check(MDB_env *env, int *dead) {
    REAL(mdb_reader_check, env_check_fn *)
    return call_fails(CALL_LMDB) ? failing.code : real(env, dead);
}

SHIM int mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn) {
    REAL(mdb_txn_begin, txn_begin_fn *)
    return call_fails(CALL_LMDB) ? failing.code : real(env, parent, flags, txn);
}

SHIM int mdb_txn_commit(MDB_txn *txn) {
    REAL(mdb_txn_commit, txn_commit_fn *)
    if (!call_fails(CALL_LMDB))
        return real(txn);
    mdb_txn_abort(txn); /* as LMDB does when it fails */
    return failing.code;
}

SHIM int mdb_dbi_open(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *dbi) {
    REAL(mdb_dbi_open, dbi_open_fn *)
    return call_fails(CALL_LMDB) ? failing.code : real(txn, name, flags, dbi);
}

SHIM int mdb_dbi_flags(MDB_txn *txn, MDB_dbi dbi, unsigned *flags) {
    REAL(mdb_dbi_flags, dbi_flags_fn *)
    return call_fails(CALL_LMDB) ? failing.code : real(txn, dbi, flags);
}

SHIM int mdb_stat(MDB_txn *txn, MDB_dbi dbi, MDB_stat *stat) {
    REAL(mdb_stat, dbi_stat_fn *)
    return call_fails(CALL_LMDB) ? failing.code : real(txn, dbi, stat);
}

SHIM int mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value) {
    REAL(mdb_get, get_fn_type *)
    return call_fails(CALL_LMDB) ? failing.code : real(txn, dbi, key, value);
}

SHIM int mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned flags) {
    REAL(mdb_put, put_fn_type *)
    return call_fails(CALL_LMDB) ? failing.code : real(txn, dbi, key, value, flags);
}

SHIM int mdb_del(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value) {
    REAL(mdb_del, get_fn_type *)
    return call_fails(CALL_LMDB) ? failing.code : real(txn, dbi, key, value);
}

SHIM int mdb_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor) {
    REAL(mdb_cursor_open, cursor_open_fn *)
    return call_fails(CALL_LMDB) ? failing.code : real(txn, dbi, cursor);
}

SHIM int mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op) {
    REAL(mdb_cursor_get, cursor_get_fn *)
    return call_fails(CALL_LMDB) ? failing.code : real(cursor, key, value, op);
}

SHIM int mdb_cursor_del(MDB_cursor *cursor, unsigned flags) {
    REAL(mdb_cursor_del, cursor_del_fn *)
    return call_fails(CALL_LMDB) ? failing.code : real(cursor, flags);
}

#endif
