/* reply_line.c: see reply_line.h. */
#include "reply_line.h"
#include "limit.h"

#include <errno.h>
#include <unistd.h>

void hone__reply_begin(hone__buf *line, uint64_t id, bool ok) {
    hone__buf_init(line, HONE_LIMIT_MESSAGE_BYTES);
    hone__buf_printf(line, "{\"id\":%llu,\"ok\":%s", (unsigned long long)id, ok ? "true" : "false");
}

void hone__reply_number(hone__buf *line, const char *name, double value) {
    hone__buf_printf(line, ",\"%s\":", name);
    hone__buf_json_double(line, value);
}

void hone__reply_failed(hone__buf *line, const char *stage, const hone__measurement *result) {
    hone__buf_printf(line, ",\"error\":{\"stage\":\"%s\",\"code\":\"%s\",\"message\":", stage, hone__outcome_name(result->outcome));
    hone__buf_json_string(line, result->reason);
    if (result->max_error > 0.0)
        hone__reply_number(line, "max_error", result->max_error);
}

void hone__reply_measured(hone__buf *line, const hone__measurement *result) {
    hone__buf_printf(line, ",\"outcome\":\"%s\",\"accuracy\":\"%s\"", hone__outcome_name(result->outcome),
                     result->accuracy == HONE_ACCURACY_PASSED ? "passed" : "unchecked");
    hone__reply_number(line, "max_error", result->max_error);
    hone__buf_text(line, ",\"summary\":{\"median_ns\":");
    hone__buf_json_double(line, result->median_ns);
    hone__reply_number(line, "low_ns", result->low_ns);
    hone__reply_number(line, "high_ns", result->high_ns);
    hone__reply_number(line, "mad_ns", result->mad_ns);
    hone__buf_printf(line, ",\"samples\":%u}", result->samples);
}

bool hone__reply_write(int fd, hone__buf *line) {
    size_t done = 0;
    bool read = true;
    hone__buf_char(line, '\n');
    while (read && line->status == HONE_OK && done < line->length) {
        ssize_t put = write(fd, line->data + done, line->length - done);
        read = put >= 0 || errno == EINTR;
        done += put > 0 ? (size_t)put : 0;
    }
    hone__buf_free(line);
    return read;
}
