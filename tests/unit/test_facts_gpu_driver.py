"""Drivers, as the fact about accelerators finds them: which there is, and where it came from."""

from __future__ import annotations

from pathlib import Path

import pytest
from gpu_machine import KERNEL, Machine, an_hgx

from nodeproof.facts.accelerators import DkmsModule

OPEN = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  "
    "(dvs-builder@U22-I3-B17-02-5)  Tue Sep 23 09:55:41 UTC 2025\n"
    "GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04.2) \n"
)
"""/proc/driver/nvidia/version of a rented machine, published in a log of 2025-10."""
PROPRIETARY = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159.04  Wed Apr 29 17:32:45 UTC 2026\n"
)
"""The same of proprietary modules, as a table of benchmark results quotes it."""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def hgx(tmp_path: Path) -> Machine:
    return an_hgx(tmp_path)


def test_no_driver(hgx: Machine) -> None:
    assert hgx.gpus().driver is None


@pytest.mark.parametrize(
    ("text", "version", "flavour"),
    [(OPEN, "580.95.05", "open"), (PROPRIETARY, "580.159.04", "proprietary")],
)
def test_a_loaded_driver_of_nobody_knows_where(
    hgx: Machine, text: str, version: str, flavour: str
) -> None:
    hgx.file("/proc/driver/nvidia/version", text)
    driver = hgx.gpus().driver
    assert driver is not None
    assert (driver.version, driver.flavour, driver.loaded) == (version, flavour, True)
    assert (driver.origin, driver.package) == ("unknown", None)


def test_run_file(hgx: Machine) -> None:
    hgx.file("/proc/driver/nvidia/version", OPEN)
    hgx.file("/usr/bin/nvidia-uninstall")
    driver = hgx.gpus().driver
    assert driver is not None
    assert driver.origin == "runfile"


NVIDIA_INDEX = """\
Package files:
 100 /var/lib/dpkg/status
     release a=now
 500 https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64  Packages
     release o=NVIDIA,l=NVIDIA CUDA,c=
     origin developer.download.nvidia.com
 500 http://archive.example/debian bookworm/non-free amd64 Packages
     release v=12.15,o=Debian,a=oldstable,n=bookworm,l=Debian,c=non-free,b=amd64
     origin archive.example
Pinned packages:
"""
"""`apt-cache policy`; the lines of NVIDIA's repository as published by its users."""
POLICY = """\
nvidia-open-kernel-dkms:
  Installed: either
  Candidate: 580.95.05-1
  Version table:
     580.95.05-1 500
        500 https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64  Packages
     535.261.03-1 500
        500 http://archive.example/debian bookworm/non-free amd64 Packages
"""
STATUS = "        100 /var/lib/dpkg/status\n"


def with_dpkg(machine: Machine, version: str, policy: str, maintainer: str) -> None:
    machine.program(
        "dpkg-query",
        'case "$*" in\n'
        f"  *Want*) echo hold installed nvidia-open-kernel-dkms {version};\n"
        "    echo hold installed linux-image-amd64 6.1.0;\n"
        "    echo install installed nvidia-container-toolkit 1.19.1-1;\n"
        "    echo install installed libnvidia-container1 1.19.1-1;\n"
        "    echo deinstall config-files nvidia-container-toolkit-base 1.17.0-1;;\n"
        f"  *Maintainer*) echo 'maintainer=nvidia-open-kernel-dkms {maintainer}';;\n"
        "  *-S*dkms.conf) echo 'nvidia-open-kernel-dkms: /usr/src/x';;\n"
        "  *-S*) exit 1;;\n"
        "esac",
    )
    machine.file("/tmp/policy", policy)
    machine.file("/tmp/index", NVIDIA_INDEX)
    machine.program(
        "apt-cache", f'cat "{machine.root}/tmp/$([ $# = 1 ] && echo index || echo policy)"'
    )
    machine.file(f"/usr/src/nvidia-current-open-{version[:-2]}/dkms.conf")


@pytest.mark.parametrize(
    ("version", "origin"),
    [("580.95.05-1", "vendor-repository"), ("535.261.03-1", "distribution")],
)
def test_apt_knows_where_a_package_came_from(hgx: Machine, version: str, origin: str) -> None:
    policy = POLICY.replace(f"     {version}", f" *** {version}")
    with_dpkg(hgx, version, policy, "Debian NVIDIA Maintainers <x@lists.alioth.debian.org>")
    found = hgx.gpus()
    assert found.driver is not None
    assert (found.driver.version, found.driver.origin) == (version[:-2], origin)
    assert (found.driver.package, found.driver.flavour) == ("nvidia-open-kernel-dkms", "open")
    assert not found.driver.loaded
    assert found.held == ["linux-image-amd64", "nvidia-open-kernel-dkms"]
    assert found.container_toolkits == {
        "libnvidia-container1": "1.19.1-1",
        "nvidia-container-toolkit": "1.19.1-1",
    }


