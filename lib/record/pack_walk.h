/* pack_walk.h: a pack read from front to back; shared by its source and its verification. */
#ifndef HONE_PACK_WALK_H
#define HONE_PACK_WALK_H

#include "pack_format.h"

typedef struct hone__pack_walk {
    const hone__pack *pack;
    uint64_t next;                 /* entry */
    uint64_t next_group, group_end, offset;
    bool first_of_group;
    uint8_t slot[HONE_SLOT_BYTES]; /* of the last entry */
    uint8_t *window, *index, *groups;
    uint64_t window_at, index_block, group_block;
    size_t window_bytes;
    hone__buf large;               /* a record larger than the window */
} hone__pack_walk;

hone_status hone__pack_walk_open(hone__pack_walk *walk, const hone__pack *pack);
/* The next record, in its place and order, itself not checked; HONE_E_NOTFOUND at the end; HONE_E_CORRUPT: the tables cannot be followed. */
hone_status hone__pack_walk_next(hone__pack_walk *walk, hone__item *item);
void hone__pack_walk_close(hone__pack_walk *walk);

#endif
