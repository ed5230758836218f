"""Manage systemd units."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Literal

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.operation import OperationMeta
from typing_extensions import override

from nodeproof.facts.files import FileState, FileStateData
from nodeproof.facts.systemd import PENDING, Manager, Unit, UnitData
from nodeproof.operations import journal
from nodeproof.operations.files import Upload, read_by_systemd
from nodeproof.operations.journal import Change, Item, Kind
from nodeproof.operations.outcome import changes
from nodeproof.scripts import script


class Asked(StringCommand):
    """A command that asks systemd for something, again where systemd re-executed itself meanwhile.

    A plan shows what is asked.
    """

    def __init__(self, *words: str | QuoteString) -> None:
        super().__init__("sh", "-c", script("ask-systemd.sh"), "sh", *words)
        self._words = StringCommand(*words)

    @override
    def get_masked_value(self) -> str:
        """Return what is asked."""
        return self._words.get_masked_value()


def asked(verb: str, unit: str) -> Asked:
    """Return the command ``systemctl VERB -- UNIT``, or for `read` the one that reads all units."""
    if verb == "read":
        return Asked("systemctl", "daemon-reload")
    return Asked("systemctl", verb, "--", QuoteString(unit))


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
        yield Change(asked("unmask", unit), touches=touches)
    if now.enabled != enabled and not (now.fixed and not enabled):
        verb = "enable" if enabled else "disable"
        yield Change(asked(verb, unit), touches=touches)
    if now.active != running:
        yield _started(unit) if running else Change(asked("stop", unit), touches=touches)
    if now.active == running and (now.enabled == enabled or now.fixed):
        host.noop(f"{unit} is as asked")


def _started(unit: str) -> Change:
    """Start a unit and insist on it: systemd calls a unit whose conditions fail a success."""
    name = QuoteString(unit)
    return Change(
        asked("start", unit),
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
    how: Literal["reload", "restart", "try-restart", "read"] = "restart",
    stale: bool = False,
) -> Generator[Change]:
    """
    Make a running unit take up its changed configuration, once, even after an interruption.

    The files that changed left a note on the node (``notify=``); it is removed when the unit
    has taken them up, so a run that was killed in between is made good by the next one.

    + unit: its name with suffix
    + after: the operations that may have changed its configuration
    + how: reload, restart, try-restart; or read, which has it run on until its next start
    + stale: whether it is known to run with another configuration than what is on disk

    **Example:**

    .. code:: python

        systemd.told(name="Reload sshd", unit="ssh.service", after=[dropin], how="reload")
    """

    now: UnitData = host.get_fact(Unit, unit=unit)
    if not stale and not now.pending and not any(changes(change) for change in after):
        host.noop(f"{unit} has taken up its configuration")
        return
    read = how == "read"
    yield Change(
        asked(how, unit),
        "&& rm -f --",
        QuoteString(f"{PENDING}/{unit}"),
        touches=[journal.unit(unit) if read else Item(Kind.TOLD, unit)],
    )


@operation()
def manager(path: str, text: str, values: Mapping[str, str]) -> Generator[Upload | Change]:
    """
    Make a drop-in of systemd's own settings be there and in force.

    + path: below ``/etc/systemd/system.conf.d/``
    + text: its content
    + values: what ``systemctl show`` says then, by property

    **Example:**

    .. code:: python

        systemd.manager(name="Limit services", path="/etc/systemd/system.conf.d/zz-x.conf",
                        text="[Manager]\\nDefaultLimitCORE=0\\n", values={"DefaultLimitCORE": "0"})
    """

    now: dict[str, str] = host.get_fact(Manager, properties=",".join(values))
    state: FileStateData | None = host.get_fact(FileState, path=path)
    as_asked = state is not None and state.content == text.encode() and state.mode == "644"
    probe = StringCommand("systemctl", "show", "-p", QuoteString(",".join(values)))
    label = f"systemd's own settings\t{probe.get_raw_value()}\tsystemctl daemon-reload"
    # Taken back last first: the file, then systemd reads it.
    reread = Item(Kind.CUSTOM, label)
    if not as_asked:
        yield Upload(text.encode(), path)
        yield read_by_systemd(path, reread)
    elif {key: now.get(key) for key in values} != dict(values):
        yield Change(asked("read", ""), touches=[reread])
    else:
        host.noop("systemd's own settings are as asked")


@operation()
def masked(unit: str) -> Generator[Change]:
    """
    Make a unit impossible to start, by anybody, and stop it where it runs.

    + unit: its name with suffix

    **Example:**

    .. code:: python

        systemd.masked(name="Ignore Ctrl-Alt-Del", unit="ctrl-alt-del.target")
    """

    now: UnitData = host.get_fact(Unit, unit=unit)
    touches = [journal.unit(unit)]
    if now.active:
        yield Change(asked("stop", unit), touches=touches)
    if now.state != "masked":
        yield Change(asked("mask", unit), touches=touches)
    elif not now.active:
        host.noop(f"{unit} is masked")
