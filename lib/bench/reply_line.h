/* reply_line.h: how the worker and its GPU children write replies: one JSON object on one line. */
#ifndef HONE_REPLY_LINE_H
#define HONE_REPLY_LINE_H

#include "json.h"
#include "trial.h"

/* {"id":N,"ok":true: what follows is appended to `line`, and the closing brace. */
void hone__reply_begin(hone__buf *line, uint64_t id, bool ok);
/* ,"name":value; null when it is not finite. */
void hone__reply_number(hone__buf *line, const char *name, double value);
/* Outcome, accuracy, max_error and summary of a config that ran. */
void hone__reply_measured(hone__buf *line, const hone__measurement *result);
/* ,"error":{"stage", "code", "message", "max_error" of one that failed; the object is left open. */
void hone__reply_failed(hone__buf *line, const char *stage, const hone__measurement *result);
/* Write the line with its newline, and free it.  False when nobody reads any more. */
bool hone__reply_write(int fd, hone__buf *line);

#endif
