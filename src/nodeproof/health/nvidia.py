"""NVIDIA GPUs, each by itself: link, memory, clocks, and what its driver asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nodeproof.catalog.gpu_health import GpuHealth
from nodeproof.facts.smi import SmiGpu
from nodeproof.health.finding import Finding, Topic, could_not_look, held, noted, skipped

RESET = "drain the node and reset the GPU (nvidia-smi -r -i {address})"
REPLACE = "drain the node, run the vendor's field diagnostics, and have the GPU replaced"


@dataclass(frozen=True)
class Allowed:
    """What an operator allows instead of what the catalog expects; None is the catalog's."""

    pcie_width: int | None = None
    pcie_generation: int | None = None
    ecc_off: bool = False


def judge_gpu(gpu: SmiGpu, table: GpuHealth, allowed: Allowed) -> Iterator[Finding]:
    """Yield what one GPU's own readings say."""
    yield from _readable(gpu)
    yield from _recovery(gpu)
    yield from _pcie(gpu, table, allowed)
    yield from _ecc(gpu, allowed)
    yield from _repair(gpu, table)
    yield from _clocks(gpu, table)
    yield from _temperature(gpu)


def _readable(gpu: SmiGpu) -> Iterator[Finding]:
    for field in gpu.unreadable:
        name, _, said = field.partition(": ")
        yield could_not_look(
            Topic.PRESENT, gpu.called, name, f"nvidia-smi says {said!r}", _reset(gpu)
        )


def _recovery(gpu: SmiGpu) -> Iterator[Finding]:
    topic, what, asked = Topic.RECOVERY, "recovery action", gpu.recovery
    if asked is None:
        why = "not told by this driver; Xids in the kernel's log stand for it"
        yield skipped(topic, gpu.called, what, why)
        return
    action = f"do what the driver asks for: {asked}"
    yield held(topic, gpu.called, what, asked or "none", "none", good=not asked, action=action)


def _pcie(gpu: SmiGpu, table: GpuHealth, allowed: Allowed) -> Iterator[Finding]:
    product, link, what = table.product(gpu.device_id), gpu.pcie, "PCIe width"
    width = allowed.pcie_width or (product.pcie_width if product else link.width_max)
    if link.width is None or width is None:
        yield could_not_look(Topic.PCIE, gpu.called, what, "nvidia-smi gives none")
    else:
        yield held(
            Topic.PCIE,
            gpu.called,
            what,
            f"x{link.width}",
            f"x{width}",
            good=link.width >= width,
            action="reseat the card or its riser, and look at the slot's bifurcation",
        )
    yield _pcie_generation(gpu, product.pcie_generation if product else None, allowed)


def _pcie_generation(gpu: SmiGpu, expected: int | None, allowed: Allowed) -> Finding:
    """Judge what the link trains to; an idle GPU lowers it, so only a busy one shows it all."""
    link, what = gpu.pcie, "PCIe generation"
    wanted = allowed.pcie_generation or expected or link.generation_max_device
    wanted = wanted or link.generation_max
    if link.generation is None or link.generation_max is None or wanted is None:
        return could_not_look(Topic.PCIE, gpu.called, what, "nvidia-smi gives none")
    if link.generation_max < wanted:
        said = f"{link.generation_max} at most in this slot"
        action = "put the card into a faster slot, or set the slot's speed in the firmware"
        return held(Topic.PCIE, gpu.called, what, said, str(wanted), good=False, action=action)
    busy = gpu.performance_state == "P0"
    said = str(link.generation) if busy else f"{link.generation} in {gpu.performance_state}"
    good = link.generation >= wanted or not busy
    action = "reseat the card or its riser; a link that trains down has bad contacts"
    return held(Topic.PCIE, gpu.called, what, said, str(wanted), good=good, action=action)


def _ecc(gpu: SmiGpu, allowed: Allowed) -> Iterator[Finding]:
    ecc, subject, topic = gpu.ecc, gpu.called, Topic.ECC
    if ecc.on is None:
        yield skipped(topic, subject, "ECC", "not there on this product")
        return
    if not ecc.on:
        action = "turn it on (nvidia-smi -e 1) and reset the GPU"
        yield (
            noted(topic, subject, "ECC", "off", "on")
            if allowed.ecc_off
            else held(topic, subject, "ECC", "off", "on", good=False, action=action)
        )
        return
    if ecc.pending is False:
        what, action = "ECC after the next reset", "turn it on again (nvidia-smi -e 1)"
        yield held(topic, subject, what, "off", "on", good=False, action=action)
    what, errors = "uncorrected errors since the driver was loaded", ecc.volatile_uncorrected
    if errors is None:
        why = "ECC is on, but nvidia-smi gives no number"
        yield could_not_look(topic, subject, what, why, _reset(gpu))
    else:
        yield held(topic, subject, what, str(errors), "0", good=not errors, action=_reset(gpu))
    if ecc.sram_threshold_exceeded:
        what = "SRAM error threshold"
        yield held(topic, subject, what, "exceeded", "not exceeded", good=False, action=REPLACE)
    if ecc.aggregate_uncorrected:
        said = str(ecc.aggregate_uncorrected)
        yield noted(topic, subject, "uncorrected errors in its whole life", said)


