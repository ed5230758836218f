"""Whether a unit runs, in a check's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Asked(Protocol):
    """A node that testinfra asks."""

    def check_output(self, command: str, *arguments: str) -> str:
        """Run a command that must not fail, and return what it printed."""


def state(host: Asked, unit: str) -> Mapping[str, str]:
    """Return a unit's ActiveState and UnitFileState."""
    said = host.check_output("systemctl show -p ActiveState -p UnitFileState -- %s", unit)
    return dict(line.split("=", 1) for line in said.splitlines())


def why_down(host: Asked, unit: str, *, now: bool) -> str:
    """Return why a unit does not start at boot, or does not run now; empty where it does."""
    found = state(host, unit)
    if found["UnitFileState"] not in ("enabled", "static"):
        return f"{unit} does not start at boot: it is {found['UnitFileState'] or 'not there'}"
    if now and found["ActiveState"] != "active":
        return f"{unit} is {found['ActiveState']}"
    return ""
