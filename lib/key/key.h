/* key.h: canonical bytes of kernel, problem and device, and the key made of them (spec/key.md). */
#ifndef HONE_KEY_H
#define HONE_KEY_H

#include "device.h"
#include "hash.h"
#include "kernel.h"

/* The canonical bytes, appended to `buf`. */
void hone__key_kernel_bytes(hone__buf *buf, const hone_kernel *kernel);
void hone__key_problem_bytes(hone__buf *buf, const hone_kernel *kernel, const int64_t *sizes);
void hone__key_device_bytes(hone__buf *buf, const hone_device *device);

typedef struct hone__key {
    uint8_t kernel[16];
    uint8_t device[16];
    uint8_t problem[16];
    uint8_t key[16];       /* of the three above: what people see, in hexadecimal */
} hone__key;

hone__key hone__key_make(const hone_kernel *kernel, const hone_device *device, const int64_t *sizes);
/* Set kernel->id, device->id.  Called once, where they are made. */
hone_status hone__key_identify_kernel(hone_kernel *kernel);
hone_status hone__key_identify_device(hone_device *device);

#endif
