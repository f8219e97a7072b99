/* dump.c: hone_dump: every entry and kernel of a cache or pack as JSON lines (spec/dump.md). */
#include "alloc.h"
#include "dump_line.h"
#include "entry_stream.h"
#include "out_file.h"
#include "upkeep.h"

#include <string.h>

typedef struct dumping {
    hone__stream stream;
    hone__work work;
    hone__out_file *file; /* NULL: lines go to the caller */
    hone__buf line;
    uint64_t entries, kernels, filtered;
    hone_error *err;
} dumping;

static hone_status put_line(dumping *d) {
    if (d->line.status != HONE_OK)
        return hone__fail(d->err, d->line.status, "exchange", "cannot print a record of %s: %s", d->stream.path, hone_status_text(d->line.status));
    if (d->file == NULL)
        return hone__work_line(&d->work, &d->line, d->err);
    hone__buf_char(&d->line, '\n');
    HONE_TRY(d->line.status);
    return hone__out_write(d->file, d->line.data, d->line.length, d->err);
}

static hone_status dump_entries(dumping *d) {
    const hone__entry *entry;
    hone_status status;
    while ((status = hone__stream_next(&d->stream, &entry, d->err)) == HONE_OK) {
        HONE_TRY(hone__work_step(&d->work, 1, d->err));
        if (!hone__filter_passes(&d->work.filter, entry)) {
            d->filtered++;
            continue;
        }
        hone__buf_clear(&d->line);
        hone__dump_entry(&d->line, entry);
        HONE_TRY(put_line(d));
        d->entries++;
    }
    return status == HONE_E_NOTFOUND ? HONE_OK : status;
}

/* With a filter only kernels whose name or id it names: which of the others have entries left would have to be remembered. */
static bool kernel_wanted(const hone_filter *filter, const hone__kernel_info *info) {
    hone_filter only = HONE_FILTER_INIT;
    hone__entry entry = {.kernel_name = info->name};
    memcpy(entry.key.kernel, info->id, sizeof entry.key.kernel);
    only.kernel = filter->kernel;
    return hone__filter_passes(&only, &entry);
}

static hone_status dump_kernels(dumping *d) {
    hone__kernel_info info;
    hone_status status;
    while ((status = hone__stream_next_kernel(&d->stream, &info, d->err)) == HONE_OK) {
        hone_status put = HONE_OK;
        if (kernel_wanted(&d->work.filter, &info)) {
            hone__buf_clear(&d->line);
            hone__dump_kernel(&d->line, &info);
            put = put_line(d);
            d->kernels++;
        }
        hone__kernel_info_clear(&info);
        HONE_TRY(put);
    }
    return status == HONE_E_NOTFOUND ? HONE_OK : status;
}

static hone_status dump_all(dumping *d) {
    hone__buf_clear(&d->line);
    hone__buf_printf(&d->line, "{\"type\":\"hone dump\",\"reader\":%u,\"writer\":%u}", HONE_DUMP_VERSION, HONE_DUMP_VERSION);
    HONE_TRY(put_line(d));
    HONE_TRY(dump_entries(d));
    HONE_TRY(dump_kernels(d));
    hone__buf_clear(&d->line);
    hone__buf_printf(&d->line, "{\"type\":\"end\",\"kernels\":%llu,\"entries\":%llu}", (unsigned long long)d->kernels, (unsigned long long)d->entries);
    return put_line(d);
}

static hone_status run(dumping *d, const char *path, const char *out_path) {
    HONE_TRY(hone__stream_open(&d->stream, path, d->work.options.pack, d->err));
    d->work.total = d->stream.total;
    if (out_path != NULL)
        HONE_TRY(hone__out_open(&d->file, out_path, d->work.options.force != 0 ? HONE_OUT_FORCE : 0, 0666, d->err));
    HONE_TRY(dump_all(d));
    hone__out_file *file = d->file;
    d->file = NULL;
    return file == NULL ? HONE_OK : hone__out_finish(file, d->err);
}

hone_status hone_dump(char **report, const char *path, const char *out_path, const hone_work_options *options, hone_error *err) {
    if (report != NULL)
        *report = NULL;
    dumping *d = hone__alloc(sizeof *d);
    if (d == NULL)
        return hone__fail(err, HONE_E_NOMEM, "exchange", "no memory to dump");
    d->err = err;
    hone__buf_init(&d->line, HONE_DUMP_LINE_BYTES);
    hone_status status = hone__work_begin(&d->work, options, err);
    if (status == HONE_OK && out_path == NULL && d->work.options.line == NULL)
        status = hone__fail(err, HONE_E_ARG, "exchange", "hone_dump: neither a file nor a function takes the lines");
    if (status == HONE_OK)
        status = run(d, path, out_path);
    hone__out_abort(d->file);
    hone__buf buf;
    hone__buf_init(&buf, 64u << 10);
    hone__buf_text(&buf, "{\"hone\":1,\"path\":");
    hone__buf_json_string(&buf, d->stream.path == NULL ? "" : d->stream.path);
    hone__buf_printf(&buf, ",\"entries\":%llu,\"kernels\":%llu,\"filtered\":%llu,\"damaged\":%llu,\"newer\":%llu}", (unsigned long long)d->entries,
                     (unsigned long long)d->kernels, (unsigned long long)d->filtered, (unsigned long long)d->stream.damaged,
                     (unsigned long long)d->stream.newer);
    hone__stream_close(&d->stream);
    hone__buf_free(&d->line);
    hone__free(d);
    return hone__work_end(report, &buf, status, err);
}
