/* counter.c: counters that survive restarts.  Counting is an addition in memory; what is pending goes into the file with the next write
 * and at close, so that a hit never becomes a write. */
#include "store.h"

#include <string.h>

typedef struct counter_record {
    uint64_t count;
} counter_record;

static const hone__field counter_fields[] = {HONE_FIELD(U64, counter_record, count, 0)};
static const hone__layout counter_layout = {HONE_RECORD_COUNTER, sizeof(counter_record), counter_fields, 1};

static hone__counter *find(hone__store *store, const char *name) {
    unsigned count = atomic_load_explicit(&store->counter_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(store->counter[i].name, name) == 0)
            return &store->counter[i];
    }
    return NULL;
}

void hone__store_count(hone__store *store, const char *counter, uint64_t add) {
    size_t length = strlen(counter);
    if (length == 0 || length >= HONE_COUNTER_NAME_BYTES)
        return;
    hone__counter *found = find(store, counter);
    if (found == NULL) {
        (void)pthread_mutex_lock(&store->counter_names);
        found = find(store, counter);
        unsigned count = atomic_load(&store->counter_count);
        if (found == NULL && count < HONE_COUNTERS_MAX) {
            found = &store->counter[count];
            memcpy(found->name, counter, length + 1);
            /* The name is complete before readers can see it. */
            atomic_store_explicit(&store->counter_count, count + 1, memory_order_release);
        }
        (void)pthread_mutex_unlock(&store->counter_names);
    }
    if (found != NULL)
        atomic_fetch_add_explicit(&found->pending, add, memory_order_relaxed);
}

void hone__cache_count(const hone_cache *cache, const char *counter, uint64_t add) {
    if (hone__cache_usable(cache, NULL) == HONE_OK && cache->store != NULL)
        hone__store_count(cache->store, counter, add);
}

bool hone__counters_pending(const hone__store *store) {
    unsigned count = atomic_load_explicit(&store->counter_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++) {
        if (atomic_load_explicit(&store->counter[i].pending, memory_order_relaxed) > 0)
            return true;
    }
    return false;
}

/* "c:" and the name. */
static hone__slot_key slot_of(const char *name, char out[HONE_COUNTER_NAME_BYTES + 2]) {
    size_t length = strlen(name);
    out[0] = 'c';
    out[1] = ':';
    memcpy(out + 2, name, length);
    return (hone__slot_key){out, length + 2};
}

bool hone__counter_decode(MDB_val key, MDB_val value, char name[HONE_COUNTER_NAME_BYTES], uint64_t *count) {
    const char *bytes = key.mv_data;
    counter_record record;
    hone__slot_key slot = {key.mv_data, key.mv_size};
    if (key.mv_size < 3 || key.mv_size >= HONE_COUNTER_NAME_BYTES + 2 || memcmp(bytes, "c:", 2) != 0)
        return false;
    if (hone__record_decode(&record, &counter_layout, value.mv_data, value.mv_size, slot) != HONE_OK)
        return false;
    memcpy(name, bytes + 2, key.mv_size - 2);
    name[key.mv_size - 2] = '\0';
    *count = record.count;
    return true;
}

hone_status hone__counters_store(hone__txn *txn, uint64_t taken[HONE_COUNTERS_MAX]) {
    hone__store *store = txn->store;
    unsigned count = atomic_load_explicit(&store->counter_count, memory_order_acquire);
    hone__buf buf;
    hone__buf_init(&buf, 256);
    hone_status status = HONE_OK;
    for (unsigned i = 0; i < count && status == HONE_OK; i++) {
        taken[i] = atomic_load_explicit(&store->counter[i].pending, memory_order_relaxed);
        if (taken[i] == 0)
            continue;
        char bytes[HONE_COUNTER_NAME_BYTES + 2];
        hone__slot_key slot = slot_of(store->counter[i].name, bytes);
        counter_record record = {0};
        MDB_val value;
        status = hone__txn_get(txn, HONE_TABLE_STAT, slot, &value);
        /* A damaged counter starts again. */
        if (status == HONE_OK && hone__record_decode(&record, &counter_layout, value.mv_data, value.mv_size, slot) != HONE_OK)
            record.count = 0;
        record.count = record.count > UINT64_MAX - taken[i] ? UINT64_MAX : record.count + taken[i];
        hone__buf_clear(&buf);
        if (status == HONE_OK || status == HONE_E_NOTFOUND)
            status = hone__record_encode(&buf, &counter_layout, &record, slot);
        if (status == HONE_OK)
            status = hone__txn_put(txn, HONE_TABLE_STAT, slot, buf.data, buf.length);
    }
    hone__buf_free(&buf);
    return status;
}

void hone__counters_stored(hone__store *store, const uint64_t taken[HONE_COUNTERS_MAX]) {
    for (unsigned i = 0; i < HONE_COUNTERS_MAX; i++) {
        if (taken[i] > 0)
            atomic_fetch_sub_explicit(&store->counter[i].pending, taken[i], memory_order_relaxed);
    }
}
