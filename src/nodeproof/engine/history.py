"""The runs that nodes' journals know of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from nodeproof.engine.adapter.inventory import Fleet
from nodeproof.engine.result import Command, Node, NodeRun, NodeStatus, Result
from nodeproof.engine.run import Options, Watcher, Work, over
from nodeproof.errors import NodeproofError, RefusedError, UsageError
from nodeproof.facts.journal import PROGRAM

LAST = "last"
"""Names the newest run that took nothing back itself."""

READ = f"[ ! -x {PROGRAM} ] || {PROGRAM} runs"
"""Prints a line a run; nothing where no run was made yet."""

_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_SHOWN = 5


def runs(fleet: Fleet, options: Options, watcher: Watcher) -> Result:
    """Return what each node's journal knows; changes nothing."""
    return over(Command.RUNS, fleet, options, watcher, _runs)


def _runs(work: Work) -> Node:
    work.watcher.node(work.name, "reading its journal")
    code, out, err = work.session.execute(READ)
    if code:
        raise unreadable(work.name, err)
    text = out.decode(errors="replace")
    return Node(name=work.name, status=NodeStatus.OK, runs=parsed(text), notes=armed(text))


def unreadable(name: str, err: bytes) -> NodeproofError:
    """Return the error of a journal that could not be read."""
    return NodeproofError(
        f"{name}: its journal cannot be read: {err.decode(errors='replace').strip()}"
    )


def parsed(text: str) -> list[NodeRun]:
    """Return the runs that the node's program printed, oldest first."""
    rows = [line.split("\t") for line in text.splitlines()]
    return [_run(row) for row in rows if len(row) >= 8]


def armed(text: str) -> list[str]:
    """Return what to tell people about a change that waits to be confirmed."""
    rows = [line.split("\t") for line in text.splitlines()]
    return [
        f"a change of run {row[1]} was not confirmed yet; the node takes it back if nobody does"
        for row in rows
        if row[0] == "armed" and len(row) == 2
    ]


def _run(row: Sequence[str]) -> NodeRun:
    run, result, began, who, layers, changes, inventory, settings, *rest = row
    return NodeRun(
        id=run,
        result=result,
        began=began,
        who=who,
        layers=layers.split(),
        changes=int(changes) if changes.isdigit() else 0,
        inventory=inventory,
        settings=settings,
        reverts=rest[0] if rest else "",
    )


def is_whole(word: str) -> bool:
    """Tell whether a word is all of a run's id, so that nobody needs to be asked what it means."""
    return _ID.fullmatch(word) is not None


def meant(word: str, nodes: Iterable[Node]) -> str:
    """Return the id of the run that `word` means on these nodes: its beginning, or `last`.

    Raises UsageError where there is none or more than one, RefusedError where `last` is not the
    same run on all of them.
    """
    found = list(nodes)
    if word == LAST:
        return _last(found)
    ids = sorted({run.id for node in found for run in node.runs})
    matching = [one for one in ids if word and one.startswith(word)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UsageError(
            f"{word}: {len(matching)} runs begin so: {_some(matching)}", hint="give more of the id"
        )
    raise unknown(word, found)


def unknown(word: str, nodes: Iterable[Node]) -> UsageError:
    """Return the error of a run that no node knows; names those that there are."""
    ids = sorted({run.id for node in nodes for run in node.runs})
    if not ids:
        return UsageError(f"{word}: no node has a run in its journal")
    near = [one for one in ids if one[:8] == word[:8]] or ids
    return UsageError(f"{word}: no node has that run", hint=f"there are {_some(near)}")


def _last(nodes: Sequence[Node]) -> str:
    newest = {
        node.name: max(run.id for run in node.runs if not run.reverts)
        for node in nodes
        if any(not run.reverts for run in node.runs)
    }
    if not newest:
        raise UsageError(f"{LAST}: no node has a run in its journal")
    if len(set(newest.values())) > 1:
        told = [f"{name} has {run}" for name, run in newest.items()]
        raise RefusedError(
            f"{LAST}: is not the same run on all nodes: {_some(told)}",
            hint="name a run (nodeproof runs INVENTORY lists them), or narrow with --limit",
        )
    return next(iter(newest.values()))


def _some(words: Sequence[str]) -> str:
    """Return the newest few, the newest first where they are ids."""
    told = list(reversed(words)) if words and is_whole(words[0]) else list(words)
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return ", ".join(told[:_SHOWN]) + more
