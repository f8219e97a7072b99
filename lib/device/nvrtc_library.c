/* nvrtc_library.c: see nvrtc_library.h. */
#define _GNU_SOURCE
#include "nvrtc_library.h"
#include "alloc.h"

#include <dlfcn.h>
#include <glob.h>
#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
static hone__nvrtc table;
static bool ready;

/* Newest first.  Since 11.3 the file's version stays 11.2; from 12 on it is the major version. */
static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so"};
static const char *const variables[] = {"CUDA_HOME", "CUDA_PATH"};

typedef struct search {
    hone__nvrtc *out;
    int driver;
    int too_new;        /* major version of one that the driver cannot take; 0: none seen */
    bool incomplete;
} search;

static void set_member(void *member, void *symbol) {
    memcpy(member, &symbol, sizeof symbol);
}

static bool load_symbols(hone__nvrtc *out, void *library) {
#define HONE_NVRTC_LOAD(member, symbol, parameters)                                                                                      \
    set_member(&out->member, dlsym(library, #symbol));                                                                                   \
    if (out->member == NULL)                                                                                                             \
        return false;
    HONE_NVRTC_MAP(HONE_NVRTC_LOAD)
#undef HONE_NVRTC_LOAD
    return true;
}

static bool take(search *s, const char *path) {
    hone__nvrtc fresh = {0};
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return false;
    bool whole = load_symbols(&fresh, library) && fresh.version(&fresh.major, &fresh.minor) == HONE_NVRTC_OK;
    bool loadable = s->driver == 0 || fresh.major <= s->driver / 1000;
    if (!whole || !loadable) {
        s->incomplete = s->incomplete || !whole;
        s->too_new = whole && fresh.major > s->too_new ? fresh.major : s->too_new;
        (void)dlclose(library);
        return false;
    }
    struct link_map *map = NULL;
    bool known = dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map->l_name != NULL && map->l_name[0] != '\0';
    (void)snprintf(fresh.path, sizeof fresh.path, "%s", known ? map->l_name : path);
    *s->out = fresh;
    return true;
}

static bool take_in(search *s, const char *folder, const char *name) {
    char path[600];
    static const char *const libraries[] = {"lib64", "lib"};
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%.400s/%s/%s", folder, libraries[i], name);
        if (access(path, R_OK) == 0 && take(s, path))
            return true;
    }
    return false;
}

/* pip's wheels: nvidia/cu13/lib, nvidia/cuda_nvrtc/lib. */
static bool take_in_wheel(search *s, const char *name) {
    const char *environment = getenv("VIRTUAL_ENV");
    char pattern[600];
    glob_t found = {0};
    if (environment == NULL || environment[0] != '/')
        return false;
    (void)snprintf(pattern, sizeof pattern, "%.400s/lib/python3*/site-packages/nvidia/*/lib/%s", environment, name);
    bool taken = false;
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc && !taken; i++)
            taken = take(s, found.gl_pathv[i]);
    }
    globfree(&found);
    return taken;
}

static bool take_any(search *s) {
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        if (take(s, names[n]))
            return true;
        for (size_t v = 0; v < sizeof variables / sizeof variables[0]; v++) {
            const char *folder = getenv(variables[v]);
            if (folder != NULL && folder[0] == '/' && take_in(s, folder, names[n]))
                return true;
        }
        if (take_in(s, "/usr/local/cuda", names[n]) || take_in_wheel(s, names[n]))
            return true;
    }
    return false;
}

static bool has_headers(hone__nvrtc *out, const char *folder, const char *below) {
    char path[700];
    (void)snprintf(out->headers, sizeof out->headers, "%.400s%s", folder, below);
    (void)snprintf(path, sizeof path, "%s/cuda_fp16.h", out->headers);
    return access(path, R_OK) == 0;
}

