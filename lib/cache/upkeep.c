/* upkeep.c: see upkeep.h. */
#include "upkeep.h"
#include "options.h"

enum { STEP_EVERY = 64 };

hone_status hone__work_begin(hone__work *work, const hone_work_options *options, hone_error *err) {
    *work = (hone__work){.options = HONE_WORK_OPTIONS_INIT};
    HONE_TRY(hone__options_read(&work->options, sizeof work->options, options, "hone_work_options", err));
    return hone__filter_read(&work->filter, work->options.filter, err);
}

static hone_status cancelled(hone_error *err) {
    return hone__fail(err, HONE_E_CANCELLED, "cache", "stopped as asked; nothing that was stored is undone");
}

hone_status hone__work_step(hone__work *work, uint64_t count, hone_error *err) {
    uint64_t before = work->done / STEP_EVERY;
    work->done += count;
    if (work->options.progress == NULL || (count > 0 && work->done / STEP_EVERY == before))
        return HONE_OK;
    uint64_t total = work->total != 0 && work->total < work->done ? work->done : work->total;
    return work->options.progress(work->done, total, work->options.user) == 0 ? HONE_OK : cancelled(err);
}

hone_status hone__work_line(hone__work *work, const hone__buf *line, hone_error *err) {
    if (line->status != HONE_OK)
        return hone__fail(err, line->status, "cache", "cannot print a record: %s", hone_status_text(line->status));
    if (work->options.line == NULL || work->options.line(line->data, work->options.user) == 0)
        return HONE_OK;
    return cancelled(err);
}

hone_status hone__work_end(char **report, hone__buf *buf, hone_status status, hone_error *err) {
    if (status == HONE_OK && report != NULL) {
        if (buf->status != HONE_OK)
            status = hone__fail(err, buf->status, "cache", "cannot print the report: %s", hone_status_text(buf->status));
        else if ((*report = hone__buf_take(buf)) == NULL)
            status = hone__fail(err, HONE_E_NOMEM, "cache", "no memory to print the report");
    }
    hone__buf_free(buf);
    return status;
}
