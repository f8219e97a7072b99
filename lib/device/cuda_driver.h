/* cuda_driver.h: the CUDA driver API through dlopen: our own declarations of what we call, and one table of functions.  No CUDA header is
 * needed; tests/unit/test_cuda_abi.c compares all of this with the toolkit's cuda.h where there is one. */
#ifndef HONE_CUDA_DRIVER_H
#define HONE_CUDA_DRIVER_H

#include "status.h"

#include <stddef.h>

typedef int hone__cu_result;          /* CUresult */
typedef int hone__cu_device;          /* CUdevice */
typedef unsigned long long hone__cu_memory; /* CUdeviceptr */
typedef struct CUctx_st *hone__cu_context;
typedef struct CUmod_st *hone__cu_module;
typedef struct CUfunc_st *hone__cu_function;
typedef struct CUstream_st *hone__cu_stream;
typedef struct CUevent_st *hone__cu_event;

typedef struct hone__cu_uuid {
    char bytes[16];
} hone__cu_uuid;

/* CUlaunchAttribute and CUlaunchConfig; of the attributes only the cluster's extents and the cooperative launch are used. */
typedef struct hone__cu_attribute {
    unsigned id;
    char gap[4];
    union {
        char room[64];
        struct {
            unsigned x, y, z;
        } cluster;
        int cooperative;
    } value;
} hone__cu_attribute;

typedef struct hone__cu_launch {
    unsigned grid_x, grid_y, grid_z;
    unsigned block_x, block_y, block_z;
    unsigned shared_bytes;
    hone__cu_stream stream;
    hone__cu_attribute *attribute;
    unsigned attribute_count;
} hone__cu_launch;

enum {
    HONE_CU_OK = 0,
    HONE_CU_INVALID_VALUE = 1,
    HONE_CU_OUT_OF_MEMORY = 2,
    HONE_CU_NOT_INITIALIZED = 3,
    HONE_CU_STUB_LIBRARY = 34,
    HONE_CU_NEEDS_NEWER_DRIVER = 36,
    HONE_CU_NO_DEVICE = 100,
    HONE_CU_INVALID_DEVICE = 101,
    HONE_CU_INVALID_IMAGE = 200,
    HONE_CU_NO_BINARY = 209,
    HONE_CU_NOT_FOUND = 500,
    HONE_CU_NOT_READY = 600,
    HONE_CU_ILLEGAL_ADDRESS = 700,
    HONE_CU_OUT_OF_RESOURCES = 701,
    HONE_CU_ASSERT = 710,
    HONE_CU_MISALIGNED = 716,
    HONE_CU_LAUNCH_FAILED = 719,
    HONE_CU_COOPERATIVE_TOO_LARGE = 720,
    HONE_CU_SYSTEM_DRIVER_MISMATCH = 803,
    HONE_CU_INVALID_CLUSTER_SIZE = 912,
    HONE_CU_UNKNOWN = 999
};

/* CUdevice_attribute */
enum {
    HONE_CU_MAX_THREADS = 1,
    HONE_CU_MAX_BLOCK_X = 2,
    HONE_CU_MAX_BLOCK_Y = 3,
    HONE_CU_MAX_BLOCK_Z = 4,
    HONE_CU_MAX_GRID_X = 5,
    HONE_CU_MAX_GRID_Y = 6,
    HONE_CU_MAX_GRID_Z = 7,
    HONE_CU_WARP_SIZE = 10,
    HONE_CU_REGISTERS_PER_BLOCK = 12,
    HONE_CU_CLOCK_KHZ = 13,
    HONE_CU_MULTIPROCESSORS = 16,
    HONE_CU_PCI_BUS = 33,
    HONE_CU_PCI_SLOT = 34,
    HONE_CU_MEMORY_CLOCK_KHZ = 36,
    HONE_CU_MEMORY_BUS_BITS = 37,
    HONE_CU_L2_BYTES = 38,
    HONE_CU_THREADS_PER_MULTIPROCESSOR = 39,
    HONE_CU_PCI_DOMAIN = 50,
    HONE_CU_CAPABILITY_MAJOR = 75,
    HONE_CU_CAPABILITY_MINOR = 76,
    HONE_CU_SHARED_PER_MULTIPROCESSOR = 81,
    HONE_CU_REGISTERS_PER_MULTIPROCESSOR = 82,
    HONE_CU_SHARED_OPTIN = 97,
    HONE_CU_CLUSTER_LAUNCH = 120,
    HONE_CU_GPU_PCI_ID = 139 /* device in the high half, vendor in the low one; 12.8 and later */
};

/* CUfunction_attribute */
enum {
    HONE_CU_FUNCTION_THREADS = 0,
    HONE_CU_FUNCTION_SHARED = 1,
    HONE_CU_FUNCTION_LOCAL = 3,
    HONE_CU_FUNCTION_REGISTERS = 4,
    HONE_CU_FUNCTION_DYNAMIC_SHARED = 8,
    HONE_CU_FUNCTION_WIDE_CLUSTER = 14
};

#define HONE_CU_LAUNCH_COOPERATIVE 2u /* CU_LAUNCH_ATTRIBUTE_COOPERATIVE */
#define HONE_CU_LAUNCH_CLUSTER 4u     /* CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION */
#define HONE_CU_STREAM_NON_BLOCKING 1u

