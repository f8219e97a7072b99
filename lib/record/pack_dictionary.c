/* pack_dictionary.c: strings kept once, in the order of their first mention, within the bounds of spec/pack.md section 4. */
#include "alloc.h"
#include "pack_output.h"

void hone__dictionary_init(hone__dictionary *strings) {
    *strings = (hone__dictionary){.count = 0};
    hone__buf_init(&strings->bytes, HONE_PACK_STRING_BYTES_MAX);
}

void hone__dictionary_free(hone__dictionary *strings) {
    hone__buf_free(&strings->bytes);
    hone__free(strings->offset);
    hone__free(strings->checksum);
    hone__free(strings->slot);
    hone__dictionary_init(strings);
}

static uint32_t length_of(const hone__dictionary *strings, uint32_t number) {
    uint32_t end = number + 1 < strings->count ? strings->offset[number + 1] : (uint32_t)strings->bytes.length;
    return end - strings->offset[number];
}

static void insert(hone__dictionary *strings, uint64_t hash, uint32_t reference) {
    uint32_t mask = strings->slots - 1, at = (uint32_t)hash & mask;
    while (strings->slot[at] != 0)
        at = (at + 1) & mask;
    strings->slot[at] = reference;
}

static hone_status grow(hone__dictionary *strings) {
    uint32_t room = strings->room == 0 ? 64 : strings->room * 2;
    uint32_t *offset = hone__realloc(strings->offset, room * sizeof *offset);
    if (offset != NULL)
        strings->offset = offset;
    uint64_t *checksum = hone__realloc(strings->checksum, room * sizeof *checksum);
    if (checksum != NULL)
        strings->checksum = checksum;
    uint32_t *slot = hone__alloc_array((size_t)room * 2, sizeof *slot);
    if (offset == NULL || checksum == NULL || slot == NULL) {
        hone__free(slot);
        return HONE_E_NOMEM;
    }
    hone__free(strings->slot);
    strings->slot = slot;
    strings->slots = room * 2;
    strings->room = room;
    for (uint32_t i = 0; i < strings->count; i++)
        insert(strings, hone__pack_checksum(strings->bytes.data + strings->offset[i], length_of(strings, i), 0), i + 1);
    return HONE_OK;
}

hone_status hone__dictionary_add(hone__dictionary *strings, const void *bytes, size_t count, uint32_t *reference) {
    uint64_t hash = hone__pack_checksum(bytes, count, 0);
    uint32_t mask = strings->slots - 1;
    for (uint32_t at = (uint32_t)hash & mask; strings->slots > 0 && strings->slot[at] != 0; at = (at + 1) & mask) {
        uint32_t number = strings->slot[at] - 1;
        if (length_of(strings, number) == count && memcmp(strings->bytes.data + strings->offset[number], bytes, count) == 0) {
            *reference = number + 1;
            return HONE_OK;
        }
    }
    *reference = REFERENCE_INLINE;
    if (count > PACK_STRING_MAX || strings->count == HONE_PACK_STRINGS_MAX || count > HONE_PACK_STRING_BYTES_MAX - strings->bytes.length)
        return HONE_OK;
    if (strings->count == strings->room)
        HONE_TRY(grow(strings));
    size_t offset = strings->bytes.length;
    hone__buf_bytes(&strings->bytes, bytes, count);
    HONE_TRY(strings->bytes.status);
    uint32_t number = strings->count++;
    strings->offset[number] = (uint32_t)offset;
    strings->checksum[number] = hone__pack_checksum(bytes, count, number);
    insert(strings, hash, number + 1);
    *reference = number + 1;
    return HONE_OK;
}
