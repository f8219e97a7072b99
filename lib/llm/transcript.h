/* transcript.h: exchanges with a model as JSON lines (spec/transcript.md): written beside a tuning, replayed in tests. */
#ifndef HONE_TRANSCRIPT_H
#define HONE_TRANSCRIPT_H

#include "llm.h"

#define HONE_TRANSCRIPT_VERSION 1

/* One exchange.  `request` is JSON text {"system": ..., "messages": [{"role", "text"}, ...]} as hone__llm_request_json makes it;
 * other text is stored as one user message. */
typedef struct hone__transcript_line {
    uint32_t index;
    const char *request;
    const char *reply;            /* NULL: none came */
    const char *finish;           /* may be NULL */
    uint64_t tokens_in, tokens_out;
    double seconds;
    const char *provider, *model; /* may be NULL */
} hone__transcript_line;

/* The request as JSON text (hone__free); NULL when out of memory. */
char *hone__llm_request_json(const hone__llm_request *request);

/* Append one exchange, durably: creates the file (0600) with its header line when it is missing or empty, drops a torn last line.  A file
 * that is not a transcript is refused (HONE_E_CORRUPT) and left alone.  Text is redacted on the way. */
hone_status hone__transcript_append(const char *path, const hone__transcript_line *exchange, hone_error *err);

typedef struct hone__transcript hone__transcript;
/* Read a whole transcript.  A torn last line is ignored; other damage is HONE_E_CORRUPT (the message names the line), another
 * version HONE_E_VERSION. */
hone_status hone__transcript_read(hone__transcript **out, const char *path, hone_error *err);
void hone__transcript_free(hone__transcript *transcript);
uint32_t hone__transcript_count(const hone__transcript *transcript);
/* The last exchange recorded with this index; strings borrowed.  False when there is none. */
bool hone__transcript_find(const hone__transcript *transcript, uint32_t index, hone__transcript_line *out);

#endif
