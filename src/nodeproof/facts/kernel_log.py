"""What the NVIDIA driver wrote into the kernel's log: Xids of GPUs, SXids of NVSwitches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

_XID = re.compile(
    r"NVRM: Xid \((?:PCI:)?(?P<address>[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\.\d)?)"
    r"(?: GPU-I:(?P<instance>\d+))?\): (?P<code>\d+)(?:, ?(?P<text>.*))?$"
)
_SXID = re.compile(r"SXid \(PCI:(?P<address>[0-9a-fA-F:.]+)\): (?P<code>\d+), (?P<text>.*)$")
_LOST = re.compile(r"NVRM: (?P<text>.*(?:RmInitAdapter failed|API mismatch|fallen off the bus).*)$")
_RECOVERY = re.compile(r"recovery action changed from \S+ \((?P<old>.*?)\) to \S+ \((?P<new>.*?)\)")

PATTERN = "NVRM: Xid|SXid|RmInitAdapter failed|API mismatch|fallen off the bus"
"""What lines that are read have in them, as an extended regular expression."""


@dataclass(frozen=True)
class KernelEvent:
    """One line."""

    kind: Literal["xid", "sxid", "message"]
    code: int
    """0 of a message."""
    address: str
    """PCI address without a function, e.g. 0000:3b:00; empty where the line has none."""
    text: str
    instance: int | None = None
    """GPU instance, where MIG is on."""
    fatal: bool | None = None
    """Whether an SXid says so itself."""
    recovery: str | None = None
    """Of Xid 154, what the driver asks for from then on; empty where it asks for nothing more."""


def parse_events(lines: Iterable[str]) -> Iterator[KernelEvent]:
    """Yield what the lines say, in their order; other lines, and damaged ones, say nothing."""
    for line in lines:
        if found := _XID.search(line):
            text = (found["text"] or "").strip()
            yield KernelEvent(
                kind="xid",
                code=int(found["code"]),
                address=_address(found["address"]),
                text=text,
                instance=int(found["instance"]) if found["instance"] else None,
                recovery=_recovery(text),
            )
        elif found := _SXID.search(line):
            text = found["text"].strip()
            fatal = re.match(r"(non-)?fatal", text, re.I)
            yield KernelEvent(
                kind="sxid",
                code=int(found["code"]),
                address=_address(found["address"]),
                text=text,
                fatal=None if fatal is None else not fatal[1],
            )
        elif found := _LOST.search(line):
            yield KernelEvent(kind="message", code=0, address="", text=found["text"].strip())


def _address(text: str) -> str:
    domain, _, rest = text.lower().partition(":")
    return f"{domain[-4:]}:{rest.partition('.')[0]}"


def _recovery(text: str) -> str | None:
    found = _RECOVERY.search(text)
    if found is None:
        return None
    return "" if found["new"] == "None" else found["new"]
