/* log.h: one line to the host's log callback.  Secrets registered here are replaced before the callback sees them. */
#ifndef HONE_LOG_H
#define HONE_LOG_H

#include "hone.h"

__attribute__((format(printf, 3, 4))) void hone__log(hone_log_level level, const char *subsystem, const char *format, ...);

/* Replace every occurrence of registered secrets, and of tokens that look like keys ("sk-..."), in place with '*'.
 * Used by the log, and for text from outside before it goes into messages or transcripts. */
void hone__redact(char *text);
/* Remember a secret of at least 8 bytes for hone__redact (a hash is not enough: it is searched for).  At most 8 are kept. */
void hone__secret_add(const char *secret);
void hone__secret_forget_all(void); /* wiped */

#endif
