"""Which container nodes exist on this host, and whose they are.

Container nodes of every process share one bridge. A lease is a file for each address; one whose
process is gone was left behind, and is taken back by the next process that needs container nodes.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from nodeproof.errors import RefusedError
from nodeproof.lab import store

FOLDER = Path("/run/nodeproof-lab")
INDEXES = range(2, 255)  # 1 is the host


@dataclass(frozen=True)
class Lease:
    """One container node: its number, its folder, and the process that made it."""

    index: int
    folder: str
    owner: int
    owner_started: int

    @property
    def machine(self) -> str:
        """Return its name for systemd-nspawn, its cgroup and its network card; 15 bytes at most."""
        return f"nodeproof{self.index}"

    @property
    def address(self) -> str:
        """Return its address."""
        return f"10.77.0.{self.index}"

    @property
    def abandoned(self) -> bool:
        """Say whether the process that made it is gone."""
        return started(self.owner) != self.owner_started

    @property
    def _path(self) -> Path:
        return FOLDER / f"{self.index}.json"

    def drop(self) -> None:
        """Give the number back."""
        self._path.unlink(missing_ok=True)


def lock() -> AbstractContextManager[None]:
    """Hold the lock under which leases and the bridge are changed."""
    return store.locked(FOLDER / ".lock")


def take(folder: Path) -> Lease:
    """Return a new lease for a node kept in ``folder``; hold the lock."""
    taken = {lease.index for lease in leases()}
    for index in INDEXES:
        if index not in taken:
            lease = Lease(index, str(folder), os.getpid(), started(os.getpid()))
            store.write_json(FOLDER / f"{index}.json", dataclasses.asdict(lease))
            return lease
    raise RefusedError(f"container nodes: all {len(INDEXES)} addresses are in use")


def leases() -> Iterator[Lease]:
    """Yield every lease."""
    for path in sorted(FOLDER.glob("*.json")):
        yield Lease(**store.read_json(path))


def started(pid: int) -> int:
    """Return when a process started, in clock ticks since boot, or 0 where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(stat.rpartition(")")[2].split()[19])  # proc(5): field 22, the 20th after the name
