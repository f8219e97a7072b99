/* transcript.c: exchanges as JSON lines, by the rules of spec/transcript.md: appended durably, read whole, replayed by index. */
#include "transcript.h"
#include "alloc.h"
#include "clock.h"
#include "file.h"
#include "llm_impl.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRANSCRIPT_BYTES = 64 << 20, LINE_BYTES = 16 << 20, EXCHANGES = 10000 };

static const char header_start[] = "{\"hone_transcript\":";

struct hone__transcript {
    uint32_t count;
    cJSON **line;
    char **request; /* compact text of each line's request */
};

char *hone__llm_request_json(const hone__llm_request *request) {
    hone__buf text;
    hone__buf_init(&text, LINE_BYTES);
    hone__buf_text(&text, "{\"system\":");
    hone__body_string(&text, request->system != NULL ? request->system : "");
    hone__buf_text(&text, ",\"messages\":[");
    for (uint32_t i = 0; i < request->message_count; i++) {
        hone__buf_printf(&text, "%s{\"role\":", i > 0 ? "," : "");
        hone__body_string(&text, request->message[i].role);
        hone__buf_text(&text, ",\"text\":");
        hone__body_string(&text, request->message[i].text);
        hone__buf_char(&text, '}');
    }
    hone__buf_text(&text, "]}");
    return hone__buf_take(&text);
}

/* The request member: as it is when it is an object, else wrapped. */
static void put_request(hone__buf *line, const char *request) {
    cJSON *item = NULL;
    if (hone__json_parse(&item, request, strlen(request), "request", NULL) == HONE_OK && cJSON_IsObject(item)) {
        hone__buf text; /* cJSON lets bytes through that are not UTF-8; the reader does not */
        hone__buf_init(&text, LINE_BYTES);
        hone__json_print(&text, item);
        if (text.status != HONE_OK)
            line->status = text.status;
        else
            hone__utf8_append(line, text.data);
        hone__buf_free(&text);
    } else {
        hone__buf_text(line, "{\"system\":\"\",\"messages\":[{\"role\":\"user\",\"text\":");
        hone__body_string(line, request);
        hone__buf_text(line, "}]}");
    }
    cJSON_Delete(item);
}

static void put_member(hone__buf *line, const char *name, const char *text) {
    hone__buf_printf(line, ",\"%s\":", name);
    if (text == NULL)
        hone__buf_text(line, "null");
    else
        hone__body_string(line, text);
}

static void put_line(hone__buf *line, const hone__transcript_line *exchange) {
    hone__buf_printf(line, "{\"index\":%u,\"request\":", exchange->index);
    put_request(line, exchange->request);
    put_member(line, "reply", exchange->reply);
    put_member(line, "finish", exchange->finish != NULL ? exchange->finish : "");
    hone__buf_printf(line, ",\"tokens_in\":%llu,\"tokens_out\":%llu,\"seconds\":", (unsigned long long)exchange->tokens_in,
                     (unsigned long long)exchange->tokens_out);
    hone__buf_json_double(line, exchange->seconds);
    put_member(line, "provider", exchange->provider != NULL ? exchange->provider : "");
    put_member(line, "model", exchange->model != NULL ? exchange->model : "");
    hone__buf_text(line, "}\n");
}

static hone_status fail_errno(hone_error *err, const char *verb, const char *path) {
    int code = errno;
    return hone__fail_os(err, hone__status_of_errno(code), "llm", code, "cannot %s the transcript %.200s: %s", verb, path, strerror(code));
}

