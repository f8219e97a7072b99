/* load.c: hone_load: lines of a dump (spec/dump.md) into a cache.  Lines are hostile input: each is bounded, checked and taken or refused by
 * itself, and what is taken goes through the same encoder and the same rule of merge as everything else. */
#include "alloc.h"
#include "dump_line.h"
#include "limit.h"
#include "upkeep.h"
#include "utf8.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POLL_MS = 250, BATCH = 256, BATCH_BYTES = 4 << 20, READ_BYTES = 64 << 10, REASON_BYTES = 256, ENDLESS_BYTES = 64 << 20 };

typedef struct loading {
    hone_cache *cache;            /* NULL: an empty one, in a dry run */
    const char *label;
    hone__work work;
    hone_error *err;
    /* input */
    int fd;
    char chunk[READ_BYTES];
    size_t chunk_length, chunk_at;
    hone__buf line;
    uint64_t line_number, bytes_read;
    bool lenient, begun, ended;
    uint64_t end_entries, end_kernels;
    /* batch */
    hone__entry entry[BATCH];
    hone__join result[BATCH];
    uint64_t entry_line[BATCH];
    uint32_t count;
    size_t batch_bytes;
    uint64_t entries, kernels, kernels_stored, added, replaced, kept, same, newer, rejected, filtered;
} loading;

/* ---- lines ---- */

static hone_status fill_chunk(loading *l) {
    struct pollfd input = {.fd = l->fd, .events = POLLIN};
    ssize_t got = -1;
    /* A pipe may be silent for long: the caller can cancel meanwhile. */
    for (;;) {
        bool silent = l->fd >= 0 && poll(&input, 1, POLL_MS) == 0;
        if (!silent)
            got = read(l->fd, l->chunk, sizeof l->chunk);
        if (!silent && (got >= 0 || errno != EINTR))
            break;
        HONE_TRY(hone__work_step(&l->work, 0, l->err));
    }
    if (got < 0)
        return hone__fail_os(l->err, HONE_E_IO, "exchange", errno, "cannot read %s: %s", l->label, strerror(errno));
    l->chunk_length = (size_t)got;
    l->chunk_at = 0;
    l->bytes_read += (uint64_t)got;
    return got == 0 ? HONE_E_NOTFOUND : HONE_OK;
}

/* Within a line that is too long: the caller can cancel, and what goes on and on is no dump. */
static hone_status skip_step(loading *l) {
    if (l->line.status != HONE_E_LIMIT)
        return HONE_OK;
    uint64_t fresh = l->bytes_read - l->work.done;
    if (fresh > ENDLESS_BYTES)
        return hone__fail(l->err, HONE_E_JSON, "exchange", "%s is not a dump: line %llu goes on beyond %u MiB", l->label,
                          (unsigned long long)l->line_number + 1, (unsigned)ENDLESS_BYTES >> 20);
    return hone__work_step(&l->work, 0, l->err);
}

/* The next line into l->line; a line that is too long leaves l->line.status at HONE_E_LIMIT.  HONE_E_NOTFOUND at the end. */
static hone_status next_line(loading *l) {
    hone__buf_clear(&l->line);
    bool any = false;
    for (;;) {
        if (l->chunk_at == l->chunk_length) {
            HONE_TRY(skip_step(l));
            hone_status status = fill_chunk(l);
            if (status == HONE_E_NOTFOUND && any)
                break;
            HONE_TRY(status);
        }
        any = true;
        const char *from = l->chunk + l->chunk_at;
        size_t left = l->chunk_length - l->chunk_at;
        const char *end = memchr(from, '\n', left);
        size_t length = end == NULL ? left : (size_t)(end - from);
        hone__buf_bytes(&l->line, from, length);
        l->chunk_at += length + (end != NULL);
        if (end != NULL || (!l->begun && l->line.status == HONE_E_LIMIT))
            break; /* a first line without end is no dump: /dev/zero, a sparse file of gigabytes */
    }
    l->line_number++;
    if (l->line.status == HONE_E_NOMEM)
        return hone__fail(l->err, HONE_E_NOMEM, "exchange", "no memory for line %llu of %s", (unsigned long long)l->line_number, l->label);
    return HONE_OK;
}

