"""The fact about accelerators: what its script sees of a machine, and where drivers come from.

The script runs with its paths turned to a folder that is laid out as a machine is. PCI ids and
texts are those of real machines; where they were read stands beside them.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from gpu_machine import Machine

from nodeproof.facts.accelerators import DkmsModule

KERNEL = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout.strip()
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
PCI_IDS = """\
# pci.ids, version 2023.04.11, shortened
10de  NVIDIA Corporation
\t2330  GH100[H100 SXM5 80GB]
1da3  Habana Labs Ltd.
\t1020  Gaudi2 AI Training Accelerator
C 02  Network controller
\t1020  no device
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def hgx(machine: Machine) -> Machine:
    """An HGX board as /sys has it: ids of bigstack-oss/cubecos issue 259 (H200, 2025-08)."""
    machine.pci("0000:05:00.0", "10de:22a3", "068000", "nvidia-nvswitch")
    machine.pci("0000:06:00.0", "10de:22a3", "068000", "nvidia-nvswitch")
    machine.pci("0000:18:00.0", "10de:2335", "030200", "nvidia", "10de:18be")
    machine.pci("0000:2a:00.0", "10de:2335", "030200", "nvidia", "10de:18be")
    machine.pci("0000:19:00.0", "15b3:1021", "020700", "mlx5_core")
    machine.pci("0000:03:00.0", "1a03:2000", "030000", "ast")
    return machine


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_gpus_and_switches_are_told_apart(hgx: Machine, shell: str) -> None:
    found = hgx.gpus(shell)
    assert [(gpu.pci_address, gpu.device_id) for gpu in found.gpus] == [
        ("0000:18:00.0", "2335"),
        ("0000:2a:00.0", "2335"),
    ]
    first = found.gpus[0]
    assert (first.vendor_id, first.subsystem_id) == ("10de", "10de:18be")
    assert (first.class_code, first.driver_in_use, first.name) == ("030200", "nvidia", None)
    assert (found.nvswitches, found.platform, found.kernel) == (2, "bare", KERNEL)


def test_an_old_mainboards_bridge_is_no_switch(machine: Machine) -> None:
    machine.pci("0000:00:0a.0", "10de:0057", "068000", "forcedeth")
    assert machine.gpus().nvswitches == 0


def test_virtual_functions_belong_to_guests(hgx: Machine) -> None:
    function = hgx.pci("0000:18:00.4", "10de:2335", "030200")
    (function / "physfn").symlink_to("../0000:18:00.0")
    assert len(hgx.gpus().gpus) == 2


def test_nvlink5_bridges_tell_of_switches(hgx: Machine) -> None:
    """B200 boards have no NVSwitch on the PCI bus, but bridge devices whose VPD says SW_MNG."""
    for address in ("0000:05:00.0", "0000:06:00.0"):
        for file in (hgx.root / f"sys/bus/pci/devices/{address}").iterdir():
            file.unlink()
    hgx.file("/sys/class/infiniband/mlx5_0/device/vpd", b"\x82\x06\x00ABC\x90SW_MNG\x00")
    hgx.file("/sys/class/infiniband/mlx5_1/device/vpd", b"\x82\x06\x00plain card")
    assert hgx.gpus().nvswitches == 1


@pytest.mark.parametrize(
    ("ids", "kind", "is_one"),
    [
        ("1002:74a1", "120000", True),  # Instinct MI300X
        ("1002:740c", "038000", True),  # Instinct MI250X
        ("8086:0bda", "038000", True),  # Data Center GPU Max 1100
        ("8086:56c0", "038000", True),  # Data Center GPU Flex 170
        ("8086:e211", "030000", True),  # Arc Pro B60
        ("8086:4680", "030000", False),  # a desktop processor's graphics
        ("1da3:1020", "120000", True),  # Gaudi2
        ("1ae0:0063", "ff0000", True),  # TPU v5e
        ("1ae0:0042", "020000", False),  # gVNIC
        ("1ae0:001f", "010802", False),  # a disk of the same cloud
        ("1002:1637", "040300", False),  # the sound of a display device
        ("1234:1111", "030000", False),  # QEMU's display
    ],
)
def test_vendors(machine: Machine, ids: str, kind: str, is_one: bool) -> None:
    machine.pci("0000:41:00.0", ids, kind)
    assert [f"{gpu.vendor_id}:{gpu.device_id}" for gpu in machine.gpus().gpus] == [ids] * is_one


def test_names_come_from_the_driver_or_the_database(machine: Machine) -> None:
    machine.file("/usr/share/misc/pci.ids", PCI_IDS)
    machine.pci("0000:19:00.0", "10de:2330", "030200", "nvidia")
    machine.pci("0000:3b:00.0", "10de:2330", "030200", "nvidia")
    machine.pci("0000:41:00.0", "1da3:1020", "120000", "habanalabs")
    machine.file(
        "/proc/driver/nvidia/gpus/0000:19:00.0/information",
        "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 195\nBus Location: \t 0000:19:00.0\n",
    )
    assert [gpu.name for gpu in machine.gpus().gpus] == [
        "NVIDIA H100 80GB HBM3",
        "NVIDIA GH100[H100 SXM5 80GB]",
        "Habana Gaudi2 AI Training Accelerator",
    ]


