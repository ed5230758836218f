"""Manage what a machine calls itself and what time it believes it is."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import OperationValueError, QuoteString, operation
from pyinfra.api.operation import OperationMeta

from nodeproof.facts.boot import NOTES, Boot, BootData
from nodeproof.facts.files import FileState
from nodeproof.facts.node import Node
from nodeproof.operations import journal, systemd
from nodeproof.operations.journal import Change, Item, Kind
from nodeproof.operations.outcome import changes

ZONES = "/usr/share/zoneinfo"


@operation()
def hostname(hostname: str) -> Generator[Change]:
    """
    Set the host name, live and for the next boot.

    + hostname: the name

    **Example:**

    .. code:: python

        system.hostname(name="Set the host name", hostname="gpu001")
    """

    stored = host.get_fact(FileState, path="/etc/hostname")
    now = host.get_fact(Node).hostname
    if stored is not None and stored.text.strip() == hostname == now:
        host.noop(f"the host name is {hostname}")
        return
    yield Change(
        systemd.Asked("hostnamectl", "set-hostname", "--", QuoteString(hostname)),
        touches=[journal.file("/etc/hostname"), Item(Kind.SYSCTL, "kernel.hostname")],
    )


@operation()
def timezone(zone: str) -> Generator[Change]:
    """
    Set the time zone.

    + zone: a name below /usr/share/zoneinfo

    **Example:**

    .. code:: python

        system.timezone(name="Set the time zone", zone="Etc/UTC")
    """

    link = host.get_fact(FileState, path="/etc/localtime")
    target = f"{ZONES}/{zone}"
    if link is not None and link.kind == "link" and link.text in (target, f"..{target}"):
        host.noop(f"the time zone is {zone}")
        return
    yield Change(
        "test",
        "-f",
        QuoteString(target),
        "&&",
        "ln",
        "-sfn",
        QuoteString(target),
        "/etc/localtime",
        touches=[journal.file("/etc/localtime")],
    )


@operation()
def needs_reboot(
    topic: str, reason: str, after: Sequence[OperationMeta] = (), still: bool = False
) -> Generator[Change]:
    """
    Note that something takes effect at the next boot only; apply then asks for that boot.

    The note is gone after the boot, wherever that came from. An apply that is killed between a
    change and its note has forgotten it: where a fact can tell, say so with `still`.

    + topic: the note's name, one a layer or less: a-z, 0-9 and -
    + reason: one sentence for people
    + after: the operations that may have changed it
    + still: whether the running system lacks it, whoever changed it

    **Example:**

    .. code:: python

        system.needs_reboot(
            name="Note that the kernel's arguments changed",
            topic="kernel-arguments",
            reason="the kernel's arguments changed",
            after=[arguments],
        )
    """

    if not re.fullmatch(r"[a-z0-9-]+", topic) or not reason or "\n" in reason:
        raise OperationValueError(f"system.needs_reboot: {topic}: {reason}: not a name and a line")
    boot: BootData = host.get_fact(Boot)
    if reason in boot.notes or not (still or any(changes(change) for change in after)):
        host.noop(f"noted already, or nothing to note: {topic}")
        return
    yield Change(
        "mkdir",
        "-p",
        NOTES,
        "&&",
        "printf",
        QuoteString("%s\\n"),
        QuoteString(reason),
        ">",
        QuoteString(f"{NOTES}/{topic}"),
        touches=[journal.file(f"{NOTES}/{topic}")],
    )
