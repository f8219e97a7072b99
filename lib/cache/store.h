/* store.h: one LMDB environment a file and process, and transactions on it.  Internal to lib/cache: nothing above sees LMDB. */
#ifndef HONE_STORE_H
#define HONE_STORE_H

#include "cache.h"
#include "layout.h"
#include "pack.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

typedef enum hone__table {
    HONE_TABLE_META,
    HONE_TABLE_ENTRY, /* these two are enough for a look-up, and opened first */
    HONE_TABLE_TRIAL,
    HONE_TABLE_CLAIM,
    HONE_TABLE_KERNEL,
    HONE_TABLE_STAT,
    HONE_TABLE_COUNT
} hone__table;

#define HONE_CACHE_VERSION 1u          /* of the file as a whole: tables, slot keys */
#define HONE_CACHE_MAP_BYTES (1ull << 30)
#define HONE_CACHE_MAP_BYTES_MIN (1ull << 20)
#define HONE_CACHE_WAIT_MS 250u
#define HONE_CACHE_READERS 1024u
#define HONE_COUNTERS_MAX 64u
#define HONE_COUNTER_NAME_BYTES 48u

typedef struct hone__counter {
    char name[HONE_COUNTER_NAME_BYTES];
    _Atomic uint64_t pending;          /* counted here and not yet in the file */
} hone__counter;

/* Lock order: registry, side lock, gate.  `gate` is held shared by every transaction of this process and exclusively while the map
 * moves or the environment is replaced, because LMDB does not look for live transactions itself. */
typedef struct hone__store {
    struct hone__store *next;
    _Atomic uint64_t dev, ino;
    uint32_t refs;                     /* under the registry's mutex */
    char *path, *lock_path, *side_path;
    int side_fd;                       /* under `writer`; -1 when read-only */
    pthread_mutex_t writer;            /* the side lock among the threads of this process */
    pthread_rwlock_t gate;
    MDB_env *env;                      /* under `gate`; NULL after a failed reopen */
    MDB_dbi dbi[HONE_TABLE_COUNT];
    atomic_uint tables;                /* so many of them are open, under `gate` */
    atomic_bool broken;                /* LMDB says that the environment is beyond use */
    atomic_bool read_only;
    atomic_bool writing;               /* the environment is, or will be, opened for writing: from the first write on */
    bool durable, allow_network_fs;
    atomic_bool is_copy;               /* the environment is a copy in memory, of state ... */
    _Atomic uint64_t copy_state;
    _Atomic uint64_t look_ns;          /* when to look next at what became of the file */
    uint64_t map_bytes_max;
    atomic_uint commits;
    pthread_mutex_t stamp_mutex;       /* mapping it */
    _Atomic(char *) stamp_region;      /* our own map of the two meta pages (stamp.c), for the life of the store; NULL: nobody needed it yet */
    size_t stamp_page_bytes;           /* of that map */
    _Atomic uint64_t seen_commit;      /* that a transaction of ours has seen: those that begin later see it too */
    char apart[56];                    /* every look-up reads the next one: nothing that is written often may share its line */
    _Atomic uint64_t epoch;            /* changes when the file is opened again: numbers before and after say nothing of each other */
    char also_apart[56];
    pthread_mutex_t counter_names;     /* adding a counter */
    atomic_uint counter_count;
    hone__counter counter[HONE_COUNTERS_MAX];
} hone__store;

struct hone_cache {
    hone__store *store;                /* NULL: packs only */
    pid_t pid;
    bool read_only;
    uint32_t wait_ms;
    uint64_t token;                    /* tells this handle's claims from those of others in the process */
    atomic_uint claims;                /* taken and not dropped */
    hone__pack **pack;                 /* layers under the file, in the order in which they were added (layer.c) */
    uint32_t pack_count;
    hone_recheck recheck;
    pthread_mutex_t sites_mutex;
    hone_site *sites;
    _Atomic(struct hone__wanted *) wanted; /* what a tuner takes from; NULL when none runs */
    struct hone__wanted *old_wanted;   /* of tuners that were stopped */
};

typedef struct hone__txn {
    hone__store *store;
    MDB_txn *txn;
    int rc;                            /* the last LMDB code that was not 0 or MDB_NOTFOUND */
    bool marked;                       /* generation.c: this kernel's generation has been written */
    uint8_t marked_kernel[8];
} hone__txn;

/* Without a call: a fresh process binds each function that it meets. */
static inline void hone__mutex_init(pthread_mutex_t *mutex) {
    const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    *mutex = fresh;
}

