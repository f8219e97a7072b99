/* fuzz_record.c: every decoder of records on any bytes.  The first byte chooses the kind, the second how much is mended first (length and
 * checksum), so that mutations get past the frame.  Whatever decodes must encode, and decode to the same bytes again. */
#include "alloc.h"
#include "layout.h"
#include "record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef union any_record {
    hone__entry entry;
    hone__trial trial;
    hone__exchange exchange;
    hone__session session;
    hone__kernel_info kernel;
    hone__failure failure;
} any_record;

enum { KINDS = 6 };

static hone_status decode(unsigned kind, any_record *out, const void *bytes, size_t count, hone__slot_key slot) {
    switch (kind) {
    case 0:
        return hone__entry_decode(&out->entry, bytes, count, slot);
    case 1:
        return hone__trial_decode(&out->trial, bytes, count, slot);
    case 2:
        return hone__exchange_decode(&out->exchange, bytes, count, slot);
    case 3:
        return hone__session_decode(&out->session, bytes, count, slot);
    case 4:
        return hone__kernel_info_decode(&out->kernel, bytes, count, slot);
    default:
        return hone__failure_decode(&out->failure, bytes, count, slot);
    }
}

static hone_status encode(unsigned kind, hone__buf *buf, const any_record *record, hone__slot_key slot) {
    switch (kind) {
    case 0:
        return hone__entry_encode(buf, &record->entry, slot);
    case 1:
        return hone__trial_encode(buf, &record->trial, slot);
    case 2:
        return hone__exchange_encode(buf, &record->exchange, slot);
    case 3:
        return hone__session_encode(buf, &record->session, slot);
    case 4:
        return hone__kernel_info_encode(buf, &record->kernel, slot);
    default:
        return hone__failure_encode(buf, &record->failure, slot);
    }
}

static void clear(unsigned kind, any_record *record) {
    switch (kind) {
    case 0:
        hone__entry_clear(&record->entry);
        break;
    case 1:
        hone__trial_clear(&record->trial);
        break;
    case 2:
        hone__exchange_clear(&record->exchange);
        break;
    case 3:
        hone__session_clear(&record->session);
        break;
    case 4:
        hone__kernel_info_clear(&record->kernel);
        break;
    default:
        hone__failure_clear(&record->failure);
    }
}

static void require(bool holds) {
    if (!holds)
        abort();
}

static void print(unsigned kind, const any_record *record) {
    hone__buf json;
    hone__buf_init(&json, 64u << 20);
    if (kind == 0)
        hone__entry_print(&json, &record->entry);
    else if (kind == 1)
        hone__trial_print(&json, &record->trial);
    cJSON *parsed = NULL;
    if (kind < 2) {
        require(json.status == HONE_OK);
        parsed = cJSON_ParseWithLength(json.data, json.length);
        require(parsed != NULL);
    }
    cJSON_Delete(parsed);
    hone__buf_free(&json);
}

static void round_trip(unsigned kind, any_record *record, bool canonical, const uint8_t *bytes, size_t count, hone__slot_key slot) {
    hone__buf first, second;
    any_record again;
    hone__buf_init(&first, HONE_LIMIT_RECORD_BYTES);
    hone__buf_init(&second, HONE_LIMIT_RECORD_BYTES);
    require(encode(kind, &first, record, slot) == HONE_OK);
    if (canonical)
        require(first.length == count && memcmp(first.data, bytes, count) == 0);
    require(decode(kind, &again, first.data, first.length, slot) == HONE_OK);
    if (kind == 0)
        require(hone__entry_compare(&record->entry, &again.entry) == 0);
    require(encode(kind, &second, &again, slot) == HONE_OK);
    require(first.length == second.length && memcmp(first.data, second.data, first.length) == 0);
    print(kind, record);
    clear(kind, &again);
    hone__buf_free(&first);
    hone__buf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    static const uint16_t kind_numbers[KINDS] = {HONE_RECORD_ENTRY,   HONE_RECORD_TRIAL,  HONE_RECORD_EXCHANGE,
                                                 HONE_RECORD_SESSION, HONE_RECORD_KERNEL, HONE_RECORD_FAILURE};
    unsigned kind = data[0] % KINDS, mend = data[1];
    size_t count = size - 2;
    uint8_t *bytes = malloc(count == 0 ? 1 : count); /* of the exact size, so that a sanitizer sees a byte too far */
    require(bytes != NULL);
    memcpy(bytes, data + 2, count);
    hone__slot_key slot = {"fuzz", 4};
    size_t frame = HONE_RECORD_HEADER_BYTES + HONE_RECORD_CHECKSUM_BYTES;
    if ((mend & 1) != 0 && count >= frame) {
        uint32_t length = (uint32_t)(count - frame);
        memcpy(bytes, "HONR", 4);
        for (int i = 0; i < 4; i++)
            bytes[12 + i] = (uint8_t)(length >> (8 * i));
        bytes[8] = (uint8_t)kind_numbers[kind];
        bytes[9] = 0;
        if ((mend & 2) != 0)
            memcpy(bytes + 4, "\1\0\1\0", 4); /* versions */
        hone__record_checksum(bytes + count - 16, bytes, count - 16, slot);
    }
    any_record record;
    size_t live = hone__alloc_live();
    hone_status status = decode(kind, &record, bytes, count, slot);
    if (status == HONE_OK) {
        bool canonical = bytes[6] == HONE_RECORD_VERSION && bytes[7] == 0;
        round_trip(kind, &record, canonical, bytes, count, slot);
        clear(kind, &record);
    } else {
        require(status == HONE_E_CORRUPT || status == HONE_E_VERSION || status == HONE_E_NOMEM);
    }
    require(hone__alloc_live() == live);
    free(bytes);
    return 0;
}
