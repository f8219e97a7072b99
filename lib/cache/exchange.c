/* exchange.c: export and merge: sources of all kinds into a pack, and the report of what became of every entry (spec/json.md, "exchange"). */
#include "exchange.h"
#include "alloc.h"
#include "json.h"
#include "options.h"
#include "status.h"

#include <errno.h>
#include <string.h>

/* ---- options ---- */

hone_status hone__exchange_options(hone_exchange_options *out, const hone_exchange_options *options, hone_error *err) {
    *out = (hone_exchange_options)HONE_EXCHANGE_OPTIONS_INIT;
    HONE_TRY(hone__options_read(out, sizeof *out, options, "hone_exchange_options", err));
    if (out->policy > HONE_MERGE_THEIRS)
        return hone__fail(err, HONE_E_ARG, "exchange", "%u is no policy of merge", out->policy);
    HONE_TRY(hone__filter_check(out->filter, err));
    if (out->filter != NULL && hone__filter_is_empty(out->filter))
        out->filter = NULL; /* to ask it, entries would have to be decoded */
    return HONE_OK;
}

/* ---- sources by path ---- */

hone_status hone__source_open(hone__opened *out, const char *path, const hone_pack_options *options, hone_error *err) {
    *out = (hone__opened){NULL, NULL, NULL};
    hone_status status;
    int code = 0;
    if (path == NULL)
        return hone__fail(err, HONE_E_ARG, "exchange", "no path was given");
    bool is_pack = hone__pack_probe(path, &code);
    if (code != 0 && code != ENOENT && code != ENOTDIR)
        return hone__fail_os(err, hone__status_of_errno(code), "exchange", code, "cannot read %s: %s", path, strerror(code));
    if (is_pack) {
        status = hone__layer_open(&out->pack, path, options, err);
        if (status == HONE_OK)
            status = hone__pack_source(&out->source, out->pack, err);
    } else if (options != NULL && options->require_signature != 0) {
        status = hone__fail(err, HONE_E_UNSAFE, "exchange", "%s is not a pack, and only signed packs are wanted", path);
    } else {
        hone_cache_options read_only = HONE_CACHE_OPTIONS_INIT;
        read_only.read_only = 1;
        status = hone_cache_open(&out->cache, path, &read_only, err);
        if (status == HONE_OK)
            status = hone__cache_source(&out->source, out->cache, err);
    }
    if (status != HONE_OK)
        hone__source_shut(out);
    return status;
}

void hone__source_shut(hone__opened *opened) {
    hone__source_close(opened->source);
    hone__pack_close(opened->pack);
    hone_cache_close(opened->cache);
    *opened = (hone__opened){NULL, NULL, NULL};
}

/* ---- one entry ---- */

hone_status hone__source_find(hone__source *source, const char *digits, hone__key *out, hone_error *err) {
    unsigned found = 0;
    size_t length = digits == NULL ? 0 : strlen(digits);
    if (length < 4 || length > 32 || strspn(digits, "0123456789abcdefABCDEF") != length)
        return hone__fail(err, HONE_E_ARG, "exchange", "a key is 4 to 32 hexadecimal digits, as `hone ls` prints them");
    for (;;) {
        hone__item item;
        hone__entry entry;
        const char *reason = NULL;
        hone_status status = source->next(source, &item, &reason, err);
        if (status == HONE_E_NOTFOUND)
            break;
        if (status != HONE_OK && reason == NULL)
            return status;
        if (status != HONE_OK || !hone__hash_begins(item.slot + HONE_SLOT_BYTES - 16, digits))
            continue;
        status = hone__item_decode(&entry, &item);
        if (status == HONE_E_NOMEM)
            return hone__fail(err, status, "exchange", "no memory to read %s", source->name);
        if (status != HONE_OK)
            continue;
        if (found++ > 0) {
            hone__entry_clear(&entry);
            return hone__fail(err, HONE_E_ARG, "exchange", "several keys begin with %s in %s; give more digits", digits, source->name);
        }
        *out = entry.key;
        hone__entry_clear(&entry);
    }
    return found == 1 ? HONE_OK : hone__fail(err, HONE_E_NOTFOUND, "exchange", "no entry whose key begins with %s in %s", digits, source->name);
}

