/* cpu_identity.h: what the kernel says of the CPU, read below a root folder ("" for this machine), so that tests can show it
 * machines that they do not run on. */
#ifndef HONE_CPU_IDENTITY_H
#define HONE_CPU_IDENTITY_H

#include "json.h"

/* `cpus`: how many logical CPUs this process may run on; `first`: one of them, whose caches are read.
 * Fills identity (scalars) and description; *name is for people (hone__free).  False: out of memory. */
bool hone__cpu_identify(const char *root, uint32_t cpus, uint32_t first, cJSON *identity, cJSON *description, char **name);

#endif