def _repair(gpu: SmiGpu, table: GpuHealth) -> Iterator[Finding]:
    repair, subject, topic = gpu.repair, gpu.called, Topic.MEMORY_REPAIR
    bad = [
        ("row remapping", "failed", "never failed", REPLACE) if repair.rows_failed else None,
        ("memory", "unrepairable", "repairable", REPLACE) if repair.unrepairable else None,
        ("row remapping", "pending", "done", _reset(gpu)) if repair.rows_pending else None,
        ("page retirement", "pending", "done", _reset(gpu)) if repair.pages_pending else None,
        ("memory repair", "pending", "done", _reset(gpu)) if repair.repair_pending else None,
    ]
    found = [one for one in bad if one]
    for what, said, allowed, action in found:
        yield held(topic, subject, what, said, allowed, good=False, action=action)
    if repair.banks.get("none"):
        said = f"none left in {repair.banks['none']} banks"
        yield noted(topic, subject, "room for row remapping", said)
    if gpu.architecture in table.row_remapping.architectures and repair.rows_pending is None:
        if gpu.mig_devices:
            why = "not told while MIG instances are active (NVML's rule)"
            yield skipped(topic, subject, "row remapping", why)
        else:
            why = f"{gpu.architecture} has it, but nvidia-smi says nothing"
            yield could_not_look(topic, subject, "row remapping", why)
    elif not found:
        yield held(topic, subject, "memory repair", _repaired(gpu), good=True)


def _repaired(gpu: SmiGpu) -> str:
    repair = gpu.repair
    if repair.rows_pending is not None:
        rows = (repair.rows_corrected or 0) + (repair.rows_uncorrected or 0)
        return f"nothing pending, {rows} rows remapped so far"
    if repair.pages_pending is not None:
        pages = (repair.pages_single or 0) + (repair.pages_double or 0)
        return f"nothing pending, {pages} pages retired so far"
    return "not there on this product"


def _clocks(gpu: SmiGpu, table: GpuHealth) -> Iterator[Finding]:
    events, subject, topic = table.clock_events, gpu.called, Topic.CLOCKS
    active = [one for one in gpu.slowed_by if one in events.failing]
    what, action = "what slows its clocks", "look at cooling, fans and power supplies"
    said = ", ".join(active) or "nothing"
    yield held(topic, subject, what, said, "nothing", good=not active, action=action)
    for one in gpu.slowed_by:
        if one in events.noted and not active:
            yield noted(topic, subject, what, one)
    for name in events.counted:
        if microseconds := gpu.slowdown_us.get(name):
            said = f"{microseconds / 1e6:.1f} s since the driver was loaded"
            yield noted(topic, subject, f"time slowed by {name}", said)
    limit, usual = gpu.thermals.power_limit, gpu.thermals.power_limit_default
    if limit and usual and limit < usual:
        yield noted(topic, subject, "power limit", f"{limit:.0f} W", f"{usual:.0f} W")


def _temperature(gpu: SmiGpu) -> Iterator[Finding]:
    heat, subject, topic = gpu.thermals, gpu.called, Topic.TEMPERATURE
    cool = "look at air flow, fans and inlet temperature"
    if heat.gpu is None:
        yield could_not_look(topic, subject, "temperature", "nvidia-smi gives none", _reset(gpu))
        return
    said = f"{heat.gpu} °C"
    if heat.gpu_margin is not None:
        good, limit = heat.gpu_margin > 0, f"{heat.gpu + heat.gpu_margin} °C"
    elif heat.gpu_slowdown is not None:
        good, limit = heat.gpu < heat.gpu_slowdown, f"{heat.gpu_slowdown} °C"
    else:
        yield could_not_look(topic, subject, "temperature", f"{said}, but no limit is given")
        return
    yield held(topic, subject, "temperature", said, f"below {limit}", good=good, action=cool)
    if heat.memory is not None and heat.memory_max is not None:
        good, limit = heat.memory < heat.memory_max, f"below {heat.memory_max} °C"
        what, said = "memory temperature", f"{heat.memory} °C"
        yield held(topic, subject, what, said, limit, good=good, action=cool)


def _reset(gpu: SmiGpu) -> str:
    return RESET.format(address=gpu.address)
