/* pack_writer.c: entries in ascending order become a pack, with memory that does not grow with their number (spec/pack.md). */
#include "alloc.h"
#include "limit.h"
#include "pack_format.h"
#include "pack_output.h"
#include "status.h"

/* What the references of one pack have become here: 0 not seen yet. */
typedef struct remap {
    uint64_t serial;
    uint32_t count;
    uint32_t *reference;
} remap;

struct hone__pack_writer {
    hone__output out;
    hone__dictionary strings;
    hone__table_writer index, groups, kernels;
    hone__buf kernel_bytes;       /* one kernel at a time */
    hone__buf record, tail, pattern, expanded;
    uint8_t last[HONE_SLOT_BYTES], last_kernel[16];
    uint64_t entries, offset, kernel_offset;
    bool entries_done;
    hone_status failed;           /* the first failure; nothing is written after it */
    uint8_t header[PACK_HEADER_BYTES];
    remap *map;
    size_t map_count;
};

hone_status hone__pack_writer_open(hone__pack_writer **out, const char *path, const hone__pack_writer_options *options, hone_error *err) {
    static const hone__pack_writer_options defaults = {.force = false};
    *out = NULL;
    bool discard = options != NULL && options->discard;
    hone__pack_writer *writer = hone__alloc(sizeof *writer);
    if (writer == NULL)
        return hone__fail(err, HONE_E_NOMEM, "pack", "no memory to write a pack");
    hone__dictionary_init(&writer->strings);
    hone__table_begin(&writer->index, PACK_INDEX, discard);
    hone__table_begin(&writer->groups, PACK_GROUPS, discard);
    hone__table_begin(&writer->kernels, PACK_KERNELS, discard);
    hone__buf_init(&writer->kernel_bytes, HONE_LIMIT_RECORD_BYTES);
    hone__buf_init(&writer->record, HONE_LIMIT_RECORD_BYTES);
    hone__buf_init(&writer->tail, HONE_LIMIT_RECORD_BYTES);
    hone__buf_init(&writer->pattern, HONE_LIMIT_RECORD_BYTES);
    hone__buf_init(&writer->expanded, HONE_LIMIT_RECORD_BYTES);
    hone_status status = hone__output_open(&writer->out, path, options != NULL ? options : &defaults, err);
    if (status != HONE_OK) {
        hone__pack_writer_abort(writer);
        return status;
    }
    hone__output_section(&writer->out, PACK_RECORDS);
    *out = writer;
    return HONE_OK;
}

void hone__pack_writer_abort(hone__pack_writer *writer) {
    if (writer == NULL)
        return;
    hone__output_close(&writer->out);
    hone__dictionary_free(&writer->strings);
    hone__table_free(&writer->index);
    hone__table_free(&writer->groups);
    hone__table_free(&writer->kernels);
    hone__buf_free(&writer->kernel_bytes);
    hone__buf_free(&writer->record);
    hone__buf_free(&writer->tail);
    hone__buf_free(&writer->pattern);
    hone__buf_free(&writer->expanded);
    for (size_t i = 0; i < writer->map_count; i++)
        hone__free(writer->map[i].reference);
    hone__free(writer->map);
    hone__free(writer);
}

/* ---- references ---- */

static remap *find_remap(hone__pack_writer *writer, const hone__strings *strings) {
    for (size_t i = 0; i < writer->map_count; i++) {
        if (writer->map[i].serial == strings->serial)
            return &writer->map[i];
    }
    remap *grown = hone__realloc(writer->map, (writer->map_count + 1) * sizeof *grown);
    if (grown == NULL)
        return NULL;
    writer->map = grown;
    remap *map = &grown[writer->map_count];
    *map = (remap){strings->serial, strings->count, hone__alloc_array(strings->count, sizeof *map->reference)};
    if (map->reference == NULL)
        return NULL;
    writer->map_count++;
    return map;
}

/* A pack's record with our references in it.  *done false: a text has no room or stands inline; then it goes the long way, which
 * finds the strings that were added here as it would have added them. */
