"""One apply's run on one node: opened, closed, and what was found open."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from nodeproof.engine.adapter.pool import pause
from nodeproof.errors import NodeproofError, RefusedError
from nodeproof.facts.journal import PROGRAM, JournalData
from nodeproof.operations import journal
from nodeproof.operations.journal import OpenRun

if TYPE_CHECKING:
    from nodeproof.engine.adapter.session import Session

BUSY = 75
"""The exit code of the node's program when another run has the lock; see node/common.sh."""

ORPHAN_WAIT_S = 600
"""How long to wait for a change that a dead controller left running, e.g. of packages."""


def run_id(started: datetime) -> str:
    """Return a new run's id; sorts by time."""
    return f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def described(**values: str) -> str:
    """Return a run's description: ``key=value`` lines, with who runs it."""
    told = {"who": f"{getpass.getuser()}@{socket.gethostname()}", **values}
    return "\n".join(f"{key}={' '.join(value.split())}" for key, value in told.items())


def open_run(session: Session, run: OpenRun, say: Callable[[str], None]) -> tuple[list[str], str]:
    """Open a run on the node and settle what dead runs left.

    Returns what was settled, for people, and the id of the newest run before this one.

    Waits for a change that a dead controller left running. Raises RefusedError while another
    controller is at work.
    """
    if session.is_local:
        run.controller = os.getpid()
    waited = 0
    while True:
        code, out, err = session.execute(journal.begin(run).get_raw_value())
        rows = [line.split("\t") for line in out.decode(errors="replace").splitlines()]
        if code == 0:
            run.begun = True
            last = next((row[1] for row in rows if row[0] == "last"), "")
            return [_settled(row) for row in rows if row[0] != "last"], last
        if code != BUSY:
            raise NodeproofError(
                f"{session.host.name}: the journal cannot be written: "
                f"{err.decode(errors='replace').strip() or code}",
                hint="nothing was changed",
            )
        if _alive(rows) or waited >= ORPHAN_WAIT_S:
            raise RefusedError(
                f"{session.host.name}: {_busy(rows)} is at work there",
                hint="wait for it, or end it, then try again",
            )
        say(f"waiting for a change that {_busy(rows)} left running")
        pause(5)
        waited += 5


def close_run(session: Session, run: OpenRun, result: str) -> None:
    """Close a run on the node."""
    if run.begun:
        session.execute(f"{PROGRAM} end {run.id} {result}")


def notes(found: JournalData) -> list[str]:
    """Return what to tell people about the open ends of a node's journal."""
    told: list[str] = []
    if found.at_work is not None:
        told.append(f"{found.at_work} is at work there")
    told += [
        f"{run} was interrupted: apply goes on, `nodeproof revert {run.id}` takes it back"
        for run in found.interrupted
    ]
    if found.armed and (found.at_work is None or found.at_work.id != found.armed):
        told.append(f"a change of run {found.armed} was not confirmed and will be taken back")
    return told


def _settled(row: Sequence[str]) -> str:
    kind, run = row[0], row[1] if len(row) > 1 else ""
    if kind == "reverted":
        return f"unconfirmed changes of run {run} were taken back"
    if kind == "left":
        return f"unconfirmed changes of run {run} could not all be taken back: {row[2]}"
    return f"run {run} was interrupted; this one goes on"


def _alive(rows: Sequence[Sequence[str]]) -> bool:
    return any(row[0] == "busy" and row[-1] == "alive" for row in rows)


def _busy(rows: Sequence[Sequence[str]]) -> str:
    for row in rows:
        if row[0] == "busy":
            return f"run {row[1]} of {row[2] or 'somebody'} (since {row[3]})"
    return "another run"
