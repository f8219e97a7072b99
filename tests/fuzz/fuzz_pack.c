/* fuzz_pack.c: packs of any bytes.  The first byte says how much is mended: checksums of the header, of blocks, of strings, of records, so that
 * mutations get past them.  Whatever verifies must be readable to the last entry, and pack to the same bytes again. */
#include "alloc.h"
#include "merge.h"
#include "pack_format.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t section_at(const uint8_t *bytes, int section) {
    uint64_t at = PACK_HEADER_BYTES;
    for (int i = 0; i < section; i++)
        at += pack_get64(bytes + 64 + 16 * i);
    return at;
}

static bool sections_fit(const uint8_t *bytes, size_t size) {
    uint64_t left = size - PACK_HEADER_BYTES;
    for (int i = 0; i < PACK_SECTIONS; i++) {
        if (pack_get64(bytes + 64 + 16 * i) > left)
            return false;
        left -= pack_get64(bytes + 64 + 16 * i);
    }
    return left == 0;
}

static void mend_table(uint8_t *bytes, int section, uint64_t items) {
    uint8_t *at = bytes + section_at(bytes, section);
    if (pack_get64(bytes + 64 + 16 * section) != pack_table_bytes(items))
        return;
    for (uint64_t block = 0; block * PACK_BLOCK_ITEMS < items; block++) {
        uint64_t left = items - block * PACK_BLOCK_ITEMS;
        hone__pack_seal_block(at + block * PACK_BLOCK_BYTES, PACK_ITEM_BYTES * (left < PACK_BLOCK_ITEMS ? left : PACK_BLOCK_ITEMS), (unsigned)section,
                              block);
    }
}

static uint8_t *item(uint8_t *bytes, int section, uint64_t number) {
    return bytes + section_at(bytes, section) + number / PACK_BLOCK_ITEMS * PACK_BLOCK_BYTES + number % PACK_BLOCK_ITEMS * PACK_ITEM_BYTES;
}

static void mend_strings(uint8_t *bytes, uint64_t strings) {
    uint64_t room = pack_get64(bytes + 64 + 16 * PACK_STRING_BYTES);
    for (uint64_t i = 0; i < strings; i++) {
        uint8_t *place = item(bytes, PACK_STRINGS, i);
        uint64_t offset = pack_get64(place), length = pack_get32(place + 8);
        if (offset <= room && length <= room - offset)
            pack_put64(place + 16, hone__pack_checksum(bytes + section_at(bytes, PACK_STRING_BYTES) + offset, (size_t)length, i));
    }
}

static void mend_record(uint8_t *bytes, uint8_t *record, size_t count, const uint8_t slot[HONE_SLOT_BYTES], uint64_t strings) {
    uint8_t checksums[8 * REFERENCES_MAX];
    size_t kept = 0;
    uint32_t n = count < PACKED_ALTERNATIVES + PACKED_REST_BYTES + 8 ? 99 : pack_get32(record + PACKED_COUNT);
    if (n > HONE_ALTERNATIVES_MAX || PACKED_ALTERNATIVES + PACKED_RANKED_BYTES * n + PACKED_REST_BYTES + 8 > count)
        return;
    for (uint32_t t = 0; t < VIEW_BEST + 1 + n + LINES; t++) {
        uint32_t reference = pack_get32(record + hone__reference_place(t, n));
        if (reference != 0 && reference <= strings)
            memcpy(checksums + 8 * kept++, item(bytes, PACK_STRINGS, reference - 1) + 16, 8);
    }
    pack_put64(record + count - 8, hone__packed_checksum(record, count - 8, slot, checksums, kept));
}

static void mend_records(uint8_t *bytes, uint64_t entries, uint64_t groups, uint64_t strings) {
    uint64_t room = pack_get64(bytes + 64 + 16 * PACK_RECORDS), group = 0;
    for (uint64_t i = 0; i < entries; i++) {
        while (group + 1 < groups && pack_get64(item(bytes, PACK_GROUPS, group + 1) + 16) <= i)
            group++;
        uint8_t slot[HONE_SLOT_BYTES];
        memcpy(slot, item(bytes, PACK_GROUPS, group), 16);
        memcpy(slot + 16, item(bytes, PACK_INDEX, i), 16);
        uint64_t offset = pack_get64(item(bytes, PACK_INDEX, i) + 16), end = i + 1 < entries ? pack_get64(item(bytes, PACK_INDEX, i + 1) + 16) : room;
        if (offset < end && end <= room)
            mend_record(bytes, bytes + PACK_HEADER_BYTES + offset, (size_t)(end - offset), slot, strings);
    }
}