static hone_status remap_record(hone__pack_writer *writer, const hone__view *view, const hone__item *item, uint8_t checksums[8 * REFERENCES_MAX],
                                size_t *count, bool *done) {
    *done = false;
    *count = 0;
    remap *map = find_remap(writer, item->strings);
    if (map == NULL)
        return HONE_E_NOMEM;
    hone__buf_clear(&writer->record);
    hone__buf_bytes(&writer->record, item->bytes, item->count - 8);
    HONE_TRY(writer->record.status);
    for (uint32_t t = 0; t < view->text_count; t++) {
        const hone__view_text *text = &view->text[t];
        if (text->reference == 0)
            continue;
        if (text->reference == REFERENCE_INLINE)
            return HONE_OK;
        uint32_t *mine = &map->reference[text->reference - 1];
        if (*mine == 0)
            HONE_TRY(hone__dictionary_add(&writer->strings, text->text->data, text->text->length, mine));
        if (*mine == REFERENCE_INLINE)
            return HONE_OK;
        pack_put32((uint8_t *)writer->record.data + hone__reference_place(t, view->alternatives), *mine);
        pack_put64(checksums + 8 * (*count)++, writer->strings.checksum[*mine - 1]);
    }
    *done = true;
    return HONE_OK;
}

/* One text of a cache's record: its reference, and its part of the tail. */
static hone_status add_text(hone__pack_writer *writer, const hone__view *view, uint32_t t, uint32_t *reference) {
    const hone__view_text *text = &view->text[t];
    *reference = 0;
    if (text->length == 0)
        return HONE_OK;
    size_t start = writer->tail.length;
    if (hone__view_is_pattern(view, t)) {
        *reference = REFERENCE_INLINE;
        hone__buf_clear(&writer->pattern);
        if (hone__pattern_split((const char *)text->bytes, text->length, &writer->pattern, &writer->tail)) {
            HONE_TRY(writer->pattern.status);
            HONE_TRY(hone__dictionary_add(&writer->strings, writer->pattern.data, writer->pattern.length, reference));
        }
    } else {
        HONE_TRY(hone__dictionary_add(&writer->strings, text->bytes, text->length, reference));
    }
    if (*reference == REFERENCE_INLINE && writer->tail.status == HONE_OK) {
        writer->tail.length = start; /* without the values */
        hone__buf_u32(&writer->tail, text->length);
        hone__buf_bytes(&writer->tail, text->bytes, text->length);
    }
    return writer->tail.status;
}

static hone_status pack_record(hone__pack_writer *writer, const hone__view *view, uint8_t checksums[8 * REFERENCES_MAX], size_t *count) {
    uint8_t head[PACKED_HEAD_MAX] = {0};
    size_t bytes = PACKED_ALTERNATIVES + (size_t)PACKED_RANKED_BYTES * view->alternatives + PACKED_REST_BYTES;
    uint8_t *rest = head + bytes - PACKED_REST_BYTES;
    *count = 0;
    hone__buf_clear(&writer->tail);
    for (uint32_t t = 0; t < view->text_count; t++) {
        uint32_t reference;
        HONE_TRY(add_text(writer, view, t, &reference));
        pack_put32(head + hone__reference_place(t, view->alternatives), reference);
        if (reference != 0 && reference != REFERENCE_INLINE)
            pack_put64(checksums + 8 * (*count)++, writer->strings.checksum[reference - 1]);
    }
    memcpy(head + PACKED_PROBLEM, view->problem, 16);
    memcpy(head + PACKED_BEST + 4, view->ranked[0], RANKED_NUMBERS_BYTES);
    pack_put32(head + PACKED_COUNT, view->alternatives);
    for (uint32_t i = 1; i <= view->alternatives; i++)
        memcpy(head + PACKED_ALTERNATIVES + PACKED_RANKED_BYTES * (i - 1) + 4, view->ranked[i], RANKED_NUMBERS_BYTES);
    memcpy(rest + PACKED_NUMBERS, view->numbers, NUMBERS_BYTES);
    memcpy(rest + PACKED_PROVENANCE, view->provenance, PROVENANCE_BYTES);
    hone__buf_clear(&writer->record);
    hone__buf_bytes(&writer->record, head, bytes);
    hone__buf_bytes(&writer->record, writer->tail.data, writer->tail.length);
    return writer->record.status;
}

