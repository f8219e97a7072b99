/* store_check.c: what a cache file looks like before LMDB maps it.  LMDB 0.9 trusts a file's page size, page numbers and length: a truncated
 * file is a SIGBUS and a page size of zero a SIGFPE.  Read with pread only. */
#include "store.h"
#include "store_file.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LMDB_MAGIC 0xbeefc0deu

/* Offsets in a meta page of LMDB data version 1 on a 64-bit little-endian machine. */
enum {
    META_BYTES = 152,
    AT_FLAGS = 10,
    AT_MAGIC = 16,
    AT_VERSION = 20,
    AT_FREE = 40, /* its first four bytes hold the page size */
    AT_MAIN = 88,
    AT_LAST_PAGE = 136,
    AT_TXN = 144,
    PAGE_META = 0x08,
    INTEGER_KEY = 0x08,
    DUPLICATES = 0x02 | 0x04 | 0x10 | 0x20 | 0x40
};

/* Walking every page costs about a microsecond a page: up to here it is done at each open. */
#define WALK_BYTES_MAX (64u << 20)

const char hone__file_unreadable[] = "it cannot be read";

_Static_assert(sizeof(void *) == 8 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the offsets are those of a 64-bit little-endian machine; others need their own");

hone__tree hone__tree_read(const uint8_t *at) {
    hone__tree tree;
    memcpy(&tree.flags, at + 4, sizeof tree.flags);
    memcpy(&tree.depth, at + 6, sizeof tree.depth);
    memcpy(&tree.entries, at + 32, sizeof tree.entries);
    memcpy(&tree.root, at + 40, sizeof tree.root);
    return tree;
}

static const char *read_meta(int fd, off_t at, hone__file_meta *out) {
    uint8_t page[META_BYTES];
    ssize_t got = pread(fd, page, sizeof page, at);
    if (got < 0)
        return hone__file_unreadable;
    if (got != (ssize_t)sizeof page)
        return "the file ends within its first two pages";
    uint16_t flags;
    uint32_t magic, version;
    memcpy(&flags, page + AT_FLAGS, sizeof flags);
    memcpy(&magic, page + AT_MAGIC, sizeof magic);
    memcpy(&version, page + AT_VERSION, sizeof version);
    memcpy(&out->page_size, page + AT_FREE, sizeof out->page_size);
    memcpy(&out->last_page, page + AT_LAST_PAGE, sizeof out->last_page);
    memcpy(&out->txn, page + AT_TXN, sizeof out->txn);
    out->free = hone__tree_read(page + AT_FREE);
    out->main = hone__tree_read(page + AT_MAIN);
    if (magic != LMDB_MAGIC || (flags & PAGE_META) == 0)
        return "it is not an LMDB file of this machine's byte order and word size";
    if (version != 1)
        return "it was written by another version of LMDB";
    uint32_t size = out->page_size;
    if (size < 256 || size > 65536 || (size & (size - 1)) != 0)
        return "its page size is senseless";
    if ((out->free.flags & INTEGER_KEY) == 0 || (out->free.flags & DUPLICATES) != 0 || out->main.flags != 0)
        return "its trees have flags that Hone never sets";
    return NULL;
}

/* Transactions write the two in turn, so they are one apart, odd numbers in the second. */
static bool follow_one_another(const hone__file_meta *first, const hone__file_meta *second) {
    bool is_second = second->txn > first->txn;
    uint64_t newest = is_second ? second->txn : first->txn, apart = is_second ? second->txn - first->txn : first->txn - second->txn;
    return apart <= 1 && newest < UINT64_MAX / 2 && (apart == 0 || (newest & 1) == (is_second ? 1u : 0u));
}

/* Both meta pages as they were at one moment: two that follow one another were so at some moment, and writers at work change them in turn, so if
 * the first is the same before and after, at most one commit came between.  *stable: false when they would not keep still. */
static const char *read_metas(int fd, hone__file_meta *first, hone__file_meta *second, bool *stable) {
    const char *why = read_meta(fd, 0, first);
    *stable = false;
    for (int i = 0; i < 16 && why == NULL && !*stable; i++) {
        hone__file_meta again;
        why = read_meta(fd, (off_t)first->page_size, second);
        *stable = why == NULL && follow_one_another(first, second);
        if (*stable)
            break;
        if (why == NULL)
            why = read_meta(fd, 0, &again);
        if (why != NULL)
            return why;
        *stable = again.txn == first->txn;
        *first = again;
    }
    return why;
}

static const char *read_newest(int fd, hone__file_meta *newest) {
    hone__file_meta first, second;
    bool stable;
    const char *why = read_metas(fd, &first, &second, &stable);
    if (why == NULL && first.page_size != second.page_size)
        why = "its two meta pages disagree";
    if (why != NULL)
        return why;
    bool is_second = second.txn > first.txn;
    *newest = is_second ? second : first;
    newest->in_turn = !stable || follow_one_another(&first, &second); /* a file that is written to all the time is in use */
    return NULL;
}

/* In either meta page, of any page size: a power failure while a cache is made may leave one of them, or a length and nothing in it. */
bool hone__file_has_magic(int fd) {
    uint8_t head[256];
    ssize_t got = pread(fd, head, sizeof head, 0);
    bool empty = got > 0;
    for (ssize_t i = 0; i < got && empty; i++)
        empty = head[i] == 0;
    bool found = empty;
    for (off_t page = 0; page <= 65536 && !found; page = page == 0 ? 256 : page * 2) {
        uint32_t magic = 0;
        found = pread(fd, &magic, sizeof magic, page + AT_MAGIC) == (ssize_t)sizeof magic && magic == LMDB_MAGIC;
    }
    return found;
}

bool hone__file_state_number(int fd, uint64_t *txn) {
    hone__file_meta newest;
    if (read_newest(fd, &newest) != NULL)
        return false;
    *txn = newest.txn;
    return true;
}

/* One look at a file of so many bytes; `txn`: at which state of it. */
static const char *look(int fd, bool whole, uint64_t bytes, uint64_t *txn) {
    hone__file_meta newest;
    const char *why = read_newest(fd, &newest);
    if (why != NULL)
        return why;
    *txn = newest.txn;
    /* Pages that were made and freed within one transaction are counted and never written, so a file may end before its last
     * page; then only a walk can tell whether anything is missing. */
    bool is_short = newest.last_page >= bytes / newest.page_size;
    if (newest.last_page < 1)
        return "its last page is senseless";
    if (!newest.in_turn)
        return "its two meta pages do not follow one another";
    if (whole || is_short || bytes <= WALK_BYTES_MAX)
        (void)hone__file_walk(fd, &newest, bytes, &why);
    return why;
}

static hone__file_state check(int fd, bool whole, struct stat *info, char *reason, size_t reason_bytes) {
    const char *why = NULL;
    reason[0] = '\0';
    /* A writer at work moves pages under us.  Pages of the newest state stay as they are until two commits later, so a verdict
     * counts if nothing was committed meanwhile; and a file that is being committed to all the time is in use, not damaged. */
    for (int i = 0; i < 8; i++) {
        uint64_t before = UINT64_MAX;
        hone__file_meta after;
        off_t bytes = info->st_size;
        if (bytes == 0)
            return HONE_FILE_NEW;
        why = look(fd, whole, (uint64_t)bytes, &before);
        if (why == NULL || before == UINT64_MAX)
            break;
        if (fstat(fd, info) != 0)
            return HONE_FILE_UNREADABLE;
        if (info->st_size == bytes && (read_newest(fd, &after) != NULL || after.txn == before))
            break;
        why = NULL;
    }
    if (why == NULL)
        return HONE_FILE_SOUND;
    (void)snprintf(reason, reason_bytes, "%s", why);
    /* No verdict: a failing disk must not make us throw a good file away. */
    return why == hone__file_unreadable ? HONE_FILE_UNREADABLE : HONE_FILE_DAMAGED;
}

hone__file_state hone__file_check_opened(int fd, struct stat *info, char *reason, size_t reason_bytes) {
    return check(fd, false, info, reason, reason_bytes);
}

static hone__file_state check_alone(int fd, bool whole, char *reason, size_t reason_bytes) {
    struct stat info;
    if (fstat(fd, &info) == 0)
        return check(fd, whole, &info, reason, reason_bytes);
    (void)snprintf(reason, reason_bytes, "%s", hone__file_unreadable);
    return HONE_FILE_UNREADABLE;
}

hone__file_state hone__file_check(int fd, char *reason, size_t reason_bytes) {
    return check_alone(fd, false, reason, reason_bytes);
}

hone__file_state hone__file_check_whole(int fd, char *reason, size_t reason_bytes) {
    return check_alone(fd, true, reason, reason_bytes);
}
