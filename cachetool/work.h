/* work.h: what the commands share that work on many entries: which file, which entries, the progress bar, reports and exit codes. */
#ifndef CACHETOOL_WORK_H
#define CACHETOOL_WORK_H

#include "inputs.h"

#include <cjson/cJSON.h>

/* The options of the library's calls, filled from the command line. */
typedef struct work {
    hone_work_options options;
    hone_filter filter;
    hone_pack_options pack;
    hone_exchange_options exchange;
    const invocation *in;
} work;

/* Fill it, begin the bar (`verb`: "reading") and heed Ctrl-C.  `path`: the pack whose signature --signature is, or NULL. */
void work_begin(work *w, const invocation *in, const char *verb);
/* The file that a command is about: operand `index`, else --cache, else NULL, which is the default cache.  False after a usage error. */
bool work_file(const invocation *in, size_t index, const char **path);
/* Open a cache that is there already.  EXIT_CODE_OK and NULL: there is no default cache yet, which was said. */
int work_cache(hone_cache **out, const invocation *in, const char *path, bool write);
/* Is there a cache where --output would write?  A pack or dump in its place would cost its journal: --force does not go that far.  Says so. */
bool work_output_is_cache(const invocation *in);
/* Open the cache that entries go into, and make it if need be; in a dry run one that is not there is NULL, and is not made. */
int work_target(const invocation *in, hone_cache **cache);
/* End the bar; print a failure, if it is one; the exit code. `path` as in work_file. */
int work_end(const work *w, const char *path, hone_status status, const hone_error *err);

/* Progress that cancels: for calls that are only to say whether they could begin. */
int stop_at_once(uint64_t done, uint64_t total, void *user);
/* Write the entries of `path` as JSON lines to --output, or to stdout (cmd_dump.c).  The exit code. */
int work_dump(const invocation *in, const char *path);
/* Print the library's report: with --json as it is; else by `people` (NULL: its members), to stdout. */
void print_report(const invocation *in, const char *report, void (*people)(const cJSON *report));
/* "3 entries", "1 entry" */
void put_count(FILE *to, double count, const char *one, const char *many);

#endif
