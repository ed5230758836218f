"""What the HTML page shows, in the order in which it shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

from nodeproof.engine.result import (
    Change,
    ChangeStatus,
    Check,
    Command,
    Exempted,
    Node,
    NodeStatus,
    Result,
    Verdict,
)
from nodeproof.evidence import summary
from nodeproof.evidence.alike import Shared, alike, in_order
from nodeproof.evidence.reboots import sentences

MOST_CARDS = 100
"""More outcomes than this are a row each."""
MOST_WHOLE_CARDS = 30
"""With more outcomes than this, a card counts what is well and does not list it."""
MOST_ITEMS = 200
"""More things than this that need attention are counted."""
MOST_REASONS = 50
"""More reasons than this for one thing are counted."""
MOST_DETAILS = 1_500_000
"""Characters of reasons, commands and diffs on one page."""
LEFT_OUT = "(left out to keep this page small; the JSON result has it)"


class Budget:
    """Lets text through until the page has enough of it; what is left out says so."""

    def __init__(self, characters: int = MOST_DETAILS) -> None:
        self.left = characters

    def __call__(self, text: str) -> str:
        """Return the text, or a note in its place."""
        if len(text) <= len(LEFT_OUT):
            return text
        if len(text) > self.left:
            return LEFT_OUT
        self.left -= len(text)
        return text


@dataclass(frozen=True)
class Item:
    """A change or check that needs to be seen, with every reason it has on some nodes."""

    kind: str
    tone: str
    """The class it is coloured by; the kind says the same in words."""
    what: Change | Check
    reasons: list[Shared[Change]] | list[Shared[Check]]

    @property
    def shown(self) -> list[Shared[Change]] | list[Shared[Check]]:
        """The reasons that the page has room for."""
        return self.reasons[:MOST_REASONS]

    @property
    def unshown(self) -> int:
        """The number of nodes whose reasons the page has no room for."""
        return sum(len(shared.nodes) for shared in self.reasons[MOST_REASONS:])

    @property
    def hints(self) -> list[str]:
        """What to do about it, where it failed."""
        if not isinstance(self.what, Change) or self.what.status is not ChangeStatus.FAILED:
            return []
        hints = (node.hint for shared in self.reasons for node in shared.nodes)
        return list(dict.fromkeys(filter(None, hints)))


def outcomes(result: Result) -> list[Shared[Node]]:
    """Return nodes by outcome, the worst first; an inspected node is only like itself."""
    ordered = summary.worst_first(result.nodes)
    return alike(ordered, lambda node: [(_outcome(node, result.command), node)])


def _outcome(node: Node, command: Command) -> Hashable:
    changes = tuple(
        (c.layer, c.name, c.status, c.reason, c.diff, c.foreseen, *c.commands, *c.lasting)
        for c in node.changes
    )
    checks = tuple((c.layer, c.name, c.verdict, c.reason, tuple(c.controls)) for c in node.checks)
    own = node.name if command is Command.INSPECT else ""
    told = sentences(node.reboot, planned=command is Command.PLAN) if node.reboot else ()
    more = (tuple(node.notes), tuple(map(str, node.exceptions)), changes, checks, tuple(told))
    return own, node.status, node.reason, node.hint, more


def exceptions(result: Result) -> list[Shared[Exempted]]:
    """Return what is not met on purpose, each once with its nodes."""
    return alike(result.nodes, lambda node: [(str(one), one) for one in node.exceptions])


def attention(result: Result) -> list[Item]:
    """Return what failed and what the plan did not foresee, the worst first."""
    return [
        *_items(result, "Failed change", "failed", _status(ChangeStatus.FAILED)),
        *_items(result, "Failed check", "failed", _verdict(Verdict.FAILED)),
        *_items(
            result,
            "Not foreseen by the plan",
            "pending",
            lambda n: (c for c in n.changes if not c.foreseen and c.status is ChangeStatus.CHANGED),
        ),
    ]


def steps(result: Result) -> list[tuple[str, str, list[Item]]]:
    """Return what would change or was changed, as (title, tone, items in order of application)."""
    kinds = [
        ("Would change", "pending", ChangeStatus.PLANNED),
        ("Changed", "changed", ChangeStatus.CHANGED),
        ("Not tried", "skipped", ChangeStatus.SKIPPED),
    ]
    found = [(title, tone, _items(result, title, tone, _status(s))) for title, tone, s in kinds]
    return [(title, tone, items) for title, tone, items in found if items]


def _status(status: ChangeStatus) -> Callable[[Node], Iterator[Change]]:
    return lambda node: (change for change in node.changes if change.status is status)


def _verdict(verdict: Verdict) -> Callable[[Node], Iterator[Check]]:
    return lambda node: (check for check in node.checks if check.verdict is verdict)


def _items(
    result: Result,
    kind: str,
    tone: str,
    wanted: Callable[[Node], Iterator[Change]] | Callable[[Node], Iterator[Check]],
) -> list[Item]:
    def keyed(node: Node) -> Iterator[tuple[Hashable, Change | Check]]:
        for what in wanted(node):
            told = (what.diff, *what.commands, *what.lasting) if isinstance(what, Change) else ()
            yield (what.layer, what.name, what.reason, told), what

    together: dict[Hashable, list[Shared[Change | Check]]] = {}
    for shared in in_order(alike(result.nodes, keyed), result.nodes):
        key = shared.item.layer, shared.item.name, shared.turn
        together.setdefault(key, []).append(shared)
    return [
        Item(kind, tone, several[0].item, several)  # type: ignore[arg-type]
        for several in together.values()
    ]


def troubled(result: Result) -> list[Shared[Node]]:
    """Return nodes that are not ok for a reason of their own, by reason."""
    nodes = [n for n in result.nodes if n.reason and not summary.explained(n)]
    return alike(nodes, lambda n: [((n.status, n.reason, n.hint), n)])


def totals(result: Result) -> list[tuple[str, str, str]]:
    """Return figures as (number, what it counts, tone)."""
    nodes = Counter(node.status for node in result.nodes)
    changes = Counter(change.status for node in result.nodes for change in node.changes)
    checks = Counter(check.verdict for node in result.nodes for check in node.checks)
    figures: list[tuple[int, str, str, str]] = [
        (nodes[status], "node", status.value, status.value) for status in summary.WORST_FIRST
    ]
    figures += [
        (changes[ChangeStatus.FAILED], "change", "failed", "failed"),
        (changes[ChangeStatus.PLANNED], "change", "pending", "pending"),
        (changes[ChangeStatus.CHANGED], "change", "made", "changed"),
        (changes[ChangeStatus.SKIPPED], "change", "not tried", "skipped"),
        (changes[ChangeStatus.UNCHANGED], "step", "right already", "ok"),
        (checks[Verdict.FAILED], "check", "failed", "failed"),
        (checks[Verdict.EXCEPTED], "check", "excepted", "excepted"),
        (checks[Verdict.SKIPPED], "check", "skipped", "skipped"),
        (checks[Verdict.PASSED], "check", "passed", "ok"),
    ]
    return [
        (f"{many:,}", f"{thing}{'' if many == 1 else 's'} {came}", tone)
        for many, thing, came, tone in figures
        if many
    ]


def tone(result: Result) -> str:
    """Return the class that the verdict is coloured by."""
    if summary.nothing_proven(result) or not result.nodes:
        return NodeStatus.PENDING.value
    if result.interrupted:
        return NodeStatus.FAILED.value
    return summary.worst(result.nodes).value


def flat(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Return facts as dotted keys with their values."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from flat(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple) and value:
        for position, inner in enumerate(value):
            yield from flat(inner, f"{key}[{position}]")
    elif value is None or value == [] or value == "":
        yield key, "none"
    else:
        yield key, str(value)
