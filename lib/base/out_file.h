/* out_file.h: a file that is written as a stream and appears whole or not at all. */
#ifndef HONE_OUT_FILE_H
#define HONE_OUT_FILE_H

#include "status.h"

#include <stddef.h>

typedef struct hone__out_file hone__out_file;

enum { HONE_OUT_FORCE = 1, HONE_OUT_NO_SYNC = 2 };

/* A file without a name in the folder of `path`, or where the filesystem has no such, one with a name beside it.  HONE_OUT_FORCE: an existing file is
 * replaced in the end; else HONE_E_EXISTS, now or then.  Folders, links and devices are never replaced.  HONE_OUT_NO_SYNC: for what need not
 * survive a power failure. */
hone_status hone__out_open(hone__out_file **out, const char *path, unsigned flags, unsigned mode, hone_error *err);
/* Would hone__out_open refuse to replace what is there? */
hone_status hone__out_check(const char *path, unsigned flags, hone_error *err);
const char *hone__out_path(const hone__out_file *file);
hone_status hone__out_write(hone__out_file *file, const void *bytes, size_t count, hone_error *err);
/* Overwrite the file's first bytes, which have been written. */
hone_status hone__out_rewrite(hone__out_file *file, const void *bytes, size_t count, hone_error *err);
/* Flush, sync and give the file its name.  Frees it, whatever is returned; on failure nothing is left behind. */
hone_status hone__out_finish(hone__out_file *file, hone_error *err);
/* Leave nothing behind.  NULL is fine. */
void hone__out_abort(hone__out_file *file);

/* A new file beside `path`, for reading and writing, with a name of its own (hone__free). */
hone_status hone__temporary_beside(const char *path, const char *suffix, unsigned mode, char **name, int *fd, hone_error *err);

#endif
