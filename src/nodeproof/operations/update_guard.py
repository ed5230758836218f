"""Manage what no update may pull apart."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

from pyinfra import host
from pyinfra.api import FileUploadCommand, OperationValueError, operation

from nodeproof.catalog.distributions import PackageManager
from nodeproof.facts.files import FileState, FileStateData
from nodeproof.facts.needed import together
from nodeproof.facts.systemd import Unit, UnitData
from nodeproof.operations import files, systemd
from nodeproof.operations.journal import Change
from nodeproof.updates.guard import (
    HOOK,
    PROGRAM,
    SETS,
    UNIT,
    UNIT_FILE,
    Guard,
    hook_text,
    program,
    unit_text,
)


@operation()
def guarded(manager: PackageManager, guard: Guard) -> Generator[FileUploadCommand | Change]:
    """
    Make packages, modules and kernels that belong together stay so, whoever updates the node.

    Call it after `packages.versions`, which is not held against it. With apt, every other
    transaction is held against it and refused where it breaks it, and unattended upgrades leave
    it alone; with dnf, the hold of `packages.versions` does that. After each boot the node looks
    whether all is there, and says what is not.

    + manager: the distribution's package manager, from the catalog
    + guard: what belongs together

    **Example:**

    .. code:: python

        update_guard.guarded(name="Guard the driver", manager="apt", guard=Guard(
            stack="gpu", packages={"nvidia-open": "580.178.04-1"},
            modules={"nvidia": "580.178.04"}, loaded={"nvidia": "580.178.04"},
        ))
    """

    wanted = _wanted(manager, guard)
    unit: UnitData
    unit, *are = together(
        partial(host.get_fact, Unit, unit=UNIT),
        *(partial(_is, path, *content) for path, content in wanted.items()),
    )
    wrong = {
        path: content
        for (path, content), right in zip(wanted.items(), are, strict=True)
        if not right
    }
    if not wrong and unit.enabled:
        host.noop(f"{guard.stack} is guarded as asked")
        return
    for folder in (SETS.rpartition("/")[0], SETS, PROGRAM.rpartition("/")[0]):
        now: FileStateData | None = host.get_fact(FileState, path=folder)
        if now is None:
            yield from files.directory._inner(path=folder)
    for path, (text, mode) in wrong.items():
        yield from files.content._inner(path=path, text=text, mode=mode)
    if not unit.enabled:
        yield from systemd.unit._inner(unit=UNIT, running=unit.active)


@operation()
def released(stack: str) -> Generator[Change]:
    """
    Make a set be guarded no more; other sets stay guarded.

    + stack: its name

    **Example:**

    .. code:: python

        update_guard.released(name="Release the driver", stack="gpu")
    """

    guard = Guard(stack, packages={"none": "0"})
    there = [
        path
        for path in (guard.exclusions, guard.path)
        if host.get_fact(FileState, path=path) is not None
    ]
    if not there:
        host.noop(f"{stack} is not guarded")
    for path in there:
        yield from files.absent._inner(path=path)


def _wanted(manager: PackageManager, guard: Guard) -> dict[str, tuple[str, str]]:
    """Return paths to text and mode, in an order in which nothing names what is not there."""
    wanted = {PROGRAM: (program(), "755"), guard.path: (guard.text(), "644")}
    if manager == PackageManager.APT:
        if guard.patterns():
            wanted[guard.exclusions] = (guard.exclusions_text(), "644")
        wanted[HOOK] = (hook_text(), "644")
    elif manager != PackageManager.DNF:
        raise OperationValueError(f"update_guard.guarded: {manager} is not supported")
    wanted[UNIT_FILE] = (unit_text(), "644")
    return wanted


def _is(path: str, text: str, mode: str) -> bool:
    now: FileStateData | None = host.get_fact(FileState, path=path)
    return (
        now is not None
        and (now.kind, now.content) == ("file", text.encode())
        and (now.mode, now.user, now.group) == (mode, "root", "root")
    )
