/* json.h: cJSON with the rules that it lacks: bounded depth, no duplicate members, no trailing text, whole numbers exact,
 * errors that name a JSON pointer. */
#ifndef HONE_JSON_H
#define HONE_JSON_H

#include "buf.h"

#include <cjson/cJSON.h>

/* Parse `bytes` bytes of `text` (need not be NUL-terminated).  `label` names the input in errors (a file name). */
hone_status hone__json_parse(cJSON **out, const char *text, size_t bytes, const char *label, hone_error *err);
/* True when the number is whole and within +-2^53. */
bool hone__json_int(const cJSON *item, int64_t *value);
/* Append the item as compact JSON: members in their order, numbers in shortest form. */
void hone__json_print(hone__buf *buf, const cJSON *item);
/* The item as a compact string (hone__free); NULL when out of memory. */
char *hone__json_text(const cJSON *item);
/* Shorthands: NULL / fallback when absent or of another type. */
const char *hone__json_string(const cJSON *object, const char *name);
double hone__json_number(const cJSON *object, const char *name, double fallback);

#endif
