"""Take a run back: examine what stands against it, undo it guarded, and confirm."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from nodeproof.engine import history
from nodeproof.engine.adapter.guard import Guard
from nodeproof.engine.adapter.inventory import Fleet
from nodeproof.engine.journal import close_run, described, open_run
from nodeproof.engine.result import Change, ChangeStatus, Command, Node, NodeRun, NodeStatus, Result
from nodeproof.engine.run import Options, Watcher, Work, over
from nodeproof.errors import RefusedError, UnreachableError
from nodeproof.facts.journal import PROGRAM
from nodeproof.operations.journal import GUARD_S, OpenRun

TAKE_BACK = "Take back: "
"""What the name of a change begins with that takes another one back, here as on the node."""

_HINT = "nothing was changed there; put that right first, or choose with --layer or --control"


@dataclass(frozen=True)
class Part:
    """What is to be taken back: a run, or what of it is of a layer or has one of these names."""

    run: str
    layer: str = ""
    names: tuple[str, ...] = ()
    """Shell patterns of changes' names; none means all."""

    @property
    def words(self) -> str:
        """What the node's program is called with: layer and names, quoted."""
        return shlex.join([self.layer, "\n".join(self.names)])


@dataclass(frozen=True)
class Examined:
    """What taking back would do on one node, and what stands against it."""

    runs: list[NodeRun] = field(default_factory=list)
    steps: list[tuple[str, str]] = field(default_factory=list)
    """Layer and name of each change, the last one first."""
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    """What, and why."""
    lasting: list[str] = field(default_factory=list)
    """What cannot be taken back, a sentence each."""
    notes: list[str] = field(default_factory=list)

    def known(self, run: str) -> NodeRun | None:
        """Return the run with that id, or None where the node has no such run."""
        return next((one for one in self.runs if one.id == run), None)

    def nothing_left(self, run: str) -> bool:
        """Tell whether there is nothing to take back, and nobody who may still add to it."""
        there = self.known(run)
        return not self.steps and (there is None or there.result != "running")


def examine(fleet: Fleet, options: Options, watcher: Watcher, part: Part) -> Result:
    """Say for each node what would be taken back; changes nothing. Raises UsageError."""
    return _done(over(Command.REVERT, fleet, options, watcher, partial(_foreseen, part)), part)


def revert(fleet: Fleet, options: Options, watcher: Watcher, part: Part) -> Result:
    """Take a run back on each node, as a run of its own. Raises UsageError."""
    return _done(over(Command.REVERT, fleet, options, watcher, partial(_reverted, part)), part)


def _done(result: Result, part: Part) -> Result:
    """Return the result; raises UsageError where all nodes say that they have no such run."""
    strangers = [n for n in result.nodes if all(run.id != part.run for run in n.runs)]
    read = all(node.status is NodeStatus.OK for node in strangers)
    if result.nodes and len(strangers) == len(result.nodes) and read:
        raise history.unknown(part.run, result.nodes)
    return result.model_copy(update={"reverts": part.run})


def _examined(work: Work, part: Part) -> Examined:
    work.watcher.node(work.name, "examining what it would take back")
    words = shlex.join([PROGRAM, "examine", part.run])
    code, out, err = work.session.execute(
        f"[ ! -x {PROGRAM} ] || {{ {PROGRAM} runs && echo && {words} {part.words}; }}"
    )
    if code:
        raise history.unreadable(work.name, err)
    listed, _, found = out.decode(errors="replace").partition("\n\n")
    rows = [line.split("\t", 2) for line in found.splitlines()]
    return Examined(
        history.parsed(listed),
        [key for key, _ in groupby((row[1], row[2]) for row in rows if row[0] == "step")],
        [(row[1], row[2]) for row in rows if row[0] == "conflict"],
        [f"cannot be taken back: {row[2]}" for row in rows if row[0] == "lasting"],
        history.armed(listed),
    )


def _foreseen(part: Part, work: Work) -> Node:
    found = _examined(work, part)
    _refuse_conflicts(work.name, part, found)
    return Node(
        name=work.name,
        status=NodeStatus.PENDING if found.steps else NodeStatus.OK,
        changes=[_change(layer, name, ChangeStatus.PLANNED) for layer, name in found.steps],
        runs=found.runs,
        notes=[*found.notes, *found.lasting, *_nothing(part, found)],
    )


def _nothing(part: Part, found: Examined) -> list[str]:
    """Say why there is nothing to take back, where that is so, or that it may become more."""
    run = found.known(part.run)
    if run is None:
        return [f"it has no run {part.run}; it stays as it is"]
    if run.result == "running":
        return [f"run {run.id} of {run.who or 'somebody'} is still at work there"]
    if found.steps:
        return []
    what = f"of layer {part.layer} " if part.layer else ""
    what = "of that " if part.names else what
    return [f"nothing {what}is left to take back of run {part.run}"]


def _refuse_conflicts(name: str, part: Part, found: Examined) -> None:
    if found.conflicts:
        told = "\n".join(f"{_spoken(what)}: {why}" for what, why in found.conflicts)
        raise RefusedError(
            f"{name}: run {part.run} cannot be taken back as it is now:\n{told}", hint=_HINT
        )


