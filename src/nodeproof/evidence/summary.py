"""What a result comes to, in sentences: per node, over all nodes, and what to do next."""

from __future__ import annotations

import hashlib
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence

from nodeproof.engine.result import (
    Change,
    ChangeStatus,
    Check,
    Command,
    Node,
    NodeStatus,
    Result,
    Verdict,
)
from nodeproof.evidence.accelerators import accelerators
from nodeproof.evidence.plain import one_line
from nodeproof.evidence.reboots import left_to_do, would_reboot

WORST_FIRST = (
    NodeStatus.FAILED,
    NodeStatus.UNREACHABLE,
    NodeStatus.REFUSED,
    NodeStatus.PENDING,
    NodeStatus.CHANGED,
    NodeStatus.OK,
)
SHORT = 12
"""Digits of a hash that people compare by eye; the JSON has all of them."""
TROUBLE = (NodeStatus.FAILED, NodeStatus.UNREACHABLE, NodeStatus.REFUSED)

_CHANGES = {
    ChangeStatus.FAILED: "failed",
    ChangeStatus.PLANNED: "would change",
    ChangeStatus.CHANGED: "changed",
    ChangeStatus.SKIPPED: "not tried",
    ChangeStatus.UNCHANGED: "right already",
}
_TAKEN_BACK = {
    ChangeStatus.FAILED: "failed",
    ChangeStatus.PLANNED: "would be taken back",
    ChangeStatus.CHANGED: "taken back",
    ChangeStatus.SKIPPED: "put back",
}
_CHECKS = {
    Verdict.FAILED: "failed",
    Verdict.EXCEPTED: "excepted",
    Verdict.SKIPPED: "skipped",
    Verdict.PASSED: "passed",
}
_NOTHING = {Command.VERIFY: "no checks", Command.REVERT: "nothing to take back"}


def plural(many: int, word: str) -> str:
    """Return a count with its noun."""
    return f"{many:,} {word}{'' if many == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def worst_first(nodes: Sequence[Node]) -> list[Node]:
    """Return nodes with the worst status first, otherwise in their order."""
    return sorted(nodes, key=lambda node: WORST_FIRST.index(node.status))


def worst(nodes: Sequence[Node]) -> NodeStatus:
    """Return the worst status of any node; ok where there is none."""
    found = {node.status for node in nodes}
    return next((status for status in WORST_FIRST if status in found), NodeStatus.OK)


def tally(node: Node, command: Command) -> str:
    """Return a node's counts, such as ``12 changed, 30 right already``."""
    if command is Command.INSPECT:
        return machine(node.facts)
    changes = Counter(change.status for change in node.changes)
    checks = Counter(check.verdict for check in node.checks)
    words = _TAKEN_BACK if command is Command.REVERT else _CHANGES
    said = [f"{changes[status]} {word}" for status, word in words.items() if changes[status]]
    proofs = [f"{checks[verdict]} {word}" for verdict, word in _CHECKS.items() if checks[verdict]]
    if proofs:
        said.append("checks: " + ", ".join(proofs))
    if not said and node.status not in TROUBLE:
        said.append(_NOTHING.get(command, "nothing is asked of it"))
    return ", ".join(said)


def foretold(node: Node, command: Command) -> str:
    """Return a node's counts, and of a plan its hash in short."""
    planned = command is Command.PLAN and node.plan_hash
    counts = tally(node, command)
    return f"{counts}, plan {one_line(node.plan_hash[:SHORT])}" if planned else counts


def plan_hash(result: Result) -> str:
    """Return one short hash over the plans of all nodes; nothing where it is no plan."""
    hashes = sorted(f"{node.name} {node.plan_hash}" for node in result.nodes if node.plan_hash)
    if result.command is not Command.PLAN or not hashes:
        return ""
    text = "\n".join(hashes).encode(errors="surrogatepass")
    return hashlib.sha256(text).hexdigest()[:SHORT]