/* ---- add ---- */

static hone_status put_record(hone__pack_writer *writer, const uint8_t slot[HONE_SLOT_BYTES], hone_error *err) {
    uint8_t item[PACK_ITEM_BYTES];
    if (writer->entries == 0 || memcmp(writer->last, slot, 16) != 0) {
        memcpy(item, slot, 16);
        pack_put64(item + 16, writer->entries);
        HONE_TRY(hone__table_add(&writer->groups, item, writer->out.path, err));
    }
    memcpy(item, slot + 16, 16);
    pack_put64(item + 16, writer->offset);
    HONE_TRY(hone__table_add(&writer->index, item, writer->out.path, err));
    HONE_TRY(hone__output_bytes(&writer->out, writer->record.data, writer->record.length, err));
    writer->offset += writer->record.length;
    writer->entries++;
    memcpy(writer->last, slot, HONE_SLOT_BYTES);
    return HONE_OK;
}

static hone_status make_record(hone__pack_writer *writer, const hone__item *item, const hone__view *view, uint8_t checksums[8 * REFERENCES_MAX],
                               size_t *count) {
    if (item->kind == HONE_ITEM_RECORD)
        return pack_record(writer, view, checksums, count);
    bool done;
    HONE_TRY(remap_record(writer, view, item, checksums, count, &done));
    if (done)
        return HONE_OK;
    hone__view unpacked;
    hone__item record = {.kind = HONE_ITEM_RECORD};
    memcpy(record.slot, item->slot, HONE_SLOT_BYTES);
    hone__buf_clear(&writer->expanded);
    HONE_TRY(hone__view_record(&writer->expanded, view, item->slot));
    record.bytes = (const uint8_t *)writer->expanded.data;
    record.count = writer->expanded.length;
    HONE_TRY(hone__view_make(&unpacked, &record));
    return pack_record(writer, &unpacked, checksums, count);
}

hone_status hone__pack_writer_add(hone__pack_writer *writer, const hone__item *item, hone_error *err) {
    hone__view view;
    hone_status status = hone__view_make(&view, item);
    if (status != HONE_OK)
        return hone__fail(err, status, "pack", "cannot pack an entry: it is %s", status == HONE_E_VERSION ? "of a newer Hone" : "damaged");
    return hone__pack_writer_add_view(writer, item, &view, err);
}

hone_status hone__pack_writer_add_view(hone__pack_writer *writer, const hone__item *item, const hone__view *view, hone_error *err) {
    if (writer->failed != HONE_OK)
        return hone__fail(err, writer->failed, "pack", "writing this pack has failed before");
    if (writer->entries_done || (writer->entries > 0 && memcmp(writer->last, item->slot, HONE_SLOT_BYTES) >= 0))
        return hone__fail(err, HONE_E_ARG, "pack", "entries must be added in ascending order, each once, and before kernels");
    uint8_t checksums[8 * REFERENCES_MAX];
    size_t count;
    hone_status status = make_record(writer, item, view, checksums, &count);
    if (status != HONE_OK) {
        (void)hone__fail(err, status, "pack", "cannot pack an entry: %s", hone_status_text(status));
    } else {
        hone__buf_u64(&writer->record,
                      hone__packed_checksum((const uint8_t *)writer->record.data, writer->record.length, item->slot, checksums, count));
        status = writer->record.status;
        if (status == HONE_OK)
            status = put_record(writer, item->slot, err);
    }
    if (status != HONE_OK)
        writer->failed = status;
    return status;
}

