/* background_tuner.c: a program that launches with what it has while Hone tunes what is missing, in a thread that the program has asked for.  It brings
 * its own worker, so that no `hone` command is needed beside it.
 * usage: background_tuner TRANSPOSE.json CACHE [SECONDS] */
#include "variants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SIDE = 384, PATH_BYTES = 4096 };

static int failed(const hone_error *err) {
    fprintf(stderr, "%s\n", err->message);
    return 1;
}

static hone_status start_tuner(hone_cache *cache, const char *worker, hone_error *err) {
    hone_tune_options tune = HONE_TUNE_OPTIONS_INIT;
    hone_tuner_options options = HONE_TUNER_OPTIONS_INIT;
    tune.worker = worker;
    tune.search = "exhaustive"; /* six configs are soon measured */
    tune.time_max_s = 3;
    options.tune = &tune;
    return hone_tuner_start(cache, &options, err);
}

/* Launch until the answer is exact.  A server would never ask for that: it launches, and the answers get better. */
static int serve(const hone_site *site, uint32_t tile, double seconds) {
    static float x[SIDE * SIDE], y[SIDE * SIDE];
    hone_problem problem = {sizeof problem, 2, {SIDE, SIDE}};
    hone_match match = HONE_MATCH_NONE, first = HONE_MATCH_NONE;
    struct timespec pause = {0, 1000000};
    unsigned long launches = 0;
    for (time_t end = time(NULL) + (time_t)seconds; match != HONE_MATCH_EXACT && time(NULL) < end; launches++) {
        const hone_config *config = hone_site_lookup(site, &problem, &match);
        if (config != NULL)
            variant_of(config, tile)(x, y, SIDE, SIDE);
        first = launches == 0 ? match : first;
        (void)nanosleep(&pause, NULL); /* what a server does between launches */
    }
    printf("first %s, then %s\n", hone_match_name(first), hone_match_name(match));
    return match == HONE_MATCH_EXACT ? 0 : 1;
}

int main(int argc, char **argv) {
    hone_error err;
    hone_kernel *kernel = NULL;
    hone_device *device = NULL;
    hone_cache *cache = NULL;
    hone_site *site = NULL;
    char program[PATH_BYTES];
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return hone_worker_main(argc, argv); /* started by the tuner below: compiles and times configs */
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (argc < 3 || length < 0) {
        fprintf(stderr, "usage: %s TRANSPOSE.json CACHE [SECONDS]\n", argv[0]);
        return 2;
    }
    program[length] = '\0';
    hone_status status = hone_kernel_load(&kernel, argv[1], &err);
    if (status == HONE_OK)
        status = hone_device_for(&device, kernel, NULL, NULL, &err);
    if (status == HONE_OK)
        status = hone_cache_open(&cache, argv[2], NULL, &err);
    if (status == HONE_OK)
        status = hone_site_open(&site, cache, kernel, device, NULL, &err);
    if (status == HONE_OK)
        status = start_tuner(cache, program, &err);
    int code = status == HONE_OK ? serve(site, hone_kernel_param_index(kernel, "TILE"), argc > 3 ? strtod(argv[3], NULL) : 60) : failed(&err);
    hone_cache_close(cache); /* stops the tuner; what it has measured is kept */
    hone_kernel_free(kernel);
    hone_device_free(device);
    return code;
}