def machine(facts: Mapping[str, object]) -> str:
    """Return what a machine is, in a few words."""
    said = [one_line(str(facts[key])) for key in ("os_name", "kernel") if facts.get(key)]
    if cpus := facts.get("cpus"):
        said.append(one_line(f"{cpus} CPUs"))
    if isinstance(memory := facts.get("memory_kb"), int) and memory:
        said.append(f"{memory / 1024**2:.0f} GiB")
    return ", ".join([*said, *accelerators(facts)])


def all_changes(result: Result, *statuses: ChangeStatus) -> list[Change]:
    """Return every node's changes with one of these statuses."""
    return [c for node in result.nodes for c in node.changes if c.status in statuses]


def all_checks(result: Result, *verdicts: Verdict) -> list[Check]:
    """Return every node's checks with one of these verdicts."""
    return [c for node in result.nodes for c in node.checks if c.verdict in verdicts]


def explained(node: Node) -> bool:
    """Tell whether a failed change or failed checks say already what the node's reason says."""
    failed = [change for change in node.changes if change.status is ChangeStatus.FAILED]
    if any(change.name in node.reason for change in failed):
        return True
    checked = any(check.verdict is Verdict.FAILED for check in node.checks)
    return checked and node.reason.endswith("checks failed")


def verdict(result: Result) -> str:
    """Return what came of it, in one sentence without a full stop."""
    said = "; ".join(filter(None, [_trouble(result), _achieved(result), _reboots(result)]))
    return f"interrupted: {said}" if result.interrupted else said


def _reboots(result: Result) -> str:
    counted = {
        "rebooted": sum(bool(node.reboot and node.reboot.done) for node in result.nodes),
        "to be rebooted": sum(map(would_reboot, result.nodes))
        if result.command is Command.PLAN
        else 0,
        "in need of a reboot": sum(map(left_to_do, result.nodes)),
    }
    return ", ".join(f"{plural(many, 'node')} {words}" for words, many in counted.items() if many)


def _trouble(result: Result) -> str:
    counts = Counter(node.status for node in result.nodes)
    bad = [(counts[status], status.value) for status in TROUBLE if counts[status]]
    if not bad:
        return ""
    (many, word), *rest = bad
    if len(result.nodes) == 1:
        return f"{one_line(result.nodes[0].name)} {word}"
    others = "".join(f", {number:,} {status}" for number, status in rest)
    return f"{many:,} of {plural(len(result.nodes), 'node')} {word}{others}"


def _achieved(result: Result) -> str:
    if not result.nodes:
        return "0 nodes: nothing was done"
    if result.command is Command.VERIFY:
        return _proven(result)
    if result.command is Command.INSPECT:
        many = sum(node.status not in TROUBLE for node in result.nodes)
        return f"{plural(many, 'node')} inspected" if many else ""
    if result.command is Command.RUNS:
        return _listed(result)
    if result.command is Command.REVERT:
        return _taken_back(result)
    status, words = {
        Command.PLAN: (ChangeStatus.PLANNED, "pending"),
        Command.APPLY: (ChangeStatus.CHANGED, "made"),
    }[result.command]
    changes = len(all_changes(result, status))
    if not changes and worst(result.nodes) in TROUBLE:
        return f"0 changes {words}"
    if not changes:
        return f"{plural(len(result.nodes), 'node')}, 0 changes: nothing to do"
    on = sum(any(change.status is status for change in node.changes) for node in result.nodes)
    where = f"{on:,} of {plural(len(result.nodes), 'node')}"
    if len(result.nodes) == 1:
        where = one_line(result.nodes[0].name)
    return f"{plural(changes, 'change')} {words} on {where}"


def _listed(result: Result) -> str:
    runs = {run.id for node in result.nodes for run in node.runs}
    many = sum(node.status not in TROUBLE for node in result.nodes)
    return f"{plural(len(runs), 'run')} on {plural(many, 'node')}" if many else ""


