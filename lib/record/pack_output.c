/* pack_output.c: the bytes of a pack on their way out: sections in pieces that are hashed and written, tables that wait in a spool until their
 * turn comes, and a file that appears whole or not at all. */
#define _GNU_SOURCE
#include "pack_output.h"
#include "alloc.h"
#include "file.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SPOOL_MEMORY_BYTES = 1 << 20 };

static hone_status fail_errno(hone_error *err, const char *verb, const char *path) {
    int code = errno;
    return hone__fail_os(err, hone__status_of_errno(code), "pack", code, "cannot %s %s: %s", verb, path, strerror(code));
}

static hone_status write_all(int fd, const void *bytes, size_t count, const char *path, hone_error *err) {
    for (size_t done = 0; done < count;) {
        ssize_t put = write(fd, (const char *)bytes + done, count - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return fail_errno(err, "write", path);
        done += (size_t)put;
    }
    return HONE_OK;
}

/* A new file beside `path`; the caller frees the name. */
static hone_status make_temporary(const char *path, const char *suffix, char **name, int *fd, hone_error *err) {
    static _Atomic unsigned serial;
    size_t bytes = strlen(path) + 64;
    *name = hone__alloc(bytes);
    if (*name == NULL)
        return hone__fail(err, HONE_E_NOMEM, "pack", "no memory to write %s", path);
    (void)snprintf(*name, bytes, "%s.%s-%ld-%u", path, suffix, (long)getpid(), atomic_fetch_add(&serial, 1u));
    (void)unlink(*name); /* of a process of this number that died */
    *fd = open(*name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (*fd < 0) {
        hone_status status = fail_errno(err, "create", *name);
        hone__free(*name);
        *name = NULL;
        return status;
    }
    return HONE_OK;
}

/* ---- the file ---- */

static hone_status check_target(const char *path, bool force, hone_error *err) {
    struct stat info;
    if (lstat(path, &info) != 0)
        return HONE_OK; /* what else is wrong shows when it is written */
    if (!force)
        return hone__fail_os(err, HONE_E_EXISTS, "pack", EEXIST, "%s exists and is not overwritten without force", path);
    if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode))
        return hone__fail(err, HONE_E_EXISTS, "pack", "%s is not a regular file and is not replaced", path);
    return HONE_OK;
}

hone_status hone__output_open(hone__output *out, const char *path, const hone__pack_writer_options *options, hone_error *err) {
    *out = (hone__output){.fd = -1, .discard = options->discard, .force = options->force, .no_sync = options->no_sync};
    out->file_bytes = PACK_HEADER_BYTES;
    hone__buf_init(&out->memory, SIZE_MAX / 8);
    out->piece = hone__alloc(PACK_PIECE_BYTES);
    if (out->piece == NULL)
        return hone__fail(err, HONE_E_NOMEM, "pack", "no memory to write a pack");
    uint8_t header[PACK_HEADER_BYTES] = {0};
    if (path != NULL)
        HONE_TRY(check_target(path, out->force, err));
    if (out->discard)
        return HONE_OK;
    if (path == NULL) {
        hone__buf_bytes(&out->memory, header, sizeof header);
        return out->memory.status;
    }
    out->path = hone__strdup(path);
    if (out->path == NULL)
        return hone__fail(err, HONE_E_NOMEM, "pack", "no memory to write %s", path);
    HONE_TRY(make_temporary(path, "tmp", &out->temporary, &out->fd, err));
    return write_all(out->fd, header, sizeof header, out->temporary, err);
}

void hone__output_section(hone__output *out, unsigned section) {
    out->checksum = section;
    out->section_bytes = 0;
    out->piece_bytes = 0;
}

static hone_status put_piece(hone__output *out, hone_error *err) {
    out->checksum = hone__pack_checksum(out->piece, out->piece_bytes, out->checksum);
    size_t count = out->piece_bytes;
    out->piece_bytes = 0;
    if (out->discard)
        return HONE_OK;
    if (out->fd >= 0)
        return write_all(out->fd, out->piece, count, out->temporary, err);
    hone__buf_bytes(&out->memory, out->piece, count);
    return out->memory.status == HONE_OK ? HONE_OK : hone__fail(err, out->memory.status, "pack", "no memory for a pack");
}

hone_status hone__output_bytes(hone__output *out, const void *bytes, size_t count, hone_error *err) {
    out->section_bytes += count;
    while (count > 0) {
        size_t room = PACK_PIECE_BYTES - out->piece_bytes, step = count < room ? count : room;
        memcpy(out->piece + out->piece_bytes, bytes, step);
        out->piece_bytes += step;
        bytes = (const char *)bytes + step;
        count -= step;
        if (out->piece_bytes == PACK_PIECE_BYTES)
            HONE_TRY(put_piece(out, err));
    }
    return HONE_OK;
}

hone_status hone__output_end(hone__output *out, uint64_t *bytes, uint64_t *checksum, hone_error *err) {
    if (out->piece_bytes > 0)
        HONE_TRY(put_piece(out, err));
    *bytes = out->section_bytes;
    *checksum = out->checksum;
    out->file_bytes += out->section_bytes;
    return HONE_OK;
}