static void find_headers(hone__nvrtc *out) {
    const char *named = getenv("HONE_CUDA_INCLUDE");
    char beside[512];
    (void)snprintf(beside, sizeof beside, "%s", out->path);
    char *slash = strrchr(beside, '/');
    if (slash != NULL)
        *slash = '\0';
    if (named != NULL && named[0] != '\0' && has_headers(out, named, ""))
        return;
    if (slash != NULL && (has_headers(out, beside, "/../include") || has_headers(out, beside, "/../../cuda_runtime/include")))
        return;
    for (size_t v = 0; v < sizeof variables / sizeof variables[0]; v++) {
        const char *folder = getenv(variables[v]);
        if (folder != NULL && folder[0] == '/' && has_headers(out, folder, "/include"))
            return;
    }
    if (!has_headers(out, "/usr/local/cuda", "/include") && !has_headers(out, "/usr", "/include"))
        out->headers[0] = '\0';
}

/* The toolkit of CUDA 12 has libcu++ among its headers, that of 13 in a folder below them, pip's packages for 12 in one of its own. */
static void find_libcu(hone__nvrtc *out) {
    static const char *const places[] = {"", "/cccl", "/../../cuda_cccl/include"};
    for (size_t i = 0; out->headers[0] != '\0' && i < sizeof places / sizeof places[0]; i++) {
        char path[700];
        (void)snprintf(out->libcu, sizeof out->libcu, "%.400s%s", out->headers, places[i]);
        (void)snprintf(path, sizeof path, "%s/cuda/std/cstdint", out->libcu);
        if (access(path, R_OK) == 0) {
            if (i == 0)
                out->libcu[0] = '\0';
            return;
        }
    }
    out->libcu[0] = '\0';
}

static hone_status open_locked(int driver, hone_error *err) {
    hone__nvrtc fresh = {0};
    search s = {.out = &fresh, .driver = driver};
    const char *named = getenv("HONE_NVRTC_LIBRARY");
    bool own = named != NULL && named[0] != '\0';
    bool taken = own ? take(&s, named) : take_any(&s);
    if (!taken && s.too_new > 0)
        return hone__fail(err, HONE_E_UNSUPPORTED, "device",
                          "NVRTC %d makes code that the driver, which is for CUDA %d.%d, cannot load: update the driver, or name an NVRTC %d in "
                          "HONE_NVRTC_LIBRARY",
                          s.too_new, driver / 1000, driver % 1000 / 10, driver / 1000);
    if (!taken && s.incomplete)
        return hone__fail(err, HONE_E_UNSUPPORTED, "device", "the NVRTC found lacks functions of CUDA 11.2; HONE_NVRTC_LIBRARY names another one");
    if (!taken && own)
        return hone__fail(err, HONE_E_UNSUPPORTED, "device", "NVRTC does not load from HONE_NVRTC_LIBRARY, %.200s", named);
    if (!taken)
        return hone__fail(err, HONE_E_UNSUPPORTED, "device",
                          "no NVRTC (libnvrtc.so.13, .12 or .11.2), which compiles CUDA kernels: install the CUDA toolkit's, or name its file in "
                          "HONE_NVRTC_LIBRARY");
    find_headers(&fresh);
    find_libcu(&fresh);
    table = fresh;
    ready = true;
    return HONE_OK;
}

hone_status hone__nvrtc_open(const hone__nvrtc **out, int driver, hone_error *err) {
    *out = NULL;
    (void)pthread_mutex_lock(&once);
    hone_status status = ready ? HONE_OK : open_locked(driver, err);
    (void)pthread_mutex_unlock(&once);
    if (status == HONE_OK)
        *out = &table;
    return status;
}

int hone__nvrtc_arch(const hone__nvrtc *nvrtc, int major, int minor, char *arch, size_t bytes) {
    int count = 0;
    int wanted = 10 * major + minor;
    if (nvrtc->arch_count(&count) != HONE_NVRTC_OK || count < 1 || count > 4096)
        return 0;
    int *known = hone__alloc_array((size_t)count, sizeof *known);
    bool found = false;
    if (known != NULL && nvrtc->archs(known) == HONE_NVRTC_OK) {
        for (int i = 0; i < count; i++)
            found = found || known[i] == wanted;
    }
    hone__free(known);
    /* sm_90a came with CUDA 12.0; all later architectures have the variant. */
    bool variant = major > 9 || (major == 9 && (nvrtc->major >= 12));
    (void)snprintf(arch, bytes, "sm_%d%s", wanted, variant ? "a" : "");
    return found;
}
