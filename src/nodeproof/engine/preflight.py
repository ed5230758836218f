"""What must hold before the first change; otherwise the node is refused and left as it is."""

from __future__ import annotations

from nodeproof.catalog.distributions import (
    Distribution,
    UnsupportedDistributionError,
    distribution,
)
from nodeproof.errors import RefusedError, UnreachableError
from nodeproof.facts.node import NodeFacts

ROOM_KB = 200 * 1024
"""What every file system that we write to must have free, in KiB."""


def preflight(name: str, facts: NodeFacts, *, writing: bool = True) -> Distribution:
    """Return the node's distribution.

    Raises RefusedError where nodeproof cannot work, UnreachableError where it is not root.
    """
    if facts.uid != 0:
        raise UnreachableError(
            f"{name}: commands run as user {facts.uid} instead of root",
            hint="set _sudo = True in the inventory's group_data/all.py",
        )
    try:
        found = distribution(facts.os_id, facts.os_version)
    except UnsupportedDistributionError as error:
        raise RefusedError(f"{name}: {error}") from error
    if facts.init != "systemd":
        raise RefusedError(f"{name}: it runs {facts.init or 'no init'} instead of systemd")
    for disk in facts.disks if writing else ():
        if disk.free_kb < ROOM_KB:
            raise RefusedError(
                f"{name}: {disk.mount} has {disk.free_kb // 1024} MiB free; "
                f"{ROOM_KB // 1024} MiB are needed",
                hint="make room there and apply again",
            )
    return found
