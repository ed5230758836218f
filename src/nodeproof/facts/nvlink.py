"""What ``nvidia-smi nvlink --status`` says of each GPU's links."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_GPU = re.compile(r"GPU (?P<index>\d+): (?P<name>.*?)(?: \(UUID: (?P<uuid>[^)]+)\))?$")
_LINK = re.compile(
    r"\s+Link (?P<link>\d+): (?:(?P<speed>[\d.]+) GB/s|<?(?P<state>[a-z ]+)>?)$", re.I
)


@dataclass(frozen=True)
class Links:
    """The NVLinks of one GPU."""

    uuid: str
    speeds: tuple[float | None, ...]
    """GB/s in one direction; None of a link that is not active."""

    @property
    def active(self) -> int:
        """How many links are up."""
        return sum(one is not None for one in self.speeds)


def parse_links(lines: Iterable[str]) -> tuple[Links, ...]:
    """Return the links of each GPU that the lines name, in their order."""
    uuids: list[str] = []
    speeds: list[list[float | None]] = []
    for line in lines:
        if found := _GPU.match(line):
            uuids.append(found["uuid"] or "")
            speeds.append([])
        elif speeds and (found := _LINK.match(line)):
            speeds[-1].append(float(found["speed"]) if found["speed"] else None)
    return tuple(Links(uuid, tuple(found)) for uuid, found in zip(uuids, speeds, strict=True))
