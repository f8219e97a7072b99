/* launch_loop.c: a program that asks Hone before every launch.  It never tunes: whatever the cache has, it uses.
 * usage: launch_loop TRANSPOSE.json CACHE [LAUNCHES] */
#include "variants.h"

#include <stdio.h>
#include <stdlib.h>

enum { SIDE_MAX = 512 };

/* Once, at start: a handle for the kernel.  Kernel and device may be freed at once: the site holds them. */
static hone_status prepare(hone_site **site, hone_cache **cache, const char *spec, const char *path, uint32_t *tile, hone_error *err) {
    hone_kernel *kernel = NULL;
    hone_device *device = NULL;
    hone_status status = hone_kernel_load(&kernel, spec, err);
    if (status == HONE_OK)
        status = hone_device_open(&device, "cpu", err);
    if (status == HONE_OK && hone_cache_open(cache, path, NULL, err) != HONE_OK)
        fprintf(stderr, "no cache, launching with defaults: %s\n", err->message);
    if (status == HONE_OK)
        status = hone_site_open(site, *cache, kernel, device, NULL, err);
    if (status == HONE_OK)
        *tile = hone_kernel_param_index(kernel, "TILE");
    hone_kernel_free(kernel);
    hone_device_free(device);
    return status;
}

int main(int argc, char **argv) {
    hone_error err;
    hone_site *site = NULL;
    hone_cache *cache = NULL;
    uint32_t tile = 0;
    unsigned long launches = argc > 3 ? strtoul(argv[3], NULL, 10) : 2000, by_match[5] = {0};
    float *x = calloc((size_t)SIDE_MAX * SIDE_MAX, sizeof *x), *y = calloc((size_t)SIDE_MAX * SIDE_MAX, sizeof *y);
    if (argc < 3 || x == NULL || y == NULL) {
        fprintf(stderr, "usage: %s TRANSPOSE.json CACHE [LAUNCHES]\n", argv[0]);
        return 2;
    }
    if (prepare(&site, &cache, argv[1], argv[2], &tile, &err) != HONE_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    hone_problem problem = {sizeof problem, 2, {0}};
    for (unsigned long i = 0; i < launches; i++) {
        problem.size[0] = 1 + (int64_t)(i * 37 % SIDE_MAX); /* in the order of the spec: ROWS, COLS */
        problem.size[1] = 1 + (int64_t)(i * 11 % SIDE_MAX);
        hone_match match;
        const hone_config *config = hone_site_lookup(site, &problem, &match);
        by_match[match]++;
        if (config == NULL) /* not even the default is valid for these sizes */
            continue;
        x[0] = (float)i;
        variant_of(config, tile)(x, y, problem.size[0], problem.size[1]);
    }
    printf("%lu launches: %lu exact, %lu near, %lu default, last %g\n", launches, by_match[HONE_MATCH_EXACT],
           by_match[HONE_MATCH_NEAR_SHAPE] + by_match[HONE_MATCH_NEAR_DEVICE], by_match[HONE_MATCH_DEFAULT], (double)y[0]);
    hone_cache_close(cache); /* and its sites */
    if (cache == NULL)
        hone_site_close(site);
    free(x);
    free(y);
    return 0;
}
