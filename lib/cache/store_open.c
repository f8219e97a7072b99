/* store_open.c: the registry of environments.  LMDB must not open a file twice in one process (closing one drops the locks of the
 * other), so handles share: by path, and by inode where two paths lead to one file. */
#define _GNU_SOURCE
#include "alloc.h"
#include "status.h"
#include "store.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static hone__store *registry;
static _Atomic pid_t registry_pid;

/* A forked child inherits the registry, but must not touch what is in it; nor the mutex, which may have been held. */
static void registry_lock(void) {
    pid_t now = getpid(), was = registry_pid;
    if (was != now && was != 0 && atomic_compare_exchange_strong(&registry_pid, &was, now)) {
        hone__mutex_init(&registry_mutex);
        registry = NULL;
    }
    registry_pid = now;
    (void)pthread_mutex_lock(&registry_mutex);
}

bool hone__store_replaced(const hone__store *store) {
    struct stat info;
    if (lstat(store->path, &info) != 0)
        return true;
    return (uint64_t)info.st_ino != store->ino || (uint64_t)info.st_dev != store->dev;
}

bool hone__store_closed(hone__store *store) {
    (void)pthread_rwlock_rdlock(&store->gate);
    bool closed = store->env == NULL;
    (void)pthread_rwlock_unlock(&store->gate);
    return closed || store->broken;
}

static char *with_suffix(const char *path, const char *suffix) {
    size_t bytes = strlen(path) + strlen(suffix) + 1;
    char *text = hone__alloc(bytes);
    if (text != NULL) {
        memcpy(text, path, strlen(path));
        memcpy(text + strlen(path), suffix, strlen(suffix));
    }
    return text;
}

static void store_free(hone__store *store) {
    hone__env_close(store);
    hone__stamp_release(store);
    if (store->side_fd >= 0)
        (void)close(store->side_fd);
    (void)pthread_mutex_destroy(&store->writer);
    (void)pthread_mutex_destroy(&store->counter_names);
    (void)pthread_mutex_destroy(&store->stamp_mutex);
    (void)pthread_rwlock_destroy(&store->gate);
    hone__free(store->path);
    hone__free(store->lock_path);
    hone__free(store->side_path);
    hone__free(store);
}

static void gate_init(pthread_rwlock_t *gate) {
#ifdef __GLIBC__
    /* Else a stream of readers keeps the one that wants to move the map waiting for ever.  By value: an attribute takes four calls. */
    const pthread_rwlock_t writers_first = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
    *gate = writers_first;
#else
    (void)pthread_rwlock_init(gate, NULL);
#endif
}

static uint32_t wait_ms_of(const hone_cache_options *options) {
    return options->writer_wait_ms == 0 ? HONE_CACHE_WAIT_MS : options->writer_wait_ms;
}

static hone_status store_new(hone__store **out, const char *path, const hone_cache_options *options, hone_error *err) {
    hone__store *store = hone__alloc(sizeof *store);
    if (store == NULL)
        return hone__fail(err, HONE_E_NOMEM, "cache", "no memory to open %s", path);
    store->side_fd = -1;
    store->refs = 1;
    store->read_only = options->read_only != 0;
    store->durable = options->durable != 0;
    store->allow_network_fs = options->allow_network_fs != 0;
    store->map_bytes_max = options->map_bytes_max == 0 ? HONE_CACHE_MAP_BYTES : options->map_bytes_max;
    if (store->map_bytes_max < HONE_CACHE_MAP_BYTES_MIN)
        store->map_bytes_max = HONE_CACHE_MAP_BYTES_MIN;
    store->map_bytes_max &= ~65535ull; /* a multiple of every page size */
    hone__mutex_init(&store->writer);
    hone__mutex_init(&store->counter_names);
    hone__mutex_init(&store->stamp_mutex);
    gate_init(&store->gate);
    store->path = hone__strdup(path);
    store->lock_path = with_suffix(path, "-lock");
    store->side_path = with_suffix(path, ".wlock");
    hone_status status = HONE_OK;
    if (store->path == NULL || store->lock_path == NULL || store->side_path == NULL)
        status = hone__fail(err, HONE_E_NOMEM, "cache", "no memory to open %s", path);
    if (status == HONE_OK && !store->read_only)
        status = hone__side_open(store, err);
    if (status == HONE_OK)
        status = hone__env_open(store, false, wait_ms_of(options), err);
    if (status != HONE_OK) {
        store_free(store);
        return status;
    }
    *out = store;
    return HONE_OK;
}

