/* clock.h: time, in integers of nanoseconds. */
#ifndef HONE_CLOCK_H
#define HONE_CLOCK_H

#include <stdint.h>

uint64_t hone__clock_ns(void);      /* monotonic, for durations and deadlines */
int64_t hone__clock_unix_s(void);   /* wall clock, for records only */
int64_t hone__clock_boot_s(void);   /* since this machine started, sleep included: the same for all processes of a time namespace, and nobody sets it */
void hone__sleep_ms(uint32_t ms);

#endif
