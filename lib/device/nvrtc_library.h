/* nvrtc_library.h: NVRTC, which compiles CUDA C++ at run time, through dlopen: versions 11 to 13 have the same functions under the same names. */
#ifndef HONE_NVRTC_LIBRARY_H
#define HONE_NVRTC_LIBRARY_H

#include "status.h"

#include <stddef.h>

typedef struct _nvrtcProgram *hone__rtc_program;
typedef int hone__rtc_result; /* nvrtcResult */

enum { HONE_NVRTC_OK = 0, HONE_NVRTC_OUT_OF_MEMORY = 1, HONE_NVRTC_COMPILATION = 6 };

#define HONE_NVRTC_MAP(X)                                                                                                                \
    X(version, nvrtcVersion, (int *major, int *minor))                                                                                   \
    X(create, nvrtcCreateProgram,                                                                                                        \
      (hone__rtc_program * program, const char *source, const char *name, int headers, const char *const *header,                        \
       const char *const *header_name))                                                                                                  \
    X(destroy, nvrtcDestroyProgram, (hone__rtc_program * program))                                                                       \
    X(compile, nvrtcCompileProgram, (hone__rtc_program program, int options, const char *const *option))                                 \
    X(log_bytes, nvrtcGetProgramLogSize, (hone__rtc_program program, size_t *bytes))                                                     \
    X(log, nvrtcGetProgramLog, (hone__rtc_program program, char *text))                                                                  \
    X(cubin_bytes, nvrtcGetCUBINSize, (hone__rtc_program program, size_t *bytes))                                                        \
    X(cubin, nvrtcGetCUBIN, (hone__rtc_program program, char *cubin))                                                                    \
    X(add_name, nvrtcAddNameExpression, (hone__rtc_program program, const char *name))                                                   \
    X(lowered_name, nvrtcGetLoweredName, (hone__rtc_program program, const char *name, const char **lowered))                            \
    X(arch_count, nvrtcGetNumSupportedArchs, (int *count))                                                                               \
    X(archs, nvrtcGetSupportedArchs, (int *archs))

typedef struct hone__nvrtc {
#define HONE_NVRTC_MEMBER(member, symbol, parameters) hone__rtc_result(*member) parameters;
    HONE_NVRTC_MAP(HONE_NVRTC_MEMBER)
#undef HONE_NVRTC_MEMBER
    int major, minor;
    char path[512];        /* of the library */
    char headers[512];     /* a toolkit's include folder, "" when none was found */
    char libcu[512];       /* the folder that has libcu++ (cuda/std/...), which <cooperative_groups.h> needs since 13; "" when `headers` has it */
} hone__nvrtc;

/* Load NVRTC, once a process: $HONE_NVRTC_LIBRARY (a file) alone when it is set; else libnvrtc.so.13, .12, .11.2 and libnvrtc.so as the
 * loader finds them, in $CUDA_HOME, $CUDA_PATH, /usr/local/cuda, and the folders of pip's packages in $VIRTUAL_ENV.  The newest that `driver`
 * (1000 * major + 10 * minor; 0: any) can load code of is taken.
 * Errors: HONE_E_UNSUPPORTED, with the names that were tried. */
hone_status hone__nvrtc_open(const hone__nvrtc **out, int driver, hone_error *err);
/* The architecture to compile for on a device of capability major.minor: "sm_90a" where NVRTC knows it and the device has one, else
 * "sm_90".  False: this NVRTC is older than the device. */
int hone__nvrtc_arch(const hone__nvrtc *nvrtc, int major, int minor, char *arch, size_t bytes);

#endif
