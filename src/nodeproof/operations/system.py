"""Manage what a machine calls itself and what time it believes it is."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation

from nodeproof.facts.files import FileState
from nodeproof.facts.node import Node

ZONES = "/usr/share/zoneinfo"


@operation()
def hostname(hostname: str) -> Generator[StringCommand]:
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
    yield StringCommand("hostnamectl", "set-hostname", "--", QuoteString(hostname))


@operation()
def timezone(zone: str) -> Generator[StringCommand]:
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
    yield StringCommand(
        "test",
        "-f",
        QuoteString(target),
        "&&",
        "ln",
        "-sfn",
        QuoteString(target),
        "/etc/localtime",
    )
