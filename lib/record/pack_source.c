/* pack_source.c: a pack from the first entry to the last, with buffers of a fixed size and past what is kept in memory for look-ups. */
#include "alloc.h"
#include "limit.h"
#include "pack_format.h"
#include "pack_walk.h"
#include "status.h"

enum { WINDOW_BYTES = 256 << 10 };

hone_status hone__pack_walk_open(hone__pack_walk *walk, const hone__pack *pack) {
    memset(walk, 0, sizeof *walk);
    walk->pack = pack;
    hone__buf_init(&walk->large, HONE_LIMIT_RECORD_BYTES);
    walk->window = hone__alloc(WINDOW_BYTES);
    walk->index = hone__alloc(PACK_BLOCK_BYTES);
    walk->groups = hone__alloc(PACK_BLOCK_BYTES);
    if (walk->window == NULL || walk->index == NULL || walk->groups == NULL) {
        hone__pack_walk_close(walk);
        return HONE_E_NOMEM;
    }
    walk->index_block = walk->group_block = UINT64_MAX;
    return HONE_OK;
}

void hone__pack_walk_close(hone__pack_walk *walk) {
    hone__free(walk->window);
    hone__free(walk->index);
    hone__free(walk->groups);
    hone__buf_free(&walk->large);
    walk->window = walk->index = walk->groups = NULL;
}

/* One item of a table through a block of our own. */
static hone_status table_item(const hone__pack *pack, int section, uint64_t number, uint8_t *block, uint64_t *loaded, const uint8_t **out) {
    uint64_t wanted = number / PACK_BLOCK_ITEMS;
    if (*loaded != wanted) {
        const hone__part *part = &pack->part[section];
        uint64_t at = wanted * PACK_BLOCK_BYTES, left = part->bytes - at;
        size_t bytes = left < PACK_BLOCK_BYTES ? (size_t)left : PACK_BLOCK_BYTES;
        *loaded = UINT64_MAX;
        HONE_TRY(hone__pack_pread(pack, part->offset + at, block, bytes));
        if (!hone__pack_block_sound(block, bytes, (unsigned)section, wanted))
            return HONE_E_CORRUPT;
        *loaded = wanted;
    }
    *out = block + number % PACK_BLOCK_ITEMS * PACK_ITEM_BYTES;
    return HONE_OK;
}

static hone_status index_item(hone__pack_walk *walk, uint64_t number, const uint8_t **out) {
    return table_item(walk->pack, PACK_INDEX, number, walk->index, &walk->index_block, out);
}

/* The group that entry walk->next belongs to. */
static hone_status enter_group(hone__pack_walk *walk) {
    const hone__pack *pack = walk->pack;
    const uint8_t *item;
    if (walk->next < walk->group_end)
        return HONE_OK;
    if (walk->next_group >= pack->info.groups)
        return HONE_E_CORRUPT;
    HONE_TRY(table_item(pack, PACK_GROUPS, walk->next_group, walk->groups, &walk->group_block, &item));
    if (pack_get64(item + 16) != walk->next || (walk->next_group > 0 && memcmp(walk->slot, item, 16) >= 0))
        return HONE_E_CORRUPT;
    memcpy(walk->slot, item, 16);
    memset(walk->slot + 16, 0, 16);
    walk->next_group++;
    walk->first_of_group = true;
    walk->group_end = pack->info.entries;
    if (walk->next_group < pack->info.groups) {
        HONE_TRY(table_item(pack, PACK_GROUPS, walk->next_group, walk->groups, &walk->group_block, &item));
        walk->group_end = pack_get64(item + 16);
    }
    return walk->group_end > walk->next && walk->group_end <= pack->info.entries ? HONE_OK : HONE_E_CORRUPT;
}

