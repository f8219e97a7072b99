/* embed.c: hone_embed: a pack as a C header or as an object file, for programs that carry their configs within. */
#define _GNU_SOURCE
#include "embed.h"
#include "options.h"
#include "pack.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SYMBOL_BYTES_MAX = 128, LINE_ITEMS = 24 };

static bool is_identifier(const char *name) {
    size_t length = strlen(name);
    if (length == 0 || length > SYMBOL_BYTES_MAX)
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return true;
}

static hone_status fail_read(const hone__embedding *e) {
    int code = errno;
    return hone__fail_os(e->err, HONE_E_IO, "exchange", code, "cannot read %s: %s", e->path, strerror(code));
}

hone_status hone__embed_bytes(hone__embedding *e, hone__embed_put *put, void *user) {
    uint8_t chunk[1 << 15];
    uint64_t done = 0;
    while (done < e->count) {
        uint64_t left = e->count - done;
        ssize_t got = pread(e->fd, chunk, left < sizeof chunk ? (size_t)left : sizeof chunk, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_read(e);
        if (got == 0)
            return hone__fail(e->err, HONE_E_CORRUPT, "exchange", "%s has become shorter while it was read", e->path);
        HONE_TRY(put(e, chunk, (size_t)got, user));
        done += (uint64_t)got;
    }
    return HONE_OK;
}

/* ---- C header ---- */

static hone_status put_text(const hone__embedding *e, hone__buf *buf) {
    hone_status status = buf->status;
    if (status == HONE_OK)
        status = hone__out_write(e->out, buf->data, buf->length, e->err);
    hone__buf_clear(buf);
    return status;
}

typedef struct numbers {
    hone__buf buf;
    uint64_t count;
} numbers;

static hone_status put_numbers(hone__embedding *e, const uint8_t *bytes, size_t count, void *user) {
    numbers *n = user;
    for (size_t i = 0; i < count; i++, n->count++)
        hone__buf_printf(&n->buf, "%s%u,", n->count % LINE_ITEMS == 0 ? "\n    " : "", bytes[i]);
    return put_text(e, &n->buf);
}

static hone_status write_header(hone__embedding *e) {
    numbers n = {.count = 0};
    const char *name = e->symbol;
    hone__buf_init(&n.buf, 1u << 20);
    hone__buf_printf(&n.buf,
                     "/* A Hone pack as a C array, made by `hone export --format c-header`.  Do not edit.\n"
                     " *\n"
                     " *     size_t count;\n"
                     " *     const void *bytes = %s_bytes(&count);\n"
                     " *     hone_cache_add_pack_memory(cache, \"%s\", bytes, count, NULL, &err);\n"
                     " *\n"
                     " * Include it in one source file: each that includes it has the array. */\n"
                     "#ifndef HONE_EMBEDDED_%s\n#define HONE_EMBEDDED_%s\n\n#include <stddef.h>\n\n"
                     "static const unsigned char %s[%llu] = {",
                     name, name, name, name, name, (unsigned long long)e->count);
    hone_status status = hone__embed_bytes(e, put_numbers, &n);
    if (status == HONE_OK) {
        hone__buf_printf(&n.buf, "\n};\n\n/* The pack; *count is its size. */\nstatic inline const void *%s_bytes(size_t *count) {\n    *count = sizeof %s;\n    return %s;\n}\n\n#endif\n",
                         name, name, name);
        status = put_text(e, &n.buf);
    }
    hone__buf_free(&n.buf);
    return status;
}

/* ---- the call ---- */

static hone_status check_pack(hone__embedding *e) {
    hone__pack *pack = NULL;
    HONE_TRY(hone__pack_open(&pack, e->path, NULL, e->err));
    hone_status status = hone__pack_verify(pack, NULL, NULL, e->err);
    e->count = hone__pack_about(pack)->file_bytes;
    hone__pack_close(pack);
    return status;
}

static hone_status read_options(hone__embedding *e, hone_embed_options *o, const hone_embed_options *options, bool *object) {
    HONE_TRY(hone__options_read(o, sizeof *o, options, "hone_embed_options", e->err));
    e->symbol = o->symbol == NULL ? "hone_pack" : o->symbol;
    *object = o->format != NULL && strcmp(o->format, "object") == 0;
    if (!*object && (o->format == NULL || strcmp(o->format, "c-header") != 0))
        return hone__fail(e->err, HONE_E_ARG, "exchange", "a pack is embedded as \"c-header\" or \"object\"; got \"%.40s\"", o->format == NULL ? "" : o->format);
    if (!is_identifier(e->symbol))
        return hone__fail(e->err, HONE_E_ARG, "exchange", "\"%.40s\" is not a name for C: letters, digits and _, not beginning with a digit", e->symbol);
    return hone__elf_machine(&e->machine, o->machine, e->err);
}

hone_status hone_embed(const char *pack_path, const char *out_path, const hone_embed_options *options, hone_error *err) {
    hone__embedding e = {.path = pack_path, .fd = -1, .err = err};
    hone_embed_options o = HONE_EMBED_OPTIONS_INIT;
    bool object;
    if (pack_path == NULL || out_path == NULL)
        return hone__fail(err, HONE_E_ARG, "exchange", "hone_embed: a path is NULL");
    HONE_TRY(read_options(&e, &o, options, &object));
    HONE_TRY(check_pack(&e));
    e.fd = open(pack_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (e.fd < 0)
        return fail_read(&e);
    hone_status status = hone__out_open(&e.out, out_path, o.force != 0 ? HONE_OUT_FORCE : 0, 0666, err);
    if (status == HONE_OK)
        status = object ? hone__embed_object(&e) : write_header(&e);
    (void)close(e.fd);
    if (status != HONE_OK) {
        hone__out_abort(e.out);
        return status;
    }
    return hone__out_finish(e.out, err);
}
