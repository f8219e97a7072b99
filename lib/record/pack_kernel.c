/* pack_kernel.c: what a pack keeps of a kernel (spec/pack.md section 6). */
#include "alloc.h"
#include "limit.h"
#include "pack_format.h"
#include "utf8.h"

static const uint32_t limits[4] = {HONE_LIMIT_NAME_BYTES, HONE_LIMIT_NAME_BYTES, HONE_LIMIT_SPEC_BYTES, HONE_LIMIT_SOURCE_BYTES};

static void texts_of(const hone__kernel_info *info, const char *text[4]) {
    text[0] = info->name == NULL ? "" : info->name;
    text[1] = info->language == NULL ? "" : info->language;
    text[2] = info->space == NULL ? "" : info->space;
    text[3] = info->source == NULL ? "" : info->source;
}

hone_status hone__pack_kernel_encode(hone__buf *buf, const hone__kernel_info *info) {
    const char *text[4];
    size_t start = buf->length;
    texts_of(info, text);
    for (int i = 0; i < 4; i++) {
        size_t length = strnlen(text[i], (size_t)limits[i] + 1);
        if (length > limits[i])
            return HONE_E_LIMIT;
        if (!hone__utf8_valid(text[i], length))
            return HONE_E_ARG;
        hone__buf_u32(buf, (uint32_t)length);
    }
    for (int i = 0; i < 4; i++)
        hone__buf_text(buf, text[i]);
    HONE_TRY(buf->status);
    uint64_t seed = hone__pack_checksum(info->id, 16, 0);
    hone__buf_u64(buf, hone__pack_checksum(buf->data + start, buf->length - start, seed));
    return buf->status;
}

hone_status hone__pack_kernel_decode(hone__kernel_info *out, const uint8_t id[16], const uint8_t *bytes, size_t count) {
    memset(out, 0, sizeof *out);
    if (count < PACK_KERNEL_HEAD_BYTES + 8)
        return HONE_E_CORRUPT;
    if (hone__pack_checksum(bytes, count - 8, hone__pack_checksum(id, 16, 0)) != pack_get64(bytes + count - 8))
        return HONE_E_CORRUPT;
    uint64_t sum = PACK_KERNEL_HEAD_BYTES + 8;
    for (int i = 0; i < 4; i++) {
        uint32_t length = pack_get32(bytes + 4 * i);
        if (length > limits[i])
            return HONE_E_CORRUPT;
        sum += length;
    }
    if (sum != count)
        return HONE_E_CORRUPT;
    char *text[4] = {NULL};
    const char *at = (const char *)bytes + PACK_KERNEL_HEAD_BYTES;
    hone_status status = HONE_OK;
    for (int i = 0; i < 4 && status == HONE_OK; i++) {
        uint32_t length = pack_get32(bytes + 4 * i);
        if (memchr(at, 0, length) != NULL || !hone__utf8_valid(at, length))
            status = HONE_E_CORRUPT;
        else if ((text[i] = hone__strndup(at, length)) == NULL)
            status = HONE_E_NOMEM;
        at += length;
    }
    memcpy(out->id, id, 16);
    out->name = text[0];
    out->language = text[1];
    out->space = text[2];
    out->source = text[3];
    if (status != HONE_OK)
        hone__kernel_info_clear(out);
    return status;
}

int hone__pack_kernel_compare(const hone__kernel_info *a, const hone__kernel_info *b) {
    const char *x[4], *y[4];
    texts_of(a, x);
    texts_of(b, y);
    if ((x[3][0] == '\0') != (y[3][0] == '\0'))
        return x[3][0] != '\0' ? -1 : 1;
    for (int i = 0; i < 4; i++) {
        uint8_t left[4], right[4];
        size_t m = strlen(x[i]), n = strlen(y[i]);
        pack_put32(left, (uint32_t)m);
        pack_put32(right, (uint32_t)n);
        int order = memcmp(left, right, 4);
        if (order == 0)
            order = memcmp(x[i], y[i], m);
        if (order != 0)
            return order;
    }
    return 0;
}
