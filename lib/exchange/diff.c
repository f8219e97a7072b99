/* diff.c: hone_diff: two caches or packs side by side in key order, so that nothing is held but two entries. */
#include "alloc.h"
#include "entry_stream.h"
#include "layout.h"
#include "slot.h"
#include "upkeep.h"

#include <math.h>
#include <string.h>

typedef struct side {
    hone__stream stream;
    const hone__entry *entry; /* NULL at the end */
    uint8_t slot[HONE_ENTRY_SLOT_BYTES];
    uint64_t entries;
} side;

typedef struct diffing {
    side a, b;
    hone__work work;
    hone__buf line;
    hone_error *err;
    uint64_t gained, lost, changed, same, faster, slower, other_config;
    double log_sum;          /* of b's time over a's, over entries in both with times */
    uint64_t log_count;
} diffing;

static hone_status advance(diffing *d, side *s) {
    for (;;) {
        hone_status status = hone__stream_next(&s->stream, &s->entry, d->err);
        if (status == HONE_E_NOTFOUND) {
            s->entry = NULL;
            return HONE_OK;
        }
        HONE_TRY(status);
        HONE_TRY(hone__work_step(&d->work, 1, d->err));
        if (!hone__filter_passes(&d->work.filter, s->entry))
            continue;
        s->entries++;
        (void)hone__entry_slot(&s->entry->key, s->slot);
        return HONE_OK;
    }
}

static void print_side(hone__buf *line, const char *name, const hone__entry *entry) {
    hone__buf_printf(line, ",\"%s\":", name);
    if (entry == NULL) {
        hone__buf_text(line, "null");
        return;
    }
    hone__buf_text(line, "{\"time_ms\":");
    hone__buf_json_double(line, entry->best.time_ns / 1e6);
    hone__buf_text(line, ",\"config\":");
    hone__json_print_text(line, entry->best.config);
    hone__buf_printf(line, ",\"effort\":\"%s\",\"trials\":%u,\"created_unix_s\":%lld,\"strategy\":", hone__effort_name(entry->effort), entry->trials,
                     (long long)entry->created_unix_s);
    hone__buf_json_string(line, entry->strategy);
    hone__buf_char(line, '}');
}

static hone_status tell(diffing *d, const char *change, const hone__entry *a, const hone__entry *b) {
    const hone__entry *any = a != NULL ? a : b;
    hone__buf *line = &d->line;
    char hex[33];
    if (d->work.options.line == NULL)
        return HONE_OK;
    hone__buf_clear(line);
    hone__hash_hex(any->key.key, hex);
    hone__buf_printf(line, "{\"change\":\"%s\",\"key\":\"%s\",\"kernel\":", change, hex);
    hone__buf_json_string(line, any->kernel_name);
    hone__buf_text(line, ",\"sizes\":");
    hone__json_print_text(line, any->sizes);
    hone__buf_text(line, ",\"device\":");
    hone__json_print_text(line, any->device);
    print_side(line, "a", a);
    print_side(line, "b", b);
    bool timed = a != NULL && b != NULL && a->best.time_ns > 0 && b->best.time_ns > 0;
    hone__buf_text(line, ",\"speedup\":");
    hone__buf_json_double(line, timed ? a->best.time_ns / b->best.time_ns : (double)NAN);
    hone__buf_text(line, ",\"delta_ms\":");
    hone__buf_json_double(line, timed ? (b->best.time_ns - a->best.time_ns) / 1e6 : (double)NAN);
    hone__buf_printf(line, ",\"same_config\":%s}", a != NULL && b != NULL && strcmp(a->best.config, b->best.config) == 0 ? "true" : "false");
    return hone__work_line(&d->work, line, d->err);
}

