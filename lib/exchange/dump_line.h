/* dump_line.h: entries and kernels as lines of a dump (spec/dump.md), without loss in both directions. */
#ifndef HONE_DUMP_LINE_H
#define HONE_DUMP_LINE_H

#include "json.h"
#include "record.h"

#define HONE_DUMP_VERSION 1u
#define HONE_DUMP_LINE_BYTES (16u << 20) /* a kernel with its source, escaped */

/* Append one line, without its line end. */
void hone__dump_entry(hone__buf *buf, const hone__entry *entry);
void hone__dump_kernel(hone__buf *buf, const hone__kernel_info *info);
/* Read what such a line holds.  `lenient`: the dump's writer is newer, so members that are not known are skipped.  The reason names the member.
 * HONE_E_JSON, HONE_E_NOMEM; on failure nothing needs to be cleared. */
hone_status hone__undump_entry(hone__entry *out, const cJSON *line, bool lenient, hone_error *err);
hone_status hone__undump_kernel(hone__kernel_info *out, const cJSON *line, bool lenient, hone_error *err);

#endif
