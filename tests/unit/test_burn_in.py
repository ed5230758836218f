"""The burn-in: its program against a libcuda of our own, and what its figures are worth.

No GPU was at hand. The fake executes what the kernels are named for, in C; the PTX itself was put
through NVIDIA's ptxas: 12.9 for sm_60 to sm_120, 13.5 from sm_75 on.
"""

from __future__ import annotations

import ast
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nodeproof.health.burn_in import judge_burn_in, program
from nodeproof.health.finding import Verdict
from nodeproof.node.burn_in.kernels import cut, mixed, ptx, unit

FAKES = Path(__file__).parent.parent / "fakes"
COMPILER = shutil.which("gcc") or shutil.which("cc")
QUICK = ("--seconds", "0.05", "--size", "64")
ADDRESS = "0000:3b:00.0"


@pytest.fixture(scope="module")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip("no C compiler, so there is no libcuda to try the burn-in against")
    folder = tmp_path_factory.mktemp("fakes")
    for name in ("libcuda", "libcublas"):
        subprocess.run(
            [
                *(COMPILER, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"),
                *("-o", str(folder / f"{name}.so"), str(FAKES / f"{name}.c")),
            ],
            check=True,
        )
    return folder


def run(*arguments: str, **environment: str) -> tuple[int, list[dict[str, Any]], str]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", program(), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def burnt(fakes: Path, *more: str, **environment: str) -> tuple[int, dict[str, Any]]:
    code, lines, said = run("--libcuda", str(fakes / "libcuda.so"), *QUICK, *more, **environment)
    assert said == ""
    (line,) = lines
    return code, line


def test_the_program_stands_alone() -> None:
    tree = ast.parse(program(), feature_version=(3, 9))
    imported = [
        name.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    ]
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
    assert len(program()) < 100_000, "an argument has 128 KiB at most"


def test_kernels_are_all_there() -> None:
    text = ptx()
    for name in ("fill_f32", "fill_bf16", "fill_u32", "check_u32", "digest_u32", "gemm_f32"):
        assert f".visible .entry {name}(" in text
    assert text.startswith(".version 6.0\n.target sm_60\n.address_size 64\n")
    assert not {"NAME", "SHIFT", "BODY", "END"} & set(text.replace("(", " ").split())


def test_elements() -> None:
    values = [unit(index, 1) for index in range(10_000)]
    assert all(-1 <= value < 1 for value in values)
    assert abs(sum(values)) < 200, "they are spread evenly"
    assert mixed(0, 0) == 0
    assert cut(1.0) == 1.0
    assert cut(-0.1) == -0.099609375
    assert math.copysign(1, cut(-1e-30)) == -1


def test_without_cublas(fakes: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    code, line = burnt(fakes, "--cublas", "none", FAKE_CUDA_LOG=str(log))
    assert (code, line["ok"], line["error"]) == (0, True, "")
    assert line["gpu"] == {
        "index": 0,
        "address": ADDRESS,
        "uuid": "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f",
        "name": "NVIDIA Fake",
        "capability": "9.0",
        "device_id": line["gpu"]["device_id"],
    }
    assert [one["name"] for one in line["results"]] == [
        *("memory", "host-to-device", "device-to-device", "device-to-host", "vector"),
        "matrix-fp32",
    ]
    assert line["results"][-1]["by"] == "ptx"
    calls = list(dict.fromkeys(log.read_text().splitlines()))
    assert calls == [
        *("cuInit", "cuDeviceGetCount", "cuDevicePrimaryCtxRetain", "cuModuleLoadData"),
        *("cuMemAlloc_v2", "fill_u32", "check_u32", "cuMemFree_v2", "cuMemHostAlloc"),
        *("cuMemcpyHtoD_v2", "cuMemcpyDtoD_v2", "cuMemcpyDtoH_v2", "fma_f32", "fill_f32"),
        *("gemm_f32", "digest_u32", "cuMemFreeHost", "cuDevicePrimaryCtxRelease_v2"),
    ]


def test_everything_is_given_back(fakes: Path, tmp_path: Path) -> None:
    for broken in ("", "vector", "matrix"):
        log = tmp_path / f"log-{broken}"
        burnt(fakes, "--cublas", "none", FAKE_CUDA_LOG=str(log), FAKE_CUDA_BREAK=broken)
        calls = log.read_text().splitlines()
        assert calls.count("cuMemAlloc_v2") == calls.count("cuMemFree_v2")
        assert calls.count("cuMemHostAlloc") == calls.count("cuMemFreeHost") == 2
        assert calls[-1] == "cuDevicePrimaryCtxRelease_v2"


def test_with_cublas(fakes: Path) -> None:
    code, line = burnt(fakes, "--cublas", str(fakes / "libcublas.so"))
    assert (code, line["error"]) == (0, "")
    fp32, bf16 = line["results"][-2:]
    assert (fp32["name"], fp32["by"]) == ("matrix-fp32", "cublas")
    assert (bf16["name"], bf16["by"], bf16["size"]) == ("matrix-bf16", "cublas", 64)
    assert bf16["error"] < 1e-4


@pytest.mark.parametrize(
    ("broken", "words", "before"),
    [
        ("alloc", "cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY (2)", 0),
        ("jit", "cuModuleLoadData: CUDA_ERROR_INVALID_PTX (218)", 0),
        ("memory", "memory: 1 words of", 0),
        ("copy", "bytes came back other than they were sent", 1),
        ("vector", "vector: threads came to 32769.0 instead of 32768", 4),
        ("matrix", "matrix-fp32: element", 5),
        ("drift", "matrix-fp32: the last product differs from the first", 5),
    ],
)
def test_what_is_broken_is_found(fakes: Path, broken: str, words: str, before: int) -> None:
    code, line = burnt(fakes, "--cublas", "none", FAKE_CUDA_BREAK=broken)
    assert (code, line["ok"], len(line["results"])) == (1, False, before)
    assert words in line["error"]


def test_a_broken_cublas(fakes: Path) -> None:
    code, line = burnt(fakes, "--cublas", str(fakes / "libcublas.so"), FAKE_CUBLAS_BROKEN="1")
    assert (code, line["error"]) == (1, "cublasCreate_v2: error 1")


def test_a_cublas_that_is_not_there(fakes: Path) -> None:
    code, line = burnt(fakes, "--cublas", "/nowhere/libcublas.so")
    assert (code, [one["name"] for one in line["results"]][-1]) == (1, "vector")
    assert line["error"].startswith("cublas: cannot be loaded (")


def test_a_driver_that_is_too_old(fakes: Path) -> None:
    """A library without the driver's functions stands for one that lacks some of them."""
    code, lines, said = run("--libcuda", str(fakes / "libcublas.so"))
    assert (code, said) == (1, "")
    assert lines[0]["error"] == "libcuda: has no cuInit; the driver is too old"


@pytest.mark.parametrize(
    ("broken", "words"),
    [("init", "cuInit: CUDA_ERROR_NO_DEVICE (100)"), ("no-gpu", "libcuda: finds no GPU")],
)
def test_no_gpu(fakes: Path, broken: str, words: str) -> None:
    code, line = burnt(fakes, FAKE_CUDA_BREAK=broken)
    assert (code, line["ok"], line["error"]) == (1, False, words)
    assert "gpu" not in line


def test_no_driver(tmp_path: Path) -> None:
    code, (line,), said = run("--libcuda", str(tmp_path / "libcuda.so.1"))
    assert (code, said) == (1, "")
    assert line["error"].startswith("libcuda: cannot be loaded (")
    assert line["error"].endswith("; install the driver")


def test_a_gpu_that_is_not_there(fakes: Path) -> None:
    code, line = burnt(fakes, "--gpu", "1")
    assert (code, line["error"]) == (1, "cuDeviceGet: CUDA_ERROR_UNKNOWN (101)")


@pytest.mark.parametrize(
    "arguments",
    [("--seconds", "0"), ("--memory-share", "1"), ("--size", "8"), ("--gpu", "a"), ("--what",)],
)
def test_arguments_refused(arguments: tuple[str, ...]) -> None:
    code, lines, said = run(*arguments)
    assert (code, lines) == (2, [])
    assert "error:" in said


# What figures are worth


def line(device: str = "2330", **more: Any) -> str:
    """Return a line as an H100 would give it; the figures are those that healthy ones reach."""
    results = [
        {"name": "memory", "gib": 62.4, "wrong": 0},
        {"name": "host-to-device", "gb_s": 55.1},
        {"name": "device-to-device", "gb_s": 3000},
        {"name": "device-to-host", "gb_s": 55.3},
        {"name": "vector", "tflops": 60.0, "slowest": 59.8},
        {"name": "matrix-fp32", "by": "cublas", "size": 8192, "tflops": 51.0, "slowest": 50.0},
        {"name": "matrix-bf16", "by": "cublas", "size": 8192, "tflops": 798, "slowest": 790},
    ]
    found = {
        "schema": "nodeproof/burn-in/1",
        "gpu": {"address": ADDRESS, "uuid": "GPU-1", "device_id": device},
        "results": [{**one, **more.pop(str(one["name"]), {})} for one in results],
        "ok": True,
        "error": "",
    }
    return json.dumps({**found, **more})


def bad(*lines: str) -> list[str]:
    found = judge_burn_in(lines, [ADDRESS])
    return [one.sentence for one in found if one.verdict is Verdict.FAILED]


def test_a_healthy_gpu() -> None:
    found = judge_burn_in([line()], [ADDRESS])
    assert {one.verdict for one in found} == {Verdict.OK}
    assert len(found) == 7
    assert found[2].sentence == (
        "GPU 0000:3b:00.0 (GPU-1): device-to-device is 3000 GB/s, allowed is 2680 GB/s or more"
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"device-to-device": {"gb_s": 1500}}, "device-to-device is 1500 GB/s, allowed is 2680"),
        ({"host-to-device": {"gb_s": 25.0}}, "host-to-device is 25 GB/s, allowed is 37.81 GB/s"),
        ({"matrix-bf16": {"tflops": 400}}, "matrix-bf16 is 400 TFLOP/s, allowed is 593.6"),
        ({"vector": {"tflops": 20}}, "vector is 20 TFLOP/s, allowed is 40.14 TFLOP/s"),
        ({"vector": {"tflops": None}}, "vector is unknown (no figure in"),
        (
            {"ok": False, "error": "memory: 3 words"},
            "the burn-in is memory: 3 words, allowed is no",
        ),
    ],
)
def test_a_gpu_that_is_not(more: dict[str, Any], words: str) -> None:
    (reason,) = bad(line(**more))
    assert words in reason


