/* reply_scan.h: finds JSON values in a model's answer and reads them leniently (spec/prompt.md section 4.1).  Hostile input: no
 * recursion, bounded depth and number of values, every byte is looked at a bounded number of times. */
#ifndef HONE_REPLY_SCAN_H
#define HONE_REPLY_SCAN_H

#include "json.h"

typedef struct hone__reply_scan {
    const char *text;
    size_t bytes;
    size_t at;            /* where the search goes on */
    uint32_t values_left; /* how many values may still be made */
    bool out_of_memory;
} hone__reply_scan;

typedef enum hone__found {
    HONE_FOUND_NONE,      /* no further value */
    HONE_FOUND_WHOLE,
    HONE_FOUND_PART       /* the text ended, or made no sense, before the value was closed */
} hone__found;

void hone__reply_scan_init(hone__reply_scan *scan, const char *text, size_t bytes);
/* The next object or list in the text; *value is the caller's (cJSON_Delete).  In a PART, the containers that were not closed are
 * the root and, step by step, the last child of each as long as hone__scan_is_open says so. */
hone__found hone__reply_scan_next(hone__reply_scan *scan, cJSON **value);
/* True for a container that was still open when reading stopped. */
bool hone__scan_is_open(const cJSON *item);

#endif
