/* cuda_driver.c: see cuda_driver.h. */
#define _GNU_SOURCE
#include "cuda_driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
static hone__cuda table;
static bool ready;

void hone__cuda_describe(const hone__cuda *cuda, hone__cu_result code, char *text, size_t bytes) {
    const char *name = NULL, *words = NULL;
    if (cuda->error_name(code, &name) != HONE_CU_OK || name == NULL)
        name = "an unknown CUDA error";
    if (cuda->error_string(code, &words) != HONE_CU_OK || words == NULL)
        words = "no description";
    (void)snprintf(text, bytes, "%s (%s, %d)", words, name, code);
}

/* A function pointer out of dlsym's object pointer: POSIX says they convert, ISO C does not. */
static void set_member(void *member, void *symbol) {
    memcpy(member, &symbol, sizeof symbol);
}

static hone_status load_symbols(hone__cuda *out, void *library, const char *path, hone_error *err) {
#define HONE_CUDA_LOAD(member, symbol, required, parameters)                                                                              \
    set_member(&out->member, dlsym(library, #symbol));                                                                                    \
    if ((required) && out->member == NULL)                                                                                                \
        return hone__fail(err, HONE_E_NODRIVER, "device",                                                                                 \
                          "the CUDA driver %.200s lacks %s: it is older than CUDA 11.8, or no driver at all; install a newer one", path,  \
                          #symbol);
    HONE_CUDA_MAP(HONE_CUDA_LOAD)
#undef HONE_CUDA_LOAD
    return HONE_OK;
}

static hone_status check_version(hone__cuda *out, void *library, const char *path, hone_error *err) {
    hone__cu_result (*version)(int *) = NULL;
    set_member(&version, dlsym(library, "cuDriverGetVersion"));
    if (version == NULL || version(&out->version) != HONE_CU_OK)
        return hone__fail(err, HONE_E_NODRIVER, "device", "%.200s does not say its version: it is no CUDA driver", path);
    if (out->version < HONE_CUDA_VERSION_MIN)
        return hone__fail(err, HONE_E_NODRIVER, "device", "the CUDA driver is for CUDA %d.%d; 11.8 or later is needed: update the NVIDIA driver",
                          out->version / 1000, out->version % 1000 / 10);
    return HONE_OK;
}

static hone_status start(const hone__cuda *cuda, hone_error *err) {
    char why[200];
    int count = 0;
    hone__cu_result code = cuda->init(0);
    if (code == HONE_CU_OK)
        code = cuda->device_count(&count);
    if (code == HONE_CU_NO_DEVICE || (code == HONE_CU_OK && count == 0))
        return hone__fail_os(err, HONE_E_NODEVICE, "device", code, "the CUDA driver sees no GPU (none is there, or CUDA_VISIBLE_DEVICES hides all)");
    if (code == HONE_CU_OK)
        return HONE_OK;
    hone__cuda_describe(cuda, code, why, sizeof why);
    const char *way_out = code == HONE_CU_SYSTEM_DRIVER_MISMATCH ? "; libcuda.so.1 and the kernel module are of different versions: reboot or reinstall"
                          : code == HONE_CU_STUB_LIBRARY         ? "; this is the toolkit's stub library: take its folder out of LD_LIBRARY_PATH"
                          : code == HONE_CU_NOT_INITIALIZED      ? "; was CUDA used before a fork()?"
                                                                 : "; does nvidia-smi work here?";
    return hone__fail_os(err, HONE_E_NODRIVER, "device", code, "the CUDA driver does not start: %s%s", why, way_out);
}

static hone_status open_locked(hone_error *err) {
    const char *named = getenv("HONE_CUDA_LIBRARY");
    const char *path = named != NULL && named[0] != '\0' ? named : "libcuda.so.1";
    hone__cuda fresh = {0};
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        const char *why = dlerror();
        return hone__fail(err, HONE_E_NODRIVER, "device", "no CUDA driver: %.300s", why != NULL ? why : path);
    }
    hone_status status = check_version(&fresh, library, path, err);
    if (status == HONE_OK)
        status = load_symbols(&fresh, library, path, err);
    if (status == HONE_OK)
        status = start(&fresh, err);
    if (status != HONE_OK) {
        (void)dlclose(library);
        return status;
    }
    table = fresh;
    ready = true;
    return HONE_OK;
}

hone_status hone__cuda_open(const hone__cuda **out, hone_error *err) {
    *out = NULL;
    (void)pthread_mutex_lock(&once);
    hone_status status = ready ? HONE_OK : open_locked(err);
    (void)pthread_mutex_unlock(&once);
    if (status == HONE_OK)
        *out = &table;
    return status;
}
