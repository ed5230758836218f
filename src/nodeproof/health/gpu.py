"""All GPUs of a node together: are they there, do versions agree, what did the kernel log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nodeproof.catalog.gpu_health import GpuHealth, gpu_health
from nodeproof.facts.gpu_state import NOT_INSTALLED, GpuStateData
from nodeproof.facts.kernel_log import KernelEvent
from nodeproof.facts.nvlink import Links
from nodeproof.facts.smi import SmiGpu
from nodeproof.health.amd import judge_amd
from nodeproof.health.finding import (
    NODE,
    Finding,
    Topic,
    Verdict,
    could_not_look,
    held,
    skipped,
)
from nodeproof.health.nvidia import RESET, Allowed, judge_gpu

WHO_MENDS = {
    "on-disk": "reboot, so that the installed module is loaded",
    "nvidia-smi": "reboot, or reload the driver's modules",
    "library": "reboot, or reload the driver's modules",
    "fabric-manager": "install the fabric manager of the driver's version",
    "container-toolkit": "restart the container engine after the driver's update",
    "cdi": "generate the CDI specification anew (systemctl restart nvidia-cdi-refresh)",
}
"""Who must name the loaded driver's version, and what to do where it does not."""

FABRIC_TOLD = ("Hopper", "Blackwell")
"""Architectures whose driver tells the state of the NVLink fabric; A100's gives N/A."""

LINK_TOLERANCE = 0.99
"""Share of a link's nominal speed that is as good as all of it."""


def judge(
    state: GpuStateData,
    *,
    nvswitches: int = 0,
    allowed: Allowed | None = None,
    table: GpuHealth | None = None,
) -> tuple[Finding, ...]:
    """Return everything that a node's state says about its GPUs, good and bad.

    `nvswitches` is how many the node has; without a GPU on the PCI bus that is a failure, too:
    whoever asks for this expects some.
    """
    table, allowed = table or gpu_health(), allowed or Allowed()
    findings = [*_present(state), *_log(state, table)]
    if state.nvidia:
        findings += _versions(state, nvswitches)
    gpus = state.smi.gpus if state.smi else ()
    for gpu in gpus:
        findings += judge_gpu(gpu, table, allowed)
    findings += _fabric(state, gpus, nvswitches)
    findings += _nvlinks(state, gpus, table, nvswitches)
    if state.amd:
        findings += judge_amd(state)
    return tuple(findings)


def _present(state: GpuStateData) -> Iterator[Finding]:
    topic, many = Topic.PRESENT, len(state.nvidia) + len(state.amd)
    if not many:
        action = "look whether the GPU has power, and whether the firmware sees it"
        what = "number of GPUs on the PCI bus"
        yield held(topic, NODE, what, "0", "at least 1", good=False, action=action)
    if not state.nvidia:
        return
    why = state.problems.get("smi", "")
    if state.smi is None:
        mend = "mend the driver"
        yield could_not_look(topic, NODE, "what nvidia-smi says", why or "no driver", mend)
        return
    if why:
        yield could_not_look(topic, NODE, "what nvidia-smi says of all GPUs", why)
    known = {gpu.address for gpu in state.smi.gpus}
    lost = [address for address in state.nvidia if address not in known]
    for address in lost:
        said, action = "not in charge of it", f"look in the kernel's log for {address}, and reboot"
        yield held(topic, f"GPU {address}", "its driver", said, "nvidia", good=False, action=action)
    if not lost:
        said = f"{len(state.nvidia)} on the bus, {len(known)} known to the driver"
        yield held(topic, NODE, "number of GPUs", said, good=True)


def _versions(state: GpuStateData, nvswitches: int) -> Iterator[Finding]:
    """Judge whether everybody speaks of the same driver version."""
    topic, loaded = Topic.VERSIONS, state.versions.get("loaded", ())
    if len(loaded) != 1:
        yield could_not_look(topic, NODE, "version of the loaded driver", "no module is loaded")
        return
    for who, action in WHO_MENDS.items():
        if versions := state.versions.get(who, ()):
            good = all(version == loaded[0] for version in versions)
            what, said = f"driver version of {who}", ", ".join(versions)
            yield held(topic, NODE, what, said, loaded[0], good=good, action=action)
    if "library" not in state.versions:
        yield could_not_look(topic, NODE, "driver version of the libraries", "none is installed")
    toolkit = state.problems.get("toolkit", "")
    if toolkit and not toolkit.endswith(NOT_INSTALLED):
        yield could_not_look(topic, NODE, "driver version of container-toolkit", toolkit)
    if nvswitches and "fabric-manager" not in state.versions:
        why = state.problems.get("fm", "it gave no version")
        yield could_not_look(topic, NODE, "driver version of the fabric manager", why)


