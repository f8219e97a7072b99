/* pack_find.c: one key among millions, one kernel's entries, one kernel's text. */
#include "alloc.h"
#include "limit.h"
#include "pack_format.h"
#include "status.h"

static uint64_t get_be64(const uint8_t *at) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | at[i];
    return value;
}

/* The first item of a table within [low, high) that is not below `wanted` (a beginning of an item). */
static hone_status lower_bound(const hone__pack *pack, int section, const uint8_t *wanted, size_t bytes, uint64_t low, uint64_t high, uint64_t *out) {
    while (low < high) {
        uint8_t item[PACK_ITEM_BYTES];
        uint64_t middle = low + (high - low) / 2;
        HONE_TRY(hone__part_item(pack, &pack->part[section], middle, item));
        if (memcmp(item, wanted, bytes) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *out = low;
    return HONE_OK;
}

/* The items of the index that belong to a group. */
static hone_status group_range(const hone__pack *pack, uint64_t group, uint8_t prefix[16], uint64_t *first, uint64_t *end) {
    uint8_t item[PACK_ITEM_BYTES];
    HONE_TRY(hone__part_item(pack, &pack->part[PACK_GROUPS], group, item));
    memcpy(prefix, item, 16);
    *first = pack_get64(item + 16);
    *end = pack->info.entries;
    if (group + 1 < pack->info.groups) {
        HONE_TRY(hone__part_item(pack, &pack->part[PACK_GROUPS], group + 1, item));
        *end = pack_get64(item + 16);
    }
    return *first < *end && *end <= pack->info.entries ? HONE_OK : HONE_E_CORRUPT;
}

enum { GUESSES = 6, GROUP_TRIES = 16 };

/* Keys are hashes, evenly spread: guess where one is, and again between what the guesses showed.  A table that was made to mislead the
 * guesses is halved after a few. */
static hone_status find_key(const hone__pack *pack, const uint8_t key[16], uint64_t low, uint64_t high, uint64_t *index, uint64_t *offset) {
    const hone__part *part = &pack->part[PACK_INDEX];
    uint64_t wanted = get_be64(key), below = 0, above = UINT64_MAX;
    for (int guess = 0; low < high; guess++) {
        uint64_t middle = low + (high - low) / 2;
        if (guess < GUESSES && above > below && wanted >= below && wanted <= above) {
            double fraction = (double)(wanted - below) / (double)(above - below);
            uint64_t step = (uint64_t)(fraction * (double)(high - low));
            middle = low + (step < high - low ? step : high - low - 1);
        }
        uint8_t item[PACK_ITEM_BYTES];
        HONE_TRY(hone__part_item(pack, part, middle, item));
        int order = memcmp(item, key, 16);
        if (order == 0) {
            *index = middle;
            *offset = pack_get64(item + 16);
            return HONE_OK;
        }
        if (order < 0) {
            low = middle + 1;
            below = get_be64(item);
        } else {
            high = middle;
            above = get_be64(item);
        }
    }
    return HONE_E_NOTFOUND;
}

static hone_status find_slot(const hone__pack *pack, const uint8_t slot[HONE_SLOT_BYTES], uint64_t *index, uint64_t *offset) {
    uint64_t group, first, end;
    uint8_t prefix[16];
    HONE_TRY(lower_bound(pack, PACK_GROUPS, slot, 16, 0, pack->info.groups, &group));
    if (group == pack->info.groups)
        return HONE_E_NOTFOUND;
    HONE_TRY(group_range(pack, group, prefix, &first, &end));
    if (memcmp(prefix, slot, 16) != 0)
        return HONE_E_NOTFOUND;
    return find_key(pack, slot + 16, first, end, index, offset);
}

/* The record's bytes, from memory or appended to `scratch`.  `whole`: all of them will be looked at, now. */
static hone_status fetch(const hone__pack *pack, uint64_t index, uint64_t offset, bool whole, hone__item *out, hone__buf *scratch) {
    uint64_t bytes;
    const hone__part *part = &pack->part[PACK_RECORDS];
    if (whole && part->base != NULL && part->bytes > 512 && offset < part->bytes - 512) { /* it is far away: ask for all of it at once */
        for (uint64_t at = 0; at < 512; at += 64)
            __builtin_prefetch(part->base + offset + at);
    }
    HONE_TRY(hone__pack_record_place(pack, index, offset, &bytes));
    if (part->base == NULL) {
        static const uint8_t room[1024];
        size_t start = scratch->length;
        for (uint64_t left = bytes; left > 0;) { /* makes room; the bytes themselves come from the file */
            size_t step = left < sizeof room ? (size_t)left : sizeof room;
            hone__buf_bytes(scratch, room, step);
            left -= step;
        }
        HONE_TRY(scratch->status);
        HONE_TRY(hone__part_read(pack, part, offset, (size_t)bytes, (uint8_t *)scratch->data + start, &out->bytes));
    } else {
        HONE_TRY(hone__part_read(pack, part, offset, (size_t)bytes, NULL, &out->bytes));
    }
    out->kind = HONE_ITEM_PACKED;
    out->count = (size_t)bytes;
    out->strings = &pack->strings;
    return HONE_OK;
}

hone_status hone__pack_find(const hone__pack *pack, const uint8_t slot[HONE_SLOT_BYTES], hone__item *out, hone__buf *scratch) {
    uint64_t index, offset;
    HONE_TRY(find_slot(pack, slot, &index, &offset));
    memcpy(out->slot, slot, HONE_SLOT_BYTES);
    /* A record in memory stays as it was when it was verified, and its place in the index under the same slot. */
    _Atomic uint8_t *bits = pack->verified == NULL ? NULL : &pack->verified[index / 8];
    uint8_t bit = (uint8_t)(1u << index % 8);
    bool verified = bits != NULL && (atomic_load_explicit(bits, memory_order_acquire) & bit) != 0;
    HONE_TRY(fetch(pack, index, offset, !verified, out, scratch));
    if (verified)
        return HONE_OK;
    HONE_TRY(hone__packed_verify(out));
    if (bits != NULL)
        (void)atomic_fetch_or_explicit(bits, bit, memory_order_release);
    return HONE_OK;
}

hone_status hone__pack_get(const hone__pack *pack, const hone__key *key, hone__entry *out, hone_error *err) {
    memset(out, 0, sizeof *out);
    uint8_t slot[HONE_SLOT_BYTES];
    memcpy(slot, key->kernel, 8);
    memcpy(slot + 8, key->device, 8);
    memcpy(slot + 16, key->key, 16);
    hone__buf scratch;
    hone__item item;
    hone__buf_init(&scratch, HONE_LIMIT_RECORD_BYTES);
    hone_status status = hone__pack_find(pack, slot, &item, &scratch);
    if (status == HONE_OK)
        status = hone__item_decode(out, &item);
    if (status == HONE_OK && memcmp(&out->key, key, sizeof *key) != 0) {
        hone__entry_clear(out);
        status = HONE_E_CORRUPT;
    }
    hone__buf_free(&scratch);
    if (status == HONE_E_NOTFOUND)
        return hone__fail(err, status, "pack", "no entry for this key");
    if (status == HONE_E_CORRUPT)
        return hone__fail(err, status, "pack", "%s is damaged where this key's entry should be, or has changed since it was opened; get it again",
                          pack->path);
    if (status != HONE_OK)
        return hone__fail(err, status, "pack", "cannot read the entry of this key in %s: %s", pack->path, hone_status_text(status));
    return HONE_OK;
}

/* ---- a kernel's entries ---- */

static hone_status read_at(const hone__pack *pack, uint64_t index, const uint8_t prefix[16], hone__entry *out, hone__buf *scratch) {
    uint8_t item_bytes[PACK_ITEM_BYTES];
    hone__item item;
    hone__buf_clear(scratch);
    HONE_TRY(hone__part_item(pack, &pack->part[PACK_INDEX], index, item_bytes));
    memcpy(item.slot, prefix, 16);
    memcpy(item.slot + 16, item_bytes, 16);
    HONE_TRY(fetch(pack, index, pack_get64(item_bytes + 16), true, &item, scratch));
    return hone__item_decode(out, &item);
}

static hone_status list_group(const hone__pack *pack, uint64_t group, const uint8_t kernel_id[16], hone__entry_list *all, uint32_t *damaged, hone__buf *scratch) {
    uint64_t first, end;
    uint8_t prefix[16];
    HONE_TRY(group_range(pack, group, prefix, &first, &end));
    if (memcmp(prefix, kernel_id, 8) != 0)
        return HONE_E_NOTFOUND;
    for (uint64_t i = first; i < end && all->count < all->max && *damaged < all->max; i++) {
        hone__entry entry;
        hone_status status = read_at(pack, i, prefix, &entry, scratch);
        if (status == HONE_E_NOMEM)
            return status;
        if (status != HONE_OK)
            (*damaged)++;
        else if (memcmp(entry.key.kernel, kernel_id, 16) != 0)
            hone__entry_clear(&entry); /* shares the first eight bytes only */
        else
            HONE_TRY(hone__entry_list_add(all, &entry));
    }
    return HONE_OK;
}

hone_status hone__pack_of_kernel(const hone__pack *pack, const uint8_t kernel_id[16], uint32_t max, hone__entry **out, uint32_t *count,
                                 uint32_t *damaged, hone_error *err) {
    hone__entry_list all = {.max = max};
    uint64_t group = 0;
    hone__buf scratch;
    hone__buf_init(&scratch, HONE_LIMIT_RECORD_BYTES);
    *damaged = 0;
    hone_status status = lower_bound(pack, PACK_GROUPS, kernel_id, 8, 0, pack->info.groups, &group);
    for (; status == HONE_OK && group < pack->info.groups && all.count < max; group++)
        status = list_group(pack, group, kernel_id, &all, damaged, &scratch);
    hone__buf_free(&scratch);
    if (status == HONE_E_CORRUPT) { /* a block of a table: what was found before it is good */
        (*damaged)++;
        status = HONE_OK;
    }
    if (status == HONE_E_NOTFOUND)
        status = HONE_OK;
    if (status != HONE_OK) {
        hone__entry_list_clear(&all);
        (void)hone__fail(err, status, "pack", "cannot list the entries in %s: %s", pack->path, hone_status_text(status));
    }
    *out = all.entry;
    *count = all.count;
    return status;
}

hone_status hone__pack_group(const hone__pack *pack, uint64_t group, hone__entry *out, uint64_t *entries) {
    uint64_t first, end;
    uint8_t prefix[16];
    hone__buf scratch;
    HONE_TRY(group_range(pack, group, prefix, &first, &end));
    *entries = end - first;
    hone__buf_init(&scratch, HONE_LIMIT_RECORD_BYTES);
    hone_status status = HONE_E_CORRUPT;
    for (uint64_t i = first; i < end && i - first < GROUP_TRIES && status == HONE_E_CORRUPT; i++)
        status = read_at(pack, i, prefix, out, &scratch);
    hone__buf_free(&scratch);
    return status;
}

/* ---- kernels ---- */

hone_status hone__pack_kernel_at(const hone__pack *pack, uint64_t index, hone__kernel_info *out) {
    uint8_t item[PACK_ITEM_BYTES], next[PACK_ITEM_BYTES];
    const hone__part *part = &pack->part[PACK_KERNEL_BYTES];
    HONE_TRY(hone__part_item(pack, &pack->part[PACK_KERNELS], index, item));
    uint64_t offset = pack_get64(item + 16), end = part->bytes;
    if (index + 1 < pack->info.kernels) {
        HONE_TRY(hone__part_item(pack, &pack->part[PACK_KERNELS], index + 1, next));
        end = pack_get64(next + 16);
    }
    if (end > part->bytes || offset >= end || end - offset > HONE_LIMIT_RECORD_BYTES || (index == 0 && offset != 0))
        return HONE_E_CORRUPT;
    size_t bytes = (size_t)(end - offset);
    uint8_t *copy = hone__alloc(bytes);
    if (copy == NULL)
        return HONE_E_NOMEM;
    hone_status status = hone__pack_pread(pack, part->offset + offset, copy, bytes);
    if (status == HONE_OK)
        status = hone__pack_kernel_decode(out, item, copy, bytes);
    hone__free(copy);
    return status;
}

hone_status hone__pack_get_kernel(const hone__pack *pack, const uint8_t id[16], hone__kernel_info *out, hone_error *err) {
    memset(out, 0, sizeof *out);
    uint64_t index = 0;
    uint8_t item[PACK_ITEM_BYTES];
    hone_status status = lower_bound(pack, PACK_KERNELS, id, 16, 0, pack->info.kernels, &index);
    if (status == HONE_OK && index == pack->info.kernels)
        status = HONE_E_NOTFOUND;
    if (status == HONE_OK)
        status = hone__part_item(pack, &pack->part[PACK_KERNELS], index, item);
    if (status == HONE_OK && memcmp(item, id, 16) != 0)
        status = HONE_E_NOTFOUND;
    if (status == HONE_OK)
        status = hone__pack_kernel_at(pack, index, out);
    if (status != HONE_OK)
        return hone__fail(err, status, "pack", status == HONE_E_NOTFOUND ? "no such kernel in %s" : "the kernel in %s cannot be read", pack->path);
    return HONE_OK;
}
