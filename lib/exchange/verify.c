/* verify.c: hone_verify: is this cache or pack sound from its first to its last byte, and who vouches for it? */
#include "alloc.h"
#include "entry_stream.h"
#include "upkeep.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static void print_head(hone__buf *buf, const char *path, const char *kind, bool sound, uint64_t bytes, const char *structure) {
    hone__buf_text(buf, "{\"hone\":1,\"path\":");
    hone__buf_json_string(buf, path);
    hone__buf_printf(buf, ",\"kind\":\"%s\",\"sound\":%s,\"bytes\":%llu,\"structure\":", kind, sound ? "true" : "false", (unsigned long long)bytes);
    hone__buf_json_string(buf, structure);
}

/* What the content says, and nothing of the surroundings. */
static bool is_finding(hone_status status) {
    return status == HONE_E_CORRUPT || status == HONE_E_VERSION || status == HONE_E_LIMIT || status == HONE_E_UNSAFE;
}

static hone_status verify_pack(hone__buf *buf, const char *path, hone__work *work, bool *sound, hone_error *err) {
    hone__pack *pack = NULL;
    hone_error inner = {0};
    struct stat info;
    uint64_t bytes = stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
    hone_status status = hone__layer_open(&pack, path, work->options.pack, &inner);
    if (status == HONE_OK)
        status = hone__pack_verify(pack, work->options.progress, work->options.user, &inner);
    *sound = status == HONE_OK;
    if (status == HONE_OK || is_finding(status)) {
        print_head(buf, path, "pack", *sound, bytes, *sound ? "sound" : inner.message);
        if (pack != NULL) {
            const hone__pack_info *about = hone__pack_about(pack);
            hone__buf_printf(buf, ",\"entries\":%llu,\"kernels\":%llu,\"reader\":%u,\"writer\":%u,\"checksum\":\"%016llx\",\"signer\":",
                             (unsigned long long)about->entries, (unsigned long long)about->kernels, about->reader, about->writer,
                             (unsigned long long)about->checksum);
            if (about->is_signed)
                hone__buf_json_string(buf, about->signer);
            else
                hone__buf_text(buf, "null");
        }
        hone__buf_char(buf, '}');
        status = HONE_OK;
    } else {
        (void)hone__fail_os(err, status, "exchange", inner.os_code, "%s", inner.message);
    }
    hone__pack_close(pack);
    return status;
}

hone_status hone_verify(char **report, int *sound, const char *path, const hone_work_options *options, hone_error *err) {
    if (report != NULL)
        *report = NULL;
    if (sound != NULL)
        *sound = 0;
    hone__work work;
    HONE_TRY(hone__work_begin(&work, options, err));
    char *chosen = NULL;
    if (path == NULL) {
        HONE_TRY(hone__cache_default_path(&chosen, err));
        path = chosen;
    }
    bool fine = false;
    hone__buf buf;
    hone__buf_init(&buf, 1u << 20);
    hone_status status = HONE_OK;
    switch (hone__file_kind_of(path)) {
    case HONE_KIND_CACHE:
        if (work.options.pack != NULL && work.options.pack->require_signature != 0) {
            print_head(&buf, path, "cache", false, 0, "it is not signed: a cache changes; export it as a pack, and sign that");
            hone__buf_char(&buf, '}');
        } else {
            status = hone__cache_verify(&buf, path, &work, &fine, err);
        }
        break;
    case HONE_KIND_PACK:
        status = verify_pack(&buf, path, &work, &fine, err);
        break;
    case HONE_KIND_OTHER:
        print_head(&buf, path, "unknown", false, 0, "it begins neither as a cache nor as a pack does");
        hone__buf_char(&buf, '}');
        break;
    case HONE_KIND_ABSENT:
        status = hone__fail_os(err, HONE_E_NOTFOUND, "exchange", ENOENT, "%s: no such file", path);
        break;
    }
    hone__free(chosen);
    if (status == HONE_OK && sound != NULL)
        *sound = fine;
    return hone__work_end(report, &buf, status, err);
}
