/* fuzz_load.c: any bytes as the input of hone_load, after a good first line or (first byte even) as they are.  Refused as a whole, line by line, or
 * taken; and what is taken is written by hone_dump so that it is taken again without a difference. */
#define _GNU_SOURCE
#include "alloc.h"
#include "dump_line.h"
#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition, const char *what) {
    if (condition)
        return;
    (void)fprintf(stderr, "fuzz_load: %s\n", what);
    abort();
}

static int on_line(const char *json, void *user) {
    cJSON *line = NULL;
    (void)user;
    must(hone__json_parse(&line, json, strlen(json), "report", NULL) == HONE_OK, "a report is not JSON");
    must(hone__json_string(line, "action") != NULL && hone__json_string(line, "reason") != NULL, "a report without reason");
    cJSON_Delete(line);
    return 0;
}

static void load(const uint8_t *data, size_t size, bool with_head) {
    static const char head[] = "{\"type\":\"hone dump\",\"reader\":1,\"writer\":1}\n";
    int fd = memfd_create("fuzz_load", MFD_CLOEXEC);
    hone_work_options options = HONE_WORK_OPTIONS_INIT;
    hone_error err = {0};
    char *report = NULL;
    must(fd >= 0, "no file");
    must(!with_head || write(fd, head, sizeof head - 1) == (ssize_t)sizeof head - 1, "cannot write");
    must(write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0, "cannot write");
    options.dry_run = 1;
    options.line = on_line;
    hone_status status = hone_load(&report, NULL, fd, "dump", &options, &err);
    must(status == HONE_OK || status == HONE_E_JSON || status == HONE_E_VERSION, "unexpected status");
    must(!with_head || status == HONE_OK, "a line spoils the rest");
    must((report != NULL) == (status == HONE_OK), "a report beside an error");
    must(status == HONE_OK || err.message[0] != '\0', "no message");
    hone_free(report);
    (void)close(fd);
}

/* The first line as an entry: what comes out of it must go in again. */
static void again(const uint8_t *data, size_t size) {
    const uint8_t *end = memchr(data, '\n', size);
    size_t length = end == NULL ? size : (size_t)(end - data);
    cJSON *json = NULL, *second = NULL;
    hone__entry entry, back;
    hone__buf first, line;
    if (hone__json_parse(&json, (const char *)data, length, "line", NULL) != HONE_OK)
        return;
    if (cJSON_IsObject(json) && hone__undump_entry(&entry, json, false, NULL) == HONE_OK) {
        hone__buf_init(&first, HONE_DUMP_LINE_BYTES);
        hone__buf_init(&line, HONE_DUMP_LINE_BYTES);
        hone__dump_entry(&first, &entry);
        must(first.status == HONE_OK, "cannot be written");
        must(hone__json_parse(&second, first.data, first.length, "line", NULL) == HONE_OK, "is no JSON when written");
        must(hone__undump_entry(&back, second, false, NULL) == HONE_OK, "is refused when written");
        hone__dump_entry(&line, &back);
        must(line.length == first.length && memcmp(line.data, first.data, line.length) == 0, "differs when written again");
        hone__entry_clear(&back);
        hone__entry_clear(&entry);
        hone__buf_free(&first);
        hone__buf_free(&line);
    }
    cJSON_Delete(second);
    cJSON_Delete(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t live = hone__alloc_live();
    if (size == 0)
        return 0;
    load(data + 1, size - 1, (data[0] & 1) != 0);
    again(data + 1, size - 1);
    must(hone__alloc_live() == live, "a leak");
    return 0;
}
