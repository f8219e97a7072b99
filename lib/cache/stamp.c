/* stamp.c: the number of the file's last commit, without a call into the kernel or into LMDB: both meta pages are mapped a second time, by us,
 * because LMDB moves its own map when the file grows.  The address stays for the life of the store: a reopened file is mapped over it. */
#define _GNU_SOURCE
#include "store.h"

#include <sys/mman.h>
#include <unistd.h>

enum { AT_TXN = 144, PAGE_BYTES_MAX = 65536, REGION_BYTES = 2 * PAGE_BYTES_MAX };

hone_status hone__stamp_reserve(hone__store *store) {
    /* Zero pages until there is a file: a stamp that never changes. */
    void *region = mmap(NULL, REGION_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED)
        return HONE_E_NOMEM;
    long page = sysconf(_SC_PAGESIZE);
    size_t page_bytes = page < 4096 || page > PAGE_BYTES_MAX ? 4096 : (size_t)page;
    store->stamp_region = region;
    store->stamp_page_bytes = page_bytes;
    store->stamp[0] = (const _Atomic uint64_t *)(const void *)((const char *)region + AT_TXN);
    store->stamp[1] = (const _Atomic uint64_t *)(const void *)((const char *)region + page_bytes + AT_TXN);
    return HONE_OK;
}

void hone__stamp_map(hone__store *store, int fd, uint64_t file_bytes) {
    void *mapped = MAP_FAILED;
    uint32_t page_bytes = 0;
    bool sound = pread(fd, &page_bytes, sizeof page_bytes, 40) == (ssize_t)sizeof page_bytes && page_bytes == store->stamp_page_bytes &&
                 file_bytes >= 2 * store->stamp_page_bytes; /* beyond the end of a file there is SIGBUS */
    if (sound && !store->is_copy)
        mapped = mmap(store->stamp_region, 2 * store->stamp_page_bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
    if (mapped == MAP_FAILED)
        (void)mmap(store->stamp_region, 2 * store->stamp_page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    atomic_fetch_add(&store->epoch, 1);
}

void hone__stamp_release(hone__store *store) {
    if (store->stamp_region != NULL)
        (void)munmap(store->stamp_region, REGION_BYTES);
    store->stamp_region = NULL;
}
