/* entry_stream.h: the entries and kernels of a cache or a pack, one by one in ascending order, whatever the file is. */
#ifndef HONE_ENTRY_STREAM_H
#define HONE_ENTRY_STREAM_H

#include "exchange.h"

typedef struct hone__stream {
    const char *path;         /* as opened */
    uint64_t total;           /* entries to expect; 0 unknown */
    uint64_t damaged, newer;  /* records left out so far */
    hone__opened opened;      /* the pack or the cache */
    hone__entry entry;        /* the one that was handed out */
} hone__stream;
static inline bool hone__stream_is_pack(const hone__stream *stream) {
    return stream->opened.pack != NULL;
}

typedef enum hone__file_kind { HONE_KIND_CACHE, HONE_KIND_PACK, HONE_KIND_OTHER, HONE_KIND_ABSENT } hone__file_kind;
/* What a file is by its first bytes.  An empty file, or one that cannot be read, counts as a cache: opening it says what is wrong. */
hone__file_kind hone__file_kind_of(const char *path);

/* `path` NULL: the default cache.  Close it, whatever is returned. */
hone_status hone__stream_open(hone__stream *out, const char *path, const hone_pack_options *options, hone_error *err);
/* The next entry; it lives until the next call.  HONE_E_NOTFOUND at the end. */
hone_status hone__stream_next(hone__stream *stream, const hone__entry **out, hone_error *err);
/* The next kernel (hone__kernel_info_clear); HONE_E_NOTFOUND at the end. */
hone_status hone__stream_next_kernel(hone__stream *stream, hone__kernel_info *out, hone_error *err);
void hone__stream_close(hone__stream *stream);

#endif
