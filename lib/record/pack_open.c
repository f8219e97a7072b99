/* pack_open.c: opening and closing packs: the header is read and checked, everything else waits until it is needed. */
#define _GNU_SOURCE
#include "alloc.h"
#include "options.h"
#include "pack_format.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MEMORY_MIN = 20 << 20 }; /* the strings and their table are always in memory */

/* ---- header ---- */

static uint64_t section_bytes(const uint8_t *header, int section) {
    return pack_get64(header + 64 + 16 * section);
}

static bool all_zero(const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

/* NULL, or what is wrong. */
static const char *check_counts(const hone__pack_info *info, const uint8_t *header, uint64_t file_bytes) {
    if (!all_zero(header + 56, 8) || !all_zero(header + 176, 72))
        return "reserved bytes of its header are not zero";
    if (info->entries > PACK_ENTRIES_MAX || info->kernels > PACK_KERNELS_MAX || info->strings > HONE_PACK_STRINGS_MAX ||
        info->groups > info->entries || (info->groups == 0) != (info->entries == 0))
        return "a count in its header is out of range";
    if (info->file_bytes != file_bytes)
        return info->file_bytes > file_bytes ? "it has lost its end" : "something was appended to it";
    uint64_t left = file_bytes - PACK_HEADER_BYTES;
    for (int i = 0; i < PACK_SECTIONS; i++) {
        if (section_bytes(header, i) > left)
            return "its sections are larger than the file";
        left -= section_bytes(header, i);
    }
    if (left != 0)
        return "its sections do not fill the file";
    if (section_bytes(header, PACK_INDEX) != pack_table_bytes(info->entries) || section_bytes(header, PACK_GROUPS) != pack_table_bytes(info->groups) ||
        section_bytes(header, PACK_STRINGS) != pack_table_bytes(info->strings) ||
        section_bytes(header, PACK_KERNELS) != pack_table_bytes(info->kernels))
        return "the size of a table does not follow from its count";
    return section_bytes(header, PACK_STRING_BYTES) > HONE_PACK_STRING_BYTES_MAX ? "its strings are above their limit" : NULL;
}

/* The header of a newer version may be longer; its checksum is in its last bytes.  `bytes`: the pack in memory, or NULL. */
static bool longer_header_sound(const hone__pack *pack, const uint8_t *bytes, uint32_t header_bytes, uint64_t file_bytes) {
    if (header_bytes <= PACK_HEADER_BYTES || header_bytes > PACK_HEADER_BYTES_MAX || header_bytes > file_bytes)
        return false;
    uint8_t *own = bytes == NULL ? hone__alloc(header_bytes) : NULL;
    const uint8_t *header = bytes != NULL ? bytes : own;
    bool sound = header != NULL && (own == NULL || hone__pack_pread(pack, 0, own, header_bytes) == HONE_OK) &&
                 hone__pack_checksum(header, header_bytes - 8, 0) == pack_get64(header + header_bytes - 8);
    hone__free(own);
    return sound;
}

static hone_status check_header(hone__pack *pack, const uint8_t header[PACK_HEADER_BYTES], const uint8_t *bytes, uint64_t file_bytes, hone_error *err) {
    if (memcmp(header, hone__pack_magic, 8) != 0)
        return hone__fail(err, HONE_E_CORRUPT, "pack", "%s is not a pack", pack->path);
    hone__pack_info *info = &pack->info;
    info->reader = (uint32_t)header[8] | (uint32_t)header[9] << 8;
    info->writer = (uint32_t)header[10] | (uint32_t)header[11] << 8;
    info->checksum = pack_get64(header + PACK_CHECKSUM_AT);
    bool newer = info->reader > HONE_PACK_VERSION;
    bool sound = pack_get32(header + 12) == PACK_HEADER_BYTES && hone__pack_checksum(header, PACK_CHECKSUM_AT, 0) == info->checksum;
    if (newer && !sound)
        sound = longer_header_sound(pack, bytes, pack_get32(header + 12), file_bytes);
    if (!sound || info->reader == 0 || info->reader > info->writer)
        return hone__fail(err, HONE_E_CORRUPT, "pack", "%s is damaged: its header's checksum or versions are wrong; get it again", pack->path);
    if (newer)
        return hone__fail(err, HONE_E_VERSION, "pack", "%s needs a Hone that reads pack version %u; this one (%s) reads up to %u", pack->path,
                          info->reader, HONE_VERSION_STRING, HONE_PACK_VERSION);
    info->file_bytes = pack_get64(header + 16);
    info->entries = pack_get64(header + 24);
    info->groups = pack_get64(header + 32);
    info->strings = pack_get64(header + 40);
    info->kernels = pack_get64(header + 48);
    const char *wrong = check_counts(info, header, file_bytes);
    if (wrong != NULL)
        return hone__fail(err, HONE_E_CORRUPT, "pack", "%s is damaged: %s; get it again", pack->path, wrong);
    uint64_t offset = PACK_HEADER_BYTES;
    for (int i = 0; i < PACK_SECTIONS; i++) {
        hone__part *part = &pack->part[i];
        part->section = (uint8_t)i;
        part->is_table = i == PACK_INDEX || i == PACK_GROUPS || i == PACK_STRINGS || i == PACK_KERNELS;
        part->offset = offset;
        part->bytes = section_bytes(header, i);
        pack->section_checksum[i] = pack_get64(header + 64 + 16 * i + 8);
        offset += part->bytes;
    }
    info->record_bytes = pack->part[PACK_RECORDS].bytes;
    info->index_bytes = pack->part[PACK_INDEX].bytes;
    info->string_bytes = pack->part[PACK_STRING_BYTES].bytes;
    info->kernel_bytes = pack->part[PACK_KERNEL_BYTES].bytes;
    return HONE_OK;
}

/* ---- memory for the parts ---- */

enum { PAGE_BYTES = 4096, PRELOAD_BYTES = 16 << 10 };

static uint64_t blocks_of(const hone__part *part) {
    return (part->bytes + PACK_BLOCK_BYTES - 1) / PACK_BLOCK_BYTES;
}

static uint64_t whole_pages(uint64_t bytes) {
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

/* Which parts are kept in memory: the strings always, others as long as they fit. */
static void choose_parts(const hone__pack *pack, uint64_t left, bool kept[PACK_SECTIONS]) {
    static const uint8_t order[] = {PACK_STRINGS, PACK_STRING_BYTES, PACK_GROUPS, PACK_INDEX, PACK_KERNELS, PACK_RECORDS};
    for (size_t i = 0; i < sizeof order; i++) {
        uint64_t bytes = pack->part[order[i]].bytes;
        kept[order[i]] = bytes > 0 && bytes <= left;
        left -= kept[order[i]] ? bytes : 0;
    }
}

/* Address space only; pages come when blocks are filled.  One mapping, since each costs as much as a look-up. */
static bool map_arena(hone__pack *pack, const bool kept[PACK_SECTIONS], const bool checked[PACK_SECTIONS], bool with_verified) {
    uint64_t need = 0, states = 0, at = 0;
    for (int i = 0; i < PACK_SECTIONS; i++) {
        need += kept[i] ? whole_pages(pack->part[i].bytes) + PAGE_BYTES : 0;
        states += checked[i] ? blocks_of(&pack->part[i]) : 0;
    }
    uint64_t bits = with_verified ? pack->info.entries / 8 + 1 : 0;
    pack->arena_bytes = (size_t)(need + whole_pages(states + bits + 1));
    void *memory = mmap(NULL, pack->arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    pack->arena = memory;
    bool adjacent = false; /* the small parts keep the places beside each other that they have in the file */
    for (int i = 0; i < PACK_SECTIONS; i++) {
        hone__part *part = &pack->part[i];
        if (!kept[i]) {
            adjacent = adjacent && part->bytes == 0;
            continue;
        }
        at = adjacent && i > PACK_GROUPS && i <= PACK_STRING_BYTES ? at : whole_pages(at);
        part->owned = pack->arena + at;
        part->base = part->owned;
        at += part->bytes;
        adjacent = true;
    }
    at = whole_pages(at);
    for (int i = 0; i < PACK_SECTIONS; i++) {
        if (!checked[i])
            continue;
        pack->part[i].state = (_Atomic uint8_t *)(pack->arena + at);
        at += blocks_of(&pack->part[i]);
    }
    pack->verified = with_verified ? (_Atomic uint8_t *)(pack->arena + at) : NULL;
    return true;
}

/* Groups, strings and their bytes: every look-up needs them, and in most packs they fit a few pages.  Then one read has them all; each block
 * is checked when it is used, as ever. */
static void preload(hone__pack *pack) {
    const hone__part *first = &pack->part[PACK_GROUPS];
    uint64_t bytes = first->bytes + pack->part[PACK_STRINGS].bytes + pack->part[PACK_STRING_BYTES].bytes;
    if (bytes == 0 || bytes > PRELOAD_BYTES)
        return;
    for (int i = PACK_GROUPS; i <= PACK_STRING_BYTES; i++) {
        const hone__part *part = &pack->part[i];
        if (part->owned == NULL || part->owned - first->owned != (ptrdiff_t)(part->offset - first->offset))
            return;
    }
    if (hone__pack_pread(pack, first->offset, first->owned, (size_t)bytes) != HONE_OK)
        return; /* whoever needs a block will try again, and say so */
    for (int i = PACK_GROUPS; i <= PACK_STRING_BYTES; i++) {
        for (uint64_t block = 0; block < blocks_of(&pack->part[i]); block++)
            atomic_store_explicit(&pack->part[i].state[block], PART_FILLED, memory_order_release);
    }
}

static hone_status prepare_parts(hone__pack *pack, const uint8_t *bytes, uint64_t memory_max) {
    bool kept[PACK_SECTIONS] = {false}, checked[PACK_SECTIONS] = {false};
    if (bytes == NULL)
        choose_parts(pack, memory_max == 0 ? HONE_PACK_MEMORY_MAX : memory_max < MEMORY_MIN ? MEMORY_MIN : memory_max, kept);
    for (int i = 0; i < PACK_SECTIONS; i++)
        checked[i] = bytes != NULL ? pack->part[i].is_table : kept[i];
    bool with_verified = bytes != NULL || kept[PACK_RECORDS];
    if (!map_arena(pack, kept, checked, with_verified)) {
        if (bytes != NULL)
            return HONE_E_NOMEM;
        /* Not even address space for all: the large parts are read from the file each time. */
        kept[PACK_RECORDS] = checked[PACK_RECORDS] = kept[PACK_INDEX] = checked[PACK_INDEX] = false;
        if (!map_arena(pack, kept, checked, false))
            return HONE_E_NOMEM;
    }
    for (int i = 0; bytes != NULL && i < PACK_SECTIONS; i++)
        pack->part[i].base = bytes + pack->part[i].offset;
    if (bytes == NULL)
        preload(pack);
    static _Atomic uint64_t serial;
    pack->strings.pack = pack;
    pack->strings.serial = atomic_fetch_add(&serial, 1) + 1;
    pack->strings.count = (uint32_t)pack->info.strings;
    pack->strings.text = hone__alloc_array(pack->strings.count, sizeof *pack->strings.text);
    return pack->strings.text != NULL ? HONE_OK : HONE_E_NOMEM;
}

/* ---- open, close ---- */

static hone_status check_options(const hone_pack_options *options, const char *path, hone_pack_options *out, hone_error *err) {
    *out = (hone_pack_options)HONE_PACK_OPTIONS_INIT;
    HONE_TRY(hone__options_read(out, sizeof *out, options, "hone_pack_options", err));
    if (out->require_signature != 0) /* the room above checks signatures and hands the bytes down */
        return hone__fail(err, HONE_E_UNSUPPORTED, "pack", "%s: a signature is required, and this door does not check any", path);
    return HONE_OK;
}

static hone__pack *make_pack(const char *path) {
    hone__pack *pack = hone__alloc(sizeof *pack);
    if (pack == NULL)
        return NULL;
    pack->fd = -1;
    pack->path = hone__strdup(path);
    if (pack->path == NULL || pthread_mutex_init(&pack->loading, NULL) != 0) {
        hone__free(pack->path);
        hone__free(pack);
        return NULL;
    }
    return pack;
}

static hone_status begin(hone__pack **out, hone__pack *pack, hone_status status, const uint8_t *bytes, const hone_pack_options *options, hone_error *err) {
    if (status == HONE_OK) {
        status = prepare_parts(pack, bytes, options->memory_bytes_max);
        if (status != HONE_OK)
            (void)hone__fail(err, status, "pack", "no memory to open %s", pack->path);
    }
    if (status == HONE_OK && options->verify != 0)
        status = hone__pack_verify(pack, NULL, NULL, err);
    if (status == HONE_OK)
        *out = pack;
    else
        hone__pack_close(pack);
    return status;
}

static hone_status open_file(hone__pack *pack, hone_error *err) {
    struct stat info;
    uint8_t header[PACK_HEADER_BYTES];
    pack->fd = open(pack->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (pack->fd < 0 || fstat(pack->fd, &info) != 0) {
        int code = errno;
        return hone__fail_os(err, hone__status_of_errno(code), "pack", code, "cannot open %s: %s", pack->path, strerror(code));
    }
    if (!S_ISREG(info.st_mode))
        return hone__fail(err, HONE_E_IO, "pack", "%s is not a regular file", pack->path);
    size_t head = info.st_size < PACK_HEADER_BYTES ? (size_t)info.st_size : PACK_HEADER_BYTES;
    hone_status status = hone__pack_pread(pack, 0, header, head);
    if (status == HONE_OK && (head < 8 || memcmp(header, hone__pack_magic, 8) != 0))
        return hone__fail(err, HONE_E_CORRUPT, "pack", "%s is not a pack", pack->path);
    if (status != HONE_OK || head < PACK_HEADER_BYTES)
        return hone__fail(err, HONE_E_CORRUPT, "pack", "%s is damaged: it ends within its header; get it again", pack->path);
    return check_header(pack, header, NULL, (uint64_t)info.st_size, err);
}

hone_status hone__pack_open(hone__pack **out, const char *path, const hone_pack_options *options, hone_error *err) {
    *out = NULL;
    hone_pack_options chosen;
    HONE_TRY(check_options(options, path, &chosen, err));
    hone__pack *pack = make_pack(path);
    if (pack == NULL)
        return hone__fail(err, HONE_E_NOMEM, "pack", "no memory to open %s", path);
    return begin(out, pack, open_file(pack, err), NULL, &chosen, err);
}

hone_status hone__pack_open_memory(hone__pack **out, const char *name, const void *bytes, size_t count, const hone_pack_options *options,
                                   hone_error *err) {
    *out = NULL;
    hone_pack_options chosen;
    HONE_TRY(check_options(options, name, &chosen, err));
    hone__pack *pack = make_pack(name);
    if (pack == NULL)
        return hone__fail(err, HONE_E_NOMEM, "pack", "no memory to open %s", name);
    hone_status status = HONE_OK;
    if (count < PACK_HEADER_BYTES)
        status = hone__fail(err, HONE_E_CORRUPT, "pack", "%s is not a pack, or ends within its header", name);
    else
        status = check_header(pack, bytes, bytes, count, err);
    return begin(out, pack, status, bytes, &chosen, err);
}

void hone__pack_own(hone__pack *pack, void *bytes) {
    pack->whole = bytes;
}

hone_status hone__pack_hold(hone__pack **out, hone__pack *pack, bool own_bytes, hone_error *err) {
    if (!own_bytes || pack->fd >= 0 || pack->whole != NULL) {
        atomic_fetch_add(&pack->others, 1);
        *out = pack;
        return HONE_OK;
    }
    size_t count = (size_t)pack->info.file_bytes;
    uint8_t *copy = hone__alloc(count);
    if (copy == NULL)
        return hone__fail(err, HONE_E_NOMEM, "pack", "no memory for a copy of %s", pack->path);
    hone_status status = hone__pack_pread(pack, 0, copy, count);
    if (status == HONE_OK)
        status = hone__pack_open_memory(out, pack->path, copy, count, NULL, err);
    if (status != HONE_OK)
        hone__free(copy);
    else
        hone__pack_own(*out, copy);
    return status;
}

void hone__pack_close(hone__pack *pack) {
    if (pack == NULL || atomic_fetch_sub(&pack->others, 1) > 0)
        return;
    hone__strings_free(&pack->strings);
    if (pack->arena != NULL)
        (void)munmap(pack->arena, pack->arena_bytes);
    if (pack->fd >= 0)
        (void)close(pack->fd);
    (void)pthread_mutex_destroy(&pack->loading);
    hone__free(pack->whole);
    hone__free(pack->path);
    hone__free(pack);
}

bool hone__pack_probe(const char *path, int *code) {
    uint8_t first[8];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t got = fd < 0 ? -1 : pread(fd, first, sizeof first, 0);
    *code = got < 0 ? errno : 0;
    if (fd >= 0)
        (void)close(fd);
    return got == (ssize_t)sizeof first && memcmp(first, hone__pack_magic, sizeof first) == 0;
}

const hone__pack_info *hone__pack_about(const hone__pack *pack) {
    return &pack->info;
}

void hone__pack_set_signer(hone__pack *pack, const char signer[33]) {
    pack->info.is_signed = true;
    memcpy(pack->info.signer, signer, sizeof pack->info.signer);
}

const char *hone__pack_path(const hone__pack *pack) {
    return pack->path;
}
