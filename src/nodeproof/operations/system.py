"""Manage what a machine calls itself and what time it believes it is."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import QuoteString, operation

from nodeproof.facts.files import FileState
from nodeproof.facts.node import Node
from nodeproof.operations import journal
from nodeproof.operations.journal import Change, Item, Kind

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
        "hostnamectl",
        "set-hostname",
        "--",
        QuoteString(hostname),
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