static bool is_blank(const hone__buf *line) {
    for (size_t i = 0; i < line->length; i++) {
        if (line->data[i] != ' ' && line->data[i] != '\t' && line->data[i] != '\r')
            return false;
    }
    return line->status == HONE_OK;
}

/* JSON's parser would end a text there without a word. */
static bool has_nul(const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\0')
            return true;
        if (text[i] != '\\')
            continue;
        if (bytes - i > 5 && memcmp(text + i + 1, "u0000", 5) == 0)
            return true;
        i++;
    }
    return false;
}

static hone_status parse_line(loading *l, cJSON **out, hone_error *why) {
    *out = NULL;
    if (l->line.status == HONE_E_LIMIT)
        return hone__fail(why, HONE_E_LIMIT, "exchange", "the line is longer than %u bytes", HONE_DUMP_LINE_BYTES);
    if (!hone__utf8_valid(l->line.data, l->line.length))
        return hone__fail(why, HONE_E_JSON, "exchange", "the line is not UTF-8");
    if (has_nul(l->line.data, l->line.length))
        return hone__fail(why, HONE_E_JSON, "exchange", "the line holds a NUL character");
    HONE_TRY(hone__json_parse(out, l->line.data, l->line.length, "line", why));
    if (cJSON_IsObject(*out))
        return HONE_OK;
    cJSON_Delete(*out);
    *out = NULL;
    return hone__fail(why, HONE_E_JSON, "exchange", "the line is not a JSON object");
}

/* ---- what happened ---- */

static void print_key(hone__buf *line, const hone__key *key) {
    char hex[33];
    hone__hash_hex(key->key, hex);
    hone__buf_printf(line, ",\"key\":\"%s\"", hex);
}

static hone_status tell(loading *l, uint64_t number, const char *action, const hone__key *key, const char *reason) {
    if (l->work.options.line == NULL)
        return HONE_OK;
    hone__buf line;
    hone__buf_init(&line, 8192);
    hone__buf_printf(&line, "{\"line\":%llu,\"action\":\"%s\"", (unsigned long long)number, action);
    if (key != NULL)
        print_key(&line, key);
    hone__buf_text(&line, ",\"reason\":");
    hone__buf_json_string(&line, reason);
    hone__buf_char(&line, '}');
    hone_status status = hone__work_line(&l->work, &line, l->err);
    hone__buf_free(&line);
    return status;
}

static hone_status reject(loading *l, const hone_error *why) {
    char reason[REASON_BYTES];
    hone__text_clean_line(reason, sizeof reason, why->message[0] == '\0' ? hone_status_text((hone_status)why->code) : why->message);
    l->rejected++;
    if (l->work.options.strict != 0)
        return hone__fail(l->err, (hone_status)why->code, "exchange", "%s, line %llu: %s", l->label, (unsigned long long)l->line_number, reason);
    return tell(l, l->line_number, "rejected", NULL, reason);
}

/* ---- storing ---- */

static void batch_clear(loading *l) {
    for (uint32_t i = 0; i < l->count; i++)
        hone__entry_clear(&l->entry[i]);
    l->count = 0;
    l->batch_bytes = 0;
}

static hone_status tally(loading *l, uint32_t i) {
    switch (l->result[i]) {
    case HONE_JOIN_ADDED:
        l->added++;
        return HONE_OK;
    case HONE_JOIN_REPLACED:
        l->replaced++;
        return tell(l, l->entry_line[i], "replaced", &l->entry[i].key, "it is better evidence than what the cache had");
    case HONE_JOIN_KEPT:
        l->kept++;
        return tell(l, l->entry_line[i], "kept", &l->entry[i].key, "the cache has better evidence");
    case HONE_JOIN_SAME:
        l->same++;
        return HONE_OK;
    case HONE_JOIN_NEWER:
        l->newer++;
        return tell(l, l->entry_line[i], "kept", &l->entry[i].key, "the cache's entry was written by a newer Hone");
    }
    return HONE_OK;
}

static hone_status flush(loading *l) {
    hone_status status = HONE_OK;
    for (uint32_t i = 0; i < l->count; i++)
        l->result[i] = HONE_JOIN_ADDED;
    if (l->count > 0 && l->cache != NULL)
        status = hone__cache_join(l->cache, l->entry, l->count, false, l->work.options.dry_run != 0, l->result, l->err);
    for (uint32_t i = 0; i < l->count && status == HONE_OK; i++)
        status = tally(l, i);
    batch_clear(l);
    return status;
}