def _taken_back(result: Result) -> str:
    run, nodes = one_line(result.reverts), plural(len(result.nodes), "node")
    changes = all_changes(result, ChangeStatus.PLANNED, ChangeStatus.CHANGED)
    if not changes:
        trouble = worst(result.nodes) in TROUBLE
        return "" if trouble else f"{nodes}: nothing is left to take back of run {run}"
    planned = any(change.status is ChangeStatus.PLANNED for change in changes)
    on = sum(any(change in changes for change in node.changes) for node in result.nodes)
    words = "to take back" if planned else "taken back"
    return f"{plural(len(changes), 'change')} of run {run} {words} on {on:,} of {nodes}"


def _proven(result: Result) -> str:
    nodes = f"{plural(len(result.nodes), 'node')}, "
    checks = plural(len(all_checks(result, *Verdict)), "check")
    if nothing_proven(result):
        ran = "no check was run" if checks == "0 checks" else f"{checks}, all skipped"
        return f"{nodes}{ran}: nothing is proven"
    trouble = worst(result.nodes) in TROUBLE
    counts = Counter(check.verdict for check in all_checks(result, *Verdict))
    said = ", ".join(f"{counts[v]:,} {word}" for v, word in _CHECKS.items() if counts[v])
    passed = "all passed" if set(counts) == {Verdict.PASSED} else said
    bare = sum(not node.checks and node.status not in TROUBLE for node in result.nodes)
    alone = f"; {plural(bare, 'node')} without any check" if bare else ""
    return f"{'' if trouble else nodes}{checks}: {passed}{alone}"


def nothing_proven(result: Result) -> bool:
    """Tell whether checks should have proven something, and none looked at anything."""
    looked = all_checks(result, Verdict.PASSED, Verdict.FAILED, Verdict.EXCEPTED)
    return result.command is Command.VERIFY and bool(result.nodes) and not looked


def next_step(result: Result) -> str:
    """Return the next command, with what it is good for."""
    inventory = shlex.quote(one_line(result.inventory))
    status = worst(result.nodes)
    if not result.nodes:
        return "name hosts in the inventory, or widen --limit"
    if nothing_proven(result) and status not in TROUBLE:
        return "nodeproof settings (lists what may be asked of a node, and so be proven)"
    if result.command in (Command.RUNS, Command.REVERT):
        return _next_of_runs(result, inventory)
    if result.command is Command.VERIFY:
        if status in TROUBLE or result.interrupted:
            return f"nodeproof plan {inventory} --diff (shows what is not as asked)"
        run = shlex.quote(one_line(result.run))
        return f"nodeproof report {run} --format html --out report.html (shows it to others)"
    if status in TROUBLE or result.interrupted:
        again = "goes on where it stopped" if result.command is Command.APPLY else "tries again"
        return f"mend what is named above, then nodeproof {result.command} {inventory} ({again})"
    if result.command is Command.INSPECT:
        return f"nodeproof plan {inventory} (shows what would change)"
    if status is NodeStatus.PENDING:
        return f"nodeproof apply {inventory} (makes it so)"
    if any(left_to_do(node) for node in result.nodes):
        return f"nodeproof apply {inventory} --reboot if-needed (reboots what needs it)"
    return f"nodeproof verify {inventory} (proves that it is so)"


def _next_of_runs(result: Result, inventory: str) -> str:
    if result.command is Command.RUNS:
        runs = [run.id for node in result.nodes for run in node.runs if run.result == "ok"]
        if not runs:
            return f"nodeproof plan {inventory} (shows what would change)"
        run = shlex.quote(one_line(max(runs)))
        return f"nodeproof revert {run} {inventory} --dry (shows what taking it back would do)"
    status, run = worst(result.nodes), shlex.quote(one_line(result.reverts))
    if status in TROUBLE or result.interrupted:
        return f"mend what is named above, then nodeproof revert {run} {inventory} (goes on)"
    if status is NodeStatus.PENDING:
        return f"nodeproof revert {run} {inventory} (takes it back)"
    return f"nodeproof runs {inventory} (lists what is in effect)"
