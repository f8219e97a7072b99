/* pack_verify.c: every rule of spec/pack.md, on every byte, with memory that does not grow with the number of entries. */
#include "alloc.h"
#include "pack_format.h"
#include "pack_output.h"
#include "pack_walk.h"
#include "status.h"

enum { PROGRESS_EVERY = 4096, PIECES_AT_ONCE = 256 /* 16 MiB */ };

static const char *const section_names[PACK_SECTIONS] = {"records",       "index",  "groups", "string table", "strings",
                                                         "kernel records", "kernel table"};

static hone_status damaged(const hone__pack *pack, hone_error *err, const char *what) {
    return hone__fail(err, HONE_E_CORRUPT, "pack", "%s is damaged: %s; get it again", pack->path, what);
}

/* Before the first entry is looked at; a sparse file of gigabytes is a long way, too. */
static hone_status still_wanted(const hone__pack *pack, hone_count_fn *progress, void *user, hone_error *err) {
    if (progress == NULL || progress(0, pack->info.entries, user) == 0)
        return HONE_OK;
    return hone__fail(err, HONE_E_CANCELLED, "pack", "verifying %s was cancelled", pack->path);
}

static hone_status check_sections(const hone__pack *pack, hone_count_fn *progress, void *user, hone_error *err) {
    uint8_t *piece = hone__alloc(PACK_PIECE_BYTES);
    if (piece == NULL)
        return hone__fail(err, HONE_E_NOMEM, "pack", "no memory to verify %s", pack->path);
    hone_status status = HONE_OK;
    for (int s = 0; s < PACK_SECTIONS && status == HONE_OK; s++) {
        const hone__part *part = &pack->part[s];
        uint64_t checksum = (uint64_t)s;
        for (uint64_t at = 0; at < part->bytes && status == HONE_OK; at += PACK_PIECE_BYTES) {
            if (at / PACK_PIECE_BYTES % PIECES_AT_ONCE == 0 && still_wanted(pack, progress, user, err) != HONE_OK) {
                hone__free(piece);
                return HONE_E_CANCELLED;
            }
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

/* What the writer would have asked the dictionary to keep: the text's bytes or its pattern; *wanted false: it must stand inline. */
static hone_status asked(const hone__view *view, uint32_t t, hone__buf *pattern, hone__buf *values, const char **bytes, size_t *count, bool *wanted) {
    const hone__view_text *text = &view->text[t];
    *wanted = true;
    *bytes = text->text != NULL ? text->text->data : (const char *)text->bytes;
    *count = text->text != NULL ? text->text->length : text->length;
    if (text->reference != REFERENCE_INLINE || !hone__view_is_pattern(view, t))
        return HONE_OK;
    hone__buf_clear(pattern);
    hone__buf_clear(values);
    *wanted = hone__pattern_split(*bytes, *count, pattern, values);
    *bytes = pattern->data;
    *count = pattern->length;
    return pattern->status != HONE_OK ? pattern->status : values->status;
}

/* The strings as a writer would have kept them: each once, numbered as records mention them, and inline only what had no room then.  So what
 * is new here must get the very reference that it has. */
static hone_status mention(const hone__view *view, hone__dictionary *known, hone__buf *pattern, hone__buf *values) {
    for (uint32_t t = 0; t < view->text_count; t++) {
        uint32_t reference = view->text[t].reference, same;
        const char *bytes;
        size_t count;
        bool wanted;
        if (reference == 0 || reference <= known->count)
            continue;
        HONE_TRY(asked(view, t, pattern, values, &bytes, &count, &wanted));
        if (!wanted)
            continue;
        HONE_TRY(hone__dictionary_add(known, bytes, count, &same));
        if (same != reference)
            return HONE_E_CORRUPT;
    }
    return HONE_OK;
}

typedef struct verifying {
    hone__dictionary known;
    hone__buf pattern, values;
} verifying;

static void verifying_begin(verifying *v) {
    hone__dictionary_init(&v->known);
    hone__buf_init(&v->pattern, PACK_STRING_MAX + 1);
    hone__buf_init(&v->values, 10 * PACK_STRING_MAX);
}

static void verifying_end(verifying *v) {
    hone__dictionary_free(&v->known);
    hone__buf_free(&v->pattern);
    hone__buf_free(&v->values);
}

static hone_status check_entries(const hone__pack *pack, hone__pack_walk *walk, verifying *v, hone_count_fn *progress, void *user, hone_error *err) {
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
        if (status == HONE_OK)
            status = mention(&view, &v->known, &v->pattern, &v->values);
        if (status == HONE_E_NOMEM)
            return hone__fail(err, status, "pack", "no memory to verify %s", pack->path);
        if (status != HONE_OK)
            return hone__fail(err, status, "pack", "%s is damaged at entry %llu of %llu; get it again", pack->path, (unsigned long long)i + 1,
                              (unsigned long long)total);
    }
    if (v->known.count != pack->info.strings)
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
    HONE_TRY(check_tables(pack, err)); /* first, as a file that is all holes fails here at once */
    HONE_TRY(check_sections(pack, progress, user, err));
    hone__pack_walk walk;
    if (hone__pack_walk_open(&walk, pack) != HONE_OK)
        return hone__fail(err, HONE_E_NOMEM, "pack", "no memory to verify %s", pack->path);
    verifying v;
    verifying_begin(&v);
    hone_status status = check_entries(pack, &walk, &v, progress, user, err);
    verifying_end(&v);
    hone__pack_walk_close(&walk);
    HONE_TRY(status);
    if (pack->info.entries == 0 && (pack->info.strings > 0 || pack->part[PACK_STRING_BYTES].bytes > 0))
        return damaged(pack, err, "it has strings and no entries");
    return check_kernels(pack, err);
}
