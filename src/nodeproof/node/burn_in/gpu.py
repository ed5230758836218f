"""libcuda and cuBLAS through ctypes: one GPU with its context, kernels and buffers."""

from __future__ import annotations

import ctypes
import ctypes.util
import glob
from collections.abc import Callable
from ctypes import byref, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p

from nodeproof.node.burn_in.kernels import BLOCK, ptx

CUBLAS = (
    "/usr/local/cuda*/lib64/libcublas.so.*",
    "/usr/lib/*/libcublas.so.*",
    "/usr/lib64/libcublas.so.*",
    "/usr/local/lib/python3*/*-packages/nvidia/*/lib/libcublas.so.*",
)


class Trouble(Exception):
    """Something that the driver refused, or a result that is wrong."""


class Driver:
    """libcuda, with every result looked at."""

    def __init__(self, path: str) -> None:
        try:
            self.library = ctypes.CDLL(path)
        except OSError as error:
            raise Trouble(f"libcuda: cannot be loaded ({error}); install the driver") from None
        self("cuInit", 0)

    def __call__(self, name: str, *arguments: object) -> None:
        """Call a function; raises Trouble with the driver's own words."""
        try:
            code = getattr(self.library, name)(*arguments)
        except AttributeError:
            raise Trouble(f"libcuda: has no {name}; the driver is too old") from None
        if code:
            word = ctypes.c_char_p()
            self.library.cuGetErrorName(c_int(code), byref(word))
            raise Trouble(f"{name}: {(word.value or b'error').decode()} ({code})")

    def number(self, name: str, kind: type, *arguments: object) -> int:
        """Return the one number that a function gives through its first argument."""
        value = kind()
        self(name, byref(value), *arguments)
        return int(value.value or 0)


class Gpu:
    """One GPU with a context, its kernels and its buffers."""

    def __init__(self, driver: Driver, index: int) -> None:
        self.driver, self.index = driver, index
        self.device = c_int(driver.number("cuDeviceGet", c_int, c_int(index)))
        self.major = driver.number("cuDeviceGetAttribute", c_int, c_int(75), self.device)
        self.minor = driver.number("cuDeviceGetAttribute", c_int, c_int(76), self.device)
        self.units = driver.number("cuDeviceGetAttribute", c_int, c_int(16), self.device)
        self.buffers: list[c_uint64] = []
        self.hosts: list[c_void_p] = []
        self.module = c_void_p()

    def described(self) -> dict[str, object]:
        """Return what it is."""
        name, bus, uuid = (
            ctypes.create_string_buffer(100),
            *map(ctypes.create_string_buffer, (32, 16)),
        )
        self.driver("cuDeviceGetName", name, 100, self.device)
        self.driver("cuDeviceGetPCIBusId", bus, 32, self.device)
        self.driver("cuDeviceGetUuid", uuid, self.device)
        address = bus.value.decode().lower()
        raw = uuid.raw.hex()
        parts = [raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:]]
        return {
            "index": self.index,
            "address": address,
            "uuid": "GPU-" + "-".join(parts),
            "name": name.value.decode(errors="replace"),
            "capability": f"{self.major}.{self.minor}",
            "device_id": _device_id(address),
        }

    def __enter__(self) -> Gpu:
        context = c_void_p()
        self.driver("cuDevicePrimaryCtxRetain", byref(context), self.device)
        self.driver("cuCtxSetCurrent", context)
        self.driver("cuModuleLoadData", byref(self.module), ctypes.c_char_p(ptx().encode()))
        return self

    def __exit__(self, *_: object) -> None:
        for buffer in self.buffers:
            self.driver.library.cuMemFree_v2(buffer)
        for host in self.hosts:
            self.driver.library.cuMemFreeHost(host)
        self.driver.library.cuDevicePrimaryCtxRelease_v2(self.device)

    def buffer(self, size: int) -> c_uint64:
        """Return memory of the GPU."""
        pointer = c_uint64()
        self.driver("cuMemAlloc_v2", byref(pointer), c_size_t(size))
        self.buffers.append(pointer)
        return pointer

    def free(self) -> None:
        """Give all memory of the GPU back."""
        while self.buffers:
            self.driver("cuMemFree_v2", self.buffers.pop())

    def host(self, size: int) -> c_void_p:
        """Return pinned memory of the host."""
        pointer = c_void_p()
        self.driver("cuMemHostAlloc", byref(pointer), c_size_t(size), c_uint(0))
        self.hosts.append(pointer)
        return pointer

    def room(self) -> int:
        """Return how many bytes of its memory are free."""
        total = c_size_t()
        return self.driver.number("cuMemGetInfo_v2", c_size_t, byref(total))

    def launch(self, name: str, grid: tuple[int, int], *arguments: object) -> None:
        """Run a kernel of ours; waits for nothing."""
        function = c_void_p()
        self.driver("cuModuleGetFunction", byref(function), self.module, name.encode())
        pointers = (c_void_p * len(arguments))(*(ctypes.addressof(one) for one in arguments))  # type: ignore[arg-type]
        shape = (c_uint(grid[0]), c_uint(grid[1]), c_uint(1), c_uint(BLOCK), c_uint(1), c_uint(1))
        self.driver("cuLaunchKernel", function, *shape, c_uint(0), None, pointers, None)

    def loop(self, name: str, data: c_uint64, count: int, seed: int, out: c_uint64) -> None:
        """Run a kernel over all elements."""
        self.launch(name, (self.units * 8, 1), data, c_uint(seed), c_uint64(count), out)

    def counted(self, name: str, data: c_uint64, count: int, seed: int, out: c_uint64) -> int:
        """Run a kernel that adds up, and return the sum."""
        self.driver("cuMemsetD32_v2", out, c_uint(0), c_size_t(2))
        self.loop(name, data, count, seed, out)
        value = c_uint64()
        self.driver("cuMemcpyDtoH_v2", byref(value), out, c_size_t(8))
        return value.value

    def wait(self) -> None:
        """Wait until everything has run."""
        self.driver("cuCtxSynchronize")