/* Its texts may be over a record's limits: find out before it is one of a batch. */
static hone_status check_entry(const hone__entry *entry, hone_error *why) {
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    hone_status status = hone__entry_encode(&buf, entry, (hone__slot_key){entry->key.key, 16});
    hone__buf_free(&buf);
    if (status == HONE_OK)
        return HONE_OK;
    return hone__fail(why, status, "exchange", status == HONE_E_LIMIT ? "a text is longer than a record may hold" : "it cannot be stored");
}

static hone_status take_entry(loading *l, const cJSON *json, hone_error *why) {
    hone__entry *entry = &l->entry[l->count];
    HONE_TRY(hone__undump_entry(entry, json, l->lenient, why));
    hone_status status = check_entry(entry, why);
    if (status != HONE_OK || !hone__filter_passes(&l->work.filter, entry)) {
        hone__entry_clear(entry);
        l->filtered += status == HONE_OK;
        return status;
    }
    l->entry_line[l->count++] = l->line_number;
    l->batch_bytes += l->line.length;
    return HONE_OK;
}

/* A kernel that is there stays, unless only the new one has its source. */
static hone_status take_kernel(loading *l, const cJSON *json, hone_error *why) {
    hone__kernel_info info, old;
    HONE_TRY(hone__undump_kernel(&info, json, l->lenient, why));
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    hone_status status = hone__kernel_info_encode(&buf, &info, (hone__slot_key){info.id, 16});
    hone__buf_free(&buf);
    if (status != HONE_OK)
        (void)hone__fail(why, status, "exchange", "a text is longer than a record may hold");
    bool wanted = status == HONE_OK;
    if (wanted && l->cache != NULL && hone__cache_get_kernel(l->cache, info.id, &old, NULL) == HONE_OK) {
        wanted = old.source[0] == '\0' && info.source[0] != '\0';
        hone__kernel_info_clear(&old);
    }
    l->kernels_stored += wanted;
    if (wanted && l->cache != NULL && l->work.options.dry_run == 0) {
        /* A failure to store is not the line's fault. */
        status = hone__cache_put_kernel(l->cache, &info, l->err);
        if (status != HONE_OK)
            why->code = HONE_OK;
    }
    hone__kernel_info_clear(&info);
    return status;
}

/* ---- the dump ---- */

static hone_status read_head(loading *l, const cJSON *json) {
    int64_t reader = 0, writer = 0;
    const char *type = hone__json_string(json, "type");
    bool numbers = hone__json_int(cJSON_GetObjectItemCaseSensitive(json, "reader"), &reader) &&
                   hone__json_int(cJSON_GetObjectItemCaseSensitive(json, "writer"), &writer);
    if (type == NULL || strcmp(type, "hone dump") != 0 || !numbers || reader < 1 || writer < reader)
        return hone__fail(l->err, HONE_E_JSON, "exchange", "%s is not a dump: its first line must be {\"type\":\"hone dump\",\"reader\":1,\"writer\":1}",
                          l->label);
    if (reader > (int64_t)HONE_DUMP_VERSION)
        return hone__fail(l->err, HONE_E_VERSION, "exchange", "%s was written by a newer Hone that this one (%s) cannot read", l->label,
                          HONE_VERSION_STRING);
    l->lenient = writer > (int64_t)HONE_DUMP_VERSION;
    l->begun = true;
    return HONE_OK;
}

static void read_end(loading *l, const cJSON *json) {
    double entries = hone__json_number(json, "entries", -1), kernels = hone__json_number(json, "kernels", -1);
    l->ended = entries >= 0 && kernels >= 0;
    l->end_entries = l->ended && entries < 1e18 ? (uint64_t)entries : 0;
    l->end_kernels = l->ended && kernels < 1e18 ? (uint64_t)kernels : 0;
}

