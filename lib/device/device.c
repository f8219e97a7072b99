/* device.c: devices by name, from this machine or from an evaluator's hello, and as JSON. */
#define _GNU_SOURCE /* sched_getaffinity, CPU_* */
#include "device.h"
#include "alloc.h"
#include "cpu_identity.h"
#include "gpu_identity.h"
#include "limit.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define IDENTITY_MEMBERS_MAX 64u
#define IDENTITY_TEXT_MAX 1024u

static hone_status nomem(hone_error *err) {
    return hone__fail(err, HONE_E_NOMEM, "device", "no memory to describe a device");
}

void hone_device_free(hone_device *device) {
    if (device == NULL || atomic_fetch_sub(&device->shares, 1) > 0)
        return;
    hone__free(device->name);
    hone__free(device->kind);
    hone__free(device->ordinal);
    cJSON_Delete(device->identity);
    cJSON_Delete(device->description);
    hone__free(device);
}

hone_device *hone__device_share(const hone_device *device) {
    hone_device *shared = (hone_device *)(uintptr_t)device;
    (void)atomic_fetch_add(&shared->shares, 1);
    return shared;
}

const char *hone_device_name(const hone_device *device) {
    return device->name;
}

/* Members in the order of their names' bytes, as the key wants them (insertion sort: a dozen of them). */
static void sort_members(cJSON *object) {
    cJSON *sorted = NULL;
    cJSON *item;
    while ((item = object->child) != NULL) {
        (void)cJSON_DetachItemViaPointer(object, item);
        cJSON **link = &sorted;
        while (*link != NULL && strcmp((*link)->string, item->string) < 0)
            link = &(*link)->next;
        item->next = *link;
        *link = item;
    }
    while ((item = sorted) != NULL) {
        sorted = item->next;
        item->next = NULL;
        (void)cJSON_AddItemToArray(object, item); /* appends and keeps the name */
    }
}

/* ---- this machine ---- */

/* What a container's CPU quota leaves, rounded up; `cpus` when there is none (cgroup v2). */
static uint32_t quota_cpus(uint32_t cpus) {
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (file == NULL)
        return cpus;
    char text[64] = "";
    bool have = fgets(text, sizeof text, file) != NULL;
    (void)fclose(file);
    char *end = NULL;
    long quota = have ? strtol(text, &end, 10) : 0;
    long period = have && end != text ? strtol(end, NULL, 10) : 0;
    if (quota <= 0 || period <= 0)
        return cpus;
    long allowed = (quota + period - 1) / period;
    return allowed < (long)cpus ? (uint32_t)allowed : cpus;
}

static void usable_cpus(uint32_t *count, uint32_t *first) {
    cpu_set_t set;
    CPU_ZERO(&set);
    *count = 1;
    *first = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        *count = online > 0 ? (uint32_t)online : 1;
        return;
    }
    int usable = CPU_COUNT(&set);
    *count = usable > 0 ? (uint32_t)usable : 1;
    for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &set)) {
            *first = cpu;
            break;
        }
    }
    *count = quota_cpus(*count);
}

/* The file that `cc` ends in ("/usr/bin/x86_64-linux-gnu-gcc-12"): tells the toolkit without starting a process. */
static char *compiler_path(void) {
    const char *path = getenv("PATH");
    while (path != NULL && *path != '\0') {
        size_t length = strcspn(path, ":");
        char candidate[1024];
        int put = snprintf(candidate, sizeof candidate, "%.*s/cc", (int)(length < 1000 ? length : 1000), path);
        if (put > 0 && (size_t)put < sizeof candidate && access(candidate, X_OK) == 0) {
            char *resolved = realpath(candidate, NULL);
            char *copy = hone__strdup(resolved != NULL ? resolved : candidate);
            free(resolved); /* the C library's memory, not ours */
            return copy;
        }
        path += length + (path[length] == ':');
    }
    return hone__strdup("");
}

static bool describe_host(cJSON *description) {
    struct utsname names;
    if (uname(&names) == 0) {
        if (cJSON_AddStringToObject(description, "host", names.nodename) == NULL ||
            cJSON_AddStringToObject(description, "os", names.sysname) == NULL ||
            cJSON_AddStringToObject(description, "os_release", names.release) == NULL)
            return false;
    }
    char *compiler = compiler_path();
    bool ok = compiler != NULL && (compiler[0] == '\0' || cJSON_AddStringToObject(description, "compiler", compiler) != NULL);
    hone__free(compiler);
    return ok;
}

