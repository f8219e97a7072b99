/* layer.h: packs under a cache: opened with the caller's signature policy, asked after the cache's own file. */
#ifndef HONE_LAYER_H
#define HONE_LAYER_H

#include "cache.h"
#include "pack.h"

#define HONE_LAYERS_MAX 64u

/* Open a pack as the options want it: this is the door that checks signatures.  A pack that needs one is read whole into memory, and what was
 * verified is what is used. */
hone_status hone__layer_open(hone__pack **out, const char *path, const hone_pack_options *options, hone_error *err);

/* Put packs that are open under another cache under this one too.  With `own_bytes` it may outlive bytes that the program owns. */
hone_status hone__layers_lend(hone_cache *to, hone__pack *const *pack, uint32_t count, bool own_bytes, hone_error *err);

/* ---- what look-ups ask: layer 0 is the cache's file if it has one, then the packs in the order in which they were added ---- */
uint32_t hone__layer_count(const hone_cache *cache);
const char *hone__layer_name(const hone_cache *cache, uint32_t layer);
/* NULL for the cache's own file. */
const hone__pack *hone__layer_pack(const hone_cache *cache, uint32_t layer);
/* As hone__cache_get, of one layer. */
hone_status hone__layer_get(const hone_cache *cache, uint32_t layer, const hone__key *key, hone__entry *out, hone_error *err);
/* Of all layers, the best evidence; HONE_E_NOTFOUND when none has the key, or what the last failing layer said. */
hone_status hone__layers_get(const hone_cache *cache, const hone__key *key, hone__entry *out, hone_error *err);
/* Of all layers the best evidence that serves exactly this question, of at least this effort, and with `current` measured under the software that the
 * device has now; the config that it gives is its best.  False: there is none. */
bool hone__exact_enough(const hone_cache *cache, const hone_kernel *kernel, const hone_device *device, const hone_problem *problem,
                        hone__effort effort, bool current, hone__entry *out);
/* As hone__cache_of_kernel, of one layer. */
hone_status hone__layer_of_kernel(const hone_cache *cache, uint32_t layer, const uint8_t kernel_id[16], uint32_t max, hone__entry **out,
                                  uint32_t *count, hone_error *err);
/* What any layer keeps of a kernel, the first that has it. */
hone_status hone__layers_get_kernel(const hone_cache *cache, const uint8_t id[16], hone__kernel_info *out, hone_error *err);

#endif