def _log(state: GpuStateData, table: GpuHealth) -> Iterator[Finding]:
    if not (state.nvidia or state.amd):
        return
    if state.events is None:
        yield could_not_look(Topic.LOG, NODE, "the kernel's log", "neither journal nor dmesg")
        return
    standing = list(_standing(state.events))
    for event in standing:
        yield _event(event, state, table)
    if not standing:
        said = f"clean of GPU errors since boot ({state.log_source})"
        yield held(Topic.LOG, NODE, "the kernel's log", said, good=True)


def _standing(events: Sequence[KernelEvent]) -> Iterator[KernelEvent]:
    """Yield events once each, without those that the driver itself called mended later."""
    mended = {
        event.address: position
        for position, event in enumerate(events)
        if event.kind == "xid" and event.recovery == ""
    }
    seen = set()
    for position, event in enumerate(events):
        key = (event.kind, event.code, event.address, event.recovery, event.text * (not event.code))
        if event.kind == "xid" and position <= mended.get(event.address, -1):
            continue
        if key not in seen:
            seen.add(key)
            yield event


def _event(event: KernelEvent, state: GpuStateData, table: GpuHealth) -> Finding:
    subject, fails = _subject(event.address, state), True
    if event.kind == "xid":
        found = table.xid(event.code)
        text = event.text if event.recovery else table.xid_meanings.get(event.code, event.text)
        said, fails = f"Xid {event.code}", found.fails
        action = found.action.replace("ADDRESS", f"{event.address}.0")
    elif event.kind == "sxid":
        said, text, fails = f"SXid {event.code}", event.text, event.fatal is not False
        action = "drain the node and reset all GPUs and NVSwitches"
    else:
        said, text, action = "an error of the driver", event.text, "mend the driver, then reboot"
    verdict = Verdict.FAILED if fails else Verdict.NOTED
    said = f"{said}, {text}" if text else said
    return Finding(Topic.LOG, verdict, subject, "in the kernel's log", said, "", action)


def _subject(address: str, state: GpuStateData) -> str:
    gpus = state.smi.gpus if state.smi else ()
    found = next((gpu for gpu in gpus if gpu.address.startswith(f"{address}.")), None)
    return found.called if found else f"device {address}" if address else NODE


def _fabric(state: GpuStateData, gpus: Sequence[SmiGpu], nvswitches: int) -> Iterator[Finding]:
    topic = Topic.FABRIC
    if nvswitches:
        said, action = state.fabric_manager, "systemctl enable --now nvidia-fabricmanager"
        good = said == "active"
        yield held(
            topic, NODE, "fabric manager", said or "unknown", "active", good=good, action=action
        )
    for gpu in gpus:
        if gpu.fabric_state is None:
            if nvswitches and gpu.architecture in FABRIC_TOLD:
                yield could_not_look(topic, gpu.called, "fabric state", "nvidia-smi gives none")
            continue
        said, wanted = f"{gpu.fabric_state}, {gpu.fabric_status}", "Completed, Success"
        action = "restart the fabric manager; then reset the GPU"
        good = said == wanted
        yield held(topic, gpu.called, "fabric state", said, wanted, good=good, action=action)
        for trouble in gpu.fabric_troubles:
            action = RESET.format(address=gpu.address)
            yield held(topic, gpu.called, "fabric health", trouble, good=False, action=action)


def _nvlinks(
    state: GpuStateData, gpus: Sequence[SmiGpu], table: GpuHealth, nvswitches: int
) -> Iterator[Finding]:
    topic, by_uuid = Topic.NVLINK, {one.uuid: one for one in state.links}
    for gpu in gpus:
        product = table.product(gpu.device_id)
        if product is None or product.nvlinks is None:
            continue
        if len(gpus) == 1 and not nvswitches:
            why = "not asked for: a single GPU without NVSwitches"
            yield skipped(topic, gpu.called, "NVLinks", why)
        elif gpu.uuid not in by_uuid:
            why = state.problems.get("nvlink", "nvidia-smi nvlink does not name this GPU")
            yield could_not_look(topic, gpu.called, "NVLinks", why)
        else:
            yield _links(gpu, by_uuid[gpu.uuid], product.nvlinks, product.nvlink_gb_s or 0)


def _links(gpu: SmiGpu, links: Links, many: int, speed: float) -> Finding:
    slow = [
        f"link {number} at {found:g} GB/s"
        for number, found in enumerate(links.speeds)
        if found is not None and found < speed * LINK_TOLERANCE
    ]
    said, wanted = ", ".join([f"{links.active} active", *slow]), f"{many} at {speed:g} GB/s"
    action = "drain the node and reset all GPUs; then look at the board"
    good = links.active >= many and not slow
    return held(Topic.NVLINK, gpu.called, "NVLinks", said, wanted, good=good, action=action)
