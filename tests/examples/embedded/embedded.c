/* embedded.c: a program that carries its configs within: a pack, linked in as an object (`hone export --format object`) or included as a C header
 * (`--format c-header`, compiled with -DPACK_HEADER='"pack.h"').  It needs no file but the kernel's spec, no cache and no write access.
 *
 *     embedded SPEC.json [DEVICE]        prints how the answer was found, by which layer, and the config */
#include <hone.h>

#include <stdint.h>
#include <stdio.h>

#ifdef PACK_HEADER
#include PACK_HEADER
static const void *pack(size_t *count) {
    return hone_pack_bytes(count);
}
#else
extern const unsigned char hone_pack[];
extern const uint64_t hone_pack_size;
static const void *pack(size_t *count) {
    *count = (size_t)hone_pack_size;
    return hone_pack;
}
#endif

int main(int argc, char **argv) {
    hone_error err = {0};
    hone_kernel *kernel = NULL;
    hone_device *device = NULL;
    hone_cache *cache = NULL;
    hone_answer *answer = NULL;
    hone_problem problem;
    char *config = NULL;
    size_t count = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: embedded SPEC.json [DEVICE]\n");
        return 2;
    }
    const void *bytes = pack(&count);
    hone_status status = hone_kernel_load(&kernel, argv[1], &err);
    if (status == HONE_OK)
        status = hone_device_open(&device, argc > 2 ? argv[2] : "cpu", &err);
    if (status == HONE_OK)
        status = hone_cache_new(&cache, &err);
    if (status == HONE_OK)
        status = hone_cache_add_pack_memory(cache, "embedded", bytes, count, NULL, &err);
    if (status == HONE_OK) {
        hone_problem_init(kernel, &problem);
        status = hone_lookup(&answer, cache, kernel, device, &problem, &err);
    }
    if (status == HONE_OK)
        status = hone_config_json(hone_answer_config(answer), &config, &err);
    if (status == HONE_OK)
        printf("%s %s\n", hone_match_name(hone_answer_match(answer)), config);
    else
        fprintf(stderr, "embedded: %s\n", err.message);
    hone_free(config);
    hone_answer_free(answer);
    hone_cache_close(cache);
    hone_device_free(device);
    hone_kernel_free(kernel);
    return status == HONE_OK ? 0 : 1;
}
