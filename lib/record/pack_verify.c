/* pack_verify.c: every rule of spec/pack.md, on every byte, with memory that does not grow with the number of entries. */
#include "alloc.h"
#include "pack_format.h"
#include "pack_output.h"
#include "pack_walk.h"
#include "status.h"

enum { PROGRESS_EVERY = 4096 };

static const char *const section_names[PACK_SECTIONS] = {"records",       "index",  "groups", "string table", "strings",
                                                         "kernel records", "kernel table"};

static hone_status damaged(const hone__pack *pack, hone_error *err, const char *what) {
    return hone__fail(err, HONE_E_CORRUPT, "pack", "%s is damaged: %s; get it again", pack->path, what);
}

static hone_status check_sections(const hone__pack *pack, hone_error *err) {
    uint8_t *piece = hone__alloc(PACK_PIECE_BYTES);
    if (piece == NULL)
        return hone__fail(err, HONE_E_NOMEM, "pack", "no memory to verify %s", pack->path);
    hone_status status = HONE_OK;
    for (int s = 0; s < PACK_SECTIONS && status == HONE_OK; s++) {
        const hone__part *part = &pack->part[s];
        uint64_t checksum = (uint64_t)s;
        for (uint64_t at = 0; at < part->bytes && status == HONE_OK; at += PACK_PIECE_BYTES) {
            uint64_t left = part->bytes - at;
            size_t bytes = left < PACK_PIECE_BYTES ? (size_t)left : PACK_PIECE_BYTES;
            status = hone__pack_pread(pack, part->offset + at, piece, bytes);
            checksum = hone__pack_checksum(piece, bytes, checksum);
        }
        if (status != HONE_OK)
            (void)damaged(pack, err, "it can no longer be read to its end");
        else if (checksum != pack->section_checksum[s])
            status = hone__fail(err, HONE_E_CORRUPT, "pack", "%s is damaged: the checksum of its %s differs; get it again", pack->path,
                                section_names[s]);
    }
    hone__free(piece);
    return status;
}

/* Blocks of tables that nobody asks for are damaged too, if they are. */
static hone_status check_tables(const hone__pack *pack, hone_error *err) {
    static const uint8_t tables[] = {PACK_INDEX, PACK_GROUPS, PACK_STRINGS, PACK_KERNELS};
    uint8_t *block = hone__alloc(PACK_BLOCK_BYTES);
    if (block == NULL)
        return hone__fail(err, HONE_E_NOMEM, "pack", "no memory to verify %s", pack->path);
    hone_status status = HONE_OK;
    for (size_t t = 0; t < sizeof tables && status == HONE_OK; t++) {
        const hone__part *part = &pack->part[tables[t]];
        for (uint64_t number = 0; number * PACK_BLOCK_BYTES < part->bytes && status == HONE_OK; number++) {
            uint64_t at = number * PACK_BLOCK_BYTES, left = part->bytes - at;
            size_t bytes = left < PACK_BLOCK_BYTES ? (size_t)left : PACK_BLOCK_BYTES;
            status = hone__pack_pread(pack, part->offset + at, block, bytes);
            if (status == HONE_OK && !hone__pack_block_sound(block, bytes, tables[t], number))
                status = HONE_E_CORRUPT;
        }
        if (status != HONE_OK)
            (void)hone__fail(err, status, "pack", "%s is damaged: a block of its %s; get it again", pack->path, section_names[tables[t]]);
    }
    hone__free(block);
    return status;
}

/* Strings are numbered as records mention them: a mention is of one known, or of the next one. */
static bool mention(const hone__view *view, uint32_t *mentioned) {
    for (uint32_t t = 0; t < view->text_count; t++) {
        uint32_t reference = view->text[t].reference;
        if (reference == 0 || reference == REFERENCE_INLINE || reference <= *mentioned)
            continue;
        if (reference != *mentioned + 1)
            return false;
        *mentioned = reference;
    }
    return true;
}

