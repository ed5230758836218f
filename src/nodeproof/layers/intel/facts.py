"""What Gaudi's driver and its tool say of the accelerators."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

STATUS = (
    'for s in /sys/class/accel/accel*/device/status; do [ -r "$s" ] || continue; cat "$s"; done'
)
"""Prints a line for each accelerator; see Documentation/ABI/testing/sysfs-driver-habanalabs."""
HL_SMI = "hl-smi -Q bus_id,driver_version -f csv,noheader"
"""Prints a line for each: its PCI address, and the driver's version.

Source: hl-smi in docs.habana.ai, and IGNodes.py of HabanaAI/Setup_and_Install, which reads it so.
"""


@dataclass(frozen=True)
class Said:
    """What hl-smi says of one accelerator."""

    bus_id: str
    """e.g. 0000:4d:00.0"""
    driver: str
    """Version and commit: 1.24.1-b336d5e."""


def said(lines: Iterable[str]) -> tuple[Said, ...]:
    """Return what the lines of HL_SMI say; raises ValueError for one that is none."""
    found = []
    for line in filter(None, map(str.strip, lines)):
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != 2 or not all(cells):
            raise ValueError(f"hl-smi says {line!r}, which is no address and version")
        found.append(Said(*cells))
    return tuple(found)