static void mend_sections(uint8_t *bytes) {
    for (int s = 0; s < PACK_SECTIONS; s++) {
        uint64_t size = pack_get64(bytes + 64 + 16 * s), checksum = (uint64_t)s;
        for (uint64_t at = 0; at < size; at += 65536)
            checksum = hone__pack_checksum(bytes + section_at(bytes, s) + at, (size_t)(size - at < 65536 ? size - at : 65536), checksum);
        pack_put64(bytes + 64 + 16 * s + 8, checksum);
    }
}

static void mend(uint8_t *bytes, size_t size, uint8_t how) {
    if (size < PACK_HEADER_BYTES)
        return;
    uint64_t entries = pack_get64(bytes + 24), groups = pack_get64(bytes + 32), strings = pack_get64(bytes + 40), kernels = pack_get64(bytes + 48);
    bool fit = sections_fit(bytes, size) && entries < size && groups < size && strings < size && kernels < size && (groups > 0 || entries == 0);
    fit = fit && pack_table_bytes(entries) == pack_get64(bytes + 64 + 16 * PACK_INDEX) && pack_table_bytes(groups) == pack_get64(bytes + 64 + 16 * PACK_GROUPS) &&
          pack_table_bytes(strings) == pack_get64(bytes + 64 + 16 * PACK_STRINGS);
    if (fit && (how & 1) != 0)
        mend_strings(bytes, strings);
    if (fit && (how & 2) != 0)
        mend_records(bytes, entries, groups, strings);
    if (fit && (how & 4) != 0) {
        mend_table(bytes, PACK_INDEX, entries);
        mend_table(bytes, PACK_GROUPS, groups);
        mend_table(bytes, PACK_STRINGS, strings);
        mend_table(bytes, PACK_KERNELS, kernels);
    }
    if (fit && (how & 8) != 0)
        mend_sections(bytes);
    if ((how & 16) != 0)
        pack_put64(bytes + PACK_CHECKSUM_AT, hone__pack_checksum(bytes, PACK_CHECKSUM_AT, 0));
}

/* Everything that can be asked, of a pack that may be damaged. */
static void ask(const hone__pack *pack, bool sound) {
    hone__source *source;
    hone__item found;
    const char *reason;
    hone__pack_writer *writer;
    if (hone__pack_source(&source, pack, NULL) != HONE_OK || hone__pack_writer_open(&writer, NULL, NULL, NULL) != HONE_OK)
        abort();
    for (uint32_t i = 0; i < 4096 && source->next(source, &found, &reason, NULL) == HONE_OK; i++) {
        hone__entry entry, again;
        hone_status status = hone__item_decode(&entry, &found);
        if (sound && status != HONE_OK)
            abort();
        if (status != HONE_OK)
            continue;
        status = hone__pack_get(pack, &entry.key, &again, NULL);
        if (status == HONE_OK && hone__entry_compare(&entry, &again) != 0)
            abort();
        if (status == HONE_OK)
            hone__entry_clear(&again);
        else if (sound)
            abort();
        hone__entry *list;
        uint32_t count, damaged;
        if (i == 0 && hone__pack_of_kernel(pack, entry.key.kernel, 64, &list, &count, &damaged, NULL) == HONE_OK) {
            for (uint32_t k = 0; k < count; k++)
                hone__entry_clear(&list[k]);
            hone__free(list);
        }
        if (hone__pack_writer_add(writer, &found, NULL) != HONE_OK && sound)
            abort();
        hone__entry_clear(&entry);
    }
    hone__kernel_info info;
    while (source->next_kernel(source, &info, &reason, NULL) == HONE_OK) {
        if (hone__pack_writer_add_kernel(writer, &info, NULL) != HONE_OK && sound)
            abort();
        hone__kernel_info_clear(&info);
    }
    hone__source_close(source);
    char *bytes = NULL;
    size_t count = 0;
    if (!sound) {
        hone__pack_writer_abort(writer);
        return;
    }
    /* What verifies is canonical, but for the number of a newer writer, which is in the header. */
    size_t from = pack->info.writer > HONE_PACK_VERSION ? PACK_HEADER_BYTES : 0;
    if (hone__pack_writer_finish_memory(writer, &bytes, &count, NULL) != HONE_OK || count != pack->info.file_bytes ||
        memcmp(bytes + from, pack->part[0].base - PACK_HEADER_BYTES + from, count - from) != 0)
        abort();
    hone__free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > 1 << 20)
        return 0;
    uint8_t *bytes = malloc(size);
    hone__pack *pack = NULL;
    if (bytes == NULL)
        return 0;
    memcpy(bytes, data + 1, size - 1);
    mend(bytes, size - 1, data[0]);
    if (hone__pack_open_memory(&pack, "fuzz", bytes, size - 1, NULL, NULL) == HONE_OK)
        ask(pack, hone__pack_verify(pack, NULL, NULL, NULL) == HONE_OK);
    hone__pack_close(pack);
    free(bytes);
    return 0;
}
