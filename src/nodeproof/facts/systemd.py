"""systemd units as they are on a node."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

_FIXED = ("static", "alias", "indirect", "generated", "transient")
PENDING = "/run/nodeproof/pending"
"""A file per unit whose configuration was changed and which has not been told yet."""


@dataclass(frozen=True)
class UnitData:
    """One unit."""

    known: bool = False
    active: bool = False
    state: str = ""
    """UnitFileState: enabled, disabled, static, masked..."""
    pending: bool = False
    """Whether a run changed its configuration and ended before telling it."""

    @property
    def enabled(self) -> bool:
        """Whether it starts at boot, by itself or through another unit."""
        return self.state in ("enabled", "enabled-runtime", "linked", *_FIXED)

    @property
    def fixed(self) -> bool:
        """Whether other units decide if it starts, so that it cannot be enabled or disabled."""
        return self.state in _FIXED


class Unit(FactBase[UnitData]):
    """
    One unit's state.

    .. code:: python

        UnitData(known=True, active=True, state="enabled", pending=False)
    """

    called = "unit {unit}"

    @override
    def command(self, unit: str) -> StringCommand:
        """Return a command that prints the unit's properties."""
        # systemd answers nobody while it re-executes itself; then it is asked again. Where it
        # does not run (sd_booted(3)) nobody ever answers.
        script = (
            'n=0; until systemctl show -p LoadState,ActiveState,UnitFileState -- "$1"; do '
            "n=$((n + 1)); [ $n -lt 20 ] && [ -d /run/systemd/system ] || exit 1; sleep 0.5; done; "
            f'[ ! -e {PENDING}/"$1" ] || echo Pending=yes'
        )
        return StringCommand("sh", "-c", QuoteString(script), "sh", QuoteString(unit))

    @staticmethod
    @override
    def default() -> UnitData:
        """Return an unknown unit."""
        return UnitData()

    @override
    def process(self, output: list[str]) -> UnitData:
        """Parse ``Key=value`` lines."""
        values = dict(line.split("=", 1) for line in output if "=" in line)
        return UnitData(
            known=values.get("LoadState") not in (None, "not-found"),
            active=values.get("ActiveState") in ("active", "reloading"),
            state=values.get("UnitFileState", ""),
            pending="Pending" in values,
        )


class Manager(FactBase[dict[str, str]]):
    """
    Properties of systemd itself, as ``systemctl show`` has them.

    .. code:: python

        {"DefaultLimitCORE": "0", "DefaultLimitMEMLOCK": "infinity"}
    """

    default = dict
    called = "systemd's own settings"

    @override
    def command(self, properties: str) -> StringCommand:
        """Return a command that prints ``Key=value`` lines; commas stand between properties."""
        return StringCommand("systemctl", "show", "-p", QuoteString(properties))

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        """Parse the lines."""
        return dict(line.split("=", 1) for line in output if "=" in line)
