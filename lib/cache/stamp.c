/* stamp.c: the number of the file's last commit, without a call into the kernel or into LMDB: both meta pages are mapped a second time, by us,
 * because LMDB moves its own map when the file grows.  Mapped when a site first needs it; from then on the address stays for the life of the store:
 * a reopened file is mapped over it. */
#define _GNU_SOURCE
#include "store.h"

#include <sys/mman.h>

enum { AT_TXN = 144, USUAL_PAGE_BYTES = 4096 };

static size_t page_bytes_of(const hone__store *store) {
    MDB_stat stat;
    return mdb_env_stat(store->env, &stat) == 0 ? stat.ms_psize : USUAL_PAGE_BYTES;
}

/* Two pages of the open file, at `where` unless that is NULL.  The gate is held. */
static void *map_pages(const hone__store *store, void *where, size_t page_bytes) {
    const int fixed = where == NULL ? 0 : MAP_FIXED;
    void *mapped = MAP_FAILED;
    struct stat info;
    int fd;
    if (!store->is_copy && mdb_env_get_fd(store->env, &fd) == 0 && page_bytes_of(store) == page_bytes && fstat(fd, &info) == 0 &&
        (uint64_t)info.st_size >= 2 * page_bytes) /* beyond the end of a file there is SIGBUS */
        mapped = mmap(where, 2 * page_bytes, PROT_READ, MAP_SHARED | fixed, fd, 0);
    if (mapped == MAP_FAILED) /* zero pages: a stamp that never changes */
        mapped = mmap(where, 2 * page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
    return mapped;
}

bool hone__stamp_need(hone__store *store, const _Atomic uint64_t *stamp[2]) {
    char *region = atomic_load(&store->stamp_region);
    if (region == NULL) {
        (void)pthread_rwlock_rdlock(&store->gate);
        (void)pthread_mutex_lock(&store->stamp_mutex);
        region = atomic_load(&store->stamp_region);
        void *mapped = MAP_FAILED;
        if (region == NULL && store->env != NULL) {
            store->stamp_page_bytes = page_bytes_of(store);
            mapped = map_pages(store, NULL, store->stamp_page_bytes);
        }
        if (mapped != MAP_FAILED)
            atomic_store(&store->stamp_region, region = mapped);
        (void)pthread_mutex_unlock(&store->stamp_mutex);
        (void)pthread_rwlock_unlock(&store->gate);
    }
    if (region == NULL)
        return false;
    stamp[0] = (const _Atomic uint64_t *)(const void *)(region + AT_TXN);
    stamp[1] = (const _Atomic uint64_t *)(const void *)(region + store->stamp_page_bytes + AT_TXN);
    return true;
}

hone_status hone__stamp_move(hone__store *store) {
    char *region = atomic_load(&store->stamp_region);
    return region == NULL || map_pages(store, region, store->stamp_page_bytes) != MAP_FAILED ? HONE_OK : HONE_E_NOMEM;
}

void hone__stamp_release(hone__store *store) {
    if (store->stamp_region != NULL)
        (void)munmap(store->stamp_region, 2 * store->stamp_page_bytes);
    store->stamp_region = NULL;
}
