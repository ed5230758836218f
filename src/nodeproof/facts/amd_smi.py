"""What ``amd-smi metric --json`` and ``amd-smi static --json`` say of each GPU.

Until ROCm 6 both print a list of GPUs; later ones put it under ``gpu_data``. A value is a number,
``{"value": 16, "unit": "GT/s"}``, or ``"N/A"``, which is None here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AmdGpu:
    """One GPU; rates in GT/s, temperatures in °C, memory in MB."""

    index: int
    address: str = ""
    name: str = ""
    width: int | None = None
    width_max: int | None = None
    speed: float | None = None
    speed_max: float | None = None
    replays: int | None = None
    corrected: int | None = None
    uncorrected: int | None = None
    deferred: int | None = None
    edge: int | None = None
    hotspot: int | None = None
    hotspot_slowdown: int | None = None
    memory: int | None = None
    memory_slowdown: int | None = None
    throttled: bool | None = None
    vram_mb: int | None = None
    compute_partition: str = ""
    memory_partition: str = ""

    @property
    def called(self) -> str:
        """PCI address, as reports name it."""
        return f"GPU {self.address or self.index}"


def parse_amd(metric: str, static: str = "") -> tuple[AmdGpu, ...]:
    """Return the GPUs of both outputs; raises ValueError where one is not amd-smi's JSON."""
    fixed = {one.get("gpu"): one for one in _list(static)} if static.strip() else {}
    return tuple(_gpu(one, fixed.get(one.get("gpu"), {})) for one in _list(metric))


def _list(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except ValueError as error:
        first = text.strip().splitlines()[0][:200] if text.strip() else "nothing"
        raise ValueError(f"amd-smi: said no JSON but {first!r} ({error})") from None
    listed = found.get("gpu_data") if isinstance(found, dict) else found
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise ValueError("amd-smi: its JSON has no list of GPUs")
    return listed


def _gpu(metric: Mapping[str, Any], static: Mapping[str, Any]) -> AmdGpu:
    said = str(_at(metric, "power", "throttle_status") or "")
    return AmdGpu(
        index=int(metric.get("gpu", -1)),
        address=str(_at(static, "bus", "bdf") or "").lower(),
        name=str(_at(static, "asic", "market_name") or ""),
        width=_int(metric, "pcie", "width"),
        width_max=_int(static, "bus", "max_pcie_width"),
        speed=_float(metric, "pcie", "speed"),
        speed_max=_float(static, "bus", "max_pcie_speed"),
        replays=_int(metric, "pcie", "replay_count"),
        corrected=_int(metric, "ecc", "total_correctable_count"),
        uncorrected=_int(metric, "ecc", "total_uncorrectable_count"),
        deferred=_int(metric, "ecc", "total_deferred_count"),
        edge=_int(metric, "temperature", "edge"),
        hotspot=_int(metric, "temperature", "hotspot"),
        hotspot_slowdown=_int(static, "limit", "slowdown_hotspot_temperature"),
        memory=_int(metric, "temperature", "mem"),
        memory_slowdown=_int(static, "limit", "slowdown_vram_temperature"),
        throttled={"THROTTLED": True, "UNTHROTTLED": False}.get(said),
        vram_mb=_int(static, "vram", "size"),
        compute_partition=str(_at(static, "partition", "compute_partition") or ""),
        memory_partition=str(_at(static, "partition", "memory_partition") or ""),
    )


def _at(found: Mapping[str, Any], *path: str) -> Any:
    """Return what stands below the keys; None where nothing does, or ``N/A``."""
    value: Any = found
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, Mapping):
        value = value.get("value")
    return None if value in ("N/A", "") else value


def _float(found: Mapping[str, Any], *path: str) -> float | None:
    value = _at(found, *path)
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if numeric else None


def _int(found: Mapping[str, Any], *path: str) -> int | None:
    value = _float(found, *path)
    return None if value is None else int(value)