/* Records follow one another, so a window that moves forward has the next ones. */
static hone_status record_bytes(hone__pack_walk *walk, uint64_t at, size_t bytes, const uint8_t **out) {
    const hone__part *part = &walk->pack->part[PACK_RECORDS];
    if (walk->pack->fd < 0) {
        *out = part->base + at;
        return HONE_OK;
    }
    if (bytes > WINDOW_BYTES) {
        hone__buf_clear(&walk->large);
        for (size_t left = bytes; left > 0;) { /* room; the bytes come from the file */
            size_t step = left < WINDOW_BYTES ? left : WINDOW_BYTES;
            hone__buf_bytes(&walk->large, walk->window, step);
            left -= step;
        }
        walk->window_bytes = 0;
        HONE_TRY(walk->large.status);
        *out = (const uint8_t *)walk->large.data;
        return hone__pack_pread(walk->pack, part->offset + at, walk->large.data, bytes);
    }
    if (at < walk->window_at || at - walk->window_at + bytes > walk->window_bytes) {
        uint64_t left = part->bytes - at;
        walk->window_at = at;
        walk->window_bytes = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
        hone_status status = hone__pack_pread(walk->pack, part->offset + at, walk->window, walk->window_bytes);
        if (status != HONE_OK) {
            walk->window_bytes = 0;
            return status;
        }
    }
    *out = walk->window + (at - walk->window_at);
    return HONE_OK;
}

hone_status hone__pack_walk_next(hone__pack_walk *walk, hone__item *item) {
    const hone__pack *pack = walk->pack;
    if (walk->next == pack->info.entries)
        return HONE_E_NOTFOUND;
    const uint8_t *here;
    HONE_TRY(enter_group(walk));
    HONE_TRY(index_item(walk, walk->next, &here));
    if (!walk->first_of_group && memcmp(walk->slot + 16, here, 16) >= 0)
        return HONE_E_CORRUPT;
    memcpy(walk->slot + 16, here, 16);
    uint64_t at = pack_get64(here + 16), end = pack->part[PACK_RECORDS].bytes;
    if (walk->next + 1 < pack->info.entries) {
        HONE_TRY(index_item(walk, walk->next + 1, &here));
        end = pack_get64(here + 16);
    }
    if (at != walk->offset || end <= at || end > pack->part[PACK_RECORDS].bytes || end - at > HONE_LIMIT_RECORD_BYTES)
        return HONE_E_CORRUPT;
    walk->offset = end;
    walk->next++;
    walk->first_of_group = false;
    memcpy(item->slot, walk->slot, HONE_SLOT_BYTES);
    item->kind = HONE_ITEM_PACKED;
    item->strings = &pack->strings;
    item->count = (size_t)(end - at);
    return record_bytes(walk, at, item->count, &item->bytes);
}

/* ---- as a source ---- */

typedef struct pack_source {
    hone__source source;
    hone__pack_walk walk;
    uint64_t next_kernel;
} pack_source;

static hone_status source_next(hone__source *source, hone__item *item, const char **reason, hone_error *err) {
    pack_source *from = (pack_source *)(void *)source;
    uint64_t before = from->walk.next;
    *reason = NULL;
    hone_status status = hone__pack_walk_next(&from->walk, item);
    if (status == HONE_E_NOTFOUND)
        return status;
    if (status != HONE_OK)
        return hone__fail(err, status, "pack", "%s is damaged after entry %llu of %llu, or has changed since it was opened; get it again",
                          from->walk.pack->path, (unsigned long long)before, (unsigned long long)from->walk.pack->info.entries);
    return HONE_OK;
}

static hone_status source_next_kernel(hone__source *source, hone__kernel_info *info, const char **reason, hone_error *err) {
    pack_source *from = (pack_source *)(void *)source;
    *reason = NULL;
    if (from->next_kernel == from->walk.pack->info.kernels)
        return HONE_E_NOTFOUND;
    hone_status status = hone__pack_kernel_at(from->walk.pack, from->next_kernel++, info);
    if (status == HONE_E_CORRUPT)
        *reason = "damaged";
    else if (status != HONE_OK)
        (void)hone__fail(err, status, "pack", "cannot read a kernel of %s: %s", from->walk.pack->path, hone_status_text(status));
    return status;
}

static void source_close(hone__source *source) {
    pack_source *from = (pack_source *)(void *)source;
    hone__pack_walk_close(&from->walk);
    hone__free(from);
}

hone_status hone__pack_source(hone__source **out, const hone__pack *pack, hone_error *err) {
    *out = NULL;
    pack_source *from = hone__alloc(sizeof *from);
    if (from == NULL || hone__pack_walk_open(&from->walk, pack) != HONE_OK) {
        hone__free(from);
        return hone__fail(err, HONE_E_NOMEM, "pack", "no memory to walk %s", pack->path);
    }
    from->source = (hone__source){.name = pack->path, .next = source_next, .next_kernel = source_next_kernel, .close = source_close};
    from->source.entries = pack->info.entries;
    *out = &from->source;
    return HONE_OK;
}