/* ---- events and report ---- */

static void tally_reason(hone__tally *tally, const char *reason) {
    for (int i = 0; i < HONE_REASONS_MAX; i++) {
        if (tally->reason[i] == NULL)
            tally->reason[i] = reason;
        if (strcmp(tally->reason[i], reason) == 0) {
            tally->reason_count[i]++;
            return;
        }
    }
}

int hone__exchange_event(const hone_exchange_options *options, hone__tally *tally, const hone__merge_event *event) {
    static const char *const actions[] = {"imported", "same", "kept", "rejected", "filtered", "removed"};
    if (event->reason != NULL && event->fate != HONE_MERGE_SAME)
        tally_reason(tally, event->reason);
    bool plain = event->fate == HONE_MERGE_IMPORTED || event->fate == HONE_MERGE_SAME || event->fate == HONE_MERGE_FILTERED;
    if (options->event == NULL || plain)
        return 0;
    hone__buf buf;
    char hex[33];
    hone__hash_hex(event->item->slot + 16, hex);
    hone__buf_init(&buf, 64 << 10);
    hone__buf_printf(&buf, "{\"action\":\"%s\",\"key\":\"%s\",\"input\":", actions[event->fate], hex);
    hone__buf_json_string(&buf, tally->name);
    hone__buf_text(&buf, ",\"reason\":");
    hone__buf_json_string(&buf, event->reason == NULL ? "" : event->reason);
    hone__buf_char(&buf, '}');
    int stop = buf.status == HONE_OK ? options->event(buf.data, options->user) : 0;
    hone__buf_free(&buf);
    return stop;
}

static void put_count(hone__buf *buf, const char *name, uint64_t count) {
    hone__buf_printf(buf, ",\"%s\":%llu", name, (unsigned long long)count);
}

static void put_counts(hone__buf *buf, const hone__merge_counts *counts) {
    put_count(buf, "imported", counts->imported);
    put_count(buf, "kept", counts->kept_other);
    put_count(buf, "same", counts->same);
    put_count(buf, "conflicting", counts->conflicting);
    put_count(buf, "rejected", counts->rejected);
    put_count(buf, "filtered", counts->filtered);
    put_count(buf, "removed", counts->removed);
    put_count(buf, "rejected_kernels", counts->rejected_kernels);
}

static void put_input(hone__buf *buf, const hone__tally *tally) {
    hone__buf_text(buf, "{\"path\":");
    hone__buf_json_string(buf, tally->name);
    hone__buf_printf(buf, ",\"kind\":\"%s\",\"entries\":%llu", tally->kind, (unsigned long long)tally->counts.seen);
    put_counts(buf, &tally->counts);
    hone__buf_text(buf, ",\"reasons\":{");
    for (int i = 0; i < HONE_REASONS_MAX && tally->reason[i] != NULL; i++) {
        hone__buf_text(buf, i > 0 ? "," : "");
        hone__buf_json_string(buf, tally->reason[i]);
        hone__buf_printf(buf, ":%llu", (unsigned long long)tally->reason_count[i]);
    }
    hone__buf_text(buf, "}}");
}

