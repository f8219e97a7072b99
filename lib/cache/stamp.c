/* stamp.c: the number of the file's last commit, without a call into the kernel or into LMDB: both meta pages are mapped a second time, by us,
 * because LMDB moves its own map when the file grows.  The address stays for the life of the store: a reopened file is mapped over it. */
#define _GNU_SOURCE
#include "store.h"

#include <sys/mman.h>
#include <unistd.h>

enum { AT_TXN = 144, AT_PAGE_BYTES = 40, PAGE_BYTES_MAX = 65536 };

static size_t page_bytes_here(void) {
    long page = sysconf(_SC_PAGESIZE);
    return page < 4096 || page > PAGE_BYTES_MAX ? 4096 : (size_t)page;
}

hone_status hone__stamp_map(hone__store *store, int fd, uint64_t file_bytes) {
    const size_t page = store->stamp_region == NULL ? page_bytes_here() : store->stamp_page_bytes;
    const int fixed = store->stamp_region == NULL ? 0 : MAP_FIXED;
    void *mapped = MAP_FAILED;
    uint32_t page_bytes = 0;
    bool sound = !store->is_copy && file_bytes >= 2 * page && /* beyond the end of a file there is SIGBUS */
                 pread(fd, &page_bytes, sizeof page_bytes, AT_PAGE_BYTES) == (ssize_t)sizeof page_bytes && page_bytes == page;
    if (sound)
        mapped = mmap(store->stamp_region, 2 * page, PROT_READ, MAP_SHARED | fixed, fd, 0);
    if (mapped == MAP_FAILED) /* zero pages: a stamp that never changes */
        mapped = mmap(store->stamp_region, 2 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
    if (mapped == MAP_FAILED)
        return HONE_E_NOMEM;
    if (store->stamp_region == NULL) { /* others may be reading these later on */
        store->stamp_region = mapped;
        store->stamp_page_bytes = page;
        store->stamp[0] = (const _Atomic uint64_t *)(const void *)((const char *)mapped + AT_TXN);
        store->stamp[1] = (const _Atomic uint64_t *)(const void *)((const char *)mapped + page + AT_TXN);
    }
    atomic_fetch_add(&store->epoch, 1);
    return HONE_OK;
}

void hone__stamp_release(hone__store *store) {
    if (store->stamp_region != NULL)
        (void)munmap(store->stamp_region, 2 * store->stamp_page_bytes);
    store->stamp_region = NULL;
}