static hone_status compare(diffing *d) {
    const hone__entry *a = d->a.entry, *b = d->b.entry;
    if (a->best.time_ns > 0 && b->best.time_ns > 0) {
        d->log_sum += log(b->best.time_ns / a->best.time_ns);
        d->log_count++;
    }
    if (hone__entry_compare(a, b) == 0) {
        d->same++;
        return HONE_OK;
    }
    d->changed++;
    d->faster += b->best.time_ns < a->best.time_ns;
    d->slower += b->best.time_ns > a->best.time_ns;
    d->other_config += strcmp(a->best.config, b->best.config) != 0;
    return tell(d, "changed", a, b);
}

static hone_status walk(diffing *d) {
    HONE_TRY(advance(d, &d->a));
    HONE_TRY(advance(d, &d->b));
    while (d->a.entry != NULL || d->b.entry != NULL) {
        int order = d->a.entry == NULL ? 1 : d->b.entry == NULL ? -1 : memcmp(d->a.slot, d->b.slot, sizeof d->a.slot);
        if (order == 0) {
            HONE_TRY(compare(d));
        } else if (order < 0) {
            d->lost++;
            HONE_TRY(tell(d, "lost", d->a.entry, NULL));
        } else {
            d->gained++;
            HONE_TRY(tell(d, "gained", NULL, d->b.entry));
        }
        if (order <= 0)
            HONE_TRY(advance(d, &d->a));
        if (order >= 0)
            HONE_TRY(advance(d, &d->b));
    }
    return HONE_OK;
}

static void print_total(hone__buf *buf, const char *name, const side *s) {
    hone__buf_printf(buf, ",\"%s\":{\"path\":", name);
    hone__buf_json_string(buf, s->stream.path == NULL ? "" : s->stream.path);
    hone__buf_printf(buf, ",\"entries\":%llu,\"damaged\":%llu,\"newer\":%llu}", (unsigned long long)s->entries, (unsigned long long)s->stream.damaged,
                     (unsigned long long)s->stream.newer);
}

hone_status hone_diff(char **report, int *different, const char *path_a, const char *path_b, const hone_work_options *options, hone_error *err) {
    if (report != NULL)
        *report = NULL;
    if (different != NULL)
        *different = 0;
    diffing *d = hone__alloc(sizeof *d);
    if (d == NULL)
        return hone__fail(err, HONE_E_NOMEM, "exchange", "no memory to compare");
    d->err = err;
    hone__buf_init(&d->line, HONE_LIMIT_RECORD_BYTES);
    hone_status status = hone__work_begin(&d->work, options, err);
    if (status == HONE_OK)
        status = hone__stream_open(&d->a.stream, path_a, d->work.options.pack, err);
    if (status == HONE_OK)
        status = hone__stream_open(&d->b.stream, path_b, d->work.options.pack, err);
    d->work.total = d->a.stream.total + d->b.stream.total;
    if (status == HONE_OK)
        status = walk(d);
    if (status == HONE_OK && different != NULL)
        *different = d->gained + d->lost + d->changed > 0;
    hone__buf buf;
    hone__buf_init(&buf, 64u << 10);
    hone__buf_printf(&buf, "{\"hone\":1,\"gained\":%llu,\"lost\":%llu,\"changed\":%llu,\"same\":%llu,\"faster\":%llu,\"slower\":%llu,\"other_config\":%llu",
                     (unsigned long long)d->gained, (unsigned long long)d->lost, (unsigned long long)d->changed, (unsigned long long)d->same,
                     (unsigned long long)d->faster, (unsigned long long)d->slower, (unsigned long long)d->other_config);
    hone__buf_text(&buf, ",\"mean_speedup\":");
    hone__buf_json_double(&buf, d->log_count > 0 ? exp(-d->log_sum / (double)d->log_count) : (double)NAN);
    print_total(&buf, "a", &d->a);
    print_total(&buf, "b", &d->b);
    hone__buf_char(&buf, '}');
    hone__stream_close(&d->a.stream);
    hone__stream_close(&d->b.stream);
    hone__buf_free(&d->line);
    hone__free(d);
    return hone__work_end(report, &buf, status, err);
}