/* An inline text must have had no room: the canonical writer would have kept it once. */
static bool inline_needed(const hone__pack *pack, const hone__view *view) {
    for (uint32_t t = 0; t < view->text_count; t++) {
        const hone__view_text *text = &view->text[t];
        if (text->reference != REFERENCE_INLINE)
            continue;
        bool markers = hone__view_is_pattern(view, t) && (memchr(text->bytes, 1, text->length) != NULL || memchr(text->bytes, 2, text->length) != NULL);
        bool room = pack->info.strings < HONE_PACK_STRINGS_MAX && text->length <= HONE_PACK_STRING_BYTES_MAX - pack->info.string_bytes;
        if (room && !markers)
            return false;
    }
    return true;
}

static hone_status check_entries(const hone__pack *pack, hone__pack_walk *walk, hone_count_fn *progress, void *user, hone_error *err) {
    uint32_t mentioned = 0;
    uint64_t total = pack->info.entries;
    for (uint64_t i = 0;; i++) {
        hone__item item;
        hone__view view;
        if (i % PROGRESS_EVERY == 0 && progress != NULL && progress(i, total, user) != 0)
            return hone__fail(err, HONE_E_CANCELLED, "pack", "verifying %s was cancelled", pack->path);
        hone_status status = hone__pack_walk_next(walk, &item);
        if (status == HONE_E_NOTFOUND)
            break;
        if (status == HONE_OK)
            status = hone__view_make(&view, &item);
        if (status == HONE_OK && (!mention(&view, &mentioned) || !inline_needed(pack, &view)))
            status = HONE_E_CORRUPT;
        if (status != HONE_OK)
            return hone__fail(err, status, "pack", "%s is damaged at entry %llu of %llu; get it again", pack->path, (unsigned long long)i + 1,
                              (unsigned long long)total);
    }
    if (mentioned != pack->info.strings)
        return damaged(pack, err, "it has strings that no entry mentions");
    if (walk->offset != pack->part[PACK_RECORDS].bytes || walk->next_group != pack->info.groups)
        return damaged(pack, err, "it has records or groups that the index does not name");
    if (progress != NULL && progress(total, total, user) != 0)
        return hone__fail(err, HONE_E_CANCELLED, "pack", "verifying %s was cancelled", pack->path);
    return HONE_OK;
}

static hone_status check_kernels(const hone__pack *pack, hone_error *err) {
    uint8_t last[16] = {0};
    for (uint64_t i = 0; i < pack->info.kernels; i++) {
        hone__kernel_info info;
        hone_status status = hone__pack_kernel_at(pack, i, &info);
        bool ordered = status == HONE_OK && (i == 0 || memcmp(last, info.id, 16) < 0);
        if (status == HONE_OK) {
            memcpy(last, info.id, 16);
            hone__kernel_info_clear(&info);
        }
        if (status == HONE_OK && !ordered)
            status = HONE_E_CORRUPT;
        if (status != HONE_OK)
            return hone__fail(err, status, "pack", "%s is damaged at kernel %llu of %llu; get it again", pack->path, (unsigned long long)i + 1,
                              (unsigned long long)pack->info.kernels);
    }
    if (pack->info.kernels == 0 && pack->part[PACK_KERNEL_BYTES].bytes > 0)
        return damaged(pack, err, "it has kernel records that its table does not name");
    return HONE_OK;
}

hone_status hone__pack_verify(const hone__pack *pack, hone_count_fn *progress, void *user, hone_error *err) {
    HONE_TRY(check_sections(pack, err));
    HONE_TRY(check_tables(pack, err));
    hone__pack_walk walk;
    if (hone__pack_walk_open(&walk, pack) != HONE_OK)
        return hone__fail(err, HONE_E_NOMEM, "pack", "no memory to verify %s", pack->path);
    hone_status status = check_entries(pack, &walk, progress, user, err);
    hone__pack_walk_close(&walk);
    HONE_TRY(status);
    if (pack->info.entries == 0 && (pack->info.strings > 0 || pack->part[PACK_STRING_BYTES].bytes > 0))
        return damaged(pack, err, "it has strings and no entries");
    return check_kernels(pack, err);
}
