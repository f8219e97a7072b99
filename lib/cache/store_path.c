/* store_path.c: where a cache lives, and whom we trust there: one user a cache, no links, no network filesystems. */
#define _GNU_SOURCE
#include "alloc.h"
#include "file.h"
#include "status.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static hone_status no_memory(hone_error *err) {
    return hone__fail(err, HONE_E_NOMEM, "cache", "no memory for the cache's path");
}

hone_status hone__cache_default_path(char **out, hone_error *err) {
    *out = NULL;
    const char *named = getenv("HONE_CACHE");
    const char *base = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    if (named != NULL && named[0] != '\0') {
        *out = hone__strdup(named);
        return *out == NULL ? no_memory(err) : HONE_OK;
    }
    const char *tail = "hone/cache.hone";
    if (base == NULL || base[0] != '/') { /* a relative one is to be ignored: XDG base directory specification */
        base = home;
        tail = ".cache/hone/cache.hone";
    }
    if (base == NULL || base[0] != '/')
        return hone__fail(err, HONE_E_IO, "cache", "no place for the cache: set HONE_CACHE to a file name (neither XDG_CACHE_HOME nor HOME is an absolute path)");
    *out = hone__path_join(base, tail);
    return *out == NULL ? no_memory(err) : HONE_OK;
}

/* Linux's magic numbers (statfs(2), linux/magic.h and the filesystems' own sources).  mmap is not coherent there between
 * hosts, or locks are not, or both. */
const char *hone__netfs_name(uint64_t magic) {
    static const struct {
        uint32_t magic;
        const char *name;
    } table[] = {
        {0x6969, "NFS"},          {0x517b, "SMB"},         {0xff534d42, "CIFS"},    {0xfe534d42, "SMB2"},
        {0x564c, "NCP"},          {0x0bd00bd0, "Lustre"},  {0x65735546, "FUSE"},    {0x01021997, "9p"},
        {0x00c36400, "Ceph"},     {0x5346414f, "AFS"},     {0x6b414653, "AFS"},     {0x73757245, "Coda"},
        {0x01161970, "GFS2"},     {0x7461636f, "OCFS2"},   {0x47504653, "GPFS"},    {0x19830326, "BeeGFS"},
        {0xaad7aaea, "PanFS"},    {0x786f4256, "vboxsf"},  {0xbacbacbc, "VMware shared folder"},
        {0x013111a8, "IBRIX"},    {0x7c7c6673, "prl_fs"},  {0x20030528, "OrangeFS"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].magic == (uint32_t)magic)
            return table[i].name;
    }
    return NULL;
}

/* A group of one's own, as distributions make it for each user, is numbered like the user. */
static bool others_may_write(const struct stat *info) {
    bool own_group = info->st_gid == (gid_t)info->st_uid;
    return (info->st_mode & 0002) != 0 || ((info->st_mode & 0020) != 0 && !own_group);
}

static hone_status judge_filesystem(const struct statfs *fs, const char *path, hone_error *err) {
    const char *network = hone__netfs_name((uint64_t)fs->f_type);
    if (network == NULL)
        return HONE_OK;
    return hone__fail(err, HONE_E_NETFS, "cache", "the folder of %s is on %s, where LMDB is not safe; set HONE_CACHE to a file on a local disk", path,
                      network);
}

static hone_status cannot_look(const char *path, hone_error *err) {
    int code = errno;
    return hone__fail_os(err, hone__status_of_errno(code), "cache", code, "cannot look at %s: %s", path, strerror(code));
}

hone_status hone__check_filesystem(int fd, const char *path, bool allow_network_fs, hone_error *err) {
    struct statfs fs;
    if (allow_network_fs)
        return HONE_OK;
    return fstatfs(fd, &fs) == 0 ? judge_filesystem(&fs, path, err) : cannot_look(path, err);
}

static hone_status is_folder(const char *path, hone_error *err) {
    return hone__fail_os(err, HONE_E_IO, "cache", EISDIR, "%s is a folder; name a file in it", path);
}

