/* pack_part.c: the bytes of an open pack.  Parts that are searched are read into private memory block by block, when they are first needed, and
 * verified there once.  Nothing is mapped, so that a file that shrinks is a short read and not a SIGBUS (spec/pack.md section 7). */
#include "pack_format.h"

#include <errno.h>
#include <unistd.h>
#include <xxhash.h>

const uint8_t hone__pack_magic[8] = {0x89, 'H', 'P', 'K', '\r', '\n', 0x1a, '\n'};

uint64_t hone__pack_checksum(const void *bytes, size_t count, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, count, seed);
}

void hone__pack_seal_block(uint8_t *block, size_t payload, unsigned section, uint64_t number) {
    pack_put64(block + payload, number * 8 + section);
    pack_put64(block + payload + 8, hone__pack_checksum(block, payload + 8, 0));
}

bool hone__pack_block_sound(const uint8_t *block, size_t bytes, unsigned section, uint64_t number) {
    return bytes > PACK_TRAILER_BYTES && pack_get64(block + bytes - PACK_TRAILER_BYTES) == number * 8 + section &&
           pack_get64(block + bytes - 8) == hone__pack_checksum(block, bytes - 8, 0);
}

hone_status hone__pack_pread(const hone__pack *pack, uint64_t offset, void *to, size_t bytes) {
    if (pack->fd < 0) {
        if (offset > pack->info.file_bytes || bytes > pack->info.file_bytes - offset)
            return HONE_E_CORRUPT;
        memcpy(to, pack->part[0].base - PACK_HEADER_BYTES + offset, bytes);
        return HONE_OK;
    }
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(pack->fd, (char *)to + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return HONE_E_CORRUPT; /* the file has become shorter, or its disk fails */
        done += (size_t)got;
    }
    return HONE_OK;
}

static size_t block_bytes(const hone__part *part, uint64_t block) {
    uint64_t left = part->bytes - block * PACK_BLOCK_BYTES;
    return left < PACK_BLOCK_BYTES ? (size_t)left : PACK_BLOCK_BYTES;
}

/* Fill and check one block.  The lock keeps two threads from filling it twice; readers go by the state alone. */
static hone_status load_block(const hone__pack *pack, const hone__part *part, uint64_t block) {
    hone__pack *filling = (hone__pack *)(uintptr_t)pack; /* what is filled on demand is not part of the pack's value */
    (void)pthread_mutex_lock(&filling->loading);
    uint8_t state = atomic_load_explicit(&part->state[block], memory_order_acquire);
    if (state == PART_UNKNOWN || state == PART_FILLED) {
        size_t bytes = block_bytes(part, block);
        uint64_t at = block * PACK_BLOCK_BYTES;
        bool good = part->owned == NULL || state == PART_FILLED || hone__pack_pread(pack, part->offset + at, part->owned + at, bytes) == HONE_OK;
        if (good && part->is_table)
            good = hone__pack_block_sound(part->base + at, bytes, part->section, block);
        state = good ? PART_GOOD : PART_BAD;
        atomic_store_explicit(&part->state[block], state, memory_order_release);
    }
    (void)pthread_mutex_unlock(&filling->loading);
    return state == PART_GOOD ? HONE_OK : HONE_E_CORRUPT;
}

hone_status hone__part_read(const hone__pack *pack, const hone__part *part, uint64_t at, size_t bytes, uint8_t *scratch, const uint8_t **out) {
    if (bytes > part->bytes || at > part->bytes - bytes)
        return HONE_E_CORRUPT;
    if (part->base == NULL) {
        *out = scratch;
        return hone__pack_pread(pack, part->offset + at, scratch, bytes);
    }
    if (bytes > 0 && part->state != NULL) {
        for (uint64_t block = at / PACK_BLOCK_BYTES; block <= (at + bytes - 1) / PACK_BLOCK_BYTES; block++) {
            if (atomic_load_explicit(&part->state[block], memory_order_acquire) != PART_GOOD)
                HONE_TRY(load_block(pack, part, block));
        }
    }
    *out = part->base + at;
    return HONE_OK;
}

hone_status hone__part_item(const hone__pack *pack, const hone__part *part, uint64_t index, uint8_t out[PACK_ITEM_BYTES]) {
    uint64_t block = index / PACK_BLOCK_ITEMS;
    size_t within = (size_t)(index % PACK_BLOCK_ITEMS) * PACK_ITEM_BYTES;
    if (block * PACK_BLOCK_BYTES >= part->bytes || within + PACK_ITEM_BYTES + PACK_TRAILER_BYTES > block_bytes(part, block))
        return HONE_E_CORRUPT;
    if (part->base != NULL) {
        if (atomic_load_explicit(&part->state[block], memory_order_acquire) != PART_GOOD)
            HONE_TRY(load_block(pack, part, block));
        memcpy(out, part->base + block * PACK_BLOCK_BYTES + within, PACK_ITEM_BYTES);
        return HONE_OK;
    }
    uint8_t whole[PACK_BLOCK_BYTES];
    size_t bytes = block_bytes(part, block);
    HONE_TRY(hone__pack_pread(pack, part->offset + block * PACK_BLOCK_BYTES, whole, bytes));
    if (!hone__pack_block_sound(whole, bytes, part->section, block))
        return HONE_E_CORRUPT;
    memcpy(out, whole + within, PACK_ITEM_BYTES);
    return HONE_OK;
}

hone_status hone__pack_record_place(const hone__pack *pack, uint64_t index, uint64_t offset, uint64_t *bytes) {
    uint64_t end = pack->part[PACK_RECORDS].bytes;
    if (index + 1 < pack->info.entries) {
        uint8_t next[PACK_ITEM_BYTES];
        HONE_TRY(hone__part_item(pack, &pack->part[PACK_INDEX], index + 1, next));
        end = pack_get64(next + 16);
    }
    if (end > pack->part[PACK_RECORDS].bytes || offset >= end || end - offset > HONE_LIMIT_RECORD_BYTES || (index == 0 && offset != 0))
        return HONE_E_CORRUPT;
    *bytes = end - offset;
    return HONE_OK;
}
