"""The gpu layer on WSL 2: what is proven."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest

from nodeproof.catalog.whole import shipped
from nodeproof.facts.accelerators import Accelerators
from nodeproof.layers.gpu import host_checks as checks


class Host:
    """A node that has packages, and answers every other question alike."""

    def __init__(self, *packages: str, answer: str = "", code: int = 0) -> None:
        self.packages, self.answer, self.code = packages, answer, code

    def run(self, command: str, *arguments: str) -> Any:
        if command.startswith("dpkg-query"):
            there = [one for one in self.packages if fnmatchcase(one, arguments[0])]
            said = "".join(f"installed {one}\n" for one in there)
            return _done(f"not-installed libcuda1\n{said}", 0 if there else 1)
        return _done(self.answer, self.code)


class Loader:
    """A node whose loader knows libraries, and which finds nvidia-smi somewhere."""

    def __init__(self, libraries: str, smi: str) -> None:
        self.libraries, self.smi = libraries, smi

    def check_output(self, command: str) -> str:
        return f"2 libs found in cache `/etc/ld.so.cache'\n{self.libraries}"

    def run(self, command: str) -> Any:
        return _done(f"{self.smi}\n", 0 if self.smi else 1)


def _done(stdout: str, code: int) -> Any:
    return type("Done", (), {"stdout": stdout, "stderr": "", "rc": code})


WSL = Accelerators(platform="wsl2")
LOADER = "\tlibcuda.so.1 (libc6,x86-64) => /usr/lib/wsl/lib/libcuda.so.1\n"
OTHER = "\tlibcuda.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libcuda.so.1\n"
LISTED = "GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-0)\n"


def test_checks_pass_on_what_is_right() -> None:
    checks.test_no_driver_beside_the_hosts(Host("bash"), shipped().platforms["wsl2"])
    checks.test_driver_of_windows_answers(Host(answer=LISTED), WSL)
    checks.test_driver_of_windows_is_found(Loader(LOADER, "/usr/lib/wsl/lib/nvidia-smi"), WSL)
    checks.test_driver_of_windows_is_found(Loader(LOADER, ""), WSL)


@pytest.mark.parametrize("package", ["cuda-drivers-580", "cuda", "cuda-13-0", "libcuda1"])
def test_driver_for_linux_fails(package: str) -> None:
    wsl = shipped().platforms["wsl2"]
    with pytest.raises(AssertionError, match=f"must not be on WSL 2: {package}; install the"):
        checks.test_no_driver_beside_the_hosts(Host(package, "cuda-toolkit-13-0"), wsl)


def test_driver_of_windows_that_is_not_used_fails() -> None:
    with pytest.raises(AssertionError, match="nvidia-smi: Failed to initialize NVML"):
        checks.test_driver_of_windows_answers(Host(answer="Failed to initialize NVML", code=9), WSL)
    with pytest.raises(AssertionError, match="names no GPU"):
        checks.test_driver_of_windows_answers(Host(answer="No devices found"), WSL)
    with pytest.raises(AssertionError, match="programs take /lib/x86_64-linux-gnu/libcuda"):
        checks.test_driver_of_windows_is_found(Loader(OTHER + LOADER, ""), WSL)
    with pytest.raises(AssertionError, match=r"the loader knows no libcuda\.so\.1"):
        checks.test_driver_of_windows_is_found(Loader("", ""), WSL)
    with pytest.raises(AssertionError, match="nvidia-smi is /usr/bin/nvidia-smi"):
        checks.test_driver_of_windows_is_found(Loader(LOADER, "/usr/bin/nvidia-smi"), WSL)
