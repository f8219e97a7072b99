/* shipped.c: a program that was installed with a signed pack beside it: the pack is opened as the only layer, and only if one of the trusted keys
 * has signed it.
 *
 *     shipped SPEC.json PACK TRUST       prints how the answer was found and the config; 1 when the pack is refused */
#include <hone.h>

#include <stdio.h>

int main(int argc, char **argv) {
    hone_error err = {0};
    hone_kernel *kernel = NULL;
    hone_device *device = NULL;
    hone_cache *cache = NULL;
    hone_answer *answer = NULL;
    hone_problem problem;
    hone_pack_options options = HONE_PACK_OPTIONS_INIT;
    char *config = NULL;
    if (argc != 4) {
        fprintf(stderr, "usage: shipped SPEC.json PACK TRUST\n");
        return 2;
    }
    options.require_signature = 1;
    options.trust = argv[3];
    hone_status status = hone_kernel_load(&kernel, argv[1], &err);
    if (status == HONE_OK)
        status = hone_device_open(&device, "cpu", &err);
    if (status == HONE_OK)
        status = hone_cache_new(&cache, &err);
    if (status == HONE_OK)
        status = hone_cache_add_pack(cache, argv[2], &options, &err);
    if (status == HONE_OK) {
        hone_problem_init(kernel, &problem);
        status = hone_lookup(&answer, cache, kernel, device, &problem, &err);
    }
    if (status == HONE_OK)
        status = hone_config_json(hone_answer_config(answer), &config, &err);
    if (status == HONE_OK)
        printf("%s %s\n", hone_match_name(hone_answer_match(answer)), config);
    else
        fprintf(stderr, "shipped: %s [%s]\n", err.message, hone_status_name(status));
    hone_free(config);
    hone_answer_free(answer);
    hone_cache_close(cache);
    hone_device_free(device);
    hone_kernel_free(kernel);
    return status == HONE_OK ? 0 : 1;
}