class Cublas:
    """The library of the CUDA toolkit."""

    def __init__(self, path: str) -> None:
        try:
            self.library, self.handle = ctypes.CDLL(path), c_void_p()
        except OSError as error:
            raise Trouble(f"cublas: cannot be loaded ({error}); try --cublas none") from None
        self.check("cublasCreate_v2", self.library.cublasCreate_v2(byref(self.handle)))

    def check(self, name: str, code: int) -> None:
        """Raise Trouble for a code that is not success."""
        if code:
            raise Trouble(f"{name}: error {code}")

    def multiply(
        self, kind: str, n: int, a: c_uint64, b: c_uint64, c: c_uint64
    ) -> Callable[[], None]:
        """Return a function that computes c = a b, all column by column, c in fp32."""
        element = c_int(14 if kind == "bf16" else 0)  # CUDA_R_16BF, CUDA_R_32F
        one, zero, size = c_float(1), c_float(0), c_int(n)
        places = [c_void_p(pointer.value) for pointer in (a, b, c)]

        def run() -> None:
            code = self.library.cublasGemmEx(
                *(self.handle, c_int(0), c_int(0), size, size, size, byref(one)),
                *(places[0], element, size, places[1], element, size, byref(zero)),
                *(places[2], c_int(0), size, c_int(68), c_int(-1)),  # CUBLAS_COMPUTE_32F, default
            )
            self.check("cublasGemmEx", code)

        return run


def _device_id(address: str) -> str:
    try:
        with open(f"/sys/bus/pci/devices/{address}/device") as file:
            return file.read().strip()[2:]
    except OSError:
        return ""


def find_cublas() -> str:
    """Return the newest cuBLAS; empty where there is none."""
    named = ctypes.util.find_library("cublas")
    found = [path for pattern in CUBLAS for path in glob.glob(pattern) if "Lt" not in path]
    return named or (max(found) if found else "")
