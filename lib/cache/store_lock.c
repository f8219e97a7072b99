/* store_lock.c: the side lock.  LMDB's robust mutex loses mutual exclusion between PID namespaces (a waiter that is killed can free the
 * lock of a live owner) and has no deadline; an open-file-description lock on a file of our own has neither fault.  Everyone who
 * writes takes it first. */
#define _GNU_SOURCE
#include "clock.h"
#include "status.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef __GLIBC__
#define LIBC_NAME "glibc"
#else
#define LIBC_NAME "other"
#endif

enum { SIDE_BYTES = 96 };
/* About as long as a commit takes; sleeping longer leaves the lock free while all wait. */
#define NAP_NS_MAX 1000000u

hone_status hone__side_open(hone__store *store, hone_error *err) {
    int fd;
    struct stat info;
    hone_status status = hone__open_trusted(&fd, &info, store->side_path, O_RDWR, false, err);
    if (status == HONE_E_NOTFOUND) {
        HONE_TRY(hone__may_create(store->path, store->allow_network_fs, err));
        status = hone__open_trusted(&fd, &info, store->side_path, O_RDWR | O_CREAT, false, err);
    }
    HONE_TRY(status);
    if (store->side_fd >= 0)
        (void)close(store->side_fd);
    store->side_fd = fd;
    return HONE_OK;
}

/* Somebody may have removed the side file: a lock on what is no longer there excludes nobody. */
static bool side_replaced(const hone__store *store) {
    struct stat ours, theirs;
    if (fstat(store->side_fd, &ours) != 0 || lstat(store->side_path, &theirs) != 0)
        return true;
    return ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev;
}

static int side_fcntl(const hone__store *store, short type) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    return fcntl(store->side_fd, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
}

static void nap(uint64_t *step_ns) {
    uint64_t length = *step_ns / 2 + hone__clock_ns() % *step_ns; /* jitter: waiters must not march in step */
    struct timespec time = {.tv_sec = 0, .tv_nsec = (long)length};
    (void)nanosleep(&time, NULL);
    *step_ns = *step_ns * 2 > NAP_NS_MAX ? NAP_NS_MAX : *step_ns * 2;
}

/* One try with the process' half held.  EAGAIN: somebody else has it. */
static int try_lock(hone__store *store, hone_error *err, hone_status *status) {
    *status = HONE_OK;
    for (int i = 0; i < 3; i++) {
        int code = side_fcntl(store, F_WRLCK);
        if (code == EAGAIN || code == EACCES)
            return EAGAIN;
        if (code != 0) {
            *status = hone__fail_os(err, HONE_E_STORE, "cache", code, "cannot lock %s: %s", store->side_path, strerror(code));
            return code;
        }
        if (!side_replaced(store))
            return 0;
        (void)side_fcntl(store, F_UNLCK);
        *status = hone__side_open(store, err);
        if (*status != HONE_OK)
            return EIO;
    }
    return EAGAIN;
}

hone_status hone__side_lock(hone__store *store, uint32_t wait_ms, hone_error *err) {
    uint64_t deadline = hone__clock_ns() + (uint64_t)wait_ms * 1000000u, step_ns = 100000;
    for (;;) {
        if (pthread_mutex_trylock(&store->writer) == 0) {
            hone_status status = HONE_OK;
            int code = store->read_only ? 0 : try_lock(store, err, &status);
            if (code == 0)
                return HONE_OK;
            (void)pthread_mutex_unlock(&store->writer);
            if (code != EAGAIN)
                return status;
        }
        if (hone__clock_ns() >= deadline)
            return hone__fail(err, HONE_E_BUSY, "cache", "another writer has held %s for more than %u ms; nothing was stored", store->path, wait_ms);
        nap(&step_ns);
    }
}

void hone__side_unlock(hone__store *store) {
    /* Explicitly: a child forked meanwhile shares the open file description and would keep the lock alive. */
    if (!store->read_only)
        (void)side_fcntl(store, F_UNLCK);
    (void)pthread_mutex_unlock(&store->writer);
}

/* The lock file holds raw mutexes, so everyone must have the same C library; and it belongs to one data file: with another
 * it would mix up transaction numbers. */
static void side_text(char text[SIDE_BYTES], uint64_t ino) {
    memset(text, 0, SIDE_BYTES);
    (void)snprintf(text, SIDE_BYTES, "hone-side 1 libc=" LIBC_NAME " mutex=%zu inode=%llu\n", sizeof(pthread_mutex_t),
                   (unsigned long long)ino);
}

static bool skip(const char **at, const char *text) {
    size_t length = strlen(text);
    bool is_there = strncmp(*at, text, length) == 0;
    *at += is_there ? length : 0;
    return is_there;
}

static bool skip_number(const char **at, uint64_t number) {
    uint64_t there = 0;
    const char *start = *at;
    for (; **at >= '0' && **at <= '9' && there <= UINT64_MAX / 10 - 1; ++*at)
        there = there * 10 + (uint64_t)(**at - '0');
    return *at > start && there == number;
}

bool hone__side_serves(const hone__store *store, uint64_t ino) {
    char have[SIDE_BYTES + 1] = {0};
    struct stat info;
    int fd;
    if (hone__open_trusted(&fd, &info, store->side_path, O_RDONLY, true, NULL) != HONE_OK)
        return true; /* none, or none that we may read: LMDB's own rules must do */
    ssize_t got = pread(fd, have, SIDE_BYTES, 0);
    (void)close(fd);
    const char *named = got <= 0 ? NULL : strstr(have, " inode=");
    return named == NULL || strtoull(named + strlen(" inode="), NULL, 10) == ino;
}

hone_status hone__side_match(const hone__store *store, uint64_t ino, bool *match, hone_error *err) {
    char have[SIDE_BYTES + 1] = {0};
    ssize_t got = pread(store->side_fd, have, SIDE_BYTES, 0);
    const char *at = have;
    bool is_side = skip(&at, "hone-side 1 ");
    bool same_library = is_side && skip(&at, "libc=" LIBC_NAME " mutex=") && skip_number(&at, sizeof(pthread_mutex_t)) && skip(&at, " inode=");
    *match = got > 0 && same_library && skip_number(&at, ino) && strcmp(at, "\n") == 0;
    if (got > 0 && is_side && !same_library)
        return hone__fail(err, HONE_E_UNSUPPORTED, "cache",
                          "%s is used by programs with another C library; set HONE_CACHE to another file, or remove '%s' and '%s' when none runs",
                          store->path, store->lock_path, store->side_path);
    return HONE_OK;
}

hone_status hone__side_adopt(hone__store *store, uint64_t ino, hone_error *err) {
    bool match;
    HONE_TRY(hone__side_match(store, ino, &match, err));
    if (match)
        return HONE_OK;
    char text[SIDE_BYTES];
    side_text(text, ino);
    /* By name only: opening it would be worse than leaving it (store.h).  Who has it open keeps it with the old data file. */
    if (unlink(store->lock_path) != 0 && errno != ENOENT)
        return hone__fail_os(err, hone__status_of_errno(errno), "cache", errno, "cannot remove %s: %s", store->lock_path, strerror(errno));
    if (pwrite(store->side_fd, text, sizeof text, 0) != (ssize_t)sizeof text) {
        int code = errno == 0 ? ENOSPC : errno;
        return hone__fail_os(err, hone__status_of_errno(code), "cache", code, "cannot write %s: %s", store->side_path, strerror(code));
    }
    return HONE_OK;
}