hone_status hone__may_create(const char *path, bool allow_network_fs, hone_error *err) {
    struct stat info;
    struct statfs fs;
    if (lstat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return is_folder(path, err);
    if (allow_network_fs)
        return HONE_OK;
    char *dir = hone__path_dir(path);
    if (dir == NULL)
        return no_memory(err);
    hone_status status = statfs(dir, &fs) == 0 ? judge_filesystem(&fs, path, err) : cannot_look(dir, err);
    hone__free(dir);
    return status;
}

static hone_status check_folder(const char *dir, hone_error *err) {
    struct stat info;
    if (lstat(dir, &info) != 0) /* links in it have been followed */
        return cannot_look(dir, err);
    if (!S_ISDIR(info.st_mode))
        return hone__fail(err, HONE_E_IO, "cache", "%s is not a folder", dir);
    if (info.st_uid != geteuid() && info.st_uid != 0)
        return hone__fail(err, HONE_E_UNSAFE, "cache", "folder %s belongs to user %lu, and we are %lu; use a folder of your own (HONE_CACHE)", dir,
                          (unsigned long)info.st_uid, (unsigned long)geteuid());
    /* In a sticky folder (/tmp) nobody else can rename or remove our files, and files of others are refused one by one. */
    if (others_may_write(&info) && (info.st_mode & S_ISVTX) == 0)
        return hone__fail(err, HONE_E_UNSAFE, "cache", "folder %s may be written by others; run: chmod go-w '%s'", dir, dir);
    return HONE_OK;
}

static hone_status make_folder(const char *dir, hone_error *err) {
    hone_error inner = {0};
    hone_status status = hone__mkdir_all(dir, &inner);
    if (status == HONE_OK)
        return HONE_OK;
    return hone__fail_os(err, status, "cache", inner.os_code, "%.400s; set HONE_CACHE to a file in a folder of your own", inner.message);
}

hone_status hone__cache_resolve_path(char **out, const char *path, bool create, hone_error *err) {
    *out = NULL;
    const char *name = hone__path_name(path);
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return hone__fail(err, HONE_E_ARG, "cache", "'%s' does not name a cache file", path);
    char *dir = hone__path_dir(path);
    if (dir == NULL)
        return no_memory(err);
    hone_status status = HONE_OK;
    char *real = realpath(dir, NULL);
    if (real == NULL && create) {
        status = make_folder(dir, err);
        real = status == HONE_OK ? realpath(dir, NULL) : NULL;
    }
    if (status == HONE_OK && real == NULL) {
        int code = errno;
        status = hone__fail_os(err, hone__status_of_errno(code), "cache", code, "cannot find folder %s: %s", dir, strerror(code));
    }
    if (status == HONE_OK)
        status = check_folder(real, err);
    if (status == HONE_OK) {
        *out = hone__path_join(real, name);
        if (*out == NULL)
            status = no_memory(err);
    }
    free(real); /* from realpath: the C library's heap */
    hone__free(dir);
    return status;
}

static hone_status check_file(const struct stat *info, const char *path, bool read_only, hone_error *err) {
    if (S_ISDIR(info->st_mode))
        return is_folder(path, err);
    if (S_ISLNK(info->st_mode))
        return hone__fail(err, HONE_E_UNSAFE, "cache", "%s is a symbolic link; name the file itself", path);
    if (!S_ISREG(info->st_mode))
        return hone__fail(err, HONE_E_UNSAFE, "cache", "%s is not a regular file; name another one", path);
    bool owned = info->st_uid == geteuid() || (read_only && info->st_uid == 0);
    if (!owned)
        return hone__fail(err, HONE_E_UNSAFE, "cache", "%s belongs to user %lu, and we are %lu; use a cache of your own (HONE_CACHE)", path,
                          (unsigned long)info->st_uid, (unsigned long)geteuid());
    if (others_may_write(info))
        return hone__fail(err, HONE_E_UNSAFE, "cache", "%s may be written by others; run: chmod go-w '%s'", path, path);
    /* LMDB's lock file is found by path: two names of one file would have two locks. */
    if (info->st_nlink > 1)
        return hone__fail(err, HONE_E_UNSAFE, "cache", "%s has %lu hard links; make a copy of its own: cp '%s' NEW", path,
                          (unsigned long)info->st_nlink, path);
    return HONE_OK;
}

hone_status hone__check_trusted(const char *path, struct stat *info, bool read_only, hone_error *err) {
    if (lstat(path, info) == 0)
        return check_file(info, path, read_only, err);
    int code = errno;
    if (code == ENOENT)
        return HONE_E_NOTFOUND;
    return hone__fail_os(err, hone__status_of_errno(code), "cache", code, "cannot look at %s: %s", path, strerror(code));
}

hone_status hone__open_trusted(int *fd, struct stat *info, const char *path, int flags, bool read_only, hone_error *err) {
    *fd = -1;
    int opened = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (opened < 0) {
        int code = errno;
        if (code == ELOOP)
            return hone__fail_os(err, HONE_E_UNSAFE, "cache", code, "%s is a symbolic link; name the file itself", path);
        if (code == EISDIR)
            return is_folder(path, err);
        return hone__fail_os(err, hone__status_of_errno(code), "cache", code, "cannot open %s: %s%s", path, strerror(code),
                             code == EACCES || code == EROFS ? "; make it yours to read and write, or set HONE_CACHE to another file" : "");
    }
    hone_status status = HONE_OK;
    if (fstat(opened, info) != 0)
        status = hone__fail_os(err, HONE_E_IO, "cache", errno, "cannot look at %s: %s", path, strerror(errno));
    else
        status = check_file(info, path, read_only, err);
    if (status != HONE_OK) {
        (void)close(opened);
        return status;
    }
    *fd = opened;
    return HONE_OK;
}
