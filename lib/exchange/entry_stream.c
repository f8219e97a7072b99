/* entry_stream.c: see entry_stream.h. */
#include "entry_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { MAGIC_AT = 16 };
static const uint8_t lmdb_magic[4] = {0xde, 0xc0, 0xef, 0xbe};

hone__file_kind hone__file_kind_of(const char *path) {
    uint8_t head[MAGIC_AT + sizeof lmdb_magic];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? HONE_KIND_ABSENT : HONE_KIND_CACHE;
    ssize_t got = pread(fd, head, sizeof head, 0);
    (void)close(fd);
    if (got <= 0 || (got == (ssize_t)sizeof head && memcmp(head + MAGIC_AT, lmdb_magic, sizeof lmdb_magic) == 0))
        return HONE_KIND_CACHE;
    return hone__pack_probe(path) ? HONE_KIND_PACK : HONE_KIND_OTHER;
}

static hone_status open_cache(hone__stream *stream, const char *path, hone_error *err) {
    hone_cache_options options = HONE_CACHE_OPTIONS_INIT;
    options.read_only = 1;
    HONE_TRY(hone_cache_open(&stream->cache, path, &options, err));
    stream->path = hone_cache_path(stream->cache);
    HONE_TRY(hone__cache_count_entries(stream->cache, &stream->total, err));
    return hone__entry_walk_open(&stream->walk, stream->cache, err);
}

static hone_status open_pack(hone__stream *stream, const char *path, const hone_pack_options *options, hone_error *err) {
    stream->is_pack = true;
    HONE_TRY(hone__pack_open(&stream->pack, path, options, err));
    stream->path = hone__pack_path(stream->pack);
    stream->total = hone__pack_about(stream->pack)->entries;
    return hone__pack_source(&stream->source, stream->pack, err);
}

hone_status hone__stream_open(hone__stream *out, const char *path, const hone_pack_options *options, hone_error *err) {
    memset(out, 0, sizeof *out);
    hone__file_kind kind = path == NULL ? HONE_KIND_CACHE : hone__file_kind_of(path);
    if (kind == HONE_KIND_PACK)
        return open_pack(out, path, options, err);
    if (kind == HONE_KIND_OTHER)
        return hone__fail(err, HONE_E_CORRUPT, "exchange", "%s is neither a Hone cache nor a pack", path);
    if (kind == HONE_KIND_ABSENT)
        return hone__fail_os(err, HONE_E_NOTFOUND, "exchange", ENOENT, "%s: no such file", path);
    return open_cache(out, path, err);
}

static hone_status next_of_pack(hone__stream *stream, const hone__entry **out, hone_error *err) {
    hone__entry_clear(&stream->entry);
    for (;;) {
        hone__item item;
        const char *reason = NULL;
        hone_status status = stream->source->next(stream->source, &item, &reason, err);
        if (status == HONE_OK)
            status = hone__item_decode(&stream->entry, &item);
        if (status == HONE_E_CORRUPT) {
            stream->damaged++;
        } else if (status == HONE_E_VERSION) {
            stream->newer++;
        } else {
            *out = &stream->entry;
            return status;
        }
    }
}

hone_status hone__stream_next(hone__stream *stream, const hone__entry **out, hone_error *err) {
    *out = NULL;
    if (stream->is_pack)
        return next_of_pack(stream, out, err);
    hone_status status = hone__entry_walk_next(stream->walk, out, err);
    stream->damaged = hone__entry_walk_damaged(stream->walk);
    stream->newer = hone__entry_walk_newer(stream->walk);
    return status;
}

hone_status hone__stream_next_kernel(hone__stream *stream, hone__kernel_info *out, hone_error *err) {
    hone_status status;
    if (stream->is_pack) {
        const char *reason = NULL;
        while ((status = stream->source->next_kernel(stream->source, out, &reason, err)) == HONE_E_CORRUPT)
            stream->damaged++;
        return status;
    }
    status = hone__cache_next_kernel(stream->cache, stream->kernels_begun ? stream->kernel : NULL, out, &stream->damaged, err);
    if (status == HONE_OK)
        memcpy(stream->kernel, out->id, sizeof stream->kernel);
    stream->kernels_begun = true;
    return status;
}

void hone__stream_close(hone__stream *stream) {
    hone__entry_walk_close(stream->walk);
    hone_cache_close(stream->cache);
    if (stream->is_pack)
        hone__entry_clear(&stream->entry);
    hone__source_close(stream->source);
    hone__pack_close(stream->pack);
    memset(stream, 0, sizeof *stream);
}
