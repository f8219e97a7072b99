/* bar.h: how long work looks while it runs: one live line on a terminal; of a tuning, plain lines at a low rate elsewhere. */
#ifndef CACHETOOL_BAR_H
#define CACHETOOL_BAR_H

#include "opt.h"

/* Begin; `cancel` is polled (a signal handler sets it). */
void bar_begin(const invocation *in, const volatile int *cancel);
/* A hone_progress_fn. */
int bar_progress(const hone_progress *progress, void *user);
/* Take the live line away before something else is printed; it comes back with the next progress. */
void bar_clear(void);
void bar_end(void);
/* Trials reported so far, and how many of them were measured now and not taken from the journal. */
uint32_t bar_trials(void);


/* Work on many records: begin, a hone_count_fn, and bar_end. */
void bar_work_begin(const invocation *in, const char *verb, const volatile int *cancel);
int bar_work(uint64_t done, uint64_t total, void *user);

#endif