def _spoken(item: str) -> str:
    """Return an item as people say it: a file by its path alone."""
    return item.removeprefix("file ")


def _change(layer: str, name: str, status: ChangeStatus, reason: str = "") -> Change:
    return Change(layer=layer, name=f"{TAKE_BACK}{name}", status=status, reason=reason)


def _reverted(part: Part, work: Work) -> Node:
    found = _examined(work, part)
    _refuse_conflicts(work.name, part, found)
    if found.nothing_left(part.run):
        notes = [*found.notes, *_nothing(part, found)]
        return Node(name=work.name, status=NodeStatus.OK, runs=found.runs, notes=notes)
    layers = dict.fromkeys(layer for layer, _ in reversed(found.steps))
    told = described(
        inventory=work.options.inventory, layers=" ".join(layers), reverts=part.run, settings=""
    )
    run, result = OpenRun(work.options.run, told), "failed"
    say = partial(work.watcher.node, work.name)
    settled, last = open_run(work.session, run, say)
    try:
        if settled or last != max((one.id for one in found.runs), default=""):
            found = _examined(work, part)  # somebody was there since
            _refuse_conflicts(work.name, part, found)
        say(f"taking back {len(found.steps)} changes")
        node = _taken_back(part, work, run)
        result = "ok" if node.status is NodeStatus.CHANGED else "failed"
    finally:
        with suppress(UnreachableError):  # then it is found interrupted
            close_run(work.session, run, result)
    return node.model_copy(
        update={"runs": found.runs, "notes": [*settled, *found.lasting, *node.notes]}
    )


def _taken_back(part: Part, work: Work, run: OpenRun) -> Node:
    """Undo, and confirm where that could have cut access."""
    started = time.monotonic()
    words = shlex.join([PROGRAM, "revert", part.run, run.id])
    try:
        code, out, err = work.session.execute(f"{words} {part.words} {GUARD_S}")
    except UnreachableError as error:
        raise UnreachableError(
            f"{error.message} while run {part.run} was taken back",
            hint="what could cut access is put back by the node; run it again to go on",
        ) from error
    report = _Report(out.decode(errors="replace"))
    changes = list(report.changes())
    for change in changes:
        work.watcher.change(work.name, change)
    problem = ""
    if report.armed:
        work.watcher.node(work.name, "confirming over a new connection")
        run.armed_at = time.monotonic()
        problem = Guard(work.session, run).confirm()
    if problem:
        changes = _put_again(changes, problem)
    reason = problem or report.trouble()
    if code and not reason:
        reason = err.decode(errors="replace").strip() or f"exit code {code}"
    return Node(
        name=work.name,
        status=NodeStatus.FAILED if reason else NodeStatus.CHANGED,
        reason=reason,
        hint="run it again: what is taken back already stays so" if reason else "",
        changes=changes,
        notes=report.kept(),
        duration_s=round(time.monotonic() - started, 3),
    )


class _Report:
    """What the node's program printed while it took a run back."""

    def __init__(self, text: str) -> None:
        self._rows: list[Sequence[str]] = [line.split("\t") for line in text.splitlines()]

    @property
    def armed(self) -> bool:
        """Whether the node puts everything back unless somebody confirms."""
        return ["armed"] in self._rows

    def changes(self) -> Iterator[Change]:
        """Yield each change that it came to: one or several steps, one after another."""
        for (layer, name), steps in groupby(self._steps(), key=lambda step: step[:2]):
            failed = [item for step in steps for item in step[2]]
            reason = f"could not be restored: {', '.join(failed)}" if failed else ""
            status = ChangeStatus.FAILED if failed else ChangeStatus.CHANGED
            yield _change(layer, name, status, reason)

    def _steps(self) -> Iterator[tuple[str, str, list[str]]]:
        """Yield layer, name and what failed, which is printed before its step."""
        failed: list[str] = []
        for row in self._rows:
            if row[0] == "failed":
                failed.append(_spoken(row[1]))
            elif row[0] in ("undone", "left"):
                yield row[1], row[2], failed
                failed = []

    def kept(self) -> list[str]:
        """Return what was set aside instead of deleted."""
        return [
            f"{row[1]} was not deleted: it is now {row[2]}"
            for row in self._rows
            if row[0] == "kept"
        ]

    def trouble(self) -> str:
        """Return what is not as it was, for people; empty where all is."""
        failed = [_spoken(row[1]) for row in self._rows if row[0] == "failed"]
        differs = [_spoken(row[1]) for row in self._rows if row[0] == "differs"]
        parts = (("could not be restored", failed), ("is not what it was", differs))
        return "; ".join(f"{', '.join(dict.fromkeys(what))} {why}" for why, what in parts if what)


def _put_again(changes: list[Change], problem: str) -> list[Change]:
    """Return the changes of a revert that the node took back in its turn."""
    said = "was put back: no new connection was possible without it"
    again = [c.model_copy(update={"status": ChangeStatus.SKIPPED, "reason": said}) for c in changes]
    guard = Change(
        layer="guard",
        name="Confirm over a new connection",
        status=ChangeStatus.FAILED,
        reason=problem,
    )
    return [*again, guard]
