"""Manage AppArmor profiles."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

from pyinfra import host
from pyinfra.api import QuoteString, operation
from pyinfra.api.operation import OperationMeta

from nodeproof.facts.apparmor import AppArmorProfile, AppArmorProfileData
from nodeproof.operations.journal import Change, Item, Kind
from nodeproof.operations.outcome import changes


@operation()
def loaded(
    profile: str, path: str, mode: Literal["enforce", "complain"], after: OperationMeta
) -> Generator[Change]:
    """
    Make the kernel hold what a profile's file says, in this mode.

    + profile: its name
    + path: its file, which says the same mode
    + mode: enforce or complain
    + after: the operation that writes the file

    **Example:**

    .. code:: python

        apparmor.loaded(name="Load the profile", profile="x", path="/etc/apparmor.d/x",
                        mode="enforce", after=written)
    """

    now: AppArmorProfileData = host.get_fact(AppArmorProfile, profile=profile, path=path)
    if now.mode == mode and now.current and not changes(after):
        host.noop(f"{profile} is loaded in {mode} mode")
        return
    # The cache is what the next boot loads; it is written anew, never trusted.
    yield Change(
        "apparmor_parser",
        "--replace",
        "--skip-read-cache",
        "--write-cache",
        "--",
        QuoteString(path),
        touches=[Item(Kind.APPARMOR, f"{path} {profile}")],
    )
