/* pack_probe.c: the C reader for fault/test_pack_reader.py: the whole of each pack, after full verification, as one JSON line in the form of
 * tests/ref/ref_pack_reader.py; and small packs to damage.
 *     pack_probe read FILE ...       pack_probe make FILE SEED ENTRIES */
#include "pack_fixture.h"
#include "json.h"

static void put_hex(hone__buf *buf, const char *name, const uint8_t *bytes, size_t count) {
    hone__buf_printf(buf, "\"%s\":\"", name);
    for (size_t i = 0; i < count; i++)
        hone__buf_printf(buf, "%02x", bytes[i]);
    hone__buf_text(buf, "\"");
}

static void put_double(hone__buf *buf, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    hone__buf_printf(buf, "\"%016llx\"", (unsigned long long)bits);
}

static void put_doubles(hone__buf *buf, const double *value) {
    hone__buf_text(buf, "\"numbers\":[");
    for (int i = 0; i < 4; i++) {
        hone__buf_text(buf, i > 0 ? "," : "");
        put_double(buf, value[i]);
    }
    hone__buf_text(buf, "]");
}

static void put_text(hone__buf *buf, const char *name, const char *text) {
    hone__buf_printf(buf, ",\"%s\":", name);
    hone__buf_json_string(buf, text);
}

static void put_ranked(hone__buf *buf, const hone__ranked *r) {
    hone__buf_text(buf, "{\"config\":");
    hone__buf_json_string(buf, r->config);
    hone__buf_text(buf, ",");
    put_doubles(buf, (const double[]){r->time_ns, r->low_ns, r->high_ns, r->mad_ns});
    hone__buf_printf(buf, ",\"samples\":%u}", r->samples);
}

static void put_entry(hone__buf *buf, const hone__entry *e) {
    hone__buf_text(buf, "{");
    put_hex(buf, "kernel_id", e->key.kernel, 16);
    hone__buf_text(buf, ",");
    put_hex(buf, "device_id", e->key.device, 16);
    hone__buf_text(buf, ",");
    put_hex(buf, "problem_id", e->key.problem, 16);
    hone__buf_text(buf, ",");
    put_hex(buf, "key", e->key.key, 16);
    put_text(buf, "kernel_name", e->kernel_name);
    put_text(buf, "sizes", e->sizes);
    put_text(buf, "device", e->device);
    hone__buf_text(buf, ",\"best\":");
    put_ranked(buf, &e->best);
    hone__buf_text(buf, ",\"alternatives\":[");
    for (uint32_t i = 0; i < e->alternative_count; i++) {
        hone__buf_text(buf, i > 0 ? "," : "");
        put_ranked(buf, &e->alternative[i]);
    }
    hone__buf_text(buf, "],");
    put_doubles(buf, (const double[]){e->default_ns, e->flops, e->bytes, e->roofline});
    hone__buf_printf(buf, ",\"effort\":%d,\"accuracy\":%d,\"tie\":%d,\"lines\":[", (int)e->effort, (int)e->accuracy, e->tie ? 1 : 0);
    const char *const lines[] = {e->strategy, e->model, e->stop, e->tool_version, e->host, e->driver, e->toolkit};
    for (size_t i = 0; i < 7; i++) {
        hone__buf_text(buf, i > 0 ? "," : "");
        hone__buf_json_string(buf, lines[i]);
    }
    hone__buf_printf(buf, "],\"rounds\":%u,\"trials\":%u,\"failed\":%u,\"tokens\":%llu,\"seconds\":", e->rounds, e->trials, e->failed,
                     (unsigned long long)e->tokens);
    put_double(buf, e->seconds);
    hone__buf_printf(buf, ",\"created\":%lld}", (long long)e->created_unix_s);
}

/* False: something that verified cannot be read, which is a defect. */
static bool put_all(hone__buf *buf, const hone__pack *pack) {
    hone__source *source;
    hone__item item;
    hone__kernel_info info;
    const char *reason;
    hone_status status;
    if (hone__pack_source(&source, pack, NULL) != HONE_OK)
        return false;
    hone__buf_text(buf, "{\"status\":\"OK\",\"entries\":[");
    for (int i = 0; (status = source->next(source, &item, &reason, NULL)) == HONE_OK; i++) {
        hone__entry entry, found;
        if (hone__item_decode(&entry, &item) != HONE_OK || hone__pack_get(pack, &entry.key, &found, NULL) != HONE_OK)
            return false;
        hone__buf_text(buf, i > 0 ? "," : "");
        put_entry(buf, &found);
        hone__entry_clear(&entry);
        hone__entry_clear(&found);
    }
    hone__buf_text(buf, "],\"kernels\":[");
    bool good = status == HONE_E_NOTFOUND;
    for (int i = 0; (status = source->next_kernel(source, &info, &reason, NULL)) == HONE_OK; i++) {
        hone__buf_text(buf, i > 0 ? ",{" : "{");
        put_hex(buf, "id", info.id, 16);
        put_text(buf, "name", info.name);
        put_text(buf, "language", info.language);
        put_text(buf, "space", info.space);
        put_text(buf, "source", info.source);
        hone__buf_text(buf, "}");
        hone__kernel_info_clear(&info);
    }
    hone__buf_text(buf, "]}");
    hone__source_close(source);
    return good && status == HONE_E_NOTFOUND;
}

static int read_one(const char *path) {
    hone__pack *pack = NULL;
    hone_error err = {0};
    hone__buf buf;
    hone__buf_init(&buf, 256u << 20);
    hone_status status = hone__pack_open(&pack, path, NULL, &err);
    if (status == HONE_OK)
        status = hone__pack_verify(pack, NULL, NULL, &err);
    bool good = true;
    if (status == HONE_OK) {
        good = put_all(&buf, pack);
    } else {
        hone__buf_printf(&buf, "{\"status\":\"%s\",\"why\":", hone_status_name(status));
        hone__buf_json_string(&buf, err.message);
        hone__buf_text(&buf, "}");
    }
    printf("%s\n", good && buf.status == HONE_OK ? buf.data : "{\"status\":\"E_BUG\"}");
    hone__pack_close(pack);
    hone__buf_free(&buf);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 5 && strcmp(argv[1], "make") == 0) {
        size_t bytes;
        char *pack = fixture_small_pack(strtoull(argv[3], NULL, 10), (unsigned)strtoul(argv[4], NULL, 10), &bytes);
        write_bytes(argv[2], pack, bytes);
        hone_free(pack);
        return 0;
    }
    for (int i = 2; i < argc; i++)
        (void)read_one(argv[i]);
    return 0;
}