/* ---- registry and environment (store_open.c, store_env.c, store_tables.c) ---- */
hone_status hone__store_acquire(hone__store **out, const char *path, const hone_cache_options *options, hone_error *err);
void hone__store_release(hone__store *store);
/* Open the environment.  The caller holds the gate exclusively, or is alone; and the side lock when `locked`. */
hone_status hone__env_open(hone__store *store, bool locked, uint32_t wait_ms, hone_error *err);
void hone__env_close(hone__store *store);
/* Before the first write: open the environment, which so far only reads, for writing too.  The caller holds the side lock and not the gate. */
hone_status hone__env_begin_writing(hone__store *store, hone_error *err);
/* Open the tables that are not yet.  The caller holds neither side lock nor gate. */
hone_status hone__env_tables(hone__store *store, hone_error *err);
/* Close and open again.  The caller holds the side lock and not the gate. */
hone_status hone__store_reopen(hone__store *store, hone_error *err);
/* Has the file at our path been deleted or replaced? */
bool hone__store_replaced(const hone__store *store);
/* Has a reopen failed, or LMDB given up? */
bool hone__store_closed(hone__store *store);

/* ---- paths and trust (store_path.c) ---- */
/* The absolute path with the folder resolved; creates the folder when `create`.  Checks the folder's owner and mode. */
hone_status hone__cache_resolve_path(char **out, const char *path, bool create, hone_error *err);
/* Before something is made beside the cache: no folder is in its place, and the filesystem is safe for LMDB. */
hone_status hone__may_create(const char *path, bool allow_network_fs, hone_error *err);
/* Is an open file on a filesystem that is safe for LMDB?  `path` is the cache's, for the message. */
hone_status hone__check_filesystem(int fd, const char *path, bool allow_network_fs, hone_error *err);
/* Open without following a symbolic link and check owner, mode and kind.  HONE_E_NOTFOUND when absent.  `info`: what fstat says of it. */
hone_status hone__open_trusted(int *fd, struct stat *info, const char *path, int flags, bool read_only, hone_error *err);
/* The lock file must not be opened by us while its environment is open (closing it would drop LMDB's locks): look at it only. */
hone_status hone__check_trusted(const char *path, struct stat *info, bool read_only, hone_error *err);
/* The name of a filesystem that is not safe for LMDB, by statfs' magic number; NULL when it is fine. */
const char *hone__netfs_name(uint64_t magic);

/* ---- looking at a file before LMDB does (store_check.c, store_walk.c) ---- */
/* Does the file begin as LMDB's do, or with nothing but zeros? */
bool hone__file_has_magic(int fd);
typedef enum hone__file_state { HONE_FILE_NEW, HONE_FILE_SOUND, HONE_FILE_DAMAGED, HONE_FILE_UNREADABLE /* errno says why */ } hone__file_state;
hone__file_state hone__file_check(int fd, char *reason, size_t reason_bytes);
/* The same for a file of which fstat has just said `info` (renewed when the file changes meanwhile). */
hone__file_state hone__file_check_opened(int fd, struct stat *info, char *reason, size_t reason_bytes);
/* The same, following every page however large the file is. */
hone__file_state hone__file_check_whole(int fd, char *reason, size_t reason_bytes);

/* The number of the newest transaction of an open file; false when there is no sound meta page. */
bool hone__file_state_number(int fd, uint64_t *state);
/* A copy in memory (*out is its descriptor) of the newest state of an open file; 0, or an errno or LMDB code. */
int hone__snapshot_make(int fd, uint64_t bytes_max, int *out, uint64_t *state);

/* ---- the side lock (store_lock.c) ---- */
hone_status hone__side_open(hone__store *store, hone_error *err);
hone_status hone__side_lock(hone__store *store, uint32_t wait_ms, hone_error *err);
void hone__side_unlock(hone__store *store);
/* Does the side file say that the present lock file belongs to this data file and to our C library? */
hone_status hone__side_match(const hone__store *store, uint64_t ino, bool *match, hone_error *err);
/* For a reader that has no side file open: may the lock file serve this data file?  Not when the side file names another. */
bool hone__side_serves(const hone__store *store, uint64_t ino);
/* Under the lock: drop a lock file that belongs to another data file, and say whose the next one is (0: nobody's). */
hone_status hone__side_adopt(hone__store *store, uint64_t ino, hone_error *err);

