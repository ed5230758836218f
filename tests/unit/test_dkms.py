"""What DKMS says of its modules, and what the logs of its builds say, as real ones said it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.recorded import HERE, recorded

from nodeproof.facts.dkms import Dkms, DkmsData, Failure, dkms_line
from nodeproof.scripts import text

KERNEL = "6.12.117+deb13-cloud-amd64"
NVIDIA = Dkms("nvidia-current-open", "550.163.01", "", "added")
LEFT, RIGHT = "\N{LEFT SINGLE QUOTATION MARK}", "\N{RIGHT SINGLE QUOTATION MARK}"
RESIZE = f"error: too few arguments to function {LEFT}pci_resize_resource{RIGHT}"


def said(log: Path) -> list[str]:
    script = f'{text("dkms.sh")}\ndkms_said "$1"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", log], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("log", "wanted"),
    [
        ("nvidia-550-on-6.12.117", [f"nv-pci.c:237:9: {RESIZE}"]),
        ("nvidia-535-on-6.1.0-56", [f"nv-pci.c:223:9: {RESIZE}"]),
        ("small-on-6.12.117", [
            f"npbad.c:6:39: {RESIZE}",
            "npbad.c:6:63: error: control reaches end of non-void function [-Werror=return-type]",
        ]),
    ],
)  # fmt: skip
def test_a_real_log_is_explained_by_the_compiler(log: str, wanted: list[str]) -> None:
    assert said(HERE / "dkms" / f"{log}.log") == wanted


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (
            ["/b/a.c:1:2: error: x", "/b/a.c:9:2: error: x", "/b/b.c:3:1: error: y",
             "/b/c.c:3:1: error: z", "make: *** [Makefile:1: all] Error 2"],
            ["a.c:1:2: error: x", "b.c:3:1: error: y", "and 1 more of the kind"],
        ),
        (["/b/a.c:1:10: fatal error: asm/x.h: No such file or directory"],
         ["a.c:1:10: fatal error: asm/x.h: No such file or directory"]),
        (['ERROR: modpost: "rcu_x" [/b/nvidia.ko] undefined!', "make: *** stop"],
         ['ERROR: modpost: "rcu_x" [nvidia.ko] undefined!']),
        (["make: gcc-12: No such file or directory", "make: *** [x] Error 127"],
         ["make: gcc-12: No such file or directory"]),
        (["make: *** [Makefile:1: all] Error 2"], ["make: *** [Makefile:1: all] Error 2"]),
        (["Killed", ""], ["Killed"]),
        ([], []),
    ],
)  # fmt: skip
def test_what_explains_comes_first(tmp_path: Path, lines: list[str], wanted: list[str]) -> None:
    log = tmp_path / "make.log"
    log.write_text("".join(f"{line}\n" for line in lines))
    assert said(log) == wanted


@pytest.mark.parametrize("log", ["nvidia-550-on-6.12.117", "small-on-6.12.117"])
def test_a_log_counts_for_its_own_kernel_only(tmp_path: Path, log: str) -> None:
    folder = tmp_path / "m" / "1" / "build"
    folder.mkdir(parents=True)
    (folder / "make.log").write_text(recorded(f"dkms/{log}.log"))
    script = f'dkms_tree={tmp_path}\n{text("dkms.sh")}\ndkms_log m 1 "$1" || echo none'
    for kernel, wanted in ((KERNEL, f"{folder}/make.log"), (KERNEL.replace("117", "11"), "none")):
        done = subprocess.run(
            ["sh", "-c", script, "sh", kernel], capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{wanted}\n"


def test_what_a_kernel_lacks() -> None:
    failed = (Failure(KERNEL, NVIDIA.module, NVIDIA.version, (f"nv-pci.c:237:9: {RESIZE}",)),)
    data = DkmsData(
        modules=(NVIDIA, Dkms("zfs", "2.3", KERNEL, "installed"), Dkms("v4l2", "1", "", "added")),
        headers={KERNEL: True, "6.13": False},
        failed=failed,
        excluded=((KERNEL, "v4l2/1"),),
    )
    assert data.missing(KERNEL) == {
        NVIDIA.module: f"its build failed: nv-pci.c:237:9: {RESIZE}",
    }
    assert data.missing(KERNEL, ["zfs", "nvidia"]) == {
        "nvidia": "DKMS does not know it: install its package",
    }
    why = "the kernel's headers are not installed: install those of 6.13"
    assert data.missing("6.13", ["zfs", NVIDIA.module]) == {"zfs": why, NVIDIA.module: why}
    assert data.missing("6.14", ["zfs"]) != {}, "a kernel that nobody looked at has no headers"


def test_a_line_that_says_something_else() -> None:
    assert dkms_line("Error! Could not find the source tree.") is None
