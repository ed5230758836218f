"""The fact about the GPUs' state: its script on machines whose tools answer, hang or lack."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from gpu_machine import Machine
from tests.recorded import recorded

from nodeproof.facts.gpu_state import SMI_TIMEOUT_S, GpuState, GpuStateData
from nodeproof.health.finding import Topic, failed
from nodeproof.health.gpu import judge

KERNEL = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout.strip()
NVRM = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  "
    "(dvs-builder@U22-I3-B17-02-5)  Tue Sep 23 09:55:41 UTC 2025\n"
)
CLOCKS = """            <supported_clocks><supported_mem_clock>
                <value>5001 MHz</value>
            </supported_mem_clock>
        </supported_clocks>
"""


def read(machine: Machine, shell: str = "dash") -> GpuStateData:
    command = GpuState().command().replace(f"-k 5 {SMI_TIMEOUT_S} ", "-k 1 1 ")
    return GpuState().process(machine.said(command, shell))


@pytest.fixture
def t4(tmp_path: Path) -> Machine:
    """The recorded T4 in a machine whose driver is not of the same version any more."""
    machine = Machine(tmp_path)
    machine.pci("0000:00:1e.0", "10de:1eb8", "030200", "nvidia")
    machine.pci("0000:00:05.0", "1ae0:0042", "020000")
    machine.file("/proc/driver/nvidia/version", NVRM)
    text = recorded("nvidia/t4.xml").replace("    </gpu>", f"{CLOCKS}    </gpu>")
    xml = machine.file("/tmp/t4.xml", text)
    links = machine.file("/tmp/links", "")
    machine.program("nvidia-smi", f'[ "$1" = nvlink ] && exec cat "{links}"; cat "{xml}"')
    machine.program("ldconfig", "exit 1")
    machine.program("systemctl", "echo inactive; exit 3")
    machine.program("journalctl", "echo 2025-11-23T20:00:00+0000 node kernel: Linux version")
    return machine


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_what_is_there_is_read(t4: Machine, shell: str) -> None:
    module = t4.file(f"/lib/modules/{KERNEL}/updates/dkms/nvidia-current.ko")
    t4.file(f"/lib/modules/{KERNEL}/modules.dep", "updates/dkms/nvidia-current.ko: x.ko\n")
    t4.program("modinfo", f'[ "$3" = "{module}" ] && echo 515.105.01')
    t4.program("nvidia-container-cli", "echo 'NVRM version:   580.95.05'")
    t4.file("/etc/cdi/nvidia.yaml", "- hostPath: /usr/lib/libcuda.so.515.105.01\n")
    t4.program(
        "ldconfig",
        "echo '  libcuda.so.1 (libc6,x86-64) => /usr/lib/libcuda.so.515.105.01';"
        "echo '  libcuda.so.1 (libc6,x86-64) => /usr/local/cuda/compat/libcuda.so.590.44.01'",
    )
    found = read(t4, shell)
    assert found.nvidia == ("0000:00:1e.0",)
    assert found.smi is not None
    assert [gpu.name for gpu in found.smi.gpus] == ["Tesla T4"]
    assert found.versions == {
        "loaded": ("580.95.05",),
        "on-disk": ("515.105.01",),
        "library": ("515.105.01",),
        "nvidia-smi": ("515.105.01",),
        "container-toolkit": ("580.95.05",),
        "cdi": ("515.105.01",),
    }
    assert (found.events, found.log_source, found.fabric_manager) == ((), "journal", "inactive")
    assert found.problems == {"fm": "nv-fabricmanager is not installed"}
    assert len(failed(judge(found), Topic.VERSIONS)) == 4


def test_long_lists_of_clocks_stay_on_the_node(t4: Machine) -> None:
    lines = t4.said(GpuState().command())
    assert not [line for line in lines if "supported" in line and "clocks" in line]
    assert any("product_name" in line for line in lines)


def test_a_hung_tool_does_not_hang_us(t4: Machine) -> None:
    t4.program("nvidia-smi", "sleep 30")
    found = read(t4)
    assert found.smi is None
    assert found.problems["smi"].startswith("no answer in")


def test_a_gpu_that_is_lost(t4: Machine) -> None:
    t4.program("nvidia-smi", "echo 'Unable to determine the device handle: GPU is lost.'; exit 15")
    found = read(t4)
    assert found.problems["smi"] == (
        "exit code 15: Unable to determine the device handle: GPU is lost."
    )
    (reason,) = failed(judge(found), Topic.PRESENT)
    assert "what nvidia-smi says is unknown (exit code 15" in reason.sentence


def test_xids_of_this_boot(t4: Machine) -> None:
    log = t4.file("/tmp/log", recorded("nvidia/kernel-xid-119.log"))
    t4.program("journalctl", f'cat "{log}"')
    found = read(t4)
    assert found.events is not None
    assert {event.code for event in found.events} == {119}


def test_dmesg_where_there_is_no_journal(t4: Machine) -> None:
    t4.program("journalctl", "exit 1")
    t4.program("dmesg", "echo '[    0.000000] Linux version 6.8.0'")
    assert (read(t4).log_source, read(t4).events) == ("dmesg", ())


def test_no_log_is_no_clean_log(t4: Machine) -> None:
    for name in ("journalctl", "dmesg"):
        t4.program(name, "exit 1")
    assert read(t4).events is None


def test_a_driver_without_its_tools(t4: Machine) -> None:
    (t4.programs / "nvidia-smi").unlink()
    assert read(t4).problems["smi"] == "nvidia-smi is not installed"


def test_amd(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.pci("0000:0b:00.0", "1002:74a1", "120000", "amdgpu")
    machine.file("/sys/module/amdgpu/refcnt", "0")
    metric = '[{"gpu": 0, "ecc": {"total_uncorrectable_count": 0}}]'
    static = '[{"gpu": 0, "bus": {"bdf": "0000:0b:00.0"}}]'
    machine.program("amd-smi", f"case $1 in metric) echo '{metric}';; *) echo '{static}';; esac")
    found = read(machine)
    assert found.amd == ("0000:0b:00.0",)
    assert [(gpu.address, gpu.uncorrected) for gpu in found.amd_gpus] == [("0000:0b:00.0", 0)]
