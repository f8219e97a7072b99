/* utf8.h: text from outside: is it UTF-8, and what of it may be shown? */
#ifndef HONE_UTF8_H
#define HONE_UTF8_H

#include "buf.h"

/* Bytes of the well-formed sequence at `text` (Unicode 15, table 3-7), 0 when there is none within `left` bytes. */
size_t hone__utf8_length(const char *text, size_t left);
/* How many bytes from the beginning are well-formed: `bytes` when all are. */
size_t hone__utf8_span(const char *text, size_t bytes);
static inline bool hone__utf8_valid(const char *text, size_t bytes) {
    return hone__utf8_span(text, bytes) == bytes;
}
/* The longest length up to `bytes` at which `text` can be cut without splitting a character; text[bytes] must be readable. */
size_t hone__utf8_cut(const char *text, size_t bytes);

/* Append at most `max` bytes of text from outside, fit to be shown: control bytes, terminal escapes, direction marks and broken
 * UTF-8 become '?', carriage returns go; with one_line, line breaks and tabs become spaces.  "..." marks a cut. */
void hone__text_clean(hone__buf *buf, const char *text, size_t max, bool one_line);
/* The same as one line in a fixed array. */
void hone__text_clean_line(char *to, size_t bytes, const char *from);

#endif