static hone_status write_at(int fd, const char *path, const char *text, size_t bytes, off_t at, hone_error *err) {
    size_t done = 0;
    while (done < bytes) {
        ssize_t put = pwrite(fd, text + done, bytes - done, at + (off_t)done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return fail_errno(err, "write", path);
        done += (size_t)put;
    }
    return fdatasync(fd) == 0 ? HONE_OK : fail_errno(err, "sync", path);
}

/* Where the next line goes: behind the last whole one.  0: the file is empty, or holds no more than a torn header. */
static hone_status find_end(int fd, const char *path, off_t *end, hone_error *err) {
    struct stat info;
    char start[sizeof header_start - 1];
    if (fstat(fd, &info) != 0)
        return fail_errno(err, "read", path);
    if (!S_ISREG(info.st_mode))
        return hone__fail(err, HONE_E_ARG, "llm", "the transcript %.200s is not a plain file", path);
    *end = 0;
    size_t want = (uint64_t)info.st_size < sizeof start ? (size_t)info.st_size : sizeof start;
    if (pread(fd, start, want, 0) != (ssize_t)want || memcmp(start, header_start, want) != 0)
        return hone__fail(err, HONE_E_CORRUPT, "llm", "%.200s is not a transcript; it is left alone", path);
    char block[4096];
    for (off_t from = info.st_size; from > 0;) {
        size_t bytes = from < (off_t)sizeof block ? (size_t)from : sizeof block;
        from -= (off_t)bytes;
        if (pread(fd, block, bytes, from) != (ssize_t)bytes)
            return fail_errno(err, "read", path);
        for (size_t i = bytes; i > 0; i--) {
            if (block[i - 1] == '\n') {
                *end = from + (off_t)i;
                return HONE_OK;
            }
        }
    }
    return HONE_OK;
}

static hone_status append_locked(int fd, const char *path, hone__buf *line, const hone__transcript_line *exchange, hone_error *err) {
    off_t end = 0;
    HONE_TRY(find_end(fd, path, &end, err));
    if (end == 0)
        hone__buf_printf(line, "%s%d,\"tool\":\"hone %s\",\"created\":%lld}\n", header_start, HONE_TRANSCRIPT_VERSION, hone_version(),
                         (long long)hone__clock_unix_s());
    put_line(line, exchange);
    if (line->status != HONE_OK)
        return hone__fail(err, line->status, "llm", "exchange %u does not fit into a line of the transcript", exchange->index);
    hone__redact(line->data);
    if (ftruncate(fd, end) != 0)
        return fail_errno(err, "repair", path);
    return write_at(fd, path, line->data, line->length, end, err);
}

hone_status hone__transcript_append(const char *path, const hone__transcript_line *exchange, hone_error *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0)
        return fail_errno(err, "open", path);
    int locked;
    do /* held for one write only */
        locked = flock(fd, LOCK_EX);
    while (locked != 0 && errno == EINTR);
    hone__buf line;
    hone__buf_init(&line, LINE_BYTES);
    hone_status status = locked == 0 ? append_locked(fd, path, &line, exchange, err) : fail_errno(err, "lock", path);
    hone__buf_free(&line);
    if (close(fd) != 0 && status == HONE_OK)
        status = fail_errno(err, "close", path);
    return status;
}

static hone_status check_header(const char *text, size_t bytes, const char *path, hone_error *err) {
    cJSON *header = NULL;
    int64_t version = 0;
    if (!hone__utf8_valid(text, bytes) || !hone__json_items_fit(text, bytes) || hone__json_parse(&header, text, bytes, path, NULL) != HONE_OK ||
        !hone__json_int(cJSON_GetObjectItemCaseSensitive(header, "hone_transcript"), &version)) {
        cJSON_Delete(header);
        return hone__fail(err, HONE_E_CORRUPT, "llm", "%.200s is not a transcript (spec/transcript.md)", path);
    }
    cJSON_Delete(header);
    if (version != HONE_TRANSCRIPT_VERSION)
        return hone__fail(err, HONE_E_VERSION, "llm", "%.200s is a transcript of version %lld; this program reads version %d", path,
                          (long long)version, HONE_TRANSCRIPT_VERSION);
    return HONE_OK;
}

/* Does an exchange have the members that replay needs? */
static const char *exchange_problem(const cJSON *line) {
    int64_t index;
    if (!cJSON_IsObject(line))
        return "not an object";
    if (!hone__json_int(cJSON_GetObjectItemCaseSensitive(line, "index"), &index) || index < 0 || index > UINT32_MAX)
        return "\"index\" is not a whole number from 0";
    if (!cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(line, "request")))
        return "\"request\" is not an object";
    const cJSON *reply = cJSON_GetObjectItemCaseSensitive(line, "reply");
    if (!cJSON_IsString(reply) && !cJSON_IsNull(reply))
        return "\"reply\" is neither a string nor null";
    return NULL;
}

