/* pack_output.c: the bytes of a pack on their way out: sections in pieces that are hashed and written, tables that wait in a spool until their
 * turn comes. */
#include "pack_output.h"
#include "alloc.h"
#include "status.h"

#include <errno.h>
#include <unistd.h>

enum { SPOOL_MEMORY_BYTES = 1 << 20 };

static hone_status fail_errno(hone_error *err, const char *verb, const char *path) {
    int code = errno;
    return hone__fail_os(err, hone__status_of_errno(code), "pack", code, "cannot %s %s: %s", verb, path, strerror(code));
}

/* ---- the file ---- */

hone_status hone__output_open(hone__output *out, const char *path, const hone__pack_writer_options *options, hone_error *err) {
    *out = (hone__output){.discard = options->discard};
    out->file_bytes = PACK_HEADER_BYTES;
    hone__buf_init(&out->memory, SIZE_MAX / 8);
    out->piece = hone__alloc(PACK_PIECE_BYTES);
    if (out->piece == NULL)
        return hone__fail(err, HONE_E_NOMEM, "pack", "no memory to write a pack");
    uint8_t header[PACK_HEADER_BYTES] = {0};
    unsigned flags = (options->force ? HONE_OUT_FORCE : 0u) | (options->no_sync ? HONE_OUT_NO_SYNC : 0u);
    if (path != NULL && out->discard)
        return hone__out_check(path, flags, err);
    if (out->discard)
        return HONE_OK;
    if (path == NULL) {
        hone__buf_bytes(&out->memory, header, sizeof header);
        return out->memory.status;
    }
    HONE_TRY(hone__out_open(&out->file, path, flags, 0666, err));
    out->path = hone__out_path(out->file);
    return hone__out_write(out->file, header, sizeof header, err);
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
    if (out->file != NULL)
        return hone__out_write(out->file, out->piece, count, err);
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

hone_status hone__output_finish(hone__output *out, const uint8_t header[PACK_HEADER_BYTES], hone_error *err) {
    if (out->discard)
        return HONE_OK;
    if (out->file == NULL) {
        memcpy(out->memory.data, header, PACK_HEADER_BYTES);
        return HONE_OK;
    }
    HONE_TRY(hone__out_rewrite(out->file, header, PACK_HEADER_BYTES, err));
    hone__out_file *file = out->file;
    out->file = NULL;
    return hone__out_finish(file, err);
}

void hone__output_close(hone__output *out) {
    hone__out_abort(out->file);
    hone__free(out->piece);
    hone__buf_free(&out->memory);
    out->file = NULL;
    out->piece = NULL;
}

/* ---- tables ---- */

/* The spool is ours alone; `beside` names it in messages. */
static hone_status spool_bytes(int fd, const void *bytes, size_t count, const char *beside, hone_error *err) {
    for (size_t done = 0; done < count;) {
        ssize_t put = write(fd, (const char *)bytes + done, count - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return fail_errno(err, "write the spool of", beside);
        done += (size_t)put;
    }
    return HONE_OK;
}

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
        HONE_TRY(hone__temporary_beside(beside, "spool", 0600, &name, &table->fd, err));
        (void)unlink(name);
        hone__free(name);
        HONE_TRY(spool_bytes(table->fd, table->memory.data, table->memory.length, beside, err));
        hone__buf_free(&table->memory);
    }
    if (table->fd >= 0)
        return spool_bytes(table->fd, table->block, PACK_BLOCK_BYTES, beside, err);
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
