"""What a node's journal says: who is at work, and what was left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pyinfra.api import FactBase
from typing_extensions import override

from nodeproof.uncounted import Uncounted

PROGRAM = "/var/lib/nodeproof/bin/journal"
_OURS = "it tells of runs, not of the node"


@dataclass(frozen=True)
class RunOnNode:
    """One run, as the node knows it."""

    id: str
    who: str = ""
    began: str = ""
    """ISO 8601, UTC."""
    alive: bool = False
    """Whether its controller is still connected."""

    def __str__(self) -> str:
        return f"run {self.id} of {self.who or 'somebody'} (since {self.began or '?'})"


@dataclass(frozen=True)
class JournalData:
    """Open ends of the journal."""

    at_work: Annotated[RunOnNode | None, Uncounted(_OURS)] = None
    """The run that has the lock."""
    interrupted: Annotated[tuple[RunOnNode, ...], Uncounted(_OURS)] = ()
    """Runs that ended without a word."""
    armed: Annotated[str, Uncounted(_OURS)] = ""
    """The run whose last change waits to be confirmed."""
    last: Annotated[str, Uncounted(_OURS)] = ""
    """The newest run's id."""

    @property
    def open_ends(self) -> bool:
        """Whether a run that has ended left something to be settled."""
        return bool(self.armed or self.interrupted)


class Journal(FactBase[JournalData]):
    """
    Open ends of the journal; nothing where no run was made yet.

    .. code:: python

        JournalData(at_work=None, interrupted=(), armed="", last="20261121T001134Z-dbe6ec")
    """

    called = "the journal"

    @override
    def command(self) -> str:
        """Return a command that prints a line for each open end."""
        return f"[ ! -x {PROGRAM} ] || {PROGRAM} status"

    @staticmethod
    @override
    def default() -> JournalData:
        """Return an empty journal."""
        return JournalData()

    @override
    def process(self, output: list[str]) -> JournalData:
        """Parse lines of tab-separated words."""
        rows = [line.split("\t") for line in output]
        at_work = next((row for row in rows if row[0] == "owner"), None)
        return JournalData(
            at_work=_run(at_work) if at_work else None,
            interrupted=tuple(_run(row) for row in rows if row[0] == "interrupted"),
            armed=next((row[1] for row in rows if row[0] == "armed"), ""),
            last=next((row[1] for row in rows if row[0] == "last"), ""),
        )


def _run(row: list[str]) -> RunOnNode:
    return RunOnNode(row[1], row[2], row[3], alive=row[-1] == "alive")