static hone_status add_line(hone__transcript *transcript, const char *text, size_t bytes, const char *path, unsigned number, hone_error *err) {
    cJSON *line = NULL;
    hone_error cause = {0};
    if (transcript->count == EXCHANGES)
        return hone__fail(err, HONE_E_LIMIT, "llm", "%.200s has more than %d exchanges", path, EXCHANGES);
    if (bytes > LINE_BYTES || !hone__utf8_valid(text, bytes) || !hone__json_items_fit(text, bytes))
        return hone__fail(err, HONE_E_CORRUPT, "llm", "%.200s line %u is too long, not UTF-8, or has too many items", path, number);
    hone_status status = hone__json_parse(&line, text, bytes, "line", &cause);
    if (status != HONE_OK)
        return hone__fail(err, status == HONE_E_NOMEM ? status : HONE_E_CORRUPT, "llm", "%.200s line %u: %.200s", path, number, cause.message);
    const char *problem = exchange_problem(line);
    if (problem != NULL) {
        cJSON_Delete(line);
        return hone__fail(err, HONE_E_CORRUPT, "llm", "%.200s line %u: %s", path, number, problem);
    }
    char *request = hone__json_text(cJSON_GetObjectItemCaseSensitive(line, "request"));
    if (request == NULL) {
        cJSON_Delete(line);
        return hone__fail(err, HONE_E_NOMEM, "llm", "no memory for the transcript %.200s", path);
    }
    transcript->line[transcript->count] = line;
    transcript->request[transcript->count++] = request;
    return HONE_OK;
}

static hone_status read_lines(hone__transcript *transcript, const char *text, size_t bytes, const char *path, hone_error *err) {
    unsigned number = 0;
    for (size_t at = 0; at < bytes;) {
        const char *stop = memchr(text + at, '\n', bytes - at);
        if (stop == NULL && number > 0)
            break; /* torn by a crash: never acknowledged */
        size_t length = stop != NULL ? (size_t)(stop - (text + at)) : bytes - at;
        number++;
        if (number == 1)
            HONE_TRY(check_header(text, length, path, err));
        else if (length > 0)
            HONE_TRY(add_line(transcript, text + at, length, path, number, err));
        at += length + 1;
    }
    return number > 0 ? HONE_OK : hone__fail(err, HONE_E_CORRUPT, "llm", "the transcript %.200s is empty", path);
}

hone_status hone__transcript_read(hone__transcript **out, const char *path, hone_error *err) {
    *out = NULL;
    char *text = NULL;
    size_t bytes = 0;
    HONE_TRY(hone__file_read(path, TRANSCRIPT_BYTES, &text, &bytes, err));
    size_t lines = 1;
    for (size_t i = 0; i < bytes; i++)
        lines += text[i] == '\n';
    if (lines > EXCHANGES)
        lines = EXCHANGES;
    hone__transcript *transcript = hone__alloc(sizeof *transcript);
    hone_status status = HONE_OK;
    if (transcript != NULL) {
        transcript->line = hone__alloc_array(lines, sizeof *transcript->line);
        transcript->request = hone__alloc_array(lines, sizeof *transcript->request);
    }
    if (transcript == NULL || transcript->line == NULL || transcript->request == NULL)
        status = hone__fail(err, HONE_E_NOMEM, "llm", "no memory for the transcript %.200s", path);
    else
        status = read_lines(transcript, text, bytes, path, err);
    hone__free(text);
    if (status != HONE_OK) {
        hone__transcript_free(transcript);
        return status;
    }
    *out = transcript;
    return HONE_OK;
}

void hone__transcript_free(hone__transcript *transcript) {
    if (transcript == NULL)
        return;
    for (uint32_t i = 0; i < transcript->count; i++) {
        cJSON_Delete(transcript->line[i]);
        hone__free(transcript->request[i]);
    }
    hone__free(transcript->line);
    hone__free(transcript->request);
    hone__free(transcript);
}

uint32_t hone__transcript_count(const hone__transcript *transcript) {
    return transcript->count;
}

bool hone__transcript_find(const hone__transcript *transcript, uint32_t index, hone__transcript_line *out) {
    for (uint32_t i = transcript->count; i > 0; i--) {
        const cJSON *line = transcript->line[i - 1];
        if (hone__json_number(line, "index", -1.0) < (double)index || hone__json_number(line, "index", -1.0) > (double)index)
            continue;
        *out = (hone__transcript_line){
            .index = index,
            .request = transcript->request[i - 1],
            .reply = hone__json_string(line, "reply"),
            .finish = hone__json_string(line, "finish"),
            .tokens_in = hone__json_count(line, "tokens_in"),
            .tokens_out = hone__json_count(line, "tokens_out"),
            .seconds = hone__json_number(line, "seconds", 0.0),
            .provider = hone__json_string(line, "provider"),
            .model = hone__json_string(line, "model"),
        };
        return true;
    }
    return false;
}
