/* out_file.h: a file that is written as a stream and appears whole or not at all. */
#ifndef HONE_OUT_FILE_H
#define HONE_OUT_FILE_H

#include "status.h"

#include <stdbool.h>

typedef struct hone__out_file hone__out_file;

/* A temporary file beside `path`.  `force`: an existing file is replaced in the end; else HONE_E_EXISTS, now or then.  Folders, links and devices
 * are never replaced. */
hone_status hone__out_open(hone__out_file **out, const char *path, bool force, unsigned mode, hone_error *err);
hone_status hone__out_write(hone__out_file *file, const void *bytes, size_t count, hone_error *err);
/* Flush, sync and give the file its name.  Frees it, whatever is returned; on failure nothing is left behind. */
hone_status hone__out_finish(hone__out_file *file, hone_error *err);
/* Leave nothing behind.  NULL is fine. */
void hone__out_abort(hone__out_file *file);

#endif