static hone_status new_device(hone_device **out, const char *kind, const char *ordinal, hone_error *err) {
    hone_device *device = hone__alloc(sizeof *device);
    *out = device;
    if (device == NULL)
        return nomem(err);
    device->kind = hone__strdup(kind);
    device->ordinal = hone__strdup(ordinal);
    /* Parsed, not created: the first parse of a process points cJSON at our allocator, and memory must not cross over. */
    (void)hone__json_parse(&device->identity, "{}", 2, "identity", NULL);
    (void)hone__json_parse(&device->description, "{}", 2, "description", NULL);
    if (device->kind != NULL && device->ordinal != NULL && device->identity != NULL && device->description != NULL)
        return HONE_OK;
    hone_device_free(device);
    *out = NULL;
    return nomem(err);
}

static hone_status detect_cpu(hone_device **out, hone_error *err) {
    uint32_t cpus = 1, first = 0;
    hone_device *device = NULL;
    HONE_TRY(new_device(&device, "cpu", "cpu", err));
    usable_cpus(&cpus, &first);
    if (!hone__cpu_identify("", cpus, first, device->identity, device->description, &device->name) || !describe_host(device->description)) {
        hone_device_free(device);
        return nomem(err);
    }
    sort_members(device->identity);
    *out = device;
    return HONE_OK;
}

static hone_status detect_gpu(hone_device **out, const hone__cuda *cuda, int ordinal, const char *name, hone_error *err) {
    struct utsname names;
    hone_device *device = NULL;
    HONE_TRY(new_device(&device, "cuda", name, err));
    bool ok = hone__gpu_identify(cuda, ordinal, device->identity, device->description, &device->name);
    if (ok && uname(&names) == 0)
        ok = cJSON_AddStringToObject(device->description, "host", names.nodename) != NULL;
    if (!ok) {
        hone_device_free(device);
        return hone__fail(err, HONE_E_NODEVICE, "device", "the CUDA driver does not describe GPU %d; does nvidia-smi work here?", ordinal);
    }
    sort_members(device->identity);
    *out = device;
    return HONE_OK;
}

/* "cuda:all": the first GPU's identity, which all others must have. */
static hone_status detect_all(hone_device **out, const hone__cuda *cuda, int count, hone_error *err) {
    hone_device *first = NULL;
    hone_status status = detect_gpu(&first, cuda, 0, "cuda:all", err);
    for (int i = 1; i < count && status == HONE_OK; i++) {
        hone_device *other = NULL;
        status = detect_gpu(&other, cuda, i, "cuda:all", err);
        if (status == HONE_OK && !cJSON_Compare(first->identity, other->identity, 1))
            status = hone__fail(err, HONE_E_ARG, "device",
                                "cuda:all needs equal GPUs: cuda:0 is %.60s, cuda:%d is %.60s; choose some with CUDA_VISIBLE_DEVICES", first->name, i,
                                other->name);
        hone_device_free(other);
    }
    if (status != HONE_OK) {
        hone_device_free(first);
        return status;
    }
    *out = first;
    return HONE_OK;
}

bool hone__device_is_cuda(const char *name) {
    if (name == NULL || strncmp(name, "cuda", 4) != 0)
        return false;
    bool number = name[4] == ':' && name[5] != '\0' && strlen(name) <= 8 && strspn(name + 5, "0123456789") == strlen(name + 5);
    return name[4] == '\0' || number || strcmp(name, "cuda:all") == 0;
}

static hone_status detect_cuda(hone_device **out, const char *name, hone_error *err) {
    const hone__cuda *cuda = NULL;
    int count = 0;
    HONE_TRY(hone__cuda_open(&cuda, err));
    if (cuda->device_count(&count) != HONE_CU_OK || count < 1)
        return hone__fail(err, HONE_E_NODEVICE, "device", "the CUDA driver sees no GPU");
    if (strcmp(name, "cuda:all") == 0)
        return detect_all(out, cuda, count, err);
    long ordinal = name[4] == ':' ? strtol(name + 5, NULL, 10) : 0;
    if (ordinal >= count)
        return hone__fail(err, HONE_E_NODEVICE, "device", "there is no %s: the driver sees %d GPU%s, cuda:0%s", name, count, count > 1 ? "s" : "",
                          count > 1 ? " and up" : "");
    return detect_gpu(out, cuda, (int)ordinal, name, err);
}

hone_status hone__device_detect(hone_device **out, const char *name, hone_error *err) {
    *out = NULL;
    if (name != NULL && strcmp(name, "cpu") == 0)
        return detect_cpu(out, err);
    if (name == NULL)
        return detect_cuda(out, "cuda:0", NULL) == HONE_OK ? HONE_OK : detect_cpu(out, err);
    if (hone__device_is_cuda(name))
        return detect_cuda(out, name, err);
    return hone__fail(err, HONE_E_NODEVICE, "device", "no device \"%.40s\"; known are \"cpu\", \"cuda:N\" and \"cuda:all\"", name);
}

/* ---- an evaluator's hello ---- */

static hone_status bad_hello(hone_error *err, const char *what) {
    return hone__fail(err, HONE_E_EVALUATOR, "device", "the evaluator's hello: %s", what);
}

