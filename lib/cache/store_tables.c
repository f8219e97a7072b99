/* store_tables.c: the tables of a cache file and the format record that says whose it is: found, or made in a new file. */
#include "clock.h"
#include "file.h"
#include "status.h"
#include "store_opening.h"

#include <errno.h>
#include <string.h>

static const char *const table_names[HONE_TABLE_COUNT] = {"meta", "entry", "trial", "claim", "kernel", "stat"};
static const hone__slot_key format_slot = {"format", 6};

typedef struct format_record {
    char *application, *tool_version;
    uint32_t reader, writer;
    int64_t created_unix_s;
} format_record;

static const hone__field format_fields[] = {
    HONE_FIELD(TEXT, format_record, application, 64), HONE_FIELD(U32, format_record, reader, 0),
    HONE_FIELD(U32, format_record, writer, 0),        HONE_FIELD(TEXT, format_record, tool_version, 64),
    HONE_FIELD(I64, format_record, created_unix_s, 0),
};
static const hone__layout format_layout = {HONE_RECORD_META, sizeof(format_record), format_fields,
                                           sizeof format_fields / sizeof format_fields[0]};

/* The format record says whose file this is. */
static hone__attempt check_format(hone__opening *o, MDB_txn *txn, MDB_dbi dbi) {
    MDB_val key = {format_slot.count, (void *)(uintptr_t)format_slot.bytes}, value;
    int rc = mdb_get(txn, dbi, &key, &value);
    if (rc == MDB_NOTFOUND)
        return hone__opening_damaged(o, "it has no format record");
    if (rc != 0)
        return hone__opening_judge(o, rc, "read");
    format_record format;
    hone_status status = hone__record_decode(&format, &format_layout, value.mv_data, value.mv_size, format_slot);
    if (status == HONE_E_CORRUPT)
        return hone__opening_damaged(o, "its format record is damaged");
    hone__attempt result = HONE_ATTEMPT_DONE;
    if (status == HONE_E_VERSION || (status == HONE_OK && format.reader > HONE_CACHE_VERSION))
        result = hone__opening_failed(o, hone__fail(o->err, HONE_E_VERSION, "cache",
                                                    "%s was written by a newer Hone that this one (%s) cannot read; update it, or set HONE_CACHE to another file",
                                                    o->store->path, HONE_VERSION_STRING));
    else if (status != HONE_OK)
        result = hone__opening_failed(o, hone__fail(o->err, status, "cache", "cannot read the format record of %s", o->store->path));
    else if (strcmp(format.application, "hone") != 0 || format.reader == 0 || format.reader > format.writer)
        result = hone__opening_damaged(o, "its format record is not Hone's");
    if (status == HONE_OK)
        hone__record_clear(&format, &format_layout);
    return result;
}

/* Another program's database: it holds something, and less than half of Hone's tables.  Damage takes one or two of them. */
static bool is_foreign(MDB_txn *txn) {
    MDB_dbi dbi;
    MDB_stat stat = {0};
    unsigned found = 0;
    if (mdb_dbi_open(txn, NULL, 0, &dbi) != 0 || mdb_stat(txn, dbi, &stat) != 0)
        return false;
    for (unsigned t = 0; t < HONE_TABLE_COUNT; t++)
        found += mdb_dbi_open(txn, table_names[t], 0, &dbi) == 0;
    return stat.ms_entries > 0 && found < HONE_TABLE_COUNT / 2;
}

/* The first `count` tables by name; HONE_ATTEMPT_NEEDS_LOCK when one is missing. */
static hone__attempt find_tables(hone__opening *o, MDB_txn *txn, unsigned count, unsigned create) {
    hone__store *store = o->store;
    for (unsigned t = store->tables; t < count; t++) {
        int rc = mdb_dbi_open(txn, table_names[t], create, &store->dbi[t]);
        if (rc == MDB_NOTFOUND)
            return HONE_ATTEMPT_NEEDS_LOCK;
        if (rc != 0)
            return hone__opening_judge(o, rc, "open the tables of");
        unsigned flags = 0;
        rc = mdb_dbi_flags(txn, store->dbi[t], &flags);
        if (rc != 0)
            return hone__opening_judge(o, rc, "open the tables of");
        if (flags != 0)
            return hone__opening_damaged(o, "its tables have flags that Hone never sets");
    }
    return HONE_ATTEMPT_DONE;
}

/* Who may write needs all of them. */
static unsigned tables_needed(const hone__store *store) {
    return store->writing && !store->read_only ? HONE_TABLE_COUNT : HONE_TABLE_ENTRY + 1;
}

