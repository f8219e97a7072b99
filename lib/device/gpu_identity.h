/* gpu_identity.h: a GPU as far as tuning cares, from the CUDA driver alone (design: identity is a vector, not a name). */
#ifndef HONE_GPU_IDENTITY_H
#define HONE_GPU_IDENTITY_H

#include "cuda_driver.h"
#include "json.h"

/* Fills identity and description of GPU `ordinal`; *name is for people (hone__free).  False: out of memory or the driver refuses. */
bool hone__gpu_identify(const hone__cuda *cuda, int ordinal, cJSON *identity, cJSON *description, char **name);
/* "80": GiB, rounded up in steps that hide what drivers and ECC reserve. */
uint32_t hone__gpu_memory_class(uint64_t bytes);

#endif
