/* entry_stream.c: see entry_stream.h. */
#include "entry_stream.h"
#include "alloc.h"

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
    int code = 0;
    bool is_pack = hone__pack_probe(path, &code);
    return is_pack ? HONE_KIND_PACK : code != 0 ? HONE_KIND_CACHE : HONE_KIND_OTHER; /* who opens it says what is wrong */
}

hone_status hone__stream_open(hone__stream *out, const char *path, const hone_pack_options *options, hone_error *err) {
    char *chosen = NULL;
    memset(out, 0, sizeof *out);
    if (path == NULL) {
        HONE_TRY(hone__cache_default_path(&chosen, err));
        path = chosen;
    }
    hone__file_kind kind = hone__file_kind_of(path);
    hone_status status;
    if (kind == HONE_KIND_OTHER)
        status = hone__fail(err, HONE_E_CORRUPT, "exchange", "%s is neither a Hone cache nor a pack", path);
    else if (kind == HONE_KIND_ABSENT)
        status = hone__fail_os(err, HONE_E_NOTFOUND, "exchange", ENOENT, "%s: no such file", path);
    else
        status = hone__source_open(&out->opened, path, options, err);
    hone__free(chosen);
    HONE_TRY(status);
    out->path = hone__stream_is_pack(out) ? hone__pack_path(out->opened.pack) : hone_cache_path(out->opened.cache);
    out->total = out->opened.source->entries;
    return HONE_OK;
}

hone_status hone__stream_next(hone__stream *stream, const hone__entry **out, hone_error *err) {
    hone__source *source = stream->opened.source;
    *out = NULL;
    hone__entry_clear(&stream->entry);
    for (;;) {
        hone__item item;
        const char *reason = NULL;
        hone_status status = source->next(source, &item, &reason, err);
        if (status != HONE_OK && reason == NULL)
            return status; /* the walk has ended: asked again, it would say the same for ever */
        if (status == HONE_OK)
            status = hone__item_decode(&stream->entry, &item);
        if (status == HONE_OK)
            *out = &stream->entry;
        if (status != HONE_E_CORRUPT && status != HONE_E_VERSION)
            return status;
        stream->damaged += status == HONE_E_CORRUPT;
        stream->newer += status == HONE_E_VERSION;
    }
}

hone_status hone__stream_next_kernel(hone__stream *stream, hone__kernel_info *out, hone_error *err) {
    hone__source *source = stream->opened.source;
    for (;;) {
        const char *reason = NULL;
        hone_status status = source->next_kernel(source, out, &reason, err);
        if (reason == NULL || (status != HONE_E_CORRUPT && status != HONE_E_VERSION))
            return status;
        stream->damaged += status == HONE_E_CORRUPT;
        stream->newer += status == HONE_E_VERSION;
    }
}

void hone__stream_close(hone__stream *stream) {
    hone__entry_clear(&stream->entry);
    hone__source_shut(&stream->opened);
    memset(stream, 0, sizeof *stream);
}
