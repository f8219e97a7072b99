/* list.c: looking into a file, cache or pack: hone_list, hone_pack_show, hone_pack_stats. */
#include "entry_stream.h"
#include "layout.h"
#include "upkeep.h"

#include <string.h>

enum { SHOW_BYTES = 64 << 20 };

static hone_status list_entries(hone__stream *stream, hone__work *work, uint64_t *listed, hone_error *err) {
    const hone__entry *entry;
    hone_status status;
    hone__buf line;
    hone__buf_init(&line, SHOW_BYTES);
    while ((status = hone__stream_next(stream, &entry, err)) == HONE_OK) {
        status = hone__work_step(work, 1, err);
        if (status == HONE_OK && hone__filter_passes(&work->filter, entry)) {
            hone__buf_clear(&line);
            hone__entry_print(&line, entry);
            (*listed)++;
            status = hone__work_line(work, &line, err);
        }
        if (status != HONE_OK)
            break;
    }
    hone__buf_free(&line);
    return status == HONE_E_NOTFOUND ? HONE_OK : status;
}

hone_status hone_list(char **report, const char *path, const hone_work_options *options, hone_error *err) {
    if (report != NULL)
        *report = NULL;
    hone__work work;
    hone__stream stream;
    uint64_t listed = 0;
    HONE_TRY(hone__work_begin(&work, options, err));
    hone_status status = hone__stream_open(&stream, path, work.options.pack, err);
    work.total = stream.total;
    if (status == HONE_OK)
        status = list_entries(&stream, &work, &listed, err);
    hone__buf buf;
    hone__buf_init(&buf, 64u << 10);
    hone__buf_text(&buf, "{\"hone\":1,\"path\":");
    hone__buf_json_string(&buf, stream.path == NULL ? "" : stream.path);
    hone__buf_printf(&buf, ",\"kind\":\"%s\",\"entries\":%llu,\"listed\":%llu,\"damaged\":%llu,\"newer\":%llu}", hone__stream_is_pack(&stream) ? "pack" : "cache",
                     (unsigned long long)work.done, (unsigned long long)listed, (unsigned long long)stream.damaged,
                     (unsigned long long)stream.newer);
    hone__stream_close(&stream);
    return hone__work_end(report, &buf, status, err);
}

/* ---- packs ---- */

static void print_text(hone__buf *buf, const char *name, const char *text) {
    hone__buf_printf(buf, "\"%s\":", name);
    hone__buf_json_string(buf, text);
}

static hone_status print_shown(hone__buf *buf, const hone__stream *stream, const hone__key *key, hone_error *err) {
    hone__entry entry;
    hone__kernel_info info;
    HONE_TRY(hone__pack_get(stream->opened.pack, key, &entry, err));
    hone__buf_text(buf, "{\"entry\":");
    hone__entry_print(buf, &entry);
    hone__entry_clear(&entry);
    hone__buf_text(buf, ",\"session\":null,\"trials\":[],\"kernel\":");
    hone_status status = hone__pack_get_kernel(stream->opened.pack, key->kernel, &info, err);
    if (status == HONE_OK) {
        hone__kernel_info_print(buf, &info);
        hone__kernel_info_clear(&info);
    } else {
        hone__buf_text(buf, "null");
    }
    hone__buf_char(buf, '}');
    return status == HONE_E_NOTFOUND || status == HONE_E_CORRUPT ? HONE_OK : status;
}

static hone_status open_pack(hone__stream *out, const char *path, const hone_pack_options *options, hone_error *err) {
    HONE_TRY(hone__stream_open(out, path, options, err));
    return hone__stream_is_pack(out) ? HONE_OK : hone__fail(err, HONE_E_ARG, "exchange", "%s is a cache and no pack", out->path);
}

int hone_is_pack(const char *path) {
    return path != NULL && hone__file_kind_of(path) == HONE_KIND_PACK;
}

hone_status hone_pack_show(char **json, const char *path, const char *key, const hone_pack_options *options, hone_error *err) {
    hone__stream stream;
    hone__key found;
    if (json == NULL || path == NULL)
        return hone__fail(err, HONE_E_ARG, "exchange", "hone_pack_show: an argument is NULL");
    *json = NULL;
    hone__buf buf;
    hone__buf_init(&buf, SHOW_BYTES);
    hone_status status = open_pack(&stream, path, options, err);
    if (status == HONE_OK)
        status = hone__source_find(stream.opened.source, key, &found, err);
    if (status == HONE_OK)
        status = print_shown(&buf, &stream, &found, err);
    hone__stream_close(&stream);
    return hone__work_end(json, &buf, status, err);
}

hone_status hone_pack_stats(char **json, const char *path, const hone_pack_options *options, hone_error *err) {
    hone__stream stream;
    if (json == NULL || path == NULL)
        return hone__fail(err, HONE_E_ARG, "exchange", "hone_pack_stats: an argument is NULL");
    *json = NULL;
    hone__buf buf;
    hone__buf_init(&buf, SHOW_BYTES);
    hone_status status = open_pack(&stream, path, options, err);
    if (status == HONE_OK) {
        const hone__pack_info *about = hone__pack_about(stream.opened.pack);
        hone__buf_text(&buf, "{");
        print_text(&buf, "path", path);
        hone__buf_printf(&buf, ",\"file_bytes\":%llu,\"entries\":%llu,\"kernels\":%llu,\"groups\":%llu,\"strings\":%llu", (unsigned long long)about->file_bytes,
                         (unsigned long long)about->entries, (unsigned long long)about->kernels, (unsigned long long)about->groups,
                         (unsigned long long)about->strings);
        hone__buf_printf(&buf, ",\"record_bytes\":%llu,\"index_bytes\":%llu,\"string_bytes\":%llu,\"kernel_bytes\":%llu,\"reader\":%u,\"writer\":%u",
                         (unsigned long long)about->record_bytes, (unsigned long long)about->index_bytes, (unsigned long long)about->string_bytes,
                         (unsigned long long)about->kernel_bytes, about->reader, about->writer);
        hone__buf_printf(&buf, ",\"checksum\":\"%016llx\",\"signer\":", (unsigned long long)about->checksum);
        if (about->is_signed)
            hone__buf_json_string(&buf, about->signer);
        else
            hone__buf_text(&buf, "null");
        hone__buf_char(&buf, '}');
    }
    hone__stream_close(&stream);
    return hone__work_end(json, &buf, status, err);
}
