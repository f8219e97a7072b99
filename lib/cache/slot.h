/* slot.h: the keys of the tables (spec/record.md section 7).  Fixed width, big-endian numbers, so that byte order is the order we want. */
#ifndef HONE_SLOT_H
#define HONE_SLOT_H

#include "record.h"

#include <string.h>

enum {
    HONE_ENTRY_SLOT_BYTES = 32,
    HONE_TRIAL_SLOT_BYTES = 25,
    HONE_JOURNAL_SESSION = 0,
    HONE_JOURNAL_TRIAL = 1,
    HONE_JOURNAL_EXCHANGE = 2
};

static inline hone__slot_key hone__entry_slot(const hone__key *key, uint8_t out[HONE_ENTRY_SLOT_BYTES]) {
    memcpy(out, key->kernel, 8);
    memcpy(out + 8, key->device, 8);
    memcpy(out + 16, key->key, 16);
    return (hone__slot_key){out, HONE_ENTRY_SLOT_BYTES};
}

static inline void hone__put_be32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static inline uint32_t hone__get_be32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | (uint32_t)at[3];
}

static inline hone__slot_key hone__trial_slot(const hone__key *key, uint32_t session, uint8_t kind, uint32_t index,
                                              uint8_t out[HONE_TRIAL_SLOT_BYTES]) {
    memcpy(out, key->key, 16);
    hone__put_be32(out + 16, session);
    out[20] = kind;
    hone__put_be32(out + 21, index);
    return (hone__slot_key){out, HONE_TRIAL_SLOT_BYTES};
}

/* "f:" and the key: a failure, in the table of counters and notes. */
enum { HONE_FAILURE_SLOT_BYTES = 18 };

static inline hone__slot_key hone__failure_slot(const hone__key *key, uint8_t out[HONE_FAILURE_SLOT_BYTES]) {
    out[0] = 'f';
    out[1] = ':';
    memcpy(out + 2, key->key, 16);
    return (hone__slot_key){out, HONE_FAILURE_SLOT_BYTES};
}

#endif