hone_status hone__pack_writer_add_entry(hone__pack_writer *writer, const hone__entry *entry, hone_error *err) {
    hone__item item = {.kind = HONE_ITEM_RECORD};
    memcpy(item.slot, entry->key.kernel, 8);
    memcpy(item.slot + 8, entry->key.device, 8);
    memcpy(item.slot + 16, entry->key.key, 16);
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    hone_status status = hone__entry_encode(&buf, entry, (hone__slot_key){item.slot, HONE_SLOT_BYTES});
    item.bytes = (const uint8_t *)buf.data;
    item.count = buf.length;
    if (status == HONE_OK)
        status = hone__pack_writer_add(writer, &item, err);
    else
        (void)hone__fail(err, status, "pack", "cannot pack an entry: %s", hone_status_text(status));
    hone__buf_free(&buf);
    return status;
}

/* ---- the sections after the records ---- */

static hone_status end_section(hone__pack_writer *writer, int section, hone_error *err) {
    uint64_t bytes, checksum;
    HONE_TRY(hone__output_end(&writer->out, &bytes, &checksum, err));
    pack_put64(writer->header + 64 + 16 * section, bytes);
    pack_put64(writer->header + 64 + 16 * section + 8, checksum);
    return HONE_OK;
}

static hone_status put_strings(hone__pack_writer *writer, hone_error *err) {
    const hone__dictionary *strings = &writer->strings;
    hone__table_writer *table = hone__alloc(sizeof *table);
    if (table == NULL)
        return hone__fail(err, HONE_E_NOMEM, "pack", "no memory to write a pack");
    hone__table_begin(table, PACK_STRINGS, writer->out.discard);
    hone_status status = HONE_OK;
    for (uint32_t i = 0; i < strings->count && status == HONE_OK; i++) {
        uint8_t item[PACK_ITEM_BYTES] = {0};
        uint32_t end = i + 1 < strings->count ? strings->offset[i + 1] : (uint32_t)strings->bytes.length;
        pack_put64(item, strings->offset[i]);
        pack_put32(item + 8, end - strings->offset[i]);
        pack_put64(item + 16, strings->checksum[i]);
        status = hone__table_add(table, item, writer->out.path, err);
    }
    if (status == HONE_OK)
        status = hone__table_end(table, &writer->out, err);
    hone__table_free(table);
    hone__free(table);
    HONE_TRY(status);
    HONE_TRY(end_section(writer, PACK_STRINGS, err));
    hone__output_section(&writer->out, PACK_STRING_BYTES);
    HONE_TRY(hone__output_bytes(&writer->out, strings->bytes.data, strings->bytes.length, err));
    return end_section(writer, PACK_STRING_BYTES, err);
}

static hone_status end_entries(hone__pack_writer *writer, hone_error *err) {
    if (writer->entries_done)
        return HONE_OK;
    writer->entries_done = true;
    HONE_TRY(end_section(writer, PACK_RECORDS, err));
    HONE_TRY(hone__table_end(&writer->index, &writer->out, err));
    HONE_TRY(end_section(writer, PACK_INDEX, err));
    HONE_TRY(hone__table_end(&writer->groups, &writer->out, err));
    HONE_TRY(end_section(writer, PACK_GROUPS, err));
    HONE_TRY(put_strings(writer, err));
    hone__output_section(&writer->out, PACK_KERNEL_BYTES);
    return HONE_OK;
}

