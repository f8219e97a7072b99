/* process.h: start a program with pipes on its standard streams, watch it, end it and all its children. */
#ifndef HONE_PROCESS_H
#define HONE_PROCESS_H

#include "status.h"

#include <stdbool.h>
#include <sys/types.h>

typedef struct hone__process {
    pid_t pid;      /* its own process group; 0 when not running */
    int in_fd;      /* write end of its stdin, non-blocking; -1 when closed */
    int out_fd;     /* read end of its stdout, non-blocking */
    int err_fd;     /* read end of its stderr, non-blocking */
} hone__process;

typedef struct hone__process_limits {
    uint64_t memory_bytes; /* RLIMIT_AS; 0: none */
    uint64_t file_bytes;   /* RLIMIT_FSIZE; 0: none */
    uint32_t cpu_s;        /* RLIMIT_CPU; 0: none */
    int cpu_pin;           /* run on this core only; -1: anywhere */
    int cpu_avoid;         /* run on every core but this; -1: anywhere */
    bool keep_keys;        /* let it see variables that end in _API_KEY; evaluators and compilers have no use for them */
} hone__process_limits;
#define HONE_PROCESS_LIMITS_NONE {0, 0, 0, -1, -1, false}

/* Start argv[0] (searched in PATH when it has no slash) in folder `cwd` (NULL: ours).  The child gets its own process group,
 * dies with us (PDEATHSIG), has default signal dispositions, and only fds 0, 1, 2. */
hone_status hone__process_start(hone__process *out, const char *const *argv, const char *cwd,
                                const hone__process_limits *limits, hone_error *err);
/* The same with a function of ours in place of a program: the child runs `body` on what fork left it, and ends with its result.  Not for
 * processes with several threads. */
typedef int hone__process_body(void *context);
hone_status hone__process_fork(hone__process *out, hone__process_body *body, void *context, const char *cwd,
                               const hone__process_limits *limits, hone_error *err);
/* True when it has ended; *wait_status as from waitpid.  Does not block. */
bool hone__process_ended(hone__process *process, int *wait_status);
/* SIGKILL to the whole group, reap, close the pipes.  Safe on one that has ended or was never started. */
void hone__process_kill(hone__process *process);
/* Describe a wait status: "exited with status 3", "killed by signal 11 (Segmentation fault)". */
void hone__process_describe(int wait_status, char *text, size_t bytes);
/* Split a command line into words as a shell would (spaces, quotes, backslash; no expansion).  NULL-terminated, one block
 * (hone__free).  HONE_E_NOMEM; HONE_E_ARG: there is no word, or a quote is open. */
hone_status hone__words_split(char ***out, const char *line);

#endif
