/* mdb_errors.c: the one place where LMDB's codes become ours. */
#define _GNU_SOURCE
#include "store.h"
#include "status.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

hone_status hone__mdb_status(int code) {
    switch (code) {
    case MDB_SUCCESS:
        return HONE_OK;
    case MDB_NOTFOUND:
        return HONE_E_NOTFOUND;
    case MDB_KEYEXIST:
        return HONE_E_EXISTS;
    case MDB_PAGE_NOTFOUND: /* a page number that leads nowhere */
    case MDB_CORRUPTED:
    case MDB_INVALID:       /* not an LMDB file, or of another word size */
    case MDB_INCOMPATIBLE:  /* a table with flags that we never set */
    case MDB_BAD_DBI:
        return HONE_E_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return HONE_E_VERSION;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
        return HONE_E_FULL;
    case MDB_READERS_FULL:
        return HONE_E_BUSY;
    case MDB_PANIC: /* a failed meta page write, or a thread that died inside a transaction */
    case MDB_MAP_RESIZED:
    case MDB_DBS_FULL:
    case MDB_TLS_FULL:
    case MDB_CURSOR_FULL:
    case MDB_PAGE_FULL:
    case MDB_BAD_RSLOT:
        return HONE_E_STORE;
    case MDB_BAD_TXN:
    case MDB_BAD_VALSIZE:
        return HONE_E_BUG;
    case EAGAIN:
    case EBUSY:
        return HONE_E_BUSY;
    case EFBIG:
        return HONE_E_NOSPACE;
    default:
        return code > 0 ? hone__status_of_errno(code) : HONE_E_STORE;
    }
}

/* LMDB reports a short write as EIO (0.9.24, mdb_page_flush): ask the filesystem and the process limit what it was. */
static bool is_out_of_space(const char *path) {
    struct statvfs fs;
    if (statvfs(path, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < (64u << 10))
        return true;
    struct rlimit limit;
    struct stat info;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || stat(path, &info) != 0)
        return false;
    return (uint64_t)info.st_size + (64u << 10) > (uint64_t)limit.rlim_cur;
}

hone_status hone__mdb_fail(hone_error *err, const hone__store *store, int code, const char *verb) {
    hone_status status = hone__mdb_status(code);
    if (code == EIO && is_out_of_space(store->path)) {
        code = ENOSPC;
        status = HONE_E_NOSPACE;
    }
    const char *way_out = "";
    if (status == HONE_E_NOSPACE)
        way_out = "; free some space, or set HONE_CACHE to another disk";
    else if (status == HONE_E_FULL)
        way_out = "; make room (`hone prune`, `hone gc`, then `hone compact`), start a new cache, or raise map_bytes_max";
    else if (status == HONE_E_PERM)
        way_out = "; make it yours to read and write, or set HONE_CACHE to another file";
    else if (status == HONE_E_CORRUPT)
        way_out = "; move it away, a new one is made at the next open";
    return hone__fail_os(err, status, "cache", code, "cannot %s %s: %s%s", verb, store->path, mdb_strerror(code), way_out);
}