/* The caller holds the side lock. */
hone_status hone__store_reopen(hone__store *store, hone_error *err) {
    (void)pthread_rwlock_wrlock(&store->gate);
    hone__env_close(store);
    hone_status status = hone__env_open(store, true, 0, err);
    (void)pthread_rwlock_unlock(&store->gate);
    return status;
}

/* Close and open again without waiting: for a gate that is held exclusively. */
static hone_status reopen_at_once(hone__store *store, hone_error *err) {
    (void)pthread_rwlock_wrlock(&store->gate);
    hone__env_close(store);
    hone_status status = hone__env_open(store, false, 0, err);
    (void)pthread_rwlock_unlock(&store->gate);
    return status;
}

/* A handle that may write wants a store that was opened for reading only. */
static hone_status make_writable(hone__store *store, const hone_cache_options *options, hone_error *err) {
    (void)pthread_mutex_lock(&store->writer); /* a read-only store has no other half of the side lock */
    store->read_only = false;
    hone_status status = hone__side_open(store, err);
    (void)pthread_mutex_unlock(&store->writer);
    if (status == HONE_OK)
        status = reopen_at_once(store, err);
    if (status == HONE_E_BUSY) { /* it does need the side lock, for which nobody may wait inside the gate */
        status = hone__side_lock(store, wait_ms_of(options), err);
        if (status == HONE_OK) {
            status = hone__store_reopen(store, err);
            hone__side_unlock(store);
        }
    }
    if (status != HONE_OK) {
        (void)pthread_mutex_lock(&store->writer);
        store->read_only = true;
        (void)pthread_mutex_unlock(&store->writer);
        (void)reopen_at_once(store, NULL); /* failing that, the next use tries again */
    }
    return status;
}

/* Bring a store that is open already up to what a further handle wants. */
static hone_status share(hone__store *store, const hone_cache_options *options, hone_error *err) {
    if (store->read_only && options->read_only == 0)
        HONE_TRY(make_writable(store, options, err));
    if (hone__store_replaced(store) || hone__store_closed(store)) {
        HONE_TRY(hone__side_lock(store, wait_ms_of(options), err));
        hone_status status = hone__store_reopen(store, err);
        hone__side_unlock(store);
        HONE_TRY(status);
    }
    if (options->durable != 0 && !store->durable) {
        (void)pthread_rwlock_wrlock(&store->gate);
        store->durable = true;
        if (store->env != NULL)
            (void)mdb_env_set_flags(store->env, MDB_NOMETASYNC, 0);
        (void)pthread_rwlock_unlock(&store->gate);
    }
    store->refs++;
    return HONE_OK;
}

static hone__store *find(const char *path) {
    struct stat info;
    bool exists = registry != NULL && lstat(path, &info) == 0;
    for (hone__store *store = registry; store != NULL; store = store->next) {
        if (strcmp(store->path, path) == 0)
            return store;
        if (exists && (uint64_t)info.st_ino == store->ino && (uint64_t)info.st_dev == store->dev)
            return store;
    }
    return NULL;
}

hone_status hone__store_acquire(hone__store **out, const char *path, const hone_cache_options *options, hone_error *err) {
    *out = NULL;
    registry_lock();
    hone__store *store = find(path);
    hone_status status;
    if (store != NULL) {
        status = share(store, options, err);
    } else {
        status = store_new(&store, path, options, err);
        if (status == HONE_OK && store != NULL) {
            store->next = registry;
            registry = store;
        }
    }
    (void)pthread_mutex_unlock(&registry_mutex);
    if (status == HONE_OK)
        *out = store;
    return status;
}

void hone__store_release(hone__store *store) {
    registry_lock();
    bool last = --store->refs == 0;
    if (last) {
        hone__store **link = &registry;
        while (*link != NULL && *link != store)
            link = &(*link)->next;
        if (*link == store)
            *link = store->next;
        store_free(store); /* under the mutex: nobody may open the file while it is being closed */
    }
    (void)pthread_mutex_unlock(&registry_mutex);
}
