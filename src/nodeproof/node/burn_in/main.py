"""Burn in NVIDIA GPUs through the driver alone; a JSON line for each goes to standard output.

It is sent to a node as it is (`nodeproof.health.burn_in`), and needs Python 3.9 there, libcuda, and
nothing else. Where cuBLAS is found, matrices are multiplied by it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Callable
from ctypes import byref, c_float, c_int, c_size_t, c_uint, c_uint64

from nodeproof.node.burn_in.gpu import Cublas, Driver, Gpu, Trouble, find_cublas
from nodeproof.node.burn_in.kernels import (
    BLOCK,
    FMA_LANES,
    FMA_STEPS,
    SEED_A,
    SEED_B,
    SEED_MEMORY,
    cut,
    mixed,
    unit,
)

SCHEMA = "nodeproof/burn-in/1"
GIB = 1 << 30
COPY = 256 << 20
"""Bytes of a copy."""
SAMPLES = 32
"""Elements of a product that are computed again."""


class Burn:
    """The parts of a burn-in of one GPU; each returns its figures or raises Trouble."""

    def __init__(self, gpu: Gpu, seconds: float, share: float, size: int, cublas: str) -> None:
        self.gpu, self.seconds, self.share, self.size = gpu, seconds, share, size
        self.cublas = cublas

    def memory(self) -> list[dict[str, object]]:
        """Fill a share of the memory with what each address says, and look at all of it again."""
        gpu, result = self.gpu, self.gpu.buffer(8)
        budget, pieces = int(gpu.room() * self.share), []
        while budget >= 4096:
            piece = min(budget, GIB) // 4 * 4
            pieces.append((gpu.buffer(piece), piece // 4))
            budget -= piece
        for number, (data, count) in enumerate(pieces):
            gpu.loop("fill_u32", data, count, SEED_MEMORY + number, result)
        wrong = sum(
            gpu.counted("check_u32", data, count, SEED_MEMORY + number, result)
            for number, (data, count) in enumerate(pieces)
        )
        held = sum(count for _, count in pieces) * 4
        gpu.free()
        if wrong:
            raise Trouble(f"memory: {wrong} words of {held // 4} read back other than written")
        return [{"name": "memory", "gib": round(held / GIB, 2), "wrong": 0}]

    def copies(self) -> list[dict[str, object]]:
        """Copy to the GPU, within it and back, compare, and take the time of each."""
        gpu = self.gpu
        size = min(COPY, gpu.room() // 8)
        here, back, there, other = (
            gpu.host(size),
            gpu.host(size),
            gpu.buffer(size),
            gpu.buffer(size),
        )
        block = bytes(mixed(index, SEED_A) & 0xFF for index in range(65521))  # a prime
        text = (block * (size // len(block) + 1))[:size]
        ctypes.memmove(here, text, size)
        much = c_size_t(size)
        speeds = [
            self._speed("host-to-device", size, "cuMemcpyHtoD_v2", there, here, much),
            self._speed("device-to-device", 2 * size, "cuMemcpyDtoD_v2", other, there, much),
            self._speed("device-to-host", size, "cuMemcpyDtoH_v2", back, other, much),
        ]
        if ctypes.string_at(back, size) != text:
            raise Trouble(f"copies: {size} bytes came back other than they were sent")
        gpu.free()
        return speeds

    def _speed(self, name: str, much: int, call: str, *arguments: object) -> dict[str, object]:
        gpu, times, began = self.gpu, 0, time.perf_counter()
        gpu.driver(call, *arguments)
        gpu.wait()
        began = time.perf_counter()
        while not times or time.perf_counter() - began < self.seconds / 5:
            gpu.driver(call, *arguments)
            times += 1
            if times % 16 == 0:
                gpu.wait()
        gpu.wait()
        return {"name": name, "gb_s": round(much * times / (time.perf_counter() - began) / 1e9, 2)}

    def vector(self) -> list[dict[str, object]]:
        """Multiply and add in registers; every thread must come to the same number."""
        gpu, blocks = self.gpu, self.gpu.units * 32
        out, steps = gpu.buffer(blocks * BLOCK * 4), c_uint(FMA_STEPS)

        def run() -> None:
            gpu.launch("fma_f32", (blocks, 1), out, c_float(1), c_float(1), steps)

        work = blocks * BLOCK * FMA_STEPS * FMA_LANES * 2
        found = {"name": "vector", **self._rate(run, work, self.seconds / 5)}
        got = (c_float * (blocks * BLOCK))()
        gpu.driver("cuMemcpyDtoH_v2", got, out, c_size_t(ctypes.sizeof(got)))
        gpu.free()
        if wrong := {value for value in got if value != FMA_STEPS * FMA_LANES}:
            raise Trouble(
                f"vector: threads came to {min(wrong)} instead of {FMA_STEPS * FMA_LANES}"
            )
        return [found]

    def matrices(self) -> list[dict[str, object]]:
        """Multiply matrices; samples are computed again here, and all runs must agree."""
        kinds = ["fp32"]
        if self.cublas and self.gpu.major >= 8:
            kinds.append("bf16")
        return [self._matrix(kind) for kind in kinds]

    def _matrix(self, kind: str) -> dict[str, object]:
        gpu = self.gpu
        n = self.size if self.cublas else min(self.size, 1024)
        wide = 2 if kind == "bf16" else 4
        a, b, c, result = (gpu.buffer(size) for size in (n * n * wide, n * n * wide, n * n * 4, 8))
        for data, seed in ((a, SEED_A), (b, SEED_B)):
            gpu.loop(f"fill_{'f32' if wide == 4 else 'bf16'}", data, n * n, seed, result)
        if self.cublas:
            multiply = Cublas(self.cublas).multiply(kind, n, a, b, c)
        else:

            def multiply() -> None:
                gpu.launch("gemm_f32", (-(-n // BLOCK), n), a, b, c, c_uint(n))

        multiply()
        first = gpu.counted("digest_u32", c, n * n, 0, result)
        by = "cublas" if self.cublas else "ptx"
        found = {"name": f"matrix-{kind}", "by": by, "size": n}
        found.update(self._rate(multiply, 2 * n**3, self.seconds))
        last = gpu.counted("digest_u32", c, n * n, 0, result)
        worst = self._samples(c, n, kind)
        gpu.free()
        if first != last:
            raise Trouble(f"matrix-{kind}: the last product differs from the first")
        return {**found, "error": worst}

    def _samples(self, c: c_uint64, n: int, kind: str) -> float:
        """Return the largest error of some elements; raises Trouble where one is too large."""
        whole = cut if kind == "bf16" else float
        worst, allowed = 0.0, n * 2.0**-20
        for number in range(SAMPLES):
            row, column = mixed(2 * number, 7) % n, mixed(2 * number + 1, 7) % n
            wanted = sum(
                whole(unit(row + k * n, SEED_A)) * whole(unit(k + column * n, SEED_B))
                for k in range(n)
            )
            got = c_float()
            at = c_uint64(c.value + 4 * (row + column * n))
            self.gpu.driver("cuMemcpyDtoH_v2", byref(got), at, c_size_t(4))
            error = abs(got.value - wanted)
            if not error <= allowed:
                raise Trouble(
                    f"matrix-{kind}: element {row}, {column} is {got.value}, not {wanted:.6f}"
                )
            worst = max(worst, error)
        return worst

    def _rate(self, run: Callable[[], None], work: int, seconds: float) -> dict[str, object]:
        """Return TFLOP/s over the time, and of the slowest tenth of it."""
        gpu, times, slowest = self.gpu, 0, float("inf")
        run()
        gpu.wait()
        began = window = time.perf_counter()
        done = 0
        while not times or time.perf_counter() - began < seconds:
            run()
            gpu.wait()
            times, done = times + 1, done + 1
            now = time.perf_counter()
            if now - window >= seconds / 10:
                slowest = min(slowest, work * done / (now - window))
                window, done = now, 0
        mean = work * times / (time.perf_counter() - began)
        slowest = min(slowest, mean)
        return {"tflops": round(mean / 1e12, 3), "slowest": round(slowest / 1e12, 3)}


def burn(driver: Driver, index: int, asked: argparse.Namespace) -> dict[str, object]:
    """Return the line of one GPU; a part that fails ends it, with what was measured before."""
    gpu = Gpu(driver, index)
    line: dict[str, object] = {"schema": SCHEMA, "gpu": gpu.described()}
    results: list[dict[str, object]] = []
    error = ""
    try:
        with gpu:
            cublas = "" if asked.cublas == "none" else asked.cublas or find_cublas()
            part = Burn(gpu, asked.seconds, asked.memory_share, asked.size, cublas)
            for step in (part.memory, part.copies, part.vector, part.matrices):
                results += step()
    except Trouble as trouble:
        error = str(trouble)
    return {**line, "results": results, "ok": not error, "error": error}


def main(arguments: list[str]) -> int:
    """Burn in the GPUs that are asked for; 0 where all are well, 1 where one is not."""
    parser = argparse.ArgumentParser(description="Burn in NVIDIA GPUs.")
    parser.add_argument("--gpu", type=int, action="append", help="index; all where none is named")
    parser.add_argument("--seconds", type=float, default=10, help="of each multiplication")
    parser.add_argument("--memory-share", type=float, default=0.8, help="of what is free")
    parser.add_argument("--size", type=int, default=8192, help="rows of the matrices")
    parser.add_argument("--libcuda", default="libcuda.so.1")
    parser.add_argument("--cublas", default="", help="its path, or none")
    asked = parser.parse_args(arguments)
    if not (0 < asked.seconds <= 3600 and 0 < asked.memory_share <= 0.95 and asked.size >= 64):
        parser.error("--seconds 0 to 3600, --memory-share 0 to 0.95, --size from 64")
    lines: list[dict[str, object]] = []
    try:
        driver = Driver(asked.libcuda)
        many = driver.number("cuDeviceGetCount", c_int)
        if not many:
            raise Trouble("libcuda: finds no GPU")
        for index in asked.gpu or range(many):
            lines.append(burn(driver, index, asked))
            sys.stdout.writelines([json.dumps(lines[-1]) + "\n"])
            sys.stdout.flush()
    except Trouble as trouble:
        lines.append({"schema": SCHEMA, "ok": False, "error": str(trouble)})
        sys.stdout.writelines([json.dumps(lines[-1]) + "\n"])
    return 0 if all(line["ok"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
