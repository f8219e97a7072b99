/* alloc.h: the one door to the heap, so that tests can count and fail allocations. */
#ifndef HONE_ALLOC_H
#define HONE_ALLOC_H

#include <stddef.h>

void *hone__alloc(size_t bytes);                 /* zeroed; NULL when out of memory; 0 bytes gives a valid pointer */
void *hone__alloc_array(size_t count, size_t bytes);
void *hone__realloc(void *old, size_t bytes);    /* grown part is not zeroed */
void hone__free(void *memory);                   /* NULL is fine */
char *hone__strdup(const char *text);            /* NULL gives NULL */
char *hone__strndup(const char *text, size_t bytes);

/* For tests: fail the n-th allocation from now (1 = the next), once or for ever; 0 switches it off.  cJSON is hooked too. */
void hone__alloc_fail_at(size_t nth, int forever);
size_t hone__alloc_live(void);                   /* allocations not yet freed */

#endif