@pytest.mark.parametrize(
    ("maintainer", "origin"),
    [
        ("cudatools <cudatools@nvidia.com>", "vendor-repository"),
        ("Ubuntu Core Developers <ubuntu-devel-discuss@lists.ubuntu.com>", "unknown"),
    ],
)
def test_a_package_whose_repository_is_gone(hgx: Machine, maintainer: str, origin: str) -> None:
    policy = f"nvidia-open-kernel-dkms:\n  Version table:\n *** 580.95.05-1 100\n{STATUS}"
    with_dpkg(hgx, "580.95.05-1", policy, maintainer)
    driver = hgx.gpus().driver
    assert driver is not None
    assert driver.origin == origin


@pytest.mark.parametrize(
    ("repository", "origin"),
    [
        ("cuda-rhel9-x86_64", "vendor-repository"),
        ("rhel-9-for-x86_64-appstream-rpms", "distribution"),
        ("rpmfusion-nonfree", "unknown"),
    ],
)
def test_dnf_knows_where_a_package_came_from(hgx: Machine, repository: str, origin: str) -> None:
    hgx.program(
        "rpm",
        'case "$*" in\n'
        "  '-qf '*) echo kmod-nvidia-open-dkms;;\n"
        "  *VENDOR*) echo 'maintainer=kmod-nvidia-open-dkms (none)';;\n"
        "  *) echo kmod-nvidia-open-dkms 580.95.05-1.el9;\n"
        "     echo nvidia-container-toolkit 1.19.1-1;;\n"
        "esac",
    )
    hgx.program("dnf", f"echo 'from_repo=kmod-nvidia-open-dkms {repository}'")
    hgx.file("/usr/src/nvidia-580.95.05/dkms.conf")
    hgx.file(
        "/etc/dnf/plugins/versionlock.list",
        "# Added lock on Mon Nov  3 10:00:00 2025\nkernel-0:5.14.0-611.el9.*\n*nvidia*580*\n",
    )
    found = hgx.gpus(without="dpkg-query")
    assert found.driver is not None
    assert (found.driver.version, found.driver.origin) == ("580.95.05", origin)
    assert found.container_toolkits == {"nvidia-container-toolkit": "1.19.1-1"}
    assert found.held == ["*nvidia*580*", "kernel"]


def test_modules_of_the_running_kernel_come_first(hgx: Machine) -> None:
    """Debian renames the modules; what is in the kernel's tree is what the next boot loads."""
    path = f"/lib/modules/{KERNEL}"
    hgx.file(f"{path}/modules.dep", "kernel/a.ko:\nupdates/dkms/nvidia-current-open.ko.xz: x.ko\n")
    hgx.file(f"{path}/updates/dkms/nvidia-current-open.ko.xz")
    hgx.program(
        "modinfo",
        'printf "license:        Dual MIT/GPL\\nversion:        535.261.03\\n"',
    )
    hgx.file("/proc/driver/nvidia/version", OPEN)
    driver = hgx.gpus().driver
    assert driver is not None
    assert (driver.version, driver.flavour, driver.loaded) == ("535.261.03", "open", True)


def test_licence_tells_proprietary_modules(hgx: Machine) -> None:
    hgx.file(f"/lib/modules/{KERNEL}/modules.dep", "updates/dkms/nvidia.ko:\n")
    hgx.program("modinfo", 'printf "license:        NVIDIA\\nversion:        570.211.01\\n"')
    driver = hgx.gpus().driver
    assert driver is not None
    assert (driver.version, driver.flavour) == ("570.211.01", "proprietary")


def test_dkms_and_cuda(hgx: Machine) -> None:
    hgx.program(
        "dkms",
        "echo 'nvidia-current-open/535.261.03, 6.1.0-50-cloud-amd64, x86_64: installed';\n"
        "echo 'nvidia-current-open/535.261.03: added'; echo 'Warning: a line of its own'",
    )
    hgx.file(
        "/usr/local/cuda-13.0/version.json",
        '{\n  "cuda" : {\n    "name" : "CUDA SDK",\n    "version" : "13.0.2"\n  }\n}\n',
    )
    hgx.file("/usr/local/cuda-10.2/version.txt", "CUDA Version 10.2.89\n")
    hgx.file("/usr/local/cuda-12.8/version.json", "{}")
    found = hgx.gpus()
    assert found.cuda_toolkits == ["10.2.89", "13.0.2"]
    assert found.dkms == [
        DkmsModule(
            name="nvidia-current-open",
            version="535.261.03",
            kernel="6.1.0-50-cloud-amd64",
            state="installed",
        ),
        DkmsModule(name="nvidia-current-open", version="535.261.03", kernel="", state="added"),
    ]
    assert found.driver is not None
    assert (found.driver.version, found.driver.loaded) == ("535.261.03", False)


def test_gds_is_no_driver(hgx: Machine) -> None:
    """nvidia-fs has a DKMS module and sources of a similar name, with versions of its own."""
    hgx.program("dkms", "echo 'nvidia-fs/2.25.7, 6.8.0-87-generic, x86_64: installed'")
    hgx.file("/usr/src/nvidia-fs-2.25.7/dkms.conf")
    assert hgx.gpus().driver is None