/* member, symbol, required, parameters.  Symbols carry the version suffix that cuda.h gives them since 11.2. */
#define HONE_CUDA_MAP(X)                                                                                                                      \
    X(init, cuInit, 1, (unsigned flags))                                                                                                      \
    X(driver_version, cuDriverGetVersion, 1, (int *version))                                                                                  \
    X(error_name, cuGetErrorName, 1, (hone__cu_result error, const char **text))                                                              \
    X(error_string, cuGetErrorString, 1, (hone__cu_result error, const char **text))                                                          \
    X(device_count, cuDeviceGetCount, 1, (int *count))                                                                                        \
    X(device_get, cuDeviceGet, 1, (hone__cu_device *device, int ordinal))                                                                     \
    X(device_name, cuDeviceGetName, 1, (char *name, int bytes, hone__cu_device device))                                                       \
    X(device_attribute, cuDeviceGetAttribute, 1, (int *value, int attribute, hone__cu_device device))                                         \
    X(device_memory, cuDeviceTotalMem_v2, 1, (size_t *bytes, hone__cu_device device))                                                         \
    X(device_uuid, cuDeviceGetUuid_v2, 0, (hone__cu_uuid *uuid, hone__cu_device device))                                                      \
    X(context_retain, cuDevicePrimaryCtxRetain, 1, (hone__cu_context *context, hone__cu_device device))                                       \
    X(context_set, cuCtxSetCurrent, 1, (hone__cu_context context))                                                                            \
    X(context_wait, cuCtxSynchronize, 1, (void))                                                                                              \
    X(memory_info, cuMemGetInfo_v2, 1, (size_t *free_bytes, size_t *total_bytes))                                                             \
    X(memory_alloc, cuMemAlloc_v2, 1, (hone__cu_memory *memory, size_t bytes))                                                                \
    X(memory_free, cuMemFree_v2, 1, (hone__cu_memory memory))                                                                                 \
    X(copy_out, cuMemcpyDtoH_v2, 1, (void *to, hone__cu_memory from, size_t bytes))                                                           \
    X(copy_in, cuMemcpyHtoD_v2, 1, (hone__cu_memory to, const void *from, size_t bytes))                                                      \
    X(copy_within, cuMemcpyDtoDAsync_v2, 1, (hone__cu_memory to, hone__cu_memory from, size_t bytes, hone__cu_stream stream))                 \
    X(set_bytes, cuMemsetD8Async, 1, (hone__cu_memory to, unsigned char value, size_t bytes, hone__cu_stream stream))                         \
    X(module_load, cuModuleLoadData, 1, (hone__cu_module *module, const void *image))                                                         \
    X(module_unload, cuModuleUnload, 1, (hone__cu_module module))                                                                             \
    X(module_function, cuModuleGetFunction, 1, (hone__cu_function *function, hone__cu_module module, const char *name))                       \
    X(function_get, cuFuncGetAttribute, 1, (int *value, int attribute, hone__cu_function function))                                           \
    X(function_set, cuFuncSetAttribute, 1, (hone__cu_function function, int attribute, int value))                                            \
    X(function_param, cuFuncGetParamInfo, 0, (hone__cu_function function, size_t index, size_t *offset, size_t *bytes))                       \
    X(occupancy, cuOccupancyMaxActiveBlocksPerMultiprocessor, 1,                                                                              \
      (int *blocks, hone__cu_function function, int block_threads, size_t dynamic_bytes))                                                     \
    X(clusters, cuOccupancyMaxActiveClusters, 0, (int *count, hone__cu_function function, const hone__cu_launch *launch))                     \
    X(launch, cuLaunchKernelEx, 1, (const hone__cu_launch *launch, hone__cu_function function, void **params, void **extra))                  \
    X(stream_create, cuStreamCreate, 1, (hone__cu_stream *stream, unsigned flags))                                                            \
    X(stream_wait, cuStreamSynchronize, 1, (hone__cu_stream stream))                                                                          \
    X(event_create, cuEventCreate, 1, (hone__cu_event *event, unsigned flags))                                                                \
    X(event_record, cuEventRecord, 1, (hone__cu_event event, hone__cu_stream stream))                                                         \
    X(event_elapsed, cuEventElapsedTime, 1, (float *ms, hone__cu_event start, hone__cu_event end))

typedef struct hone__cuda {
#define HONE_CUDA_MEMBER(member, symbol, required, parameters) hone__cu_result(*member) parameters;
    HONE_CUDA_MAP(HONE_CUDA_MEMBER)
#undef HONE_CUDA_MEMBER
    int version; /* of the driver, 1000 * major + 10 * minor */
} hone__cuda;

#define HONE_CUDA_VERSION_MIN 11080 /* the first with cuLaunchKernelEx */

/* Load the driver ($HONE_CUDA_LIBRARY, else libcuda.so.1) and initialise it, once a process; the table lives as long as the process.
 * Errors: HONE_E_NODRIVER (none, too old, incomplete, or it does not start), HONE_E_NODEVICE (it runs, but sees no GPU).  Not to be called in a
 * child forked after it was called in the parent: CUDA does not survive a fork. */
hone_status hone__cuda_open(const hone__cuda **out, hone_error *err);
/* "an illegal memory access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS)". */
void hone__cuda_describe(const hone__cuda *cuda, hone__cu_result code, char *text, size_t bytes);

#endif
