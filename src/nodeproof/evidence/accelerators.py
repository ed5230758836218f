"""A node's accelerators in a few words, from its facts as a result has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from nodeproof.evidence.plain import one_line


def accelerators(facts: Mapping[str, object]) -> Iterator[str]:
    """Yield such words as ``8 NVIDIA H200`` and ``driver 580.178.04 (open)``; none without any."""
    found = facts.get("accelerators")
    if not isinstance(found, Mapping):
        return
    names = Counter(_name(gpu) for gpu in found.get("gpus", ()))
    for name, many in names.items():
        yield one_line(f"{many} {name}")
    if switches := found.get("nvswitches"):
        yield one_line(f"{switches} NVSwitches")
    if release := found.get("l4t"):
        yield one_line(f"Jetson Linux {release}")
    if stack := found.get("preinstalled"):
        yield one_line(str(stack))
    driver = found.get("driver")
    if isinstance(driver, Mapping):
        how = driver.get("flavour") if driver.get("loaded") else "not loaded"
        yield one_line(f"driver {driver.get('version')} ({how})")
    elif found.get("nouveau_loaded"):
        yield "driver nouveau"


def _name(gpu: Mapping[str, Any]) -> str:
    return gpu.get("name") or f"accelerator {gpu.get('vendor_id')}:{gpu.get('device_id')}"
