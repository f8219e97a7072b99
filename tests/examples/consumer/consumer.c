/* consumer.c: the least program that links Hone: load a kernel spec, ask for the best config, use it.  Valid C and C++ alike.
 * usage: consumer SPEC.json CACHE */
#include <hone.h>

#include <stdio.h>

static int failed(hone_status status, const hone_error *err) {
    fprintf(stderr, "%s: %s\n", hone_status_name(status), err->message);
    return 1;
}

int main(int argc, char **argv) {
    hone_error err;
    hone_kernel *kernel = NULL;
    hone_device *device = NULL;
    hone_cache *cache = NULL;
    hone_answer *answer = NULL;
    hone_problem problem;
    hone_tune_options options = HONE_TUNE_OPTIONS_INIT;
    hone_cache_options cache_options = HONE_CACHE_OPTIONS_INIT;
    if (argc != 3 || options.struct_size != sizeof options) {
        fprintf(stderr, "usage: %s SPEC.json CACHE\n", argv[0]);
        return 2;
    }

    hone_status status = hone_kernel_load(&kernel, argv[1], &err);
    if (status == HONE_OK)
        status = hone_device_open(&device, "cpu", &err);
    if (status == HONE_OK)
        status = hone_cache_open(&cache, argv[2], &cache_options, &err);
    if (status == HONE_OK) {
        hone_problem_init(kernel, &problem);
        status = hone_lookup(&answer, cache, kernel, device, &problem, &err);
    }
    if (status == HONE_OK) {
        char *json = NULL;
        const hone_config *config = hone_answer_config(answer);
        status = hone_config_json(config, &json, &err);
        if (status == HONE_OK)
            printf("%s %s %s\n", hone_version(), hone_match_name(hone_answer_match(answer)), json);
        hone_free(json);
    }
    int code = status == HONE_OK ? 0 : failed(status, &err);
    hone_answer_free(answer);
    hone_cache_close(cache);
    hone_device_free(device);
    hone_kernel_free(kernel);
    return code;
}
