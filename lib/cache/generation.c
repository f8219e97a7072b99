/* generation.c: has an entry of this kernel changed?  Every transaction that touches an entry leaves its own number under the kernel's id, so
 * that who remembers answers can tell a commit that concerns them from a journal's, by one small read instead of reading entries again. */
#include "slot.h"
#include "store.h"

#include <string.h>

enum { KERNEL_BYTES = 8, SLOT_BYTES = 2 + KERNEL_BYTES };

typedef struct generation_record {
    uint64_t txn;
} generation_record;

/* The bytes of a counter, under another slot key. */
static const hone__field fields[] = {HONE_FIELD(U64, generation_record, txn, 0)};
static const hone__layout layout = {HONE_RECORD_COUNTER, sizeof(generation_record), fields, 1};

/* "g:" and the beginning of the kernel's id, as entries are sorted by it. */
static hone__slot_key slot_of(const void *kernel_id, uint8_t out[SLOT_BYTES]) {
    out[0] = 'g';
    out[1] = ':';
    memcpy(out + 2, kernel_id, KERNEL_BYTES);
    return (hone__slot_key){out, SLOT_BYTES};
}

hone_status hone__generation_mark(hone__txn *txn, hone__slot_key entry_slot) {
    if (entry_slot.count < KERNEL_BYTES || (txn->marked && memcmp(txn->marked_kernel, entry_slot.bytes, KERNEL_BYTES) == 0))
        return HONE_OK; /* transactions touch one kernel, or kernels in their order */
    uint8_t bytes[SLOT_BYTES];
    hone__slot_key slot = slot_of(entry_slot.bytes, bytes);
    generation_record record = {(uint64_t)mdb_txn_id(txn->txn)};
    hone__buf buf;
    hone__buf_init(&buf, 256);
    hone_status status = hone__record_encode(&buf, &layout, &record, slot);
    if (status == HONE_OK)
        status = hone__txn_put(txn, HONE_TABLE_STAT, slot, buf.data, buf.length);
    hone__buf_free(&buf);
    txn->marked = status == HONE_OK;
    memcpy(txn->marked_kernel, entry_slot.bytes, KERNEL_BYTES);
    return status;
}

uint64_t hone__generation_read(hone__txn *txn, const uint8_t kernel_id[16]) {
    uint8_t bytes[SLOT_BYTES];
    hone__slot_key slot = slot_of(kernel_id, bytes);
    generation_record record;
    MDB_val value;
    if (hone__txn_get(txn, HONE_TABLE_STAT, slot, &value) != HONE_OK)
        return 0; /* no entry of it has changed since files have this record */
    if (hone__record_decode(&record, &layout, value.mv_data, value.mv_size, slot) != HONE_OK)
        return (uint64_t)mdb_txn_id(txn->txn); /* damaged: every commit may be one that matters */
    return record.txn;
}

hone_status hone__generation_check(hone__slot_key slot, MDB_val value) {
    generation_record record;
    if (slot.count != SLOT_BYTES || memcmp(slot.bytes, "g:", 2) != 0)
        return HONE_E_CORRUPT;
    return hone__record_decode(&record, &layout, value.mv_data, value.mv_size, slot);
}
