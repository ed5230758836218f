"""AMD GPUs: memory errors, throttling and temperatures, as amd-smi tells them."""

from __future__ import annotations

from collections.abc import Iterator

from nodeproof.facts.amd_smi import AmdGpu
from nodeproof.facts.gpu_state import GpuStateData
from nodeproof.health.finding import NODE, Finding, Topic, could_not_look, held, noted


def judge_amd(state: GpuStateData) -> Iterator[Finding]:
    """Yield what is to be said of the AMD GPUs of a node that has some."""
    if not state.amd_gpus:
        why = state.problems.get("amd", "it names no GPU")
        yield could_not_look(Topic.PRESENT, NODE, "what amd-smi says", why, "install amd-smi")
        return
    named = {gpu.address for gpu in state.amd_gpus if gpu.address}
    for address in state.amd:
        if named and address not in named:
            said, action = "not in charge of it", "look in the kernel's log, and reboot"
            subject = f"GPU {address}"
            yield held(
                Topic.PRESENT, subject, "its driver", said, "amdgpu", good=False, action=action
            )
    for gpu in state.amd_gpus:
        yield from _gpu(gpu)


def _gpu(gpu: AmdGpu) -> Iterator[Finding]:
    subject, what = gpu.called, "uncorrected memory errors"
    if gpu.uncorrected is None:
        why = "amd-smi gives no number; RAS may be off"
        yield could_not_look(Topic.ECC, subject, what, why)
    else:
        said, action = str(gpu.uncorrected), "drain the node and reset the GPU (amd-smi reset -G)"
        yield held(Topic.ECC, subject, what, said, "0", good=not gpu.uncorrected, action=action)
    if gpu.deferred:
        yield noted(Topic.ECC, subject, "deferred memory errors", str(gpu.deferred))
    if gpu.throttled:
        what, action = "what slows its clocks", "look at cooling, fans and power supplies"
        yield held(Topic.CLOCKS, subject, what, "throttled", "nothing", good=False, action=action)
    if gpu.hotspot is None and gpu.edge is None:
        yield could_not_look(Topic.TEMPERATURE, subject, "temperature", "amd-smi gives none")
    for what, now, limit in (
        ("temperature", gpu.hotspot, gpu.hotspot_slowdown),
        ("memory temperature", gpu.memory, gpu.memory_slowdown),
    ):
        if now is not None and limit is not None:
            said, allowed, action = f"{now} °C", f"below {limit} °C", "look at air flow and fans"
            good = now < limit
            yield held(Topic.TEMPERATURE, subject, what, said, allowed, good=good, action=action)
