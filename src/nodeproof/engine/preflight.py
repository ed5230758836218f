"""What must hold before the first change; otherwise the node is refused and left as it is."""

from __future__ import annotations

from nodeproof.catalog.distributions import (
    Distribution,
    UnsupportedDistributionError,
    distribution,
    image_based,
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
    if facts.image and writing:
        raise RefusedError(
            f"{name}: {facts.os_name or facts.os_id} is an image ({facts.image}): nothing is "
            "installed or changed on it",
            hint="build what is asked into the image; verify looks at the node as it is",
        )
    found = _distribution(name, facts)
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


def _distribution(name: str, facts: NodeFacts) -> Distribution:
    try:
        return distribution(facts.os_id, facts.os_version)
    except UnsupportedDistributionError as error:
        if facts.image:
            return image_based(facts.os_id, facts.os_version, facts.os_name, facts.os_like)
        raise RefusedError(f"{name}: {error}") from error
