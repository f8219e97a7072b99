/* layer.c: packs under a cache. */
#include "layer.h"
#include "alloc.h"
#include "options.h"
#include "sign.h"
#include "site.h"
#include "status.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- opening ---- */

static hone_status check_policy(const hone_pack_options *options, const char *name, hone_error *err) {
    if (options->trust == NULL)
        return hone__fail(err, HONE_E_ARG, "pack", "%s: a signature is required, and no file of trusted keys is named", name);
    return HONE_OK;
}

static hone_pack_options without_signature(const hone_pack_options *options) {
    hone_pack_options plain = *options;
    plain.require_signature = 0;
    return plain;
}

/* The whole file in memory of our own: nobody can change it between the check and its use. */
static hone_status read_whole(const char *path, uint64_t max, uint8_t **bytes, size_t *count, hone_error *err) {
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &info) != 0) {
        int code = errno;
        if (fd >= 0)
            (void)close(fd);
        return hone__fail_os(err, hone__status_of_errno(code), "pack", code, "cannot open %s: %s", path, strerror(code));
    }
    hone_status status = HONE_OK;
    if (!S_ISREG(info.st_mode))
        status = hone__fail(err, HONE_E_IO, "pack", "%s is not a regular file", path);
    else if ((uint64_t)info.st_size > max)
        status = hone__fail(err, HONE_E_LIMIT, "pack", "%s has %lld bytes; a signed pack is read into memory, at most memory_bytes_max = %llu", path,
                            (long long)info.st_size, (unsigned long long)max);
    else if ((*bytes = hone__alloc((size_t)info.st_size + 1)) == NULL)
        status = hone__fail(err, HONE_E_NOMEM, "pack", "no memory to read %s", path);
    for (*count = 0; status == HONE_OK && *count < (size_t)info.st_size;) {
        ssize_t got = read(fd, *bytes + *count, (size_t)info.st_size - *count);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            status = hone__fail(err, HONE_E_IO, "pack", "%s could not be read to its end", path);
        else
            *count += (size_t)got;
    }
    (void)close(fd);
    return status;
}

static hone_status open_signed(hone__pack **out, const char *path, const hone_pack_options *options, hone_error *err) {
    uint8_t *bytes = NULL;
    size_t count = 0;
    char signer[33];
    HONE_TRY(check_policy(options, path, err));
    uint64_t max = options->memory_bytes_max == 0 ? HONE_PACK_MEMORY_MAX : options->memory_bytes_max;
    hone_status status = read_whole(path, max, &bytes, &count, err);
    if (status == HONE_OK)
        status = hone__signature_check_bytes(bytes, count, path, options->signature, options->trust, signer, err);
    hone_pack_options plain = without_signature(options);
    if (status == HONE_OK)
        status = hone__pack_open_memory(out, path, bytes, count, &plain, err);
    if (status != HONE_OK) {
        hone__free(bytes);
        return status;
    }
    hone__pack_own(*out, bytes);
    hone__pack_set_signer(*out, signer);
    return HONE_OK;
}

hone_status hone__layer_open(hone__pack **out, const char *path, const hone_pack_options *options, hone_error *err) {
    *out = NULL;
    if (path == NULL)
        return hone__fail(err, HONE_E_ARG, "pack", "no path of a pack was given");
    hone_pack_options o = HONE_PACK_OPTIONS_INIT;
    HONE_TRY(hone__options_read(&o, sizeof o, options, "hone_pack_options", err));
    return o.require_signature != 0 ? open_signed(out, path, &o, err) : hone__pack_open(out, path, &o, err);
}

/* ---- adding ---- */

static hone_status append(hone_cache *cache, hone__pack *pack, hone_error *err) {
    hone__pack **grown = hone__realloc(cache->pack, (cache->pack_count + 1) * sizeof(hone__pack *));
    if (grown == NULL)
        return hone__fail(err, HONE_E_NOMEM, "cache", "no memory to add %s", hone__pack_path(pack));
    cache->pack = grown;
    cache->pack[cache->pack_count++] = pack;
    return HONE_OK;
}

static hone_status add(hone_cache *cache, hone__pack *pack, hone_error *err) {
    hone__wanted *wanted = atomic_load(&cache->wanted);
    hone_status status = wanted == NULL ? HONE_OK : hone__wanted_layer(wanted, pack, err);
    if (status == HONE_OK)
        status = append(cache, pack, err);
    if (status == HONE_OK)
        hone__sites_layer_added(cache);
    else
        hone__pack_close(pack);
    return status;
}

hone_status hone__layers_lend(hone_cache *to, hone__pack *const *pack, uint32_t count, bool own_bytes, hone_error *err) {
    for (uint32_t i = 0; i < count; i++) {
        hone__pack *held;
        HONE_TRY(hone__pack_hold(&held, pack[i], own_bytes, err));
        hone_status status = append(to, held, err);
        if (status != HONE_OK) {
            hone__pack_close(held);
            return status;
        }
    }
    return HONE_OK;
}

