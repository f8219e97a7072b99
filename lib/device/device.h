/* device.h: who am I running on.  A device's identity is a small JSON object; what only describes it stands apart. */
#ifndef HONE_DEVICE_H
#define HONE_DEVICE_H

#include "json.h"

#include <stdatomic.h>

struct hone_device {
    char *name;            /* for people: "AMD EPYC (2 cores)" */
    char *kind;            /* "cpu", "cuda", or what an external evaluator says */
    char *ordinal;         /* "cpu", "cuda:0": what to ask an evaluator for; "": its own choice */
    cJSON *identity;       /* members sorted by name; scalars only; in the key */
    cJSON *description;    /* clocks, host, driver, toolkit, limits for the prompt; not in the key */
    double peak_gbps;      /* measured memory bandwidth, GB/s; 0 unknown.  Set from the evaluator's hello */
    double peak_gflops;    /* measured fp32 peak, GFLOP/s; 0 unknown */
    double peak_tf32_gflops, peak_fp16_gflops, peak_bf16_gflops; /* of the matrix units, fp32 accumulation; 0 unknown */
    uint8_t id[16];        /* set by key/: see key.h */
    atomic_int shares;     /* holders beside the first: hone_device_free frees for the last */
};

/* Hold a device beyond its owner's hone_device_free; the result is given up by hone_device_free, too. */
hone_device *hone__device_share(const hone_device *device);

/* From this machine: "cpu", "cuda:N", "cuda:all" (several GPUs, all equal), NULL (first GPU, else CPU).  No peaks, no id. */
hone_status hone__device_detect(hone_device **out, const char *name, hone_error *err);
/* From an evaluator's hello: {"kind", "name", "identity": {...}, "description": {...}} and peaks {"gbps", "gflops"}. */
hone_status hone__device_from_hello(hone_device **out, const cJSON *device, const cJSON *peaks, hone_error *err);
/* "cuda", "cuda:3", "cuda:all". */
bool hone__device_is_cuda(const char *name);
/* {"gbps", "gflops", "tf32_gflops", "fp16_gflops", "bf16_gflops"}; what is missing or no rate is 0. */
void hone__device_read_peaks(hone_device *device, const cJSON *peaks);
/* The measured rate for a precision ("fp32", "tf32", "fp16", "bf16"), GFLOP/s; 0 unknown. */
double hone__device_gflops(const hone_device *device, const char *precision);
/* As the hello carries it. */
cJSON *hone__device_to_json(const hone_device *device);

#endif
