"""What ``nvidia-smi -q -x`` says of each GPU, across the generations of its XML.

A value that is not there is None, never 0: ``N/A`` and ``Not Supported`` say that a product has no
such thing, and a field that a driver does not know yet, or no longer, is missing. Where the tool
tried and failed (``Unknown Error``, ``GPU is lost``), the field's path stands in `unreadable`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from nodeproof.facts.smi import Ecc, Pcie, Repair, Smi, SmiGpu, Thermals

Element = ElementTree.Element

NOTHING = frozenset(
    {
        *("", "n/a", "[n/a]", "none", "not supported", "[not supported]", "not available"),
        "requested functionality has been deprecated",
    }
)
"""What stands where a product or a driver has no value."""

_TROUBLE = re.compile(
    r"unknown error|err!|gpu is lost|gpu requires reset|insufficient permissions"
    r"|gpu access blocked|no permission|timeout",
    re.I,
)
_REASON = re.compile(r"clocks_(?:event|throttle)_reason_(?P<name>\w+)")
_COUNTER = re.compile(r"clocks_event_reasons_counters_(?P<name>\w+)")


def parse_smi(text: str) -> Smi:
    """Return what the XML says; raises ValueError where it is none of nvidia-smi's."""
    if "<!ENTITY" in text:
        raise ValueError("nvidia-smi: its XML declares entities, which it never does")
    start = text.find("<?xml")
    try:
        root = ElementTree.fromstring(text[max(start, 0) :])  # noqa: S314 # no entities, see above
    except ElementTree.ParseError as error:
        first = text.strip().splitlines()[0][:200] if text.strip() else "nothing"
        raise ValueError(f"nvidia-smi: said no XML but {first!r} ({error})") from None
    if root.tag != "nvidia_smi_log":
        raise ValueError(f"nvidia-smi: its XML is a {root.tag!r}")
    return Smi(
        driver=_text(root, "driver_version"),
        cuda=_text(root, "cuda_version"),
        attached=_int(root, "attached_gpus") or 0,
        gpus=tuple(_gpu(one) for one in root.iter("gpu")),
    )


def bus_address(text: str) -> str:
    """Return ``00000000:3B:00.0`` as /sys has it: ``0000:3b:00.0``."""
    domain, _, rest = text.strip().lower().partition(":")
    return f"{domain[-4:]}:{rest}"


def _gpu(gpu: Element) -> SmiGpu:
    ids = _text(gpu, "pci/pci_device_id").lower().removeprefix("0x")
    return SmiGpu(
        address=bus_address(_text(gpu, "pci/pci_bus_id") or gpu.get("id", "")),
        uuid=_text(gpu, "uuid"),
        name=_text(gpu, "product_name"),
        serial=_text(gpu, "serial"),
        architecture=_text(gpu, "product_architecture"),
        device_id=ids[:4],
        vbios=_text(gpu, "vbios_version"),
        gsp_firmware=_text(gpu, "gsp_firmware_version"),
        persistence=_bool(gpu, "persistence_mode"),
        virtualization=_text(gpu, "gpu_virtualization_mode/virtualization_mode"),
        compute_mode=_text(gpu, "compute_mode"),
        mig=_bool(gpu, "mig_mode/current_mig"),
        mig_devices=len(gpu.findall("mig_devices/mig_device")),
        memory_mib=_int(gpu, "fb_memory_usage/total"),
        performance_state=_text(gpu, "performance_state"),
        recovery=_recovery(gpu),
        fabric_state=_text(gpu, "fabric/state") or None,
        fabric_status=_text(gpu, "fabric/status") or None,
        fabric_troubles=_fabric_troubles(gpu),
        pcie=_pcie(gpu),
        ecc=_ecc(gpu),
        repair=_repair(gpu),
        thermals=_thermals(gpu),
        slowed_by=tuple(
            found["name"]
            for one in gpu.iter()
            if (found := _REASON.fullmatch(one.tag)) and _plain(one) == "Active"
        ),
        slowdown_us={
            found["name"]: int(many[0])
            for one in gpu.iter()
            if (found := _COUNTER.fullmatch(one.tag)) and (many := re.match(r"\d+", _plain(one)))
        },
        unreadable=tuple(_unreadable(gpu)),
    )


def _pcie(gpu: Element) -> Pcie:
    link = "pci/pci_gpu_link_info"
    return Pcie(
        generation=_int(gpu, f"{link}/pcie_gen/current_link_gen"),
        generation_max=_int(gpu, f"{link}/pcie_gen/max_link_gen"),
        generation_max_device=_int(gpu, f"{link}/pcie_gen/max_device_link_gen"),
        width=_int(gpu, f"{link}/link_widths/current_link_width"),
        width_max=_int(gpu, f"{link}/link_widths/max_link_width"),
        replays=_int(gpu, "pci/replay_counter"),
    )


def _ecc(gpu: Element) -> Ecc:
    def errors(when: str, kind: str) -> int | None:
        older = {"correctable": "single_bit", "uncorrectable": "double_bit"}[kind]
        within = gpu.find(f"ecc_errors/{when}")
        if within is None:
            return None
        if (total := _int(within, f"{older}/total")) is not None:
            return total
        found = [_number(one) for one in within if re.fullmatch(rf"[sd]ram_{kind}(_\w+)?", one.tag)]
        known = [int(one) for one in found if one is not None]
        return sum(known) if found and len(known) == len(found) else None

    return Ecc(
        on=_bool(gpu, "ecc_mode/current_ecc"),
        pending=_bool(gpu, "ecc_mode/pending_ecc"),
        volatile_corrected=errors("volatile", "correctable"),
        volatile_uncorrected=errors("volatile", "uncorrectable"),
        aggregate_corrected=errors("aggregate", "correctable"),
        aggregate_uncorrected=errors("aggregate", "uncorrectable"),
        sram_threshold_exceeded=_bool(gpu, "ecc_errors/aggregate/sram_threshold_exceeded"),
    )


