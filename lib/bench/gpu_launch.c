/* gpu_launch.c: launch geometry as requests carry it, and what a device can launch at all, which is known before anything is compiled. */
#include "gpu_internal.h"

#include <stdio.h>

static bool read_extents(const cJSON *launch, const char *name, bool required, uint32_t out[3]) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(launch, name);
    int count = cJSON_GetArraySize(list);
    for (int i = 0; i < 3; i++)
        out[i] = 1;
    if (!cJSON_IsArray(list) || count == 0)
        return !required && (list == NULL || cJSON_IsArray(list));
    if (count > 3)
        return false;
    uint32_t i = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        int64_t value = 0;
        if (!hone__json_int(item, &value) || value < 1 || value > INT32_MAX)
            return false;
        out[i++] = (uint32_t)value;
    }
    return true;
}

bool hone__gpu_launch_read(const cJSON *item, hone__gpu_launch *launch) {
    *launch = (hone__gpu_launch){.shared_bytes = 0};
    const cJSON *shared = cJSON_GetObjectItemCaseSensitive(item, "shared_bytes");
    int64_t bytes = 0;
    if (!cJSON_IsObject(item) || !read_extents(item, "grid", true, launch->grid) || !read_extents(item, "block", true, launch->block) ||
        !read_extents(item, "cluster", false, launch->cluster))
        return false;
    if (cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(item, "cluster")) == 0)
        launch->cluster[0] = 0;
    if (shared != NULL && (!hone__json_int(shared, &bytes) || bytes < 0 || bytes > INT32_MAX))
        return false;
    launch->shared_bytes = (uint32_t)bytes;
    launch->cooperative = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "cooperative")) ? 1 : 0;
    return true;
}

void hone__gpu_launch_print(hone__buf *buf, const hone__gpu_launch *launch) {
    hone__buf_printf(buf, "{\"grid\":[%u,%u,%u],\"block\":[%u,%u,%u],\"cluster\":[", launch->grid[0], launch->grid[1], launch->grid[2],
                     launch->block[0], launch->block[1], launch->block[2]);
    if (launch->cluster[0] > 0)
        hone__buf_printf(buf, "%u,%u,%u", launch->cluster[0], launch->cluster[1], launch->cluster[2]);
    hone__buf_printf(buf, "],\"shared_bytes\":%u%s}", launch->shared_bytes, launch->cooperative ? ",\"cooperative\":true" : "");
}

bool hone__gpu_launch_fits(const hone__gpu_limits *limits, const hone__gpu_launch *launch, char *why, size_t bytes) {
    static const char axis[] = "xyz";
    uint64_t threads = (uint64_t)launch->block[0] * launch->block[1];
    threads = threads > UINT32_MAX ? threads : threads * launch->block[2];
    if (threads > (uint64_t)limits->threads) {
        (void)snprintf(why, bytes, "the block has %llu threads of at most %lld", (unsigned long long)threads, (long long)limits->threads);
        return false;
    }
    for (int i = 0; i < 3; i++) {
        if (launch->block[i] > limits->block[i] || launch->grid[i] > limits->grid[i]) {
            bool block = launch->block[i] > limits->block[i];
            (void)snprintf(why, bytes, "%s %c is %u of at most %lld", block ? "block" : "grid", axis[i], block ? launch->block[i] : launch->grid[i],
                           (long long)(block ? limits->block[i] : limits->grid[i]));
            return false;
        }
    }
    if (launch->shared_bytes > limits->shared_bytes) {
        (void)snprintf(why, bytes, "%u bytes of dynamic shared memory of at most %lld", launch->shared_bytes, (long long)limits->shared_bytes);
        return false;
    }
    if (launch->cluster[0] == 0)
        return true;
    if (limits->clusters == 0) {
        (void)snprintf(why, bytes, "this device has no clusters of blocks");
        return false;
    }
    uint64_t blocks = (uint64_t)launch->cluster[0] * launch->cluster[1] * (launch->cluster[2] < 65536 ? launch->cluster[2] : 65536);
    if (blocks > 16) {
        (void)snprintf(why, bytes, "the cluster has %llu blocks of at most 16", (unsigned long long)blocks);
        return false;
    }
    for (int i = 0; i < 3; i++) {
        if (launch->grid[i] % launch->cluster[i] != 0) {
            (void)snprintf(why, bytes, "grid %c, %u, is no multiple of the cluster's %u", axis[i], launch->grid[i], launch->cluster[i]);
            return false;
        }
    }
    return true;
}
