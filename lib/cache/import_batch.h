/* import_batch.h: a source's entries unpacked into batches, each the content of one transaction, by a thread of their own.  Two batches take turns:
 * one is unpacked while the other is written.  A pack's batch may be written while it is still being unpacked, so that a small one overlaps too. */
#ifndef HONE_IMPORT_BATCH_H
#define HONE_IMPORT_BATCH_H

#include "exchange.h"
#include "slot.h"

enum { HONE_BATCH_ENTRIES = 16384 };

/* One entry on its way into the table. */
typedef struct hone__pending {
    uint8_t slot[HONE_SLOT_BYTES];
    size_t at, count;             /* of its record in the batch; count 0: there is none to write, and `fate` says why */
    hone__merge_fate fate;
    bool conflicts;
    const char *reason;
} hone__pending;

typedef struct hone__batch {
    hone__buf bytes;              /* its memory never moves */
    hone__pending *pending;
    uint32_t count;               /* the unpacking thread's; all below is under the mutex */
    uint32_t ready;               /* of them, those that the writer may look at */
    bool full;                    /* nothing more comes; */
    hone_status status;           /* then: HONE_E_NOTFOUND after the source's last entry, HONE_OK when another batch follows, else what went wrong */
    hone_error error;
} hone__batch;

typedef struct hone__batches hone__batches;

/* Begins unpacking; `source` is the thread's until hone__batches_free.  `early`: the writer may begin before a batch is full. */
hone_status hone__batches_new(hone__batches **out, hone__source *source, const hone_filter *filter, bool early, hone_error *err);
void hone__batches_free(hone__batches *batches);
/* The next batch, in turn; the writer's until hone__batches_done. */
hone__batch *hone__batches_next(hone__batches *batches);
void hone__batches_done(hone__batches *batches, hone__batch *batch);
/* Waits until entry number `wanted` may be looked at, or the batch is full without it; how many may be. */
uint32_t hone__batch_ready(hone__batches *batches, hone__batch *batch, uint32_t wanted);
/* Waits until it is known whether there is anything to write. */
bool hone__batch_has_records(hone__batches *batches, hone__batch *batch);

static inline hone__item hone__pending_item(const hone__batch *b, const hone__pending *p) {
    hone__item item = {.kind = HONE_ITEM_RECORD, .bytes = (const uint8_t *)b->bytes.data + p->at, .count = p->count};
    memcpy(item.slot, p->slot, HONE_SLOT_BYTES);
    return item;
}

#endif
