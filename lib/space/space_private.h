/* space_private.h: what the files of this room share and nobody else sees. */
#ifndef HONE_SPACE_PRIVATE_H
#define HONE_SPACE_PRIVATE_H

#include "names.h"
#include "space.h"

enum { HONE__VALUES_MAX = HONE_SIZES_MAX + HONE_LIMIT_SLOTS };

/* Texts of enum values, each with one id (its index in `text`), found through an open hash table. */
typedef struct hone__intern {
    char **text;
    uint32_t count, capacity;
    uint32_t *table; /* id + 1; 0: empty */
    uint32_t table_size;
} hone__intern;

struct hone__space_private {
    hone__symbol symbol[HONE_SIZES_MAX + HONE_LIMIT_PARAMS];
    hone__symbols sizes_only, all;
    uint32_t param_of_slot[HONE_LIMIT_SLOTS];
    hone__intern intern;
};

/* The id of a text, or -1; `add` makes one (-2: out of memory). */
int64_t hone__intern_find(const hone__intern *intern, const char *text, size_t bytes);
void hone__intern_free(hone__intern *intern);

/* Domains and parameters of the spec (domain.c).  `pointer` is the JSON pointer of the object. */
typedef struct hone__spec_reader {
    const char *label;
    hone__intern *intern;
    hone_error *err;
} hone__spec_reader;

__attribute__((format(printf, 3, 4))) hone_status hone__spec_fail(const hone__spec_reader *reader, const char *pointer,
                                                                  const char *format, ...);
/* Everything of one parameter but its first slot and its default.  hone__param_clear frees it. */
hone_status hone__param_parse(const hone__spec_reader *reader, const char *pointer, const cJSON *json, hone__param *param);
void hone__param_clear(hone__param *param);
/* "/params/NAME" with the escapes of RFC 6901, cut to fit. */
void hone__pointer(char *out, size_t bytes, const char *prefix, const char *name);

/* Reading one value (config.c).  False: `message` says why, without the parameter's name.  `note` gets a repair, if any. */
bool hone__param_read(const hone__param *param, const cJSON *json, bool repair, uint32_t *slots, hone__text *note,
                      hone__text *message);
/* One value as people write it. */
void hone__domain_say(hone__text *text, const hone__domain *domain, uint32_t index);
/* Name, or the closest one when it is not known (may be NULL). */
const hone__param *hone__param_find(const hone__space *space, const char *name);
const char *hone__param_nearest(const hone__space *space, const char *name);
/* Every slot within its domain, every permutation an order. */
bool hone__config_shaped(const hone__space *space, const hone__config *config);

#endif