hone__attempt hone__tables_open(hone__opening *o, int fd) {
    MDB_txn *txn;
    int rc = mdb_txn_begin(o->store->env, NULL, MDB_RDONLY, &txn);
    if (rc == EAGAIN && !o->store->read_only) /* the same process id lives in another PID namespace: only writers are told apart */
        return HONE_ATTEMPT_NEEDS_LOCK;
    if (rc == EAGAIN) {
        hone__env_close(o->store);
        rc = hone__env_open_copy(o->store, fd);
        if (rc == 0)
            rc = mdb_txn_begin(o->store->env, NULL, MDB_RDONLY, &txn);
    }
    if (rc != 0)
        return hone__opening_judge(o, rc, "read");
    hone__attempt result = find_tables(o, txn, tables_needed(o->store), 0);
    o->foreign = result == HONE_ATTEMPT_NEEDS_LOCK && is_foreign(txn);
    if (result == HONE_ATTEMPT_DONE)
        result = check_format(o, txn, o->store->dbi[HONE_TABLE_META]);
    if (result != HONE_ATTEMPT_DONE) {
        mdb_txn_abort(txn);
        return result;
    }
    o->store->seen_commit = (uint64_t)mdb_txn_id(txn);
    rc = mdb_txn_commit(txn); /* keeps the table handles */
    o->store->tables = rc == 0 ? tables_needed(o->store) : 0;
    return rc == 0 ? HONE_ATTEMPT_DONE : hone__opening_judge(o, rc, "read");
}

hone_status hone__env_tables(hone__store *store, hone_error *err) {
    hone__opening o = {.store = store, .err = err};
    (void)pthread_rwlock_wrlock(&store->gate); /* LMDB: not while other transactions of the process do the same */
    hone__attempt result = HONE_ATTEMPT_DONE;
    MDB_txn *txn = NULL;
    int rc = store->env == NULL ? MDB_PANIC : 0;
    if (rc == 0 && store->tables < HONE_TABLE_COUNT) {
        rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
        result = rc == 0 ? find_tables(&o, txn, HONE_TABLE_COUNT, 0) : HONE_ATTEMPT_DONE;
        if (rc == 0 && result == HONE_ATTEMPT_DONE)
            rc = mdb_txn_commit(txn);
        else if (rc == 0)
            mdb_txn_abort(txn);
        if (rc == 0 && result == HONE_ATTEMPT_DONE)
            store->tables = HONE_TABLE_COUNT;
    }
    (void)pthread_rwlock_unlock(&store->gate);
    if (rc != 0)
        return hone__mdb_fail(err, store, rc, "read");
    if (result == HONE_ATTEMPT_FAILED)
        return o.status;
    return result == HONE_ATTEMPT_DONE ? HONE_OK : hone__fail(err, HONE_E_CORRUPT, "cache", "%s lacks some of its tables; the next write starts a new file", store->path);
}

static hone_status put_format(hone__store *store, MDB_txn *txn, int *rc) {
    char application[] = "hone", version[] = HONE_VERSION_STRING;
    format_record format = {application, version, HONE_CACHE_VERSION, HONE_CACHE_VERSION, hone__clock_unix_s()};
    hone__buf buf;
    hone__buf_init(&buf, 4096);
    hone_status status = hone__record_encode(&buf, &format_layout, &format, format_slot);
    if (status == HONE_OK) {
        MDB_val key = {format_slot.count, (void *)(uintptr_t)format_slot.bytes}, value = {buf.length, buf.data};
        *rc = mdb_put(txn, store->dbi[HONE_TABLE_META], &key, &value, 0);
    }
    hone__buf_free(&buf);
    return status;
}

hone__attempt hone__tables_make(hone__opening *o) {
    hone__store *store = o->store;
    MDB_txn *txn;
    MDB_dbi root;
    MDB_stat stat = {0};
    int rc = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (rc != 0)
        return hone__opening_judge(o, rc, "write");
    hone__attempt result = HONE_ATTEMPT_DONE;
    rc = mdb_dbi_open(txn, NULL, 0, &root);
    if (rc == 0)
        rc = mdb_stat(txn, root, &stat);
    bool fresh = rc == 0 && stat.ms_entries == 0;
    if (rc != 0)
        result = hone__opening_judge(o, rc, "read");
    else
        result = find_tables(o, txn, HONE_TABLE_COUNT, fresh ? MDB_CREATE : 0);
    if (result == HONE_ATTEMPT_NEEDS_LOCK)
        result = hone__opening_damaged(o, "it is an LMDB file without Hone's tables");
    if (result == HONE_ATTEMPT_DONE && fresh && put_format(store, txn, &rc) != HONE_OK)
        result = hone__opening_failed(o, hone__fail(o->err, HONE_E_NOMEM, "cache", "no memory to make %s", store->path));
    if (result == HONE_ATTEMPT_DONE && rc != 0)
        result = hone__opening_judge(o, rc, "write");
    if (result == HONE_ATTEMPT_DONE)
        result = check_format(o, txn, store->dbi[HONE_TABLE_META]);
    if (result != HONE_ATTEMPT_DONE) {
        mdb_txn_abort(txn);
        return result;
    }
    store->seen_commit = (uint64_t)mdb_txn_id(txn);
    rc = mdb_txn_commit(txn);
    if (rc != 0)
        return hone__opening_judge(o, rc, "write");
    store->tables = HONE_TABLE_COUNT;
    if (fresh)
        hone__folder_sync(store->path); /* LMDB syncs the file and not its name: a power failure could take the whole new cache */
    return HONE_ATTEMPT_DONE;
}
