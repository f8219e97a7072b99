/* options.h: reading a caller's options struct, which may be that of an older or newer hone.h. */
#ifndef HONE_OPTIONS_H
#define HONE_OPTIONS_H

#include "status.h"

/* Copy `given` (NULL: nothing) over `out`, which holds the defaults and has `bytes` bytes.  Both begin with uint32_t struct_size.  `name`:
 * "hone_filter".  HONE_E_ARG: struct_size is not set.  HONE_E_UNSUPPORTED: members that this version does not know are not zero. */
hone_status hone__options_read(void *out, size_t bytes, const void *given, const char *name, hone_error *err);

#endif