static hone_status check_room(const hone_cache *cache, hone_error *err) {
    if (cache == NULL)
        return hone__fail(err, HONE_E_ARG, "cache", "no cache was given");
    if (cache->pack_count >= HONE_LAYERS_MAX)
        return hone__fail(err, HONE_E_LIMIT, "cache", "at most %u packs lie under a cache; merge some of them", HONE_LAYERS_MAX);
    return HONE_OK;
}

hone_status hone_cache_add_pack(hone_cache *cache, const char *path, const hone_pack_options *options, hone_error *err) {
    hone__pack *pack;
    HONE_TRY(check_room(cache, err));
    HONE_TRY(hone__layer_open(&pack, path, options, err));
    return add(cache, pack, err);
}

hone_status hone_cache_add_pack_memory(hone_cache *cache, const char *name, const void *bytes, size_t count, const hone_pack_options *options,
                                       hone_error *err) {
    hone__pack *pack = NULL;
    char signer[33];
    HONE_TRY(check_room(cache, err));
    if (name == NULL || bytes == NULL)
        return hone__fail(err, HONE_E_ARG, "pack", "a pack in memory needs a name and bytes");
    hone_pack_options o = HONE_PACK_OPTIONS_INIT;
    HONE_TRY(hone__options_read(&o, sizeof o, options, "hone_pack_options", err));
    if (o.require_signature != 0) {
        HONE_TRY(check_policy(&o, name, err));
        if (o.signature == NULL)
            return hone__fail(err, HONE_E_ARG, "pack", "%s: the signature of a pack in memory must be named", name);
        HONE_TRY(hone__signature_check_bytes(bytes, count, name, o.signature, o.trust, signer, err));
    }
    hone_pack_options plain = without_signature(&o);
    HONE_TRY(hone__pack_open_memory(&pack, name, bytes, count, &plain, err));
    if (o.require_signature != 0)
        hone__pack_set_signer(pack, signer);
    return add(cache, pack, err);
}

/* ---- asking ---- */

uint32_t hone__layer_count(const hone_cache *cache) {
    return cache == NULL ? 0 : (cache->store != NULL ? 1 : 0) + cache->pack_count;
}

const hone__pack *hone__layer_pack(const hone_cache *cache, uint32_t layer) {
    uint32_t own = cache->store != NULL ? 1 : 0;
    return layer < own ? NULL : cache->pack[layer - own];
}

const char *hone__layer_name(const hone_cache *cache, uint32_t layer) {
    const hone__pack *pack = hone__layer_pack(cache, layer);
    return pack == NULL ? hone_cache_path(cache) : hone__pack_path(pack);
}

hone_status hone__layer_get(const hone_cache *cache, uint32_t layer, const hone__key *key, hone__entry *out, hone_error *err) {
    const hone__pack *pack = hone__layer_pack(cache, layer);
    return pack == NULL ? hone__cache_get(cache, key, out, err) : hone__pack_get(pack, key, out, err);
}

hone_status hone__layers_get(const hone_cache *cache, const hone__key *key, hone__entry *out, hone_error *err) {
    hone_status result = hone__fail(err, HONE_E_NOTFOUND, "cache", "no entry for this key");
    for (uint32_t layer = 0; layer < hone__layer_count(cache); layer++) {
        hone__entry entry;
        hone_error why;
        hone_status status = hone__layer_get(cache, layer, key, &entry, &why);
        if (status == HONE_OK && (result != HONE_OK || hone__entry_compare(&entry, out) < 0)) {
            if (result == HONE_OK)
                hone__entry_clear(out);
            *out = entry;
            result = HONE_OK;
        } else if (status == HONE_OK) {
            hone__entry_clear(&entry);
        } else if (result != HONE_OK && status != HONE_E_NOTFOUND) {
            result = status;
            if (err != NULL)
                *err = why;
        }
    }
    return result;
}

hone_status hone__layer_of_kernel(const hone_cache *cache, uint32_t layer, const uint8_t kernel_id[16], uint32_t max, hone__entry **out,
                                  uint32_t *count, hone_error *err) {
    uint32_t damaged = 0;
    const hone__pack *pack = hone__layer_pack(cache, layer);
    if (pack == NULL)
        return hone__cache_of_kernel(cache, kernel_id, max, out, count, err);
    HONE_TRY(hone__pack_of_kernel(pack, kernel_id, max, out, count, &damaged, err));
    if (damaged > 0)
        hone__cache_count(cache, "miss_corrupt", damaged);
    return HONE_OK;
}

hone_status hone__layers_get_kernel(const hone_cache *cache, const uint8_t id[16], hone__kernel_info *out, hone_error *err) {
    hone_status status = HONE_E_NOTFOUND;
    for (uint32_t layer = 0; layer < hone__layer_count(cache) && status != HONE_OK; layer++) {
        const hone__pack *pack = hone__layer_pack(cache, layer);
        status = pack == NULL ? hone__cache_get_kernel(cache, id, out, err) : hone__pack_get_kernel(pack, id, out, err);
    }
    return status;
}
