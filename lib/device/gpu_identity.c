/* gpu_identity.c: see gpu_identity.h. */
#define _GNU_SOURCE
#include "gpu_identity.h"
#include "alloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint32_t hone__gpu_memory_class(uint64_t bytes) {
    uint64_t gib = (bytes + (1u << 30) - 1) >> 30;
    uint64_t step = gib <= 16 ? 1 : gib <= 64 ? 4 : 8;
    return (uint32_t)((gib + step - 1) / step * step);
}

static int attribute(const hone__cuda *cuda, hone__cu_device device, int which) {
    int value = 0;
    return cuda->device_attribute(&value, which, device) == HONE_CU_OK ? value : 0;
}

static bool read_line(const char *path, char *text, size_t bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, bytes - 1) : -1;
    if (fd >= 0)
        (void)close(fd);
    text[got > 0 ? got : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return got > 0;
}

/* Vendor and device as on the PCI bus, "10de:2330": from the driver (CUDA 12.8), else from the kernel. */
static bool pci_id(const hone__cuda *cuda, hone__cu_device device, char *text, size_t bytes) {
    unsigned both = (unsigned)attribute(cuda, device, HONE_CU_GPU_PCI_ID);
    if (both != 0 && (both & 0xffff) == 0x10de) {
        (void)snprintf(text, bytes, "%04x:%04x", both & 0xffff, both >> 16);
        return true;
    }
    char path[128], line[32];
    (void)snprintf(path, sizeof path, "/sys/bus/pci/devices/%04x:%02x:%02x.0/device", (unsigned)attribute(cuda, device, HONE_CU_PCI_DOMAIN),
                   (unsigned)attribute(cuda, device, HONE_CU_PCI_BUS), (unsigned)attribute(cuda, device, HONE_CU_PCI_SLOT));
    if (!read_line(path, line, sizeof line))
        return false;
    (void)snprintf(text, bytes, "10de:%04x", (unsigned)strtoul(line, NULL, 16) & 0xffff);
    return true;
}

/* "1g.10gb" out of "NVIDIA H100 80GB HBM3 MIG 1g.10gb"; "" for a whole GPU. */
static const char *mig_slice(const char *name) {
    const char *mark = strstr(name, " MIG ");
    return mark != NULL ? mark + 5 : "";
}

static bool add_number(cJSON *to, const char *name, double value) {
    return cJSON_AddNumberToObject(to, name, value) != NULL;
}

static bool add_text(cJSON *to, const char *name, const char *text) {
    return text[0] == '\0' || cJSON_AddStringToObject(to, name, text) != NULL;
}

/* The kernel module's version, "580.159.04", out of "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159.04  ...". */
static void module_version(char *text, size_t bytes) {
    char line[256] = "";
    text[0] = '\0';
    if (!read_line("/proc/driver/nvidia/version", line, sizeof line))
        return;
    for (const char *c = line; *c != '\0'; c += strcspn(c, " "), c += strspn(c, " ")) {
        size_t length = strcspn(c, " ");
        if (length > 4 && length < bytes && strspn(c, "0123456789.") == length && memchr(c, '.', length) != NULL) {
            (void)snprintf(text, bytes, "%.*s", (int)length, c);
            return;
        }
    }
}

static bool describe(const hone__cuda *cuda, hone__cu_device device, cJSON *to) {
    static const struct {
        const char *name;
        int which;
    } numbers[] = {{"l2_bytes", HONE_CU_L2_BYTES},
                   {"shared_bytes_per_block", HONE_CU_SHARED_OPTIN},
                   {"shared_bytes_per_multiprocessor", HONE_CU_SHARED_PER_MULTIPROCESSOR},
                   {"registers_per_multiprocessor", HONE_CU_REGISTERS_PER_MULTIPROCESSOR},
                   {"threads_per_block", HONE_CU_MAX_THREADS},
                   {"threads_per_multiprocessor", HONE_CU_THREADS_PER_MULTIPROCESSOR},
                   {"warp_size", HONE_CU_WARP_SIZE},
                   {"memory_bus_bits", HONE_CU_MEMORY_BUS_BITS}};
    char driver[32], kernel_module[48], uuid_text[40] = "";
    hone__cu_uuid uuid;
    bool ok = true;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        ok = ok && add_number(to, numbers[i].name, attribute(cuda, device, numbers[i].which));
    ok = ok && add_number(to, "clock_mhz", attribute(cuda, device, HONE_CU_CLOCK_KHZ) / 1000) &&
         add_number(to, "memory_clock_mhz", attribute(cuda, device, HONE_CU_MEMORY_CLOCK_KHZ) / 1000);
    if (cJSON_AddBoolToObject(to, "clusters", attribute(cuda, device, HONE_CU_CLUSTER_LAUNCH) != 0) == NULL)
        return false;
    (void)snprintf(driver, sizeof driver, "CUDA %d.%d", cuda->version / 1000, cuda->version % 1000 / 10);
    module_version(kernel_module, sizeof kernel_module);
    if (cuda->device_uuid != NULL && cuda->device_uuid(&uuid, device) == HONE_CU_OK) {
        for (size_t i = 0; i < sizeof uuid.bytes; i++)
            (void)snprintf(uuid_text + 2 * i, sizeof uuid_text - 2 * i, "%02x", (unsigned)(unsigned char)uuid.bytes[i]);
    }
    return ok && add_text(to, "driver", kernel_module[0] != '\0' ? kernel_module : driver) && add_text(to, "driver_api", driver) &&
           add_text(to, "uuid", uuid_text);
}

bool hone__gpu_identify(const hone__cuda *cuda, int ordinal, cJSON *identity, cJSON *description, char **name) {
    char text[256] = "", arch[16], pci[16];
    size_t memory = 0;
    hone__cu_device device = 0;
    if (cuda->device_get(&device, ordinal) != HONE_CU_OK || cuda->device_name(text, (int)sizeof text, device) != HONE_CU_OK ||
        cuda->device_memory(&memory, device) != HONE_CU_OK)
        return false;
    (void)snprintf(arch, sizeof arch, "sm_%d%d", attribute(cuda, device, HONE_CU_CAPABILITY_MAJOR),
                   attribute(cuda, device, HONE_CU_CAPABILITY_MINOR));
    *name = hone__strdup(text);
    bool ok = *name != NULL && add_text(identity, "vendor", "nvidia") && add_text(identity, "arch", arch) &&
              add_number(identity, "multiprocessors", attribute(cuda, device, HONE_CU_MULTIPROCESSORS)) &&
              add_number(identity, "memory_gib", hone__gpu_memory_class(memory)) &&
              add_text(identity, "mig", mig_slice(text)[0] != '\0' ? mig_slice(text) : "none");
    if (ok && pci_id(cuda, device, pci, sizeof pci))
        ok = add_text(identity, "pci", pci);
    return ok && describe(cuda, device, description);
}
