#include "file.h"
#include "alloc.h"
#include "out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static hone_status fail_errno(hone_error *err, const char *verb, const char *path) {
    int code = errno;
    return hone__fail_os(err, hone__status_of_errno(code), "file", code, "cannot %s %s: %s", verb, path, strerror(code));
}

static hone_status read_all(int fd, const char *path, size_t max, char **text, size_t *bytes, hone_error *err) {
    struct stat info;
    if (fstat(fd, &info) != 0)
        return fail_errno(err, "read", path);
    if (!S_ISREG(info.st_mode))
        return hone__fail(err, HONE_E_IO, "file", "%s is not a regular file", path);
    if ((uint64_t)info.st_size > max)
        return hone__fail(err, HONE_E_LIMIT, "file", "%s has %lld bytes; at most %zu are read", path, (long long)info.st_size, max);
    size_t size = (size_t)info.st_size;
    char *data = hone__alloc(size + 1);
    if (data == NULL)
        return hone__fail(err, HONE_E_NOMEM, "file", "no memory for %s", path);
    size_t have = 0;
    while (have < size) {
        ssize_t got = read(fd, data + have, size - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            hone__free(data);
            return fail_errno(err, "read", path);
        }
        if (got == 0)
            break;
        have += (size_t)got;
    }
    data[have] = '\0';
    *text = data;
    if (bytes != NULL)
        *bytes = have;
    return HONE_OK;
}

hone_status hone__file_read(const char *path, size_t max, char **text, size_t *bytes, hone_error *err) {
    *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail_errno(err, "open", path);
    hone_status status = read_all(fd, path, max, text, bytes, err);
    (void)close(fd);
    return status;
}

static hone_status write_whole(const char *path, const char *text, size_t bytes, unsigned flags, unsigned mode, hone_error *err) {
    hone__out_file *file;
    HONE_TRY(hone__out_open(&file, path, flags, mode, err));
    hone_status status = hone__out_write(file, text, bytes, err);
    if (status == HONE_OK)
        return hone__out_finish(file, err);
    hone__out_abort(file);
    return status;
}

hone_status hone__file_write(const char *path, const char *text, size_t bytes, unsigned mode, hone_error *err) {
    return write_whole(path, text, bytes, HONE_OUT_FORCE, mode, err);
}

hone_status hone__file_create(const char *path, const char *text, size_t bytes, unsigned mode, hone_error *err) {
    return write_whole(path, text, bytes, 0, mode, err);
}

hone_status hone__file_write_lightly(const char *path, const char *text, size_t bytes, unsigned mode, hone_error *err) {
    return write_whole(path, text, bytes, HONE_OUT_FORCE | HONE_OUT_NO_SYNC, mode, err);
}

void hone__folder_sync(const char *path) {
    char *folder = hone__path_dir(path);
    int fd = folder == NULL ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd); /* not every filesystem can; then there is nothing better to do */
        (void)close(fd);
    }
    hone__free(folder);
}

char *hone__path_join(const char *base_dir, const char *relative) {
    if (base_dir == NULL || base_dir[0] == '\0' || relative[0] == '/')
        return hone__strdup(relative);
    size_t base = strlen(base_dir), rest = strlen(relative);
    base -= base_dir[base - 1] == '/' ? 1 : 0; /* the root */
    char *joined = hone__alloc(base + rest + 2);
    if (joined != NULL) {
        memcpy(joined, base_dir, base);
        joined[base] = '/';
        memcpy(joined + base + 1, relative, rest);
    }
    return joined;
}

const char *hone__path_name(const char *path) {
    const char *name = path;
    for (const char *c = path; *c != '\0'; c++)
        name = *c == '/' ? c + 1 : name;
    return name;
}

char *hone__path_dir(const char *path) {
    size_t bytes = (size_t)(hone__path_name(path) - path);
    if (bytes == 0)
        return hone__strdup(".");
    return hone__strndup(path, bytes == 1 ? 1 : bytes - 1);
}

hone_status hone__mkdir_all(const char *path, hone_error *err) {
    char *copy = hone__strdup(path);
    if (copy == NULL)
        return hone__fail(err, HONE_E_NOMEM, "file", "no memory to create %s", path);
    hone_status status = HONE_OK;
    for (char *c = copy + (*copy != '\0'); status == HONE_OK; c++) {
        if (*c != '/' && *c != '\0')
            continue;
        char kept = *c;
        *c = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST && errno != EISDIR)
            status = fail_errno(err, "create folder", copy);
        *c = kept;
        if (kept == '\0')
            break;
    }
    struct stat info;
    if (status == HONE_OK && stat(path, &info) != 0)
        status = fail_errno(err, "create folder", path);
    if (status == HONE_OK && !S_ISDIR(info.st_mode))
        status = hone__fail_os(err, HONE_E_IO, "file", ENOTDIR, "cannot create folder %s: a file of that name is in the way", path);
    hone__free(copy);
    return status;
}
