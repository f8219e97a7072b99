/* versions.c: which other versions of a kernel a cache and its packs know.  Entries are sorted by the beginnings of kernel id and device id, so that
 * a walk may jump from one such group to the next. */
#include "versions.h"
#include "slot.h"
#include "store.h"

enum { GROUP_BYTES = 16, KEYS_AT_ONCE = 8192, KEY_MAX = 511 /* LMDB's */ };

/* Where entries of this kernel are counted; NULL: it is no other version, or there are too many. */
static hone__version *version_of(hone__versions *all, const hone__entry *entry) {
    const uint8_t *id = entry->key.kernel;
    if (strcmp(entry->kernel_name, all->kernel->name) != 0 || memcmp(id, all->kernel->id, 16) == 0)
        return NULL;
    uint32_t i = 0;
    while (i < all->count && memcmp(all->found[i].id, id, 16) != 0)
        i++;
    if (i == HONE_VERSIONS_MAX)
        return NULL;
    if (i == all->count) {
        memcpy(all->found[i].id, id, 16);
        all->found[i].entries = 0;
        all->count++;
    }
    return &all->found[i];
}

/* ---- packs ---- */

static void see_pack(hone__versions *all, const hone__pack *pack) {
    for (uint64_t group = 0; group < hone__pack_about(pack)->groups; group++) {
        hone__entry entry;
        uint64_t entries;
        if (hone__pack_group(pack, group, &entry, &entries) != HONE_OK)
            continue;
        hone__version *version = version_of(all, &entry);
        if (version != NULL)
            version->entries += entries;
        hone__entry_clear(&entry);
    }
}

/* ---- the file ---- */

typedef struct walk {
    hone__versions *all;
    uint8_t from[KEY_MAX + 1];    /* the first slot that has not been seen */
    size_t from_bytes;
    uint8_t group[GROUP_BYTES];   /* whose entries are being counted */
    hone__version *counting;
    bool done;
} walk;

/* The first slot after all that begin like this one; false: there is none. */
static bool after_group(walk *w, const uint8_t *slot) {
    memset(w->from, 0, sizeof w->from);
    memcpy(w->from, slot, GROUP_BYTES);
    w->from_bytes = HONE_ENTRY_SLOT_BYTES;
    for (int i = GROUP_BYTES - 1; i >= 0; i--) {
        if (++w->from[i] != 0)
            return true;
    }
    return false;
}

static void after_key(walk *w, MDB_val key) {
    w->from_bytes = key.mv_size < KEY_MAX ? key.mv_size + 1 : KEY_MAX;
    memset(w->from, 0, sizeof w->from);
    memcpy(w->from, key.mv_data, key.mv_size < KEY_MAX ? key.mv_size : KEY_MAX);
}

typedef enum step { STEP_NEXT, STEP_JUMP, STEP_END } step;

static step see_record(walk *w, MDB_val key, MDB_val value) {
    const uint8_t *slot = key.mv_data;
    after_key(w, key);
    if (key.mv_size != HONE_ENTRY_SLOT_BYTES)
        return key.mv_size < KEY_MAX ? STEP_NEXT : STEP_END;
    if (w->counting != NULL && memcmp(w->group, slot, GROUP_BYTES) == 0) {
        w->counting->entries++;
        return STEP_NEXT;
    }
    w->counting = NULL;
    hone__entry entry;
    if (hone__entry_decode(&entry, value.mv_data, value.mv_size, (hone__slot_key){slot, HONE_ENTRY_SLOT_BYTES}) != HONE_OK)
        return STEP_NEXT;
    w->counting = version_of(w->all, &entry);
    hone__entry_clear(&entry);
    if (w->counting == NULL)
        return after_group(w, slot) ? STEP_JUMP : STEP_END;
    w->counting->entries++;
    memcpy(w->group, slot, GROUP_BYTES);
    return STEP_NEXT;
}

/* A bounded number of keys; what has been counted is behind `from`. */
static hone_status walk_fn(hone__txn *txn, void *user, hone_error *err) {
    walk *w = user;
    MDB_cursor *cursor;
    MDB_val key, value;
    (void)err;
    HONE_TRY(hone__txn_cursor(txn, HONE_TABLE_ENTRY, &cursor));
    hone_status status = hone__cursor_seek(txn, cursor, (hone__slot_key){w->from, w->from_bytes}, &key, &value);
    for (int i = 0; status == HONE_OK && i < KEYS_AT_ONCE; i++) {
        step next = see_record(w, key, value);
        if (next == STEP_END)
            status = HONE_E_NOTFOUND;
        else if (next == STEP_JUMP)
            status = hone__cursor_seek(txn, cursor, (hone__slot_key){w->from, w->from_bytes}, &key, &value);
        else
            status = hone__cursor_next(txn, cursor, &key, &value);
    }
    mdb_cursor_close(cursor);
    w->done = status != HONE_OK;
    return HONE_OK;
}

static void see_file(hone__versions *all, const hone_cache *cache) {
    walk w = {.all = all};
    while (!w.done && hone__store_read(cache, walk_fn, &w, NULL) == HONE_OK)
        continue;
}

void hone__versions_find(hone__versions *out, const hone_cache *cache, const hone_kernel *kernel) {
    out->kernel = kernel;
    out->count = 0;
    for (uint32_t layer = 0; layer < hone__layer_count(cache); layer++) {
        const hone__pack *pack = hone__layer_pack(cache, layer);
        if (pack != NULL)
            see_pack(out, pack);
        else
            see_file(out, cache);
    }
}