/* ---- transactions (store_txn.c) ---- */
/* What runs inside a transaction.  It MUST be repeatable: it runs again after the map has grown. */
typedef hone_status hone__txn_fn(hone__txn *txn, void *user, hone_error *err);
hone_status hone__store_read(const hone_cache *cache, hone__txn_fn *fn, void *user, hone_error *err);
/* The same for who reads entries only. */
hone_status hone__store_read_entries(const hone_cache *cache, hone__txn_fn *fn, void *user, hone_error *err);
/* Commits when `fn` returns HONE_OK. */
hone_status hone__store_write(hone_cache *cache, hone__txn_fn *fn, void *user, hone_error *err);
hone_status hone__txn_get(hone__txn *txn, hone__table table, hone__slot_key slot, MDB_val *out);
hone_status hone__txn_put(hone__txn *txn, hone__table table, hone__slot_key slot, const void *bytes, size_t count);
/* For a slot above all others in the table; else HONE_E_EXISTS. */
hone_status hone__txn_append(hone__txn *txn, hone__table table, hone__slot_key slot, const void *bytes, size_t count);
hone_status hone__txn_delete(hone__txn *txn, hone__table table, hone__slot_key slot);
/* The entry of a key, decoded (cache.c). */
hone_status hone__txn_entry(hone__txn *txn, const hone__key *key, hone__entry *out);
/* Walk slots from the first not below `from` (NULL: from the start): HONE_E_NOTFOUND at the end. */
hone_status hone__txn_cursor(hone__txn *txn, hone__table table, MDB_cursor **out);
hone_status hone__cursor_seek(hone__txn *txn, MDB_cursor *cursor, hone__slot_key from, MDB_val *key, MDB_val *value);
hone_status hone__cursor_next(hone__txn *txn, MDB_cursor *cursor, MDB_val *key, MDB_val *value);
/* Does any slot of the table begin so, and go on? */
hone_status hone__txn_has_prefix(hone__txn *txn, hone__table table, hone__slot_key prefix, bool *found);

/* Which part of the map a walk has looked at. */
typedef struct hone__seen {
    uintptr_t low, high;
} hone__seen;
static inline void hone__seen_add(hone__seen *seen, MDB_val value) {
    uintptr_t at = (uintptr_t)value.mv_data;
    seen->low = seen->low == 0 || at < seen->low ? at : seen->low;
    seen->high = at + value.mv_size > seen->high ? at + value.mv_size : seen->high;
}
/* A walk over everything would make the whole file resident in our process: let go of what has been looked at.  Only in a read transaction,
 * whose values all lie in the map and which keeps the map in its place. */
void hone__txn_forget(const hone__seen *seen);

/* ---- LMDB's codes (mdb_errors.c) ---- */
hone_status hone__mdb_status(int code);
/* The same with a message that names the file and the way out. */
hone_status hone__mdb_fail(hone_error *err, const hone__store *store, int code, const char *verb);

/* ---- counters (counter.c) ---- */
/* Inside a write transaction: add what is pending; `taken` holds what to subtract once it is committed. */
hone_status hone__counters_store(hone__txn *txn, uint64_t taken[HONE_COUNTERS_MAX]);
void hone__counters_stored(hone__store *store, const uint64_t taken[HONE_COUNTERS_MAX]);
bool hone__counters_pending(const hone__store *store);
void hone__store_count(hone__store *store, const char *counter, uint64_t add);
/* One counter of the file; false when the record is damaged. */
bool hone__counter_decode(MDB_val key, MDB_val value, char name[HONE_COUNTER_NAME_BYTES], uint64_t *count);

/* ---- noticing commits (stamp.c, generation.c) ---- */
/* Where the numbers of the last commits are: the larger one is that of the last.  False: there is no memory for the map, or nothing open. */
bool hone__stamp_need(hone__store *store, const _Atomic uint64_t *stamp[2]);
/* Another file has been opened: its meta pages take the place of the old one's.  The caller is alone with the store or holds the gate.
 * Errors: HONE_E_NOMEM. */
hone_status hone__stamp_move(hone__store *store);
void hone__stamp_release(hone__store *store);
/* Inside a write transaction: an entry under this slot key is changed.  hone__txn_put and hone__txn_delete call it. */
hone_status hone__generation_mark(hone__txn *txn, hone__slot_key entry_slot);
/* Differs from an earlier reading when an entry of the kernel may have changed since. */
uint64_t hone__generation_read(hone__txn *txn, const uint8_t kernel_id[16]);
/* Is the record that of a generation? */
hone_status hone__generation_check(hone__slot_key slot, MDB_val value);

/* ---- claims (claim.c) ---- */
void hone__claims_drop_all(hone_cache *cache);
hone_status hone__claim_check(hone__slot_key slot, MDB_val value);
/* Has its owner died, has it expired, or is it damaged? */
bool hone__claim_is_dead(hone__slot_key slot, MDB_val value);

/* Is the record that of a note? */
hone_status hone__note_check(hone__slot_key slot, MDB_val value);

/* HONE_E_FORKED in a child of the process that opened, HONE_E_ARG without a cache. */
hone_status hone__cache_usable(const hone_cache *cache, hone_error *err);
/* The same, and HONE_E_PERM when it was opened read-only. */
hone_status hone__cache_writable(const hone_cache *cache, hone_error *err);

#endif
