"""cuda_facts.py: what the GPU is and how fast it copies and multiplies, from the driver and cuBLAS alone: PyTorch takes seconds to import."""
import ctypes
import glob
import os
import sys

COPY_BYTES = 256 << 20
SIDE = 8192
MULTIPROCESSORS, MAJOR, MINOR, SHARED_BYTES = 16, 75, 76, 97  # CUdevice_attribute
HALF, BFLOAT, IN_SINGLE = 2, 14, 68  # cudaDataType_t, cublasComputeType_t


class NoDevice(Exception):
    pass


class Gpu:
    def __init__(self, number):
        try:
            self.cuda = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise NoDevice(f"no CUDA driver: {error}") from error
        self.call("cuInit", 0)
        count = ctypes.c_int()
        self.call("cuDeviceGetCount", ctypes.byref(count))
        if number >= count.value:
            raise NoDevice(f"there are {count.value} CUDA devices, and cuda:{number} is none of them")
        self.device = ctypes.c_int()
        self.call("cuDeviceGet", ctypes.byref(self.device), number)
        name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
        self.call("cuDeviceGetName", name, 256, self.device)
        self.call("cuDeviceTotalMem_v2", ctypes.byref(memory), self.device)
        self.name, self.memory_bytes = name.value.decode(), memory.value
        self.multiprocessors, self.shared_bytes = self.attribute(MULTIPROCESSORS), self.attribute(SHARED_BYTES)
        self.arch = 10 * self.attribute(MAJOR) + self.attribute(MINOR)

    def call(self, function, *args):
        code = getattr(self.cuda, function)(*args)
        if code:
            text = ctypes.c_char_p()
            self.cuda.cuGetErrorString(code, ctypes.byref(text))
            raise NoDevice(f"{function}: {(text.value or b'unknown error').decode()} ({code})")

    def attribute(self, which):
        value = ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(value), which, self.device)
        return value.value

    def peaks(self):
        """What hello reports.  The primary context is kept: it is the one that PyTorch takes."""
        context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self.device)
        self.call("cuCtxSetCurrent", context)
        self.events = [ctypes.c_void_p() for _ in range(13)]
        for event in self.events:
            self.call("cuEventCreate", ctypes.byref(event), 0)
        there = [self.memory() for _ in range(3)]
        try:
            found = {"gbps": 2 * COPY_BYTES / self.best_ns(lambda: self.call("cuMemcpyDtoDAsync_v2", there[0], there[1], ctypes.c_size_t(COPY_BYTES), None))}
            found.update(self.products(there))
        finally:
            for one in there:
                self.call("cuMemFree_v2", one)
        return found

    def memory(self):
        at = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(at), ctypes.c_size_t(COPY_BYTES))
        # As halves 0.097, as bfloats 4e-11: zeros would draw less power than products do.
        self.call("cuMemsetD8Async", at, ctypes.c_ubyte(0x2E), ctypes.c_size_t(COPY_BYTES), None)
        return at

    def best_ns(self, run):
        run()
        self.call("cuEventRecord", self.events[0], None)
        for event in self.events[1:]:
            run()
            self.call("cuEventRecord", event, None)
        self.call("cuCtxSynchronize")
        spans, span = [], ctypes.c_float()
        for begin, end in zip(self.events, self.events[1:]):
            self.call("cuEventElapsedTime", ctypes.byref(span), begin, end)
            spans.append(span.value * 1e6)
        return min(spans)

    def products(self, there):
        """Matrix products by the cuBLAS that came with PyTorch; empty where it is not found."""
        handle = ctypes.c_void_p()
        cublas = find_cublas()
        if cublas is None or cublas.cublasCreate_v2(ctypes.byref(handle)):
            return {}
        one, zero, n = ctypes.c_float(1), ctypes.c_float(0), SIDE
        found = {}
        for name, kind in (("fp16_gflops", HALF), ("bf16_gflops", BFLOAT)):
            def product():
                code = cublas.cublasGemmEx(handle, 0, 0, n, n, n, ctypes.byref(one), there[0], kind, n, there[1], kind, n, ctypes.byref(zero), there[2], kind,
                                           n, IN_SINGLE, -1)
                if code:
                    raise NoDevice(f"cublasGemmEx: {code}")
            try:
                found[name] = 2 * n**3 / self.best_ns(product)
            except NoDevice:
                pass
        cublas.cublasDestroy_v2(handle)
        return found


def find_cublas():
    places = [place for folder in sys.path for place in glob.glob(os.path.join(folder or ".", "nvidia", "*", "lib", "libcublas.so.1*"))]
    for place in [*places, "libcublas.so.13", "libcublas.so.12"]:
        try:
            ctypes.CDLL(place.replace("libcublas.", "libcublasLt."))
            return ctypes.CDLL(place)
        except OSError:
            continue
    return None
