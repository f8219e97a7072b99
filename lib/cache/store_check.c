/* store_check.c: what a cache file looks like before LMDB maps it.  LMDB 0.9 trusts a file's page size, page numbers and length: a truncated
 * file is a SIGBUS and a page size of zero a SIGFPE.  Read with pread only. */
#include "store.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Offsets in a meta page of LMDB data version 1 on a 64-bit little-endian machine. */
enum {
    META_BYTES = 152,
    AT_FLAGS = 10,
    AT_MAGIC = 16,
    AT_VERSION = 20,
    AT_PAGE_SIZE = 40,
    AT_LAST_PAGE = 136,
    AT_TXN = 144,
    PAGE_META = 0x08
};

typedef struct meta {
    uint32_t page_size;
    uint64_t last_page, txn;
} meta;

static const char *read_meta(int fd, off_t at, meta *out) {
    uint8_t page[META_BYTES];
    if (pread(fd, page, sizeof page, at) != (ssize_t)sizeof page)
        return "the file ends within its first two pages";
    uint16_t flags;
    uint32_t magic, version;
    memcpy(&flags, page + AT_FLAGS, sizeof flags);
    memcpy(&magic, page + AT_MAGIC, sizeof magic);
    memcpy(&version, page + AT_VERSION, sizeof version);
    memcpy(&out->page_size, page + AT_PAGE_SIZE, sizeof out->page_size);
    memcpy(&out->last_page, page + AT_LAST_PAGE, sizeof out->last_page);
    memcpy(&out->txn, page + AT_TXN, sizeof out->txn);
    if (magic != 0xbeefc0deu || (flags & PAGE_META) == 0)
        return "it is not an LMDB file of this machine's byte order and word size";
    if (version != 1)
        return "it was written by another version of LMDB";
    uint32_t size = out->page_size;
    if (size < 256 || size > 65536 || (size & (size - 1)) != 0)
        return "its page size is senseless";
    return NULL;
}

static hone__file_state damaged(char *reason, size_t reason_bytes, const char *why) {
    (void)snprintf(reason, reason_bytes, "%s", why);
    return HONE_FILE_DAMAGED;
}

hone__file_state hone__file_check(int fd, char *reason, size_t reason_bytes) {
    struct stat info;
    meta first, second;
    (void)snprintf(reason, reason_bytes, "%s", "");
    if (fstat(fd, &info) != 0)
        return damaged(reason, reason_bytes, "it cannot be looked at");
    if (info.st_size == 0)
        return HONE_FILE_NEW;
    const char *why = read_meta(fd, 0, &first);
    if (why == NULL)
        why = read_meta(fd, (off_t)first.page_size, &second);
    if (why == NULL && first.page_size != second.page_size)
        why = "its two meta pages disagree";
    if (why != NULL)
        return damaged(reason, reason_bytes, why);
    const meta *newest = second.txn > first.txn ? &second : &first;
    uint64_t pages = (uint64_t)info.st_size / newest->page_size;
    if (newest->last_page < 1 || newest->last_page >= pages)
        return damaged(reason, reason_bytes, "it is shorter than its meta page says");
    return HONE_FILE_SOUND;
}
