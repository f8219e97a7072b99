/* file.h: whole files, bounded and atomic. */
#ifndef HONE_FILE_H
#define HONE_FILE_H

#include "status.h"

/* Read a regular file of at most `max` bytes into a NUL-terminated buffer (hone__free). */
hone_status hone__file_read(const char *path, size_t max, char **text, size_t *bytes, hone_error *err);
/* Write through a temporary file beside `path`, fsync, rename: appears whole or not at all. */
hone_status hone__file_write(const char *path, const char *text, size_t bytes, unsigned mode, hone_error *err);
/* base_dir/relative in one string; `relative` alone when it is absolute or base_dir is NULL or empty. */
char *hone__path_join(const char *base_dir, const char *relative);
/* The folder part, "." when there is none. */
char *hone__path_dir(const char *path);
/* Create a directory and its parents, 0700. */
hone_status hone__mkdir_all(const char *path, hone_error *err);

#endif
