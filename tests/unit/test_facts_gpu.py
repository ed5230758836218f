"""The fact about accelerators: what its script sees of a machine.

The script runs with its paths turned to a folder that is laid out as a machine is. PCI ids and
texts are those of real machines; where they were read stands beside them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from gpu_machine import KERNEL, Machine, an_hgx

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
def hgx(tmp_path: Path) -> Machine:
    return an_hgx(tmp_path)


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


def test_nouveau(machine: Machine) -> None:
    machine.pci("0000:01:00.0", "10de:1eb8", "030200", "nouveau")
    machine.file("/sys/module/nouveau/refcnt", "1\n")
    found = machine.gpus()
    assert found.nouveau_loaded
    assert found.gpus[0].driver_in_use == "nouveau"
