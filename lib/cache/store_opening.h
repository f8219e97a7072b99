/* store_opening.h: an attempt to open a store's file, as store_env.c and store_tables.c go about it together. */
#ifndef HONE_STORE_OPENING_H
#define HONE_STORE_OPENING_H

#include "store.h"

/* What an attempt to open came to, besides a plain failure. */
typedef enum hone__attempt {
    HONE_ATTEMPT_DONE,
    HONE_ATTEMPT_FAILED,
    HONE_ATTEMPT_NEEDS_LOCK, /* something has to be made or changed */
    HONE_ATTEMPT_DAMAGED     /* not a cache of ours, or no longer one; `reason` says why */
} hone__attempt;

typedef struct hone__opening {
    hone__store *store;
    bool locked, lock_file_usable;
    bool foreign;                /* DAMAGED: another program's, which stays where it is */
    hone_status status;
    hone_error *err;
    char reason[160];
} hone__opening;

/* The ends of an attempt. */
hone__attempt hone__opening_failed(hone__opening *o, hone_status status);
hone__attempt hone__opening_damaged(hone__opening *o, const char *why);
/* What LMDB's code means for it; `verb` is for the message: "cannot VERB PATH". */
hone__attempt hone__opening_judge(hone__opening *o, int rc, const char *verb);
/* Open a copy in memory of the file that is open as `fd`: 0, or an errno or LMDB code. */
int hone__env_open_copy(hone__store *store, int fd);

/* Open the tables that are needed now, and read the format record.  `fd` as above, for a reader that LMDB does not let in; -1: none. */
hone__attempt hone__tables_open(hone__opening *o, int fd);
/* The same in a write transaction, making what a new file lacks. */
hone__attempt hone__tables_make(hone__opening *o);

#endif
