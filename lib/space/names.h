/* names.h: finding the name that somebody probably meant. */
#ifndef HONE_NAMES_H
#define HONE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A message that grows to a bound and is then cut: no heap, always NUL-terminated. */
typedef struct hone__text {
    size_t length;
    char data[600];
} hone__text;

void hone__text_clear(hone__text *text);
__attribute__((format(printf, 2, 3))) void hone__say(hone__text *text, const char *format, ...);

/* How many of the first `max` bytes can be shown without cutting a UTF-8 character in two. */
int hone__text_cut(const char *text, int max);

/* Edit distance (insert, delete, replace, swap of neighbours count 1 each; case differences count as nothing). */
uint32_t hone__name_distance(const char *a, const char *b);
/* True if the distance is small for the names' length, so that "did you mean" is likely right. */
bool hone__name_close(const char *a, const char *b);
/* Equal but for ASCII letter case. */
bool hone__name_same(const char *a, const char *b);

#endif