hone_status hone__exchange_report(char **report, const hone_exchange_options *options, const hone__tally *tally, uint32_t count, const char *out,
                                  const hone__pack_info *info, uint64_t kernels, hone_error *err) {
    static const char *const policies[] = {"best", "newest", "ours", "theirs"};
    if (report == NULL)
        return HONE_OK;
    hone__merge_counts sum = {0};
    hone__buf buf;
    hone__buf_init(&buf, 16u << 20);
    hone__buf_printf(&buf, "{\"policy\":\"%s\",\"dry_run\":%s,\"inputs\":[", policies[options->policy], options->dry_run != 0 ? "true" : "false");
    for (uint32_t i = 0; i < count; i++) {
        const hone__merge_counts *one = &tally[i].counts;
        hone__buf_text(&buf, i > 0 ? "," : "");
        put_input(&buf, &tally[i]);
        sum.imported += one->imported;
        sum.kept_other += one->kept_other;
        sum.same += one->same;
        sum.conflicting += one->conflicting;
        sum.rejected += one->rejected;
        sum.filtered += one->filtered;
        sum.removed += one->removed;
        sum.rejected_kernels += one->rejected_kernels;
    }
    hone__buf_char(&buf, ']');
    put_counts(&buf, &sum);
    put_count(&buf, "kernels", kernels);
    hone__buf_text(&buf, ",\"output\":");
    if (out == NULL)
        hone__buf_text(&buf, "null");
    else
        hone__buf_json_string(&buf, out);
    if (info != NULL) {
        put_count(&buf, "entries", info->entries);
        put_count(&buf, "bytes", info->file_bytes);
        put_count(&buf, "strings", info->strings);
        if (info->checksum != 0)
            hone__buf_printf(&buf, ",\"checksum\":\"%016llx\"", (unsigned long long)info->checksum);
    }
    hone__buf_char(&buf, '}');
    *report = hone__buf_take(&buf);
    hone__buf_free(&buf);
    return *report != NULL ? HONE_OK : hone__fail(err, HONE_E_NOMEM, "exchange", "no memory for a report");
}

/* ---- into a pack ---- */

typedef struct packing {
    const hone_exchange_options *options;
    hone__tally *tally;
    hone__pack_writer *writer;
    uint64_t kernels;
} packing;

static bool wanted(const hone__item *item, void *user) {
    const packing *p = user;
    hone__entry entry;
    if (hone__item_decode(&entry, item) != HONE_OK)
        return true; /* checked before: no memory, which the next step will say */
    bool passes = hone__filter_passes(p->options->filter, &entry);
    hone__entry_clear(&entry);
    return passes;
}

static int on_event(const hone__merge_event *event, void *user) {
    packing *p = user;
    return hone__exchange_event(p->options, &p->tally[event->source], event);
}

static int on_progress(uint64_t done, uint64_t total, void *user) {
    const packing *p = user;
    return p->options->progress(done, total, p->options->user);
}

static hone_status put_entry(void *sink, const hone__item *item, const struct hone__view *view, hone_error *err) {
    packing *p = sink;
    hone__merge_sink pack = hone__merge_to_pack(p->writer);
    return pack.put(pack.sink, item, view, err);
}

static hone_status put_kernel(void *sink, const hone__kernel_info *info, hone_error *err) {
    static char none[] = "";
    packing *p = sink;
    hone__kernel_info kept = *info;
    if (p->options->without_source != 0)
        kept.source = none;
    p->kernels++;
    return hone__pack_writer_add_kernel(p->writer, &kept, err);
}

static hone_status pack_sources(packing *p, hone__source *const *source, uint32_t count, hone__source *base, const char *out_path, hone__pack_info *info,
                                hone_error *err) {
    const hone_exchange_options *options = p->options;
    hone__merge_counts *counts = hone__alloc_array(count, sizeof *counts);
    if (counts == NULL)
        return hone__fail(err, HONE_E_NOMEM, "exchange", "no memory to merge");
    hone__pack_writer_options writing = {.force = options->force != 0, .no_sync = options->no_sync != 0, .discard = options->dry_run != 0};
    hone__merge_options merge = {.policy = (hone_merge_policy)options->policy, .base = base, .event = on_event, .user = p};
    merge.wanted = options->filter != NULL ? wanted : NULL;
    merge.progress = options->progress != NULL ? on_progress : NULL;
    hone__merge_sink sink = {put_entry, put_kernel, p};
    hone_status status = hone__pack_writer_open(&p->writer, out_path, &writing, err);
    if (status == HONE_OK) {
        status = hone__merge_run(source, count, &sink, &merge, counts, err);
        if (status == HONE_OK)
            status = hone__pack_writer_finish(p->writer, info, err);
        else
            hone__pack_writer_abort(p->writer);
    }
    for (uint32_t i = 0; i < count; i++)
        p->tally[i].counts = counts[i];
    hone__free(counts);
    return status;
}