def _repair(gpu: Element) -> Repair:
    rows, pages = "remapped_rows", "retired_pages"
    histogram = gpu.find(f"{rows}/row_remapper_histogram")
    banks = {
        one.tag.removeprefix("row_remapper_histogram_"): int(many)
        for one in (histogram if histogram is not None else ())
        if (many := _number(one)) is not None
    }
    return Repair(
        rows_corrected=_int(gpu, f"{rows}/remapped_row_corr"),
        rows_uncorrected=_int(gpu, f"{rows}/remapped_row_unc"),
        rows_pending=_bool(gpu, f"{rows}/remapped_row_pending"),
        rows_failed=_bool(gpu, f"{rows}/remapped_row_failure"),
        banks=banks,
        pages_single=_int(gpu, f"{pages}/multiple_single_bit_retirement/retired_count"),
        pages_double=_int(gpu, f"{pages}/double_bit_retirement/retired_count"),
        pages_pending=_either(
            _bool(gpu, f"{pages}/pending_retirement"), _bool(gpu, f"{pages}/pending_blacklist")
        ),
        repair_pending=_either(
            _bool(gpu, "ecc_errors/channel_repair_pending"),
            _bool(gpu, "ecc_errors/tpc_repair_pending"),
        ),
        unrepairable=_bool(gpu, "ecc_errors/unrepairable_memory"),
    )


def _thermals(gpu: Element) -> Thermals:
    power = next(
        (one for one in ("gpu_power_readings", "power_readings") if gpu.find(one) is not None),
        "power_readings",
    )
    draws = ("instant_power_draw", "power_draw", "average_power_draw")
    limits = ("current_power_limit", "enforced_power_limit", "power_limit")
    return Thermals(
        gpu=_int(gpu, "temperature/gpu_temp"),
        gpu_slowdown=_int(gpu, "temperature/gpu_temp_slow_threshold"),
        gpu_margin=_int(gpu, "temperature/gpu_temp_tlimit"),
        memory=_int(gpu, "temperature/memory_temp"),
        memory_max=_int(gpu, "temperature/gpu_temp_max_mem_threshold"),
        power=_first(_float(gpu, f"{power}/{one}") for one in draws),
        power_limit=_first(_float(gpu, f"{power}/{one}") for one in limits),
        power_limit_default=_float(gpu, f"{power}/default_power_limit"),
        sm_clock=_int(gpu, "clocks/sm_clock"),
        sm_clock_max=_int(gpu, "max_clocks/sm_clock"),
    )


def _recovery(gpu: Element) -> str | None:
    """Return what the driver asks for; older drivers say only whether a reset is."""
    action = gpu.find("gpu_recovery_action")
    if action is not None:
        said = _plain(action)
        return "" if said.lower() == "none" else None if said.lower() in NOTHING else said
    required = _bool(gpu, "gpu_reset_status/reset_required")
    drain = _bool(gpu, "gpu_reset_status/drain_and_reset_recommended")
    if required is None and drain is None:
        return None
    return "Reset" if required else "Drain and Reset" if drain else ""


def _fabric_troubles(gpu: Element) -> tuple[str, ...]:
    good = {"summary": "healthy", "bandwidth": "full", "incorrect_configuration": "none"}
    health = gpu.find("fabric/health")
    said = [(one.tag, _plain(one)) for one in (health if health is not None else ())]
    return tuple(
        f"{name}: {value}"
        for name, value in said
        if value.lower() not in {*NOTHING, "false", "no", good.get(name, "")}
    )


def _unreadable(element: Element, path: str = "") -> list[str]:
    """Return the fields below an element that the tool could not read, with its words."""
    found = []
    for one in element:
        below = f"{path}/{one.tag}" if path else one.tag
        if one.tag not in ("processes", "accounted_processes"):
            said = _plain(one)
            found += [f"{below}: {said}"] if not len(one) and _TROUBLE.search(said) else []
            found += _unreadable(one, below)
    return found


def _plain(element: Element | None) -> str:
    return (element.text or "").strip() if element is not None else ""


def _text(element: Element, path: str) -> str:
    said = _plain(element.find(path))
    return "" if said.lower() in NOTHING else said


def _number(element: Element | None) -> float | None:
    found = re.match(r"-?\d+(?:\.\d+)?", _plain(element))
    return float(found[0]) if found else None


def _float(element: Element, path: str) -> float | None:
    return _number(element.find(path))


def _int(element: Element, path: str) -> int | None:
    number = _number(element.find(path))
    return None if number is None else int(number)


def _bool(element: Element, path: str) -> bool | None:
    words = {"yes": True, "no": False, "enabled": True, "disabled": False}
    return words.get(_plain(element.find(path)).lower())


def _either(*values: bool | None) -> bool | None:
    known = [value for value in values if value is not None]
    return any(known) if known else None


def _first(values: Iterator[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)
