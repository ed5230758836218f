"""What is judged of the kernel's log, and of AMD GPUs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gpu_states import A100, log, sentences, state
from tests.recorded import recorded

from nodeproof.facts.amd_smi import AmdGpu
from nodeproof.facts.gpu_state import GpuStateData
from nodeproof.health.finding import Topic, Verdict, failed
from nodeproof.health.gpu import judge

# The kernel's log


def test_gsp_that_does_not_answer() -> None:
    events = log(recorded("nvidia/kernel-xid-119.log"))
    (reason,) = failed(judge(state(recorded(A100), events=events)))
    assert reason.sentence == (
        "device 0000:9b:00: in the kernel's log is Xid 119, GSP does not answer; "
        "drain the node and reset the GPU: nvidia-smi -r -i 0000:9b:00.0"
    )


def test_xids_of_applications_are_noted() -> None:
    events = log(recorded("nvidia/kernel-application-xids.log"))
    found = judge(state(recorded(A100), events=events))
    assert failed(found) == []
    first, second = sentences(found, Verdict.NOTED)
    assert "Xid 13, graphics engine exception; restart the application" in first
    assert "Xid 31, memory page fault of an application" in second


def test_a_context_switch_timeout_needs_a_reset() -> None:
    events = log(recorded("nvidia/kernel-context-switch.log"))
    (reason,) = failed(judge(state(recorded(A100), events=events)))
    assert "Xid 109" in reason.sentence


def test_nvlink_of_a_rack() -> None:
    events = log(recorded("nvidia/kernel-gb200-nvlink.log"))
    found = [one.measured for one in failed(judge(state(recorded(A100), events=events)))]
    assert found.count("Xid 149, NVLink 5 link error") == 2, "one for each GPU"
    assert sum("to 0x1 (GPU Reset Required)" in one for one in found) == 3
    assert sum("to 0x4 (Drain and Reset)" in one for one in found) == 1


def test_what_the_driver_called_mended_stands_no_more() -> None:
    broken = recorded("nvidia/kernel-context-switch.log").splitlines()[0]
    mended = (  # NVIDIA/NVSentinel, pkg/xid/parser/csv_test.go at 3e97fd0, on this GPU
        "NVRM: Xid (PCI:0000:cb:00): 154, GPU recovery action changed "
        "from 0x1 (GPU Reset Required) to 0x0 (None)"
    )
    assert failed(judge(state(recorded(A100), events=log(f"{broken}\n{mended}")))) == []
    again = log(f"{broken}\n{mended}\n{broken}")
    assert len(failed(judge(state(recorded(A100), events=again)))) == 1


@pytest.mark.parametrize(
    ("line", "verdict", "words"),
    [
        # gpud, pkg/nvidia-query/xid/kmsg_test.go, on the address of the A100
        (
            "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.",
            *(Verdict.FAILED, "Xid 79, GPU has fallen off the bus; drain the node and reboot"),
        ),
        (
            "NVRM: Xid (PCI:0000:01:00): 95, pid=7062, Uncontained: LTC TAG (0x2,0x0). RST: Yes",
            *(Verdict.FAILED, "Xid 95, uncontained memory error; drain the node and reset"),
        ),
        (
            "NVRM: Xid (PCI:0000:01:00): 94, pid=7062, Contained: CE User Channel (0x9). RST: No",
            *(Verdict.NOTED, "Xid 94, contained memory error; restart the application"),
        ),
        (
            "NVRM: Xid (PCI:0000:01:00): 999, pid=1234, name=test",
            *(Verdict.FAILED, "Xid 999, pid=1234, name=test; drain the node and report it"),
        ),
        (
            "nvidia-nvswitch0: SXid (PCI:0000:00:00.0): 11001, Fatal, ingress invalid command",
            *(Verdict.FAILED, "SXid 11001, Fatal, ingress invalid command; drain the node"),
        ),
        (
            "NVRM: API mismatch: the client has the version 535.247.01, but",
            *(Verdict.FAILED, "an error of the driver, API mismatch"),
        ),
    ],
)
def test_lines(line: str, verdict: Verdict, words: str) -> None:
    found = judge(state(recorded(A100), events=log(line)))
    (reason,) = [one for one in found if one.topic is Topic.LOG]
    assert reason.verdict is verdict
    assert words in reason.sentence
    if "PCI:0000:01:00" in line:
        assert reason.subject.startswith("GPU 0000:01:00.0 (GPU-5135")


# AMD


def amd(gpu: AmdGpu | None, **more: Any) -> GpuStateData:
    gpus = (gpu,) if gpu else ()
    return replace(GpuStateData(amd=("0000:0b:00.0",), amd_gpus=gpus, events=()), **more)


MI = AmdGpu(index=0, address="0000:0b:00.0", uncorrected=0, hotspot=37, hotspot_slowdown=110)


def test_amd_without_fault() -> None:
    assert failed(judge(amd(MI))) == []


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (amd(None, problems={"amd": "amd-smi is not installed"}), "unknown (amd-smi is not inst"),
        (amd(replace(MI, uncorrected=2)), "uncorrected memory errors is 2, allowed is 0"),
        (amd(replace(MI, uncorrected=None)), "unknown (amd-smi gives no number; RAS may be off)"),
        (amd(replace(MI, throttled=True)), "what slows its clocks is throttled"),
        (amd(replace(MI, hotspot=110)), "temperature is 110 °C, allowed is below 110 °C"),
        (amd(replace(MI, hotspot=None)), "temperature is unknown"),
        (amd(replace(MI, address="0000:c1:00.0")), "GPU 0000:0b:00.0: its driver is not in char"),
        (amd(MI, events=None), "the kernel's log is unknown"),
    ],
)
def test_amd_broken(node: GpuStateData, words: str) -> None:
    (reason,) = failed(judge(node))
    assert words in reason.sentence
