/* store_file.h: an LMDB file as bytes: what store_check.c reads of its meta pages and store_walk.c follows. */
#ifndef HONE_STORE_FILE_H
#define HONE_STORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HONE_TREE_BYTES 48u

typedef struct hone__tree {
    uint16_t flags, depth;
    uint64_t entries;
    uint64_t root; /* UINT64_MAX: empty */
} hone__tree;

typedef struct hone__file_meta {
    uint32_t page_size;
    uint64_t last_page, txn;
    hone__tree free, main;
    bool in_turn; /* the two meta pages follow one another */
} hone__file_meta;

/* Why there is no verdict on a file: reading it failed, which says nothing about what is in it.  Compared by address. */
extern const char hone__file_unreadable[];

/* From the 48 bytes of a tree's description. */
hone__tree hone__tree_read(const uint8_t *at);
/* False with *why when the file is damaged.  Needs a file that does not change meanwhile. */
bool hone__file_walk(int fd, const hone__file_meta *meta, uint64_t file_bytes, const char **why);

#endif
