/* versions.h: which other versions of a kernel a cache and its packs know. */
#ifndef HONE_VERSIONS_H
#define HONE_VERSIONS_H

#include "layer.h"

#define HONE_VERSIONS_MAX 16u

typedef struct hone__version {
    uint8_t id[16];
    uint64_t entries;
} hone__version;

typedef struct hone__versions {
    const hone_kernel *kernel;
    hone__version found[HONE_VERSIONS_MAX];
    uint32_t count;
} hone__versions;

/* Kernels of the same name and another id.  Looks at one entry of each kernel and device, and counts the others without looking at them: a million
 * entries take no time worth mentioning.  What a damaged record or layer hides is passed over. */
void hone__versions_find(hone__versions *out, const hone_cache *cache, const hone_kernel *kernel);

#endif
