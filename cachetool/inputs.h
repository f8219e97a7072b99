/* inputs.h: what most commands begin with: kernel, problem, device, cache; and how a failure becomes a message and an exit code. */
#ifndef CACHETOOL_INPUTS_H
#define CACHETOOL_INPUTS_H

#include "opt.h"

typedef enum cache_use {
    CACHE_NONE,
    CACHE_WRITE,  /* create it if need be */
    CACHE_READ,   /* read only; a default cache that is not there yet is none */
    CACHE_ANSWER, /* for look-ups: as CACHE_READ, but writable if it can be, so that hits are counted, and no fault is fatal */
    CACHE_HINTS   /* as CACHE_READ, and no fault is fatal */
} cache_use;

typedef struct inputs {
    hone_kernel *kernel;
    hone_device *device; /* NULL with CACHE_WRITE */
    hone_problem problem;
    hone_cache *cache; /* NULL when there is none */
} inputs;

/* EXIT_CODE_OK, or a message was printed and this is the exit code; inputs_close in any case. */
int inputs_open(inputs *out, const invocation *in, cache_use use);
int cache_open(hone_cache **out, const invocation *in, cache_use use);
void inputs_close(inputs *out);

/* The first signal (Ctrl-C, TERM, HUP) sets what is returned; it has the default action again after that, so that the second ends us at once. */
const volatile int *catch_signals(void);

/* The options of a tuning, and of a prompt, from the command line. */
void tune_options_fill(hone_tune_options *to, const settings *from);

/* Print a failure to stderr; the exit code for it. */
int report(const invocation *in, hone_status status, const hone_error *err);
int exit_code_of(hone_status status);
/* Is it that there is no such file? */
bool is_missing(hone_status status, const hone_error *err);
/* A remark to stderr, unless --quiet. */
__attribute__((format(printf, 2, 3))) void remark(const invocation *in, const char *format, ...);

/* The library's JSON, read for rendering; NULL after a message (the library printed something that is not JSON: a bug). */
struct cJSON;
struct cJSON *json_read(const invocation *in, const char *json);

/* Send the library's log to stderr, as far as --quiet and --verbose say. */
void log_to_stderr(const invocation *in);

#endif