static bool kind_is_good(const char *kind) {
    size_t length = strlen(kind);
    return length >= 1 && length <= 32 && strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789_.-") == length;
}

static hone_status check_identity(const cJSON *identity, hone_error *err) {
    uint32_t count = 0;
    if (!cJSON_IsObject(identity) || identity->child == NULL)
        return bad_hello(err, "device.identity must be an object with at least one member");
    for (const cJSON *item = identity->child; item != NULL; item = item->next) {
        if (++count > IDENTITY_MEMBERS_MAX)
            return bad_hello(err, "device.identity has more than 64 members");
        if (strlen(item->string) > HONE_LIMIT_NAME_BYTES || item->string[0] == '\0')
            return bad_hello(err, "a name in device.identity is empty or longer than 64 bytes");
        bool good = cJSON_IsBool(item) || (cJSON_IsNumber(item) && isfinite(item->valuedouble)) ||
                    (cJSON_IsString(item) && strlen(item->valuestring) <= IDENTITY_TEXT_MAX);
        if (!good)
            return hone__fail(err, HONE_E_EVALUATOR, "device",
                              "the evaluator's hello: device.identity.%s must be a string of at most 1024 bytes, a finite number or a boolean",
                              item->string);
    }
    return HONE_OK;
}

static char *short_name(const char *name) {
    return hone__strndup(name, strnlen(name, 200));
}

static double peak(const cJSON *peaks, const char *name) {
    double value = hone__json_number(peaks, name, 0);
    return isfinite(value) && value > 0 ? value : 0;
}

void hone__device_read_peaks(hone_device *device, const cJSON *peaks) {
    device->peak_gbps = peak(peaks, "gbps");
    device->peak_gflops = peak(peaks, "gflops");
    device->peak_tf32_gflops = peak(peaks, "tf32_gflops");
    device->peak_fp16_gflops = peak(peaks, "fp16_gflops");
    device->peak_bf16_gflops = peak(peaks, "bf16_gflops");
}

double hone__device_gflops(const hone_device *device, const char *precision) {
    if (strcmp(precision, "tf32") == 0)
        return device->peak_tf32_gflops;
    if (strcmp(precision, "fp16") == 0)
        return device->peak_fp16_gflops;
    return strcmp(precision, "bf16") == 0 ? device->peak_bf16_gflops : device->peak_gflops;
}

hone_status hone__device_from_hello(hone_device **out, const cJSON *device, const cJSON *peaks, hone_error *err) {
    *out = NULL;
    const char *kind = hone__json_string(device, "kind");
    const char *name = hone__json_string(device, "name");
    const cJSON *identity = cJSON_GetObjectItemCaseSensitive(device, "identity");
    const cJSON *description = cJSON_GetObjectItemCaseSensitive(device, "description");
    if (kind == NULL || !kind_is_good(kind))
        return bad_hello(err, "device.kind must be 1 to 32 of a-z 0-9 _ . -");
    HONE_TRY(check_identity(identity, err));
    if (description != NULL && !cJSON_IsObject(description))
        return bad_hello(err, "device.description must be an object");
    hone_device *made = hone__alloc(sizeof *made);
    if (made == NULL)
        return nomem(err);
    made->kind = hone__strdup(kind);
    made->ordinal = hone__strdup(""); /* which of its devices an evaluator used is its own affair unless the caller names one */
    made->name = short_name(name != NULL && name[0] != '\0' ? name : kind);
    made->identity = cJSON_Duplicate(identity, 1);
    made->description = description != NULL ? cJSON_Duplicate(description, 1) : cJSON_CreateObject();
    if (made->kind == NULL || made->ordinal == NULL || made->name == NULL || made->identity == NULL || made->description == NULL) {
        hone_device_free(made);
        return nomem(err);
    }
    sort_members(made->identity);
    hone__device_read_peaks(made, peaks);
    *out = made;
    return HONE_OK;
}

cJSON *hone__device_to_json(const hone_device *device) {
    cJSON *json = cJSON_CreateObject();
    cJSON *identity = cJSON_Duplicate(device->identity, 1);
    cJSON *description = cJSON_Duplicate(device->description, 1);
    bool ok = json != NULL && cJSON_AddStringToObject(json, "kind", device->kind) != NULL &&
              cJSON_AddStringToObject(json, "name", device->name) != NULL;
    if (ok && identity != NULL && cJSON_AddItemToObject(json, "identity", identity))
        identity = NULL;
    if (ok && description != NULL && cJSON_AddItemToObject(json, "description", description))
        description = NULL;
    if (!ok || cJSON_GetObjectItemCaseSensitive(json, "identity") == NULL ||
        cJSON_GetObjectItemCaseSensitive(json, "description") == NULL) {
        cJSON_Delete(identity);
        cJSON_Delete(description);
        cJSON_Delete(json);
        return NULL;
    }
    return json;
}