def test_an_unsteady_gpu_is_noted() -> None:
    found = judge_burn_in([line(**{"matrix-bf16": {"slowest": 500}})], [ADDRESS])
    (reason,) = [one.sentence for one in found if one.verdict is Verdict.NOTED]
    assert "steadiness of matrix-bf16 is 500 TFLOP/s in the slowest tenth of 798" in reason


def test_a_product_that_nobody_knows_is_not_judged_by_speed() -> None:
    found = judge_burn_in([line("ffff")], [ADDRESS])
    assert bad(line("ffff")) == []
    assert sum(one.verdict is Verdict.SKIPPED for one in found) == 6


def test_our_own_multiplication_is_no_measure() -> None:
    slow = line(**{"matrix-fp32": {"by": "ptx", "tflops": 0.4}})
    assert bad(slow) == []


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "GPU 0000:3b:00.0: the burn-in is unknown (it gave no result for this GPU)"),
        (["Killed", line()], "a line of the burn-in is unknown ('Killed')"),
        (['{"schema": "other/1"}', line()], "a line of the burn-in is unknown"),
        (
            ['{"schema": "nodeproof/burn-in/1", "ok": false, "error": "no libcuda"}', line()],
            "the node: the burn-in is unknown (no libcuda); mend the driver",
        ),
    ],
)
def test_no_result_is_a_failure(lines: list[str], words: str) -> None:
    (reason,) = bad(*lines)
    assert words in reason
