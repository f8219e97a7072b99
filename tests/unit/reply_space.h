/* reply_space.h: the config space that the tests and the fuzz target of the reply parser share. */
#ifndef HONE_TEST_REPLY_SPACE_H
#define HONE_TEST_REPLY_SPACE_H

#include "space.h"

#include <string.h>

static const char reply_space_text[] =
    "{\"params\": {"
    "\"BM\": {\"kind\": \"pow2\", \"min\": 16, \"max\": 256, \"default\": 64},"
    "\"BN\": {\"kind\": \"pow2\", \"min\": 16, \"max\": 256, \"default\": 64},"
    "\"MR\": {\"kind\": \"range\", \"min\": 1, \"max\": 8, \"default\": 4},"
    "\"vec\": {\"kind\": \"bool\"},"
    "\"layout\": {\"kind\": \"enum\", \"values\": [\"nn\", \"nt\", \"tt\"]},"
    "\"unroll\": {\"kind\": \"list\", \"length\": 2, \"of\": {\"kind\": \"pow2\", \"min\": 1, \"max\": 8}},"
    "\"order\": {\"kind\": \"permutation\", \"length\": 3}},"
    "\"constraints\": [{\"expr\": \"BM % MR == 0\", \"why\": \"whole rows\"}, {\"expr\": \"BM * BN <= 16384\", \"why\": \"fits the cache\"}]}";

typedef struct reply_space {
    cJSON *json;
    hone__space *space;
    hone__bound *bound;
} reply_space;

static inline int reply_space_open(reply_space *out) {
    static const int64_t no_sizes[1] = {0};
    *out = (reply_space){NULL, NULL, NULL};
    if (hone__json_parse(&out->json, reply_space_text, strlen(reply_space_text), "test", NULL) != HONE_OK ||
        hone__space_parse(&out->space, out->json, "test", NULL, 0, NULL) != HONE_OK ||
        hone__bound_new(&out->bound, out->space, no_sizes, NULL) != HONE_OK)
        return -1;
    return 0;
}

static inline void reply_space_close(reply_space *space) {
    hone__bound_free(space->bound);
    hone__space_free(space->space);
    cJSON_Delete(space->json);
}

#endif
