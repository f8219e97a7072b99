/* llm_probe: send one request to the model that the environment names, print what came of it as one line of JSON.  Driven by
 * test_llm_http.py against hostile servers.
 *   llm_probe [--timeout S] [--tokens N] [--idle MS] [--retries N] [--body-max BYTES] [--cancel-after MS] [--poll-gap MS] [--repeat N] [--pad BYTES] [--schema] TEXT */
#include "alloc.h"
#include "clock.h"
#include "llm_impl.h"
#include "log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct probe {
    hone__llm_options options;
    uint32_t idle_ms, retries_max, cancel_ms, repeat, gap_ms;
    size_t body_max, pad;
    bool schema;
    const char *text;
} probe;

static hone__buf log_lines;

static void keep_log(hone_log_level level, const char *subsystem, const char *message, void *user) {
    (void)level;
    (void)user;
    hone__buf_char(&log_lines, log_lines.length > 0 ? ',' : '[');
    hone__buf_char(&log_lines, '"');
    hone__buf_text(&log_lines, subsystem);
    hone__buf_text(&log_lines, "\",");
    hone__buf_json_string(&log_lines, message);
}

static bool read_args(probe *p, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        if (strcmp(argv[i], "--schema") == 0) {
            p->schema = true;
            continue;
        }
        if (strncmp(argv[i], "--", 2) != 0) {
            p->text = argv[i];
            continue;
        }
        unsigned long number = strtoul(value, NULL, 10);
        if (strcmp(argv[i], "--timeout") == 0)
            p->options.timeout_s = (uint32_t)number;
        else if (strcmp(argv[i], "--tokens") == 0)
            p->options.tokens_max = number;
        else if (strcmp(argv[i], "--idle") == 0)
            p->idle_ms = (uint32_t)number;
        else if (strcmp(argv[i], "--retries") == 0)
            p->retries_max = (uint32_t)number;
        else if (strcmp(argv[i], "--body-max") == 0)
            p->body_max = number;
        else if (strcmp(argv[i], "--poll-gap") == 0)
            p->gap_ms = (uint32_t)number;
        else if (strcmp(argv[i], "--pad") == 0)
            p->pad = number;
        else if (strcmp(argv[i], "--cancel-after") == 0)
            p->cancel_ms = (uint32_t)number;
        else if (strcmp(argv[i], "--repeat") == 0)
            p->repeat = (uint32_t)number;
        else
            return false;
        i++;
    }
    return p->text != NULL;
}

static hone_status ask(const probe *p, hone__llm *llm, uint32_t index, hone__llm_reply *reply, hone_error *err) {
    static const char schema_text[] =
        "{\"type\":\"object\",\"properties\":{\"configs\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}},"
        "\"required\":[\"configs\"],\"additionalProperties\":false}";
    cJSON *schema = NULL;
    if (p->schema)
        HONE_TRY(hone__json_parse(&schema, schema_text, sizeof schema_text - 1, "schema", err));
    char *padded = hone__alloc(strlen(p->text) + p->pad + 1);
    if (padded == NULL)
        return hone__fail(err, HONE_E_NOMEM, "probe", "no memory");
    memset(padded, 'x', p->pad);
    memcpy(padded + p->pad, p->text, strlen(p->text));
    const hone__message message[] = {{"user", padded}, {"assistant", "first answer"}, {"user", "go on"}};
    const hone__llm_request request = {
        .index = index, .system = "You are a probe.", .message = message, .message_count = index == 0 ? 1 : 3, .schema = schema};
    hone_status status = hone__llm_start(llm, &request, err);
    cJSON_Delete(schema);
    hone__free(padded);
    uint64_t begin = hone__clock_ns();
    uint64_t longest = 0;
    unsigned polls = 0;
    while (status == HONE_OK) {
        if (p->gap_ms != 0) /* as a tuning does while it measures */
            hone__sleep_ms(p->gap_ms);
        uint64_t before = hone__clock_ns();
        hone_status polled = hone__llm_poll(llm, p->gap_ms != 0 ? 0 : 20, reply, err);
        uint64_t took = hone__clock_ns() - before;
        longest = took > longest ? took : longest;
        polls++;
        if (polled != HONE_E_TIMEOUT) {
            status = polled;
            break;
        }
        if (p->cancel_ms != 0 && hone__clock_ns() - begin > p->cancel_ms * 1000000ull) {
            hone__llm_cancel(llm);
            return hone__fail(err, HONE_E_CANCELLED, "probe", "cancelled");
        }
    }
    (void)fprintf(stderr, "polls %u longest %.1f ms\n", polls, (double)longest / 1e6);
    return status;
}

static void print(hone_status status, const hone__llm_reply *reply, const hone_error *err) {
    hone__buf line;
    hone__buf_init(&line, SIZE_MAX / 4);
    hone__buf_printf(&line, "{\"status\":\"%s\",\"os_code\":%d,\"message\":", hone_status_name(status), status == HONE_OK ? 0 : (int)err->os_code);
    hone__buf_json_string(&line, status == HONE_OK ? "" : err->message);
    hone__buf_text(&line, ",\"text\":");
    hone__buf_json_string(&line, reply->text != NULL ? reply->text : "");
    hone__buf_printf(&line, ",\"truncated\":%s,\"tokens_in\":%llu,\"tokens_out\":%llu,\"tries\":%u,\"seconds\":%.3f,\"finish\":",
                     reply->truncated ? "true" : "false", (unsigned long long)reply->tokens_in, (unsigned long long)reply->tokens_out,
                     reply->tries, reply->seconds);
    hone__buf_json_string(&line, reply->finish);
    hone__buf_printf(&line, ",\"log\":%s]}\n", log_lines.length > 0 ? log_lines.data : "[");
    (void)fwrite(line.data, 1, line.length, stdout);
    (void)fflush(stdout);
    hone__buf_free(&line);
}

int main(int argc, char **argv) {
    probe p = {.repeat = 1};
    if (!read_args(&p, argc, argv)) {
        (void)fprintf(stderr, "usage: llm_probe [options] TEXT\n");
        return 2;
    }
    hone__buf_init(&log_lines, SIZE_MAX / 4);
    hone_set_log(keep_log, HONE_LOG_DEBUG, NULL);
    hone_error err = {0};
    hone__llm_reply reply = {0};
    hone__llm *llm = NULL;
    hone_status status = hone__llm_open(&llm, &p.options, &err);
    if (status != HONE_OK)
        print(status, &reply, &err);
    if (llm != NULL && p.idle_ms != 0)
        llm->limits.idle_ms = p.idle_ms;
    if (llm != NULL && p.retries_max != 0)
        llm->limits.retries_max = p.retries_max;
    if (llm != NULL && p.body_max != 0)
        llm->limits.body_bytes_max = p.body_max;
    for (uint32_t i = 0; llm != NULL && i < p.repeat; i++) {
        status = ask(&p, llm, i, &reply, &err);
        print(status, &reply, &err);
        hone__llm_reply_clear(&reply);
    }
    hone__llm_close(llm);
    hone__buf_free(&log_lines);
    return hone__alloc_live() == 0 ? 0 : 3;
}
