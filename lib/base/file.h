/* file.h: whole files, bounded and atomic. */
#ifndef HONE_FILE_H
#define HONE_FILE_H

#include "status.h"

/* Read a regular file of at most `max` bytes into a NUL-terminated buffer (hone__free). */
hone_status hone__file_read(const char *path, size_t max, char **text, size_t *bytes, hone_error *err);
/* Write through a temporary file beside `path`, fsync, rename: appears whole or not at all, in place of what was there. */
hone_status hone__file_write(const char *path, const char *text, size_t bytes, unsigned mode, hone_error *err);
/* The same, and HONE_E_EXISTS when something is there. */
hone_status hone__file_create(const char *path, const char *text, size_t bytes, unsigned mode, hone_error *err);
/* As hone__file_write without fsync, for what need not survive a power failure. */
hone_status hone__file_write_lightly(const char *path, const char *text, size_t bytes, unsigned mode, hone_error *err);
/* Make the name of a new or renamed file as durable as its content: fsync of the folder that `path` is in. */
void hone__folder_sync(const char *path);
/* base_dir/relative in one string; `relative` alone when it is absolute or base_dir is NULL or empty. */
char *hone__path_join(const char *base_dir, const char *relative);
/* What comes after the last slash, within `path`. */
const char *hone__path_name(const char *path);
/* The folder part, "." when there is none. */
char *hone__path_dir(const char *path);
/* Create a directory and its parents, 0700. */
hone_status hone__mkdir_all(const char *path, hone_error *err);

#endif
