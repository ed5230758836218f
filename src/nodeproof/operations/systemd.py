"""Manage systemd units."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Literal

from pyinfra import host
from pyinfra.api import QuoteString, operation
from pyinfra.api.operation import OperationMeta

from nodeproof.facts.systemd import PENDING, Unit, UnitData
from nodeproof.operations import journal
from nodeproof.operations.journal import Change, Item, Kind
from nodeproof.operations.outcome import changes


@operation()
def unit(unit: str, running: bool = True, enabled: bool = True) -> Generator[Change]:
    """
    Make a unit run (or not) now and at boot.

    + unit: its name with suffix
    + running: whether it must be active
    + enabled: whether it must start at boot

    **Example:**

    .. code:: python

        systemd.unit(name="Start chrony", unit="chrony.service")
    """

    now: UnitData = host.get_fact(Unit, unit=unit)
    touches = [journal.unit(unit)]
    if now.state == "masked" and (running or enabled):
        yield Change("systemctl", "unmask", "--", QuoteString(unit), touches=touches)
    if now.enabled != enabled and not (now.fixed and not enabled):
        verb = "enable" if enabled else "disable"
        yield Change("systemctl", verb, "--", QuoteString(unit), touches=touches)
    if now.active != running:
        yield (
            _started(unit)
            if running
            else Change("systemctl", "stop", "--", QuoteString(unit), touches=touches)
        )
    if now.active == running and (now.enabled == enabled or now.fixed):
        host.noop(f"{unit} is as asked")


def _started(unit: str) -> Change:
    """Start a unit and insist on it: systemd calls a unit whose conditions fail a success."""
    name = QuoteString(unit)
    return Change(
        "systemctl",
        "start",
        "--",
        name,
        "&& systemctl is-active --quiet --",
        name,
        "|| { systemctl status --no-pager --lines=5 --",
        name,
        ">&2; exit 1; }",
        touches=[journal.unit(unit)],
    )


@operation()
def told(
    unit: str,
    after: Sequence[OperationMeta],
    how: Literal["reload", "restart", "try-restart"] = "restart",
) -> Generator[Change]:
    """
    Make a running unit take up its changed configuration, once, even after an interruption.

    The files that changed left a note on the node (``notify=``); it is removed when the unit
    has taken them up, so a run that was killed in between is made good by the next one.

    + unit: its name with suffix
    + after: the operations that may have changed its configuration
    + how: reload, restart, or try-restart

    **Example:**

    .. code:: python

        systemd.told(name="Reload sshd", unit="ssh.service", after=[dropin], how="reload")
    """

    now: UnitData = host.get_fact(Unit, unit=unit)
    if not now.pending and not any(changes(change) for change in after):
        host.noop(f"{unit} has taken up its configuration")
        return
    yield Change(
        "systemctl",
        how,
        "--",
        QuoteString(unit),
        "&&",
        "rm",
        "-f",
        "--",
        QuoteString(f"{PENDING}/{unit}"),
        touches=[Item(Kind.TOLD, unit)],
    )
