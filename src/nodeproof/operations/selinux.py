"""Manage SELinux."""

from __future__ import annotations

import re
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import OperationValueError, QuoteString, operation

from nodeproof.facts.selinux import LIVE, Booleans, BooleansData
from nodeproof.operations import journal
from nodeproof.operations.journal import Change, Item, Kind

_NAME = re.compile(r"[A-Za-z0-9_]+")
_STORE = "/var/lib/selinux/{policy}/active"
_WRITTEN = ("booleans.local", "policy.kern", "commit_num")
"""What of the store ``setsebool -P`` writes, beside the compiled policy."""


@operation()
def boolean(boolean: str, on: bool) -> Generator[Change]:
    """
    Make a boolean of the policy be on or off, now and after the next boot.

    Where SELinux is off nothing is done. A boolean can cut access, so that it is confirmed.

    + boolean: its name
    + on: its value

    **Example:**

    .. code:: python

        selinux.boolean(name="Let containers use devices", boolean="container_use_devices", on=True)
    """

    if not _NAME.fullmatch(boolean):
        raise OperationValueError(f"selinux.boolean: {boolean!r} is no name of a boolean")
    now: BooleansData = host.get_fact(Booleans, names=boolean)
    if not now.policy:
        host.noop("SELinux is off")
        return
    if boolean not in now.live:
        raise OperationValueError(f"selinux.boolean: policy {now.policy} has no boolean {boolean}")
    # What nobody decided is as the policy has it, and no policy has an access on that is off now.
    if now.live[boolean] is on and now.kept.get(boolean, False) is on:
        host.noop(f"{boolean} is {_said(on)}")
        return
    store = _STORE.format(policy=now.policy)
    yield Change(
        "setsebool",
        "-P",
        QuoteString(boolean),
        _said(on),
        touches=[
            *map(journal.file, now.files),
            *(journal.file(f"{store}/{name}") for name in _WRITTEN),
            _running(boolean, now.live[boolean]),
        ],
    )


def _running(boolean: str, on: bool) -> Item:
    """Return the kernel's value; that of the next boot is in the files, and goes back with them."""
    probe = f"cut -c 1 {LIVE}/{boolean}"
    return Item(Kind.CUSTOM, f"SELinux boolean {boolean}\t{probe}\tsetsebool {boolean} {_said(on)}")


def _said(on: bool) -> str:
    return "on" if on else "off"