/* Under its name without ever replacing another file: link() fails where rename() would overwrite. */
static hone_status appear(hone__output *out, hone_error *err) {
    if (out->force)
        return rename(out->temporary, out->path) == 0 ? HONE_OK : fail_errno(err, "rename a finished pack to", out->path);
    if (renameat2(AT_FDCWD, out->temporary, AT_FDCWD, out->path, RENAME_NOREPLACE) == 0)
        return HONE_OK;
    if ((errno == EINVAL || errno == ENOSYS) && link(out->temporary, out->path) == 0) {
        (void)unlink(out->temporary);
        return HONE_OK;
    }
    return fail_errno(err, "give a finished pack its name", out->path);
}

static void sync_folder(const char *path) {
    char *folder = hone__path_dir(path);
    int fd = folder == NULL ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd); /* some filesystems cannot; the file itself is safe */
        (void)close(fd);
    }
    hone__free(folder);
}

hone_status hone__output_finish(hone__output *out, const uint8_t header[PACK_HEADER_BYTES], hone_error *err) {
    if (out->discard)
        return HONE_OK;
    if (out->fd < 0) {
        memcpy(out->memory.data, header, PACK_HEADER_BYTES);
        return HONE_OK;
    }
    if (pwrite(out->fd, header, PACK_HEADER_BYTES, 0) != PACK_HEADER_BYTES)
        return fail_errno(err, "write", out->temporary);
    if (!out->no_sync && fsync(out->fd) != 0)
        return fail_errno(err, "sync", out->temporary);
    int fd = out->fd;
    out->fd = -1;
    if (close(fd) != 0)
        return fail_errno(err, "close", out->temporary);
    HONE_TRY(appear(out, err));
    hone__free(out->temporary);
    out->temporary = NULL;
    if (!out->no_sync)
        sync_folder(out->path);
    return HONE_OK;
}

void hone__output_close(hone__output *out) {
    if (out->fd >= 0)
        (void)close(out->fd);
    if (out->temporary != NULL)
        (void)unlink(out->temporary);
    out->fd = -1;
    hone__free(out->temporary);
    hone__free(out->path);
    hone__free(out->piece);
    hone__buf_free(&out->memory);
    out->temporary = out->path = NULL;
    out->piece = NULL;
}

/* ---- tables ---- */

void hone__table_begin(hone__table_writer *table, unsigned section, bool discard) {
    memset(table, 0, sizeof *table);
    table->discard = discard;
    table->section = section;
    table->fd = -1;
    hone__buf_init(&table->memory, SPOOL_MEMORY_BYTES + PACK_BLOCK_BYTES);
}

/* Beyond a megabyte the spool is a file without a name; without a path to lie beside it is one big buffer. */
static hone_status spool(hone__table_writer *table, const char *beside, hone_error *err) {
    if (table->fd < 0 && beside != NULL && table->memory.length >= SPOOL_MEMORY_BYTES) {
        char *name;
        HONE_TRY(make_temporary(beside, "spool", &name, &table->fd, err));
        (void)unlink(name);
        hone__free(name);
        HONE_TRY(write_all(table->fd, table->memory.data, table->memory.length, beside, err));
        hone__buf_free(&table->memory);
    }
    if (table->fd >= 0)
        return write_all(table->fd, table->block, PACK_BLOCK_BYTES, beside, err);
    table->memory.max = SIZE_MAX / 8;
    hone__buf_bytes(&table->memory, table->block, PACK_BLOCK_BYTES);
    return table->memory.status == HONE_OK ? HONE_OK : hone__fail(err, table->memory.status, "pack", "no memory for a pack's table");
}

hone_status hone__table_add(hone__table_writer *table, const uint8_t item[PACK_ITEM_BYTES], const char *beside, hone_error *err) {
    memcpy(table->block + table->fill, item, PACK_ITEM_BYTES);
    table->fill += PACK_ITEM_BYTES;
    table->items++;
    if (table->fill < PACK_BLOCK_ITEMS * PACK_ITEM_BYTES)
        return HONE_OK;
    hone__pack_seal_block(table->block, table->fill, table->section, table->blocks++);
    table->fill = 0;
    table->spooled += PACK_BLOCK_BYTES;
    return table->discard ? HONE_OK : spool(table, beside, err);
}

static hone_status copy_spool(hone__table_writer *table, hone__output *out, hone_error *err) {
    if (table->fd < 0)
        return hone__output_bytes(out, table->memory.data, table->memory.length, err);
    uint8_t chunk[4 * PACK_BLOCK_BYTES];
    for (uint64_t at = 0; at < table->spooled;) {
        ssize_t got = pread(table->fd, chunk, sizeof chunk, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return fail_errno(err, "read the spool of", out->path != NULL ? out->path : "a pack");
        HONE_TRY(hone__output_bytes(out, chunk, (size_t)got, err));
        at += (uint64_t)got;
    }
    return HONE_OK;
}

hone_status hone__table_end(hone__table_writer *table, hone__output *out, hone_error *err) {
    hone__output_section(out, table->section);
    if (table->discard) {
        out->section_bytes = pack_table_bytes(table->items);
        return HONE_OK;
    }
    HONE_TRY(copy_spool(table, out, err));
    if (table->fill == 0)
        return HONE_OK;
    hone__pack_seal_block(table->block, table->fill, table->section, table->blocks);
    return hone__output_bytes(out, table->block, table->fill + PACK_TRAILER_BYTES, err);
}

void hone__table_free(hone__table_writer *table) {
    if (table->fd >= 0)
        (void)close(table->fd);
    table->fd = -1;
    hone__buf_free(&table->memory);
}
