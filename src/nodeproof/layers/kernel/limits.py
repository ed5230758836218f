"""The same limits in the three ways in which they are written and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nodeproof.catalog.hardening.model import Value

KIB = 1024
UNLIMITED = "unlimited"
NAMES = {
    "core": "Max core file size",
    "memlock": "Max locked memory",
    "nproc": "Max processes",
    "nofile": "Max open files",
}
"""How /proc/PID/limits calls them."""


@dataclass(frozen=True)
class Services:
    """What services get by default."""

    written: dict[str, str]
    """As systemd-system.conf(5) has it."""
    shown: dict[str, str]
    """As ``systemctl show`` has it."""


def hard(limits: Mapping[str, Value]) -> dict[str, Value]:
    """Return the hard limits."""
    return {key: value for key, value in limits.items() if key in NAMES}


def soft(limits: Mapping[str, Value]) -> dict[str, Value]:
    """Return the soft limits: of open files it is another one than the hard limit."""
    same = {key: value for key, value in hard(limits).items() if key != "nofile"}
    files = {"nofile": limits["nofile_soft"]} if "nofile_soft" in limits else {}
    return {**same, **files}


def for_sessions(limits: Mapping[str, Value]) -> list[tuple[str, str, Value]]:
    """Return type, item and value of lines of limits.conf(5)."""
    kinds = (("soft", soft(limits)), ("hard", hard(limits)))
    return [(kind, key, value) for kind, values in kinds for key, value in values.items()]


def for_services(limits: Mapping[str, Value]) -> Services:
    """Return what systemd is told; where one of two limits is left, the other stands for both."""
    written, shown = {}, {}
    for key in NAMES:
        low, high = soft(limits).get(key), hard(limits).get(key)
        if low is None and high is None:
            continue
        pair = [_bytes(key, value) for value in (low, high) if value is not None]
        name = f"DefaultLimit{key.upper()}"
        written[name] = ":".join(dict.fromkeys(pair))
        shown[name], shown[f"{name}Soft"] = pair[-1], pair[0]
    return Services(written, shown)


def in_proc(key: str, value: Value) -> str:
    """Return how /proc/PID/limits shows a limit."""
    return UNLIMITED if value == UNLIMITED else _bytes(key, value)


def _bytes(key: str, value: Value) -> str:
    if value == UNLIMITED:
        return "infinity"
    return str(int(value) * KIB if key == "memlock" else value)  # type: ignore[arg-type]
