/* Any JSON as a spec's params, default and constraints.  What parses must print and read back, sample only what is valid, and repair to
 * what is valid.  A second document after a zero byte is read as a config, with and without repair. */
#include "space.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
    if (!condition)
        abort();
}

static void check_config(const hone__space *space, const hone__config *config) {
    hone__buf text;
    hone__buf_init(&text, 1u << 20);
    for (int sparse = 0; sparse < 2; sparse++) {
        hone__buf_clear(&text);
        if (sparse != 0)
            hone__config_print_sparse(&text, space, config);
        else
            hone__config_print(&text, space, config);
        cJSON *json;
        hone__config back;
        require(hone__json_parse(&json, text.data, text.length, "config", NULL) == HONE_OK);
        require(hone__config_read(space, json, sparse != 0, &back, NULL, NULL) == HONE_OK);
        require(hone__config_equal(&back, config));
        cJSON_Delete(json);
    }
    hone__buf_free(&text);
}

static void check_bound(const hone__space *space) {
    static const int64_t sizes[] = {4096, 7};
    hone__bound *bound;
    if (hone__bound_new(&bound, space, sizes, NULL) != HONE_OK)
        return;
    hone__rng rng;
    hone__rng_seed(&rng, 5);
    hone__config config = space->base;
    for (int i = 0; i < 3; i++) {
        if (hone__bound_sample(bound, &rng, &config)) {
            require(hone__bound_valid(bound, &config, NULL));
            check_config(space, &config);
        }
    }
    hone__config near[8];
    uint32_t count = hone__bound_neighbours(bound, &config, 2, near, 8);
    for (uint32_t i = 0; i < count; i++)
        require(hone__bound_valid(bound, &near[i], NULL));
    if (hone__bound_repair(bound, &space->base, &rng, &config))
        require(hone__bound_valid(bound, &config, NULL));
    hone__buf why;
    hone__buf_init(&why, 4096);
    require(hone__bound_valid(bound, &space->base, &why) == (why.length == 0));
    hone__buf_free(&why);
    hone__bound_free(bound);
}

static void check_reading(const hone__space *space, const uint8_t *data, size_t size) {
    cJSON *json;
    if (hone__json_parse(&json, (const char *)data, size, "config", NULL) != HONE_OK)
        return;
    for (int repair = 0; repair < 2; repair++) {
        hone__config config;
        hone__buf notes;
        hone__buf_init(&notes, 1u << 16);
        hone_error err = {0};
        hone_status status = hone__config_read(space, json, repair != 0, &config, &notes, &err);
        require(status == HONE_OK || (status == HONE_E_CONFIG && err.message[0] != '\0'));
        if (status == HONE_OK)
            check_config(space, &config);
        hone__buf_free(&notes);
    }
    cJSON_Delete(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const size_names[] = {"M", "N"};
    const uint8_t *zero = size == 0 ? NULL : memchr(data, 0, size);
    size_t spec_bytes = zero == NULL ? size : (size_t)(zero - data);
    cJSON *json;
    if (spec_bytes > 4096 || hone__json_parse(&json, (const char *)data, spec_bytes, "spec", NULL) != HONE_OK)
        return 0;
    hone__space *space;
    hone_error err = {0};
    hone_status status = hone__space_parse(&space, json, "spec", size_names, 2, &err);
    cJSON_Delete(json);
    require((status == HONE_OK) == (space != NULL));
    require(status == HONE_OK || (status == HONE_E_SPEC && strncmp(err.message, "spec: /", 7) == 0));
    if (space != NULL) {
        check_config(space, &space->base);
        if (zero != NULL)
            check_reading(space, zero + 1, size - spec_bytes - 1);
        check_bound(space);
    }
    hone__space_free(space);
    return 0;
}