static hone_status add_kernel(hone__pack_writer *writer, const hone__kernel_info *info, hone_error *err) {
    HONE_TRY(end_entries(writer, err));
    if (writer->kernels.items > 0 && memcmp(writer->last_kernel, info->id, 16) >= 0)
        return hone__fail(err, HONE_E_ARG, "pack", "kernels must be added in ascending order, each once");
    if (writer->kernels.items >= PACK_KERNELS_MAX)
        return hone__fail(err, HONE_E_LIMIT, "pack", "a pack holds at most %llu kernels", PACK_KERNELS_MAX);
    hone__buf_clear(&writer->kernel_bytes);
    hone_status status = hone__pack_kernel_encode(&writer->kernel_bytes, info);
    if (status != HONE_OK)
        return hone__fail(err, status, "pack", "cannot pack kernel %.64s: %s", info->name, hone_status_text(status));
    uint8_t item[PACK_ITEM_BYTES];
    memcpy(item, info->id, 16);
    memcpy(writer->last_kernel, info->id, 16);
    pack_put64(item + 16, writer->kernel_offset);
    writer->kernel_offset += writer->kernel_bytes.length;
    HONE_TRY(hone__table_add(&writer->kernels, item, writer->out.path, err));
    return hone__output_bytes(&writer->out, writer->kernel_bytes.data, writer->kernel_bytes.length, err);
}

hone_status hone__pack_writer_add_kernel(hone__pack_writer *writer, const hone__kernel_info *info, hone_error *err) {
    if (writer->failed != HONE_OK)
        return hone__fail(err, writer->failed, "pack", "writing this pack has failed before");
    hone_status status = add_kernel(writer, info, err);
    if (status != HONE_OK)
        writer->failed = status;
    return status;
}

/* ---- finish ---- */

static hone_status end_all(hone__pack_writer *writer, hone__pack_info *info, hone_error *err) {
    if (writer->failed != HONE_OK)
        return hone__fail(err, writer->failed, "pack", "writing this pack has failed before");
    HONE_TRY(end_entries(writer, err));
    HONE_TRY(end_section(writer, PACK_KERNEL_BYTES, err));
    HONE_TRY(hone__table_end(&writer->kernels, &writer->out, err));
    HONE_TRY(end_section(writer, PACK_KERNELS, err));
    uint8_t *header = writer->header;
    memcpy(header, hone__pack_magic, 8);
    header[8] = header[10] = HONE_PACK_VERSION;
    pack_put32(header + 12, PACK_HEADER_BYTES);
    pack_put64(header + 16, writer->out.file_bytes);
    pack_put64(header + 24, writer->entries);
    pack_put64(header + 32, writer->groups.items);
    pack_put64(header + 40, writer->strings.count);
    pack_put64(header + 48, writer->kernels.items);
    uint64_t checksum = hone__pack_checksum(header, PACK_CHECKSUM_AT, 0);
    pack_put64(header + PACK_CHECKSUM_AT, checksum);
    HONE_TRY(hone__output_finish(&writer->out, header, err));
    if (info != NULL) {
        *info = (hone__pack_info){.file_bytes = writer->out.file_bytes, .entries = writer->entries, .groups = writer->groups.items};
        info->strings = writer->strings.count;
        info->kernels = writer->kernels.items;
        info->record_bytes = pack_get64(header + 64 + 16 * PACK_RECORDS);
        info->index_bytes = pack_get64(header + 64 + 16 * PACK_INDEX);
        info->string_bytes = pack_get64(header + 64 + 16 * PACK_STRING_BYTES);
        info->kernel_bytes = pack_get64(header + 64 + 16 * PACK_KERNEL_BYTES);
        info->reader = info->writer = HONE_PACK_VERSION;
        info->checksum = writer->out.discard ? 0 : checksum;
    }
    return HONE_OK;
}

hone_status hone__pack_writer_finish(hone__pack_writer *writer, hone__pack_info *info, hone_error *err) {
    hone_status status = end_all(writer, info, err);
    hone__pack_writer_abort(writer);
    return status;
}

hone_status hone__pack_writer_finish_memory(hone__pack_writer *writer, char **bytes, size_t *count, hone_error *err) {
    *bytes = NULL;
    hone_status status = end_all(writer, NULL, err);
    if (status == HONE_OK) {
        *count = writer->out.memory.length;
        *bytes = hone__buf_take(&writer->out.memory);
        if (*bytes == NULL)
            status = hone__fail(err, HONE_E_NOMEM, "pack", "no memory for a pack");
    }
    hone__pack_writer_abort(writer);
    return status;
}
