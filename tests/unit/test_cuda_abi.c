/* test_cuda_abi.c: our declarations of the CUDA driver and NVRTC against the toolkit's own headers, where there are any: types of all
 * functions, values of all enumerators, layout of all structs.  A difference does not compile. */
#include "cuda_driver.h"
#include "nvrtc_library.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#if defined(HONE_TEST_CUDA_HEADER)
#include <cuda.h>
#include <nvrtc.h>

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #ours)
SAME(HONE_CU_OK, CUDA_SUCCESS);
SAME(HONE_CU_INVALID_VALUE, CUDA_ERROR_INVALID_VALUE);
SAME(HONE_CU_OUT_OF_MEMORY, CUDA_ERROR_OUT_OF_MEMORY);
SAME(HONE_CU_NOT_INITIALIZED, CUDA_ERROR_NOT_INITIALIZED);
SAME(HONE_CU_STUB_LIBRARY, CUDA_ERROR_STUB_LIBRARY);
SAME(HONE_CU_NO_DEVICE, CUDA_ERROR_NO_DEVICE);
SAME(HONE_CU_INVALID_DEVICE, CUDA_ERROR_INVALID_DEVICE);
SAME(HONE_CU_INVALID_IMAGE, CUDA_ERROR_INVALID_IMAGE);
SAME(HONE_CU_NO_BINARY, CUDA_ERROR_NO_BINARY_FOR_GPU);
SAME(HONE_CU_NOT_FOUND, CUDA_ERROR_NOT_FOUND);
SAME(HONE_CU_NOT_READY, CUDA_ERROR_NOT_READY);
SAME(HONE_CU_ILLEGAL_ADDRESS, CUDA_ERROR_ILLEGAL_ADDRESS);
SAME(HONE_CU_OUT_OF_RESOURCES, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
SAME(HONE_CU_ASSERT, CUDA_ERROR_ASSERT);
SAME(HONE_CU_MISALIGNED, CUDA_ERROR_MISALIGNED_ADDRESS);
SAME(HONE_CU_LAUNCH_FAILED, CUDA_ERROR_LAUNCH_FAILED);
SAME(HONE_CU_COOPERATIVE_TOO_LARGE, CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
SAME(HONE_CU_SYSTEM_DRIVER_MISMATCH, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
SAME(HONE_CU_UNKNOWN, CUDA_ERROR_UNKNOWN);
SAME(HONE_CU_MAX_THREADS, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
SAME(HONE_CU_MAX_BLOCK_X, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X);
SAME(HONE_CU_MAX_BLOCK_Y, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y);
SAME(HONE_CU_MAX_BLOCK_Z, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z);
SAME(HONE_CU_MAX_GRID_X, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X);
SAME(HONE_CU_MAX_GRID_Y, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y);
SAME(HONE_CU_MAX_GRID_Z, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z);
SAME(HONE_CU_WARP_SIZE, CU_DEVICE_ATTRIBUTE_WARP_SIZE);
SAME(HONE_CU_REGISTERS_PER_BLOCK, CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK);
SAME(HONE_CU_CLOCK_KHZ, CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
SAME(HONE_CU_MULTIPROCESSORS, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
SAME(HONE_CU_PCI_BUS, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);
SAME(HONE_CU_PCI_SLOT, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID);
SAME(HONE_CU_MEMORY_CLOCK_KHZ, CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
SAME(HONE_CU_MEMORY_BUS_BITS, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
SAME(HONE_CU_L2_BYTES, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
SAME(HONE_CU_THREADS_PER_MULTIPROCESSOR, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
SAME(HONE_CU_PCI_DOMAIN, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID);
SAME(HONE_CU_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
SAME(HONE_CU_CAPABILITY_MINOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
SAME(HONE_CU_SHARED_PER_MULTIPROCESSOR, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
SAME(HONE_CU_REGISTERS_PER_MULTIPROCESSOR, CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR);
SAME(HONE_CU_SHARED_OPTIN, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
SAME(HONE_CU_FUNCTION_THREADS, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
SAME(HONE_CU_FUNCTION_SHARED, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
SAME(HONE_CU_FUNCTION_LOCAL, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
SAME(HONE_CU_FUNCTION_REGISTERS, CU_FUNC_ATTRIBUTE_NUM_REGS);
SAME(HONE_CU_FUNCTION_DYNAMIC_SHARED, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
SAME(HONE_CU_STREAM_NON_BLOCKING, CU_STREAM_NON_BLOCKING);
#if CUDA_VERSION >= 11080
SAME(HONE_CU_NEEDS_NEWER_DRIVER, CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER);
SAME(HONE_CU_INVALID_CLUSTER_SIZE, CUDA_ERROR_INVALID_CLUSTER_SIZE);
SAME(HONE_CU_CLUSTER_LAUNCH, CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH);
SAME(HONE_CU_FUNCTION_WIDE_CLUSTER, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED);
SAME(HONE_CU_LAUNCH_COOPERATIVE, CU_LAUNCH_ATTRIBUTE_COOPERATIVE);
SAME(HONE_CU_LAUNCH_CLUSTER, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);

#define AT(ours, member, theirs, field)                                                                                \
    _Static_assert(offsetof(ours, member) == offsetof(theirs, field), #ours "." #member);                              \
    _Static_assert(sizeof((ours *)0)->member == sizeof((theirs *)0)->field, #ours "." #member " size")
_Static_assert(sizeof(hone__cu_launch) == sizeof(CUlaunchConfig), "CUlaunchConfig");
AT(hone__cu_launch, grid_x, CUlaunchConfig, gridDimX);
AT(hone__cu_launch, grid_y, CUlaunchConfig, gridDimY);
AT(hone__cu_launch, grid_z, CUlaunchConfig, gridDimZ);
AT(hone__cu_launch, block_x, CUlaunchConfig, blockDimX);
AT(hone__cu_launch, block_y, CUlaunchConfig, blockDimY);
AT(hone__cu_launch, block_z, CUlaunchConfig, blockDimZ);
AT(hone__cu_launch, shared_bytes, CUlaunchConfig, sharedMemBytes);
AT(hone__cu_launch, stream, CUlaunchConfig, hStream);
AT(hone__cu_launch, attribute, CUlaunchConfig, attrs);
AT(hone__cu_launch, attribute_count, CUlaunchConfig, numAttrs);
_Static_assert(sizeof(hone__cu_attribute) == sizeof(CUlaunchAttribute), "CUlaunchAttribute");
AT(hone__cu_attribute, id, CUlaunchAttribute, id);
AT(hone__cu_attribute, value, CUlaunchAttribute, value);
AT(hone__cu_attribute, value.cooperative, CUlaunchAttribute, value.cooperative);
AT(hone__cu_attribute, value.cluster.x, CUlaunchAttribute, value.clusterDim.x);
AT(hone__cu_attribute, value.cluster.y, CUlaunchAttribute, value.clusterDim.y);
AT(hone__cu_attribute, value.cluster.z, CUlaunchAttribute, value.clusterDim.z);
#endif
#if CUDA_VERSION >= 13000
SAME(HONE_CU_GPU_PCI_ID, CU_DEVICE_ATTRIBUTE_GPU_PCI_DEVICE_ID);
#endif
_Static_assert(sizeof(hone__cu_memory) == sizeof(CUdeviceptr) && sizeof(hone__cu_device) == sizeof(CUdevice), "handles");
_Static_assert(sizeof(hone__cu_uuid) == sizeof(CUuuid) && sizeof(hone__cu_result) == sizeof(CUresult), "CUuuid, CUresult");

/* A function type of ours in their words: enums and struct names differ, so parameters are compared through these. */
#define THEIRS(symbol, ...) _Static_assert(__builtin_types_compatible_p(__typeof__(symbol), CUresult(__VA_ARGS__)), #symbol)
THEIRS(cuInit, unsigned);
THEIRS(cuDriverGetVersion, int *);
THEIRS(cuGetErrorName, CUresult, const char **);
THEIRS(cuGetErrorString, CUresult, const char **);
THEIRS(cuDeviceGetCount, int *);
THEIRS(cuDeviceGet, CUdevice *, int);
THEIRS(cuDeviceGetName, char *, int, CUdevice);
THEIRS(cuDeviceGetAttribute, int *, CUdevice_attribute, CUdevice);
THEIRS(cuDeviceTotalMem_v2, size_t *, CUdevice);
THEIRS(cuDevicePrimaryCtxRetain, CUcontext *, CUdevice);
THEIRS(cuCtxSetCurrent, CUcontext);
THEIRS(cuCtxSynchronize, void);
THEIRS(cuMemGetInfo_v2, size_t *, size_t *);
THEIRS(cuMemAlloc_v2, CUdeviceptr *, size_t);
THEIRS(cuMemFree_v2, CUdeviceptr);
THEIRS(cuMemcpyDtoH_v2, void *, CUdeviceptr, size_t);
THEIRS(cuMemcpyHtoD_v2, CUdeviceptr, const void *, size_t);
THEIRS(cuMemcpyDtoDAsync_v2, CUdeviceptr, CUdeviceptr, size_t, CUstream);
THEIRS(cuMemsetD8Async, CUdeviceptr, unsigned char, size_t, CUstream);
THEIRS(cuModuleLoadData, CUmodule *, const void *);
THEIRS(cuModuleUnload, CUmodule);
THEIRS(cuModuleGetFunction, CUfunction *, CUmodule, const char *);
THEIRS(cuFuncGetAttribute, int *, CUfunction_attribute, CUfunction);
THEIRS(cuFuncSetAttribute, CUfunction, CUfunction_attribute, int);
THEIRS(cuOccupancyMaxActiveBlocksPerMultiprocessor, int *, CUfunction, int, size_t);
THEIRS(cuStreamCreate, CUstream *, unsigned);
THEIRS(cuStreamSynchronize, CUstream);
THEIRS(cuEventCreate, CUevent *, unsigned);
THEIRS(cuEventRecord, CUevent, CUstream);
THEIRS(cuEventElapsedTime, float *, CUevent, CUevent);
#if CUDA_VERSION >= 11080
THEIRS(cuDeviceGetUuid_v2, CUuuid *, CUdevice);
THEIRS(cuOccupancyMaxActiveClusters, int *, CUfunction, const CUlaunchConfig *);
THEIRS(cuLaunchKernelEx, const CUlaunchConfig *, CUfunction, void **, void **);
#endif
#if CUDA_VERSION >= 12040
THEIRS(cuFuncGetParamInfo, CUfunction, size_t, size_t *, size_t *);
#endif

/* Our members in our words: the same lists with the types that stand for theirs, so that no member can drift from its symbol. */
#define OURS(member, ...) \
    _Static_assert(__builtin_types_compatible_p(__typeof__(((hone__cuda *)0)->member), hone__cu_result(*)(__VA_ARGS__)), #member)
OURS(init, unsigned);
OURS(device_attribute, int *, int, hone__cu_device);
OURS(device_name, char *, int, hone__cu_device);
OURS(device_memory, size_t *, hone__cu_device);
OURS(device_uuid, hone__cu_uuid *, hone__cu_device);
OURS(context_retain, hone__cu_context *, hone__cu_device);
OURS(memory_alloc, hone__cu_memory *, size_t);
OURS(copy_out, void *, hone__cu_memory, size_t);
OURS(copy_in, hone__cu_memory, const void *, size_t);
OURS(copy_within, hone__cu_memory, hone__cu_memory, size_t, hone__cu_stream);
OURS(set_bytes, hone__cu_memory, unsigned char, size_t, hone__cu_stream);
OURS(module_load, hone__cu_module *, const void *);
OURS(module_function, hone__cu_function *, hone__cu_module, const char *);
OURS(function_get, int *, int, hone__cu_function);
OURS(function_set, hone__cu_function, int, int);
OURS(function_param, hone__cu_function, size_t, size_t *, size_t *);
OURS(occupancy, int *, hone__cu_function, int, size_t);
OURS(clusters, int *, hone__cu_function, const hone__cu_launch *);
OURS(launch, const hone__cu_launch *, hone__cu_function, void **, void **);
OURS(stream_create, hone__cu_stream *, unsigned);
OURS(event_create, hone__cu_event *, unsigned);
OURS(event_record, hone__cu_event, hone__cu_stream);
OURS(event_elapsed, float *, hone__cu_event, hone__cu_event);

#define RTC(symbol, ...) _Static_assert(__builtin_types_compatible_p(__typeof__(symbol), nvrtcResult(__VA_ARGS__)), #symbol)
RTC(nvrtcVersion, int *, int *);
RTC(nvrtcCreateProgram, nvrtcProgram *, const char *, const char *, int, const char *const *, const char *const *);
RTC(nvrtcDestroyProgram, nvrtcProgram *);
RTC(nvrtcCompileProgram, nvrtcProgram, int, const char *const *);
RTC(nvrtcGetProgramLogSize, nvrtcProgram, size_t *);
RTC(nvrtcGetProgramLog, nvrtcProgram, char *);
RTC(nvrtcGetCUBINSize, nvrtcProgram, size_t *);
RTC(nvrtcGetCUBIN, nvrtcProgram, char *);
RTC(nvrtcAddNameExpression, nvrtcProgram, const char *);
RTC(nvrtcGetLoweredName, nvrtcProgram, const char *, const char **);
RTC(nvrtcGetNumSupportedArchs, int *);
RTC(nvrtcGetSupportedArchs, int *);
SAME(HONE_NVRTC_COMPILATION, NVRTC_ERROR_COMPILATION);
SAME(HONE_NVRTC_OUT_OF_MEMORY, NVRTC_ERROR_OUT_OF_MEMORY);

static void test_cuda_abi__declarations_are_the_toolkits(void **state) {
    (void)state; /* this file compiled */
    assert_true(CUDA_VERSION >= 11000);
}
#else
static void test_cuda_abi__declarations_are_the_toolkits(void **state) {
    (void)state;
    print_message("test_cuda_abi ... skipped 'no CUDA toolkit here: our declarations were not compared with cuda.h'\n");
    skip();
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cuda_abi__declarations_are_the_toolkits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