hone_status hone_export(char **report, const hone_cache *cache, const char *out_path, const hone_exchange_options *options, hone_error *err) {
    if (report != NULL)
        *report = NULL;
    hone_exchange_options o;
    HONE_TRY(hone__exchange_options(&o, options, err));
    if (cache == NULL || out_path == NULL)
        return hone__fail(err, HONE_E_ARG, "exchange", "hone_export: a cache and a path must be given");
    hone__source *source;
    HONE_TRY(hone__cache_source(&source, cache, err));
    hone__tally tally = {.name = hone_cache_path(cache), .kind = "cache"};
    packing p = {.options = &o, .tally = &tally};
    hone__pack_info info;
    hone_status status = pack_sources(&p, &source, 1, NULL, out_path, &info, err);
    hone__source_close(source);
    HONE_TRY(status);
    return hone__exchange_report(report, &o, &tally, 1, out_path, &info, p.kernels, err);
}

/* ---- merge ---- */

typedef struct merge_inputs {
    hone__opened *opened;         /* the base is the last */
    hone__source **source;
    hone__tally *tally;
    uint32_t count;
} merge_inputs;

static void close_inputs(merge_inputs *in) {
    for (uint32_t i = 0; in->opened != NULL && i <= in->count; i++)
        hone__source_shut(&in->opened[i]);
    hone__free(in->opened);
    hone__free(in->source);
    hone__free(in->tally);
}

static hone_status open_inputs(merge_inputs *in, const char *const *path, uint32_t count, const hone_exchange_options *o, hone_error *err) {
    *in = (merge_inputs){.count = count};
    in->opened = hone__alloc_array((size_t)count + 1, sizeof *in->opened);
    in->source = hone__alloc_array(count, sizeof(hone__source *));
    in->tally = hone__alloc_array(count, sizeof *in->tally);
    if (in->opened == NULL || in->source == NULL || in->tally == NULL)
        return hone__fail(err, HONE_E_NOMEM, "exchange", "no memory to merge");
    for (uint32_t i = 0; i < count; i++) {
        HONE_TRY(hone__source_open(&in->opened[i], path[i], o->pack, err));
        in->source[i] = in->opened[i].source;
        in->tally[i].name = path[i];
        in->tally[i].kind = in->opened[i].pack != NULL ? "pack" : "cache";
    }
    return o->base == NULL ? HONE_OK : hone__source_open(&in->opened[count], o->base, o->pack, err);
}

hone_status hone_merge(char **report, const char *out_path, const char *const *in_path, size_t in_count, const hone_exchange_options *options,
                       hone_error *err) {
    if (report != NULL)
        *report = NULL;
    hone_exchange_options o;
    HONE_TRY(hone__exchange_options(&o, options, err));
    if (out_path == NULL || in_path == NULL || in_count == 0 || in_count > 4096)
        return hone__fail(err, HONE_E_ARG, "exchange", "hone_merge: an output and 1 to 4096 inputs must be given");
    merge_inputs in;
    hone__pack_info info;
    packing p = {.options = &o};
    hone_status status = open_inputs(&in, in_path, (uint32_t)in_count, &o, err);
    if (status == HONE_OK) {
        p.tally = in.tally;
        status = pack_sources(&p, in.source, in.count, in.opened[in.count].source, out_path, &info, err);
    }
    if (status == HONE_OK)
        status = hone__exchange_report(report, &o, in.tally, in.count, out_path, &info, p.kernels, err);
    close_inputs(&in);
    return status;
}