@pytest.mark.parametrize(
    ("paths", "virt", "os_id", "platform"),
    [
        ([], "none", "debian", "bare"),
        ([], "kvm", "debian", "vm"),
        ([], "amazon", "ubuntu", "vm"),
        ([], "docker", "debian", "container"),
        ([], "systemd-nspawn", "debian", "container"),
        (["/dev/dxg", "/usr/lib/wsl/lib/nvidia-smi"], "wsl", "ubuntu", "wsl2"),
        (["/etc/nv_tegra_release"], "none", "ubuntu", "jetson"),
        (["/run/ostree-booted"], "none", "fedora", "image-based"),
        ([], "none", "ubuntu-core", "image-based"),
        ([], "amazon", "bottlerocket", "image-based"),
        ([], "kvm", "nixos", "image-based"),
    ],
)
def test_platform(machine: Machine, paths: list[str], virt: str, os_id: str, platform: str) -> None:
    machine.file("/etc/os-release", f'ID={os_id}\nPRETTY_NAME="A system"\n')
    machine.program("systemd-detect-virt", f"echo {virt}; [ {virt} != none ]")
    for path in paths:
        machine.file(path)
    assert machine.gpus().platform == platform


@pytest.mark.parametrize(
    ("mounts", "platform"),
    [
        ("/dev/vda1 / ext4 rw,relatime 0 0", "bare"),
        ("/dev/vda1 / btrfs ro,relatime 0 0\n/dev/vda1 /var btrfs rw 0 0", "image-based"),
        ("/dev/vda9 / ext4 rw 0 0\n/dev/mapper/usr /usr ext4 ro,seclabel 0 0", "image-based"),
        ("/dev/vda9 / ext4 ro 0 0\noverlay /usr overlay rw,lowerdir=/ro 0 0", "bare"),
        ("", "bare"),
    ],
)
def test_read_only_usr_is_an_image(machine: Machine, mounts: str, platform: str) -> None:
    machine.file("/proc/mounts", mounts)
    assert machine.gpus().platform == platform


@pytest.mark.parametrize(
    ("mark", "stack"),
    [
        ("/opt/aws/dlami/info/x", "an AWS Deep Learning AMI"),
        ("/opt/azurehpc/component_versions.txt", "an Azure HPC image"),
        ("/opt/deeplearning/metadata/env_version", "a Google Deep Learning VM image"),
        ("/var/lib/dpkg/info/lambda-stack-cuda.list", "Lambda Stack"),
        ("/etc/dgx-release", "DGX OS"),
        ("/opt/azurehpc/slurm/autoscale.json", ""),
    ],
)
def test_stack_that_came_with_an_image(machine: Machine, mark: str, stack: str) -> None:
    machine.file(mark)
    assert machine.gpus().preinstalled == stack


def test_jetson_linux_is_read(machine: Machine) -> None:
    machine.file(
        "/etc/nv_tegra_release",
        "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n# more\n",
    )
    assert (machine.gpus().platform, machine.gpus().l4t) == ("jetson", "36.4.3")


def test_jetson_by_its_device_tree(machine: Machine) -> None:
    tree = b"nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0"
    machine.file("/proc/device-tree/compatible", tree)
    assert machine.gpus().platform == "jetson"


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({}, False),  # no EFI, no Secure Boot
        ({"SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": b"\6\0\0\0\1"}, True),
        ({"SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": b"\6\0\0\0\0"}, False),
        ({"SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": b""}, None),
        ({"Boot0000-8be4df61-93ca-11d2-aa0d-00e098032b8c": b"\7\0\0\0"}, False),
        ({"../mode": b""}, None),  # EFI, but its variables are not mounted
    ],
)
def test_secure_boot(machine: Machine, files: dict[str, bytes], state: bool | None) -> None:
    for name, content in files.items():
        (machine.root / "sys/firmware/efi/efivars").mkdir(parents=True, exist_ok=True)
        machine.file(f"/sys/firmware/efi/efivars/{name}", content)
    assert machine.gpus().secure_boot is state


def test_a_container_does_not_know_its_hosts_secure_boot(machine: Machine) -> None:
    machine.program("systemd-detect-virt", "echo podman")
    assert machine.gpus().secure_boot is None


def test_kernel_headers_are_there_or_dangle(machine: Machine) -> None:
    modules = machine.root / f"lib/modules/{KERNEL}"
    modules.mkdir(parents=True)
    (modules / "build").symlink_to("/nowhere")
    assert not machine.gpus().kernel_headers
    (modules / "build").unlink()
    (modules / "build").mkdir()
    assert machine.gpus().kernel_headers


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


def test_nouveau(machine: Machine) -> None:
    machine.pci("0000:01:00.0", "10de:1eb8", "030200", "nouveau")
    machine.file("/sys/module/nouveau/refcnt", "1\n")
    found = machine.gpus()
    assert found.nouveau_loaded
    assert found.gpus[0].driver_in_use == "nouveau"