/* *why: the line's own fault; its code stays 0 when the failure is another's. */
static hone_status take_line(loading *l, const cJSON *json, hone_error *why) {
    const char *type = hone__json_string(json, "type");
    if (type == NULL)
        return hone__fail(why, HONE_E_JSON, "exchange", "type is missing");
    if (strcmp(type, "entry") == 0) {
        l->entries++;
        return take_entry(l, json, why);
    }
    if (strcmp(type, "kernel") == 0) {
        l->kernels++;
        return take_kernel(l, json, why);
    }
    if (strcmp(type, "end") == 0) {
        read_end(l, json);
        return HONE_OK;
    }
    if (strcmp(type, "hone dump") == 0 || l->lenient) /* dumps may be joined; and a newer writer may have more kinds */
        return HONE_OK;
    return hone__fail(why, HONE_E_JSON, "exchange", "the type is none of kernel, entry, end");
}

static hone_status load_line(loading *l) {
    hone_error why = {0};
    cJSON *json = NULL;
    hone_status status = parse_line(l, &json, &why);
    if (!l->begun) {
        status = status == HONE_E_NOMEM ? status : read_head(l, json);
    } else {
        if (status == HONE_OK)
            status = take_line(l, json, &why);
        if (status == HONE_E_NOMEM)
            status = hone__fail(l->err, status, "exchange", "no memory for line %llu of %s", (unsigned long long)l->line_number, l->label);
        else if (status != HONE_OK && why.code != HONE_OK)
            status = reject(l, &why);
    }
    cJSON_Delete(json);
    return status;
}

static hone_status load_all(loading *l) {
    hone_status status;
    while ((status = next_line(l)) == HONE_OK) {
        if (is_blank(&l->line))
            continue;
        HONE_TRY(load_line(l));
        if (l->count == BATCH || l->batch_bytes > BATCH_BYTES)
            HONE_TRY(flush(l));
        uint64_t fresh = l->bytes_read - l->work.done;
        if (fresh >= READ_BYTES)
            HONE_TRY(hone__work_step(&l->work, fresh, l->err));
    }
    if (status != HONE_E_NOTFOUND)
        return status;
    HONE_TRY(flush(l));
    if (!l->begun)
        return hone__fail(l->err, HONE_E_JSON, "exchange", "%s is not a dump: it is empty", l->label);
    return HONE_OK;
}

static void print_report(hone__buf *buf, const loading *l) {
    bool complete = l->ended && l->end_entries == l->entries && l->end_kernels == l->kernels;
    hone__buf_printf(buf, "{\"hone\":1,\"dry_run\":%s,\"lines\":%llu,\"entries\":%llu,\"imported\":%llu,\"added\":%llu,\"replaced\":%llu",
                     l->work.options.dry_run != 0 ? "true" : "false", (unsigned long long)l->line_number, (unsigned long long)l->entries,
                     (unsigned long long)(l->added + l->replaced), (unsigned long long)l->added, (unsigned long long)l->replaced);
    hone__buf_printf(buf, ",\"kept\":%llu,\"same\":%llu,\"conflicting\":%llu,\"rejected\":%llu,\"filtered\":%llu,\"kernels\":%llu,\"complete\":%s}",
                     (unsigned long long)(l->kept + l->newer), (unsigned long long)l->same,
                     (unsigned long long)(l->replaced + l->kept + l->newer), (unsigned long long)l->rejected, (unsigned long long)l->filtered,
                     (unsigned long long)l->kernels_stored, complete ? "true" : "false");
}

hone_status hone_load(char **report, hone_cache *cache, int fd, const char *label, const hone_work_options *options, hone_error *err) {
    if (report != NULL)
        *report = NULL;
    loading *l = hone__alloc(sizeof *l);
    if (l == NULL)
        return hone__fail(err, HONE_E_NOMEM, "exchange", "no memory to load");
    l->cache = cache;
    l->label = label == NULL ? "the input" : label;
    l->fd = fd;
    l->err = err;
    hone__buf_init(&l->line, HONE_DUMP_LINE_BYTES);
    hone_status status = hone__work_begin(&l->work, options, err);
    if (status == HONE_OK && cache == NULL && l->work.options.dry_run == 0)
        status = hone__fail(err, HONE_E_ARG, "exchange", "hone_load: no cache was given");
    struct stat info;
    l->work.total = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0 ? (uint64_t)info.st_size : 0;
    if (status == HONE_OK)
        status = load_all(l);
    batch_clear(l);
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    print_report(&buf, l);
    hone__buf_free(&l->line);
    hone__free(l);
    return hone__work_end(report, &buf, status, err);
}
