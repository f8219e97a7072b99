/* store_snapshot.c: reading a cache whose lock file we may not write.  Even LMDB's readers need that (they register there), and reading
 * without is unsafe beside a writer; so a private copy in memory is read instead. */
#define _GNU_SOURCE
#include "store.h"
#include "store_file.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int copy_bytes(int from, int to, off_t bytes) {
    char block[65536];
    for (off_t at = 0; at < bytes;) {
        ssize_t got = pread(from, block, sizeof block, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0 ? 0 : errno;
        ssize_t put = pwrite(to, block, (size_t)got, at);
        if (put != got)
            return put < 0 ? errno : ENOSPC;
        at += got;
    }
    return 0;
}

int hone__snapshot_make(int fd, uint64_t bytes_max, int *out, uint64_t *state) {
    *out = -1;
    for (int i = 0; i < 8; i++) {
        struct stat info;
        uint64_t before, after;
        if (fstat(fd, &info) != 0)
            return errno;
        if ((uint64_t)info.st_size > bytes_max)
            return EFBIG;
        if (!hone__file_state_number(fd, &before))
            return MDB_INVALID;
        int copy = memfd_create("hone-cache", MFD_CLOEXEC);
        if (copy < 0)
            return errno;
        int rc = copy_bytes(fd, copy, info.st_size);
        /* Pages of the newest state stay as they are until two commits later: with none meanwhile the copy is that state. */
        bool same = hone__file_state_number(fd, &after) && after == before;
        if (rc == 0 && same) {
            *out = copy;
            *state = before;
            return 0;
        }
        (void)close(copy);
        if (rc != 0)
            return rc;
    }
    return EBUSY;
}
