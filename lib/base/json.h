/* json.h: cJSON with the rules that it lacks: bounded depth, no duplicate members, no trailing text, whole numbers exact,
 * errors that name a JSON pointer. */
#ifndef HONE_JSON_H
#define HONE_JSON_H

#include "buf.h"

#include <cjson/cJSON.h>

/* Parse `bytes` bytes of `text` (need not be NUL-terminated).  `label` names the input in errors (a file name). */
hone_status hone__json_parse(cJSON **out, const char *text, size_t bytes, const char *label, hone_error *err);
/* The place of the first string, name or value, that holds \u0000 (which ends it early); `bytes`: none. */
size_t hone__json_nul_value(const char *text, size_t bytes);
/* "line 3, column 7: a comma is missing before this": where and why the text is no JSON.  `fallback`: the place to name when no slip of the
 * known kinds is found. */
enum { HONE_JSON_MISTAKE_BYTES = 160 };
void hone__json_mistake(char out[HONE_JSON_MISTAKE_BYTES], const char *text, size_t bytes, size_t fallback);
/* True when the number is whole and within +-2^53. */
bool hone__json_int(const cJSON *item, int64_t *value);
/* Append the item as compact JSON: members in their order, numbers in shortest form. */
void hone__json_print(hone__buf *buf, const cJSON *item);
/* The same of JSON that is kept as text (NULL or "": null).  It may come from a file: what is not JSON is printed as a string, never pasted. */
void hone__json_print_text(hone__buf *buf, const char *text);
/* True when `text` is JSON exactly as hone__json_print writes it. */
bool hone__json_is_printed(const char *text);
/* The item as a compact string (hone__free); NULL when out of memory. */
char *hone__json_text(const cJSON *item);
/* Shorthands: NULL / fallback when absent or of another type. */
const char *hone__json_string(const cJSON *object, const char *name);
double hone__json_number(const cJSON *object, const char *name, double fallback);

#endif
