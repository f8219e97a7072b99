/* status.h: filling hone_error, passing statuses on, and assertions. */
#ifndef HONE_STATUS_H
#define HONE_STATUS_H

#include "hone.h"

/* Fill `err` (may be NULL) and return `status`.  Always the last thing that touches err on a failing path. */
__attribute__((format(printf, 4, 5))) hone_status hone__fail(hone_error *err, hone_status status, const char *subsystem,
                                                             const char *format, ...);
/* The same with an errno, CURLcode, LMDB or HTTP code. */
__attribute__((format(printf, 5, 6))) hone_status hone__fail_os(hone_error *err, hone_status status, const char *subsystem,
                                                                int os_code, const char *format, ...);
/* Map errno to the status that fits: ENOENT, EACCES, ENOSPC, ENOMEM ...; HONE_E_IO otherwise. */
hone_status hone__status_of_errno(int os_errno);

/* Pass a failure on. */
#define HONE_TRY(expression)                                                                                 \
    do {                                                                                                     \
        hone_status hone__try_status = (expression);                                                         \
        if (hone__try_status != HONE_OK)                                                                     \
            return hone__try_status;                                                                         \
    } while (0)

/* Programmer errors.  On in debug builds, tests and fuzzers; off in release builds.  Never on data. */
#ifdef NDEBUG
#define HONE_ASSERT(condition) ((void)0)
#else
#define HONE_ASSERT(condition) ((condition) ? (void)0 : hone__assert_failed(#condition, __FILE__, __LINE__))
#endif
_Noreturn void hone__assert_failed(const char *condition, const char *file, int line);

#endif
