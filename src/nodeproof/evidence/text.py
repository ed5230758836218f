"""The summary on the terminal: a line a node, then only what needs attention."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from rich.cells import cell_len
from rich.text import Text

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
from nodeproof.evidence import remarks, standing, summary
from nodeproof.evidence.alike import Shared, alike, in_order
from nodeproof.evidence.history import run_table
from nodeproof.evidence.page import STYLES, Page, padded
from nodeproof.evidence.plain import one_line
from nodeproof.evidence.summary import plural

MANY = 20
"""More nodes than this are grouped by what came of them."""
FEW = 8
"""This many names, and reasons, of a longer list are shown."""
_STATUS_CELLS = max(len(status) for status in NodeStatus)

T = TypeVar("T", Change, Check)


@dataclass(frozen=True)
class _View:
    page: Page
    result: Result
    verbose: bool
    diff: bool


def render_text(
    result: Result, *, width: int, color: bool, verbose: bool = False, diff: bool = False
) -> str:
    """Return the summary, at most `width` columns wide, ending in a line feed.

    `diff` adds how files change; `verbose` adds commands, names, and what needs no attention.
    """
    view = _View(Page(width, color=color), result, verbose, diff)
    _head(view)
    if result.command is Command.RUNS:
        run_table(view.page, result, partial(_names, view))
    else:
        _nodes(view)
    _reasons(view)
    _changes(view)
    remarks.reboots(view.page, result, partial(_names, view))
    remarks.lasting(view.page, result, partial(_names, view))
    _checks(view)
    standing.exceptions(view.page, result, partial(_names, view))
    standing.scores(view.page, result)
    remarks.notes(view.page, result, partial(_names, view))
    _end(view)
    return view.page.text()


def _head(view: _View) -> None:
    result = view.result
    took = f"{plural(len(result.nodes), 'node')} in {summary.duration(result.duration_s)}"
    only = f" for {one_line(', '.join(result.standards))}" if result.standards else ""
    said = f" of {one_line(result.inventory)}{only}: {took}, run {one_line(result.run)}"
    view.page.line(Text.assemble((result.command.value, "bold"), said))
    view.page.gap()


def _nodes(view: _View) -> None:
    nodes, command = view.result.nodes, view.result.command
    if len(nodes) <= MANY:
        rows = [(n.status, one_line(n.name), summary.foretold(n, command)) for n in nodes]
    else:
        rows = [_row(view, shared) for shared in _outcomes(view.result)]
    cells = min(max((cell_len(name) for _, name, _ in rows), default=0), view.page.width // 3)
    for status, name, said in rows:
        lead = Text(padded(status.value, _STATUS_CELLS), style=STYLES[status])
        lead.append(f"  {padded(name, cells)}  ", style="not bold default")
        view.page.beside(lead, said)


def _outcomes(result: Result) -> list[Shared[str]]:
    """Return groups of nodes with the same outcome, the worst first."""

    def outcome(node: Node) -> list[tuple[Hashable, str]]:
        said = summary.tally(node, result.command)
        return [((node.status, said), said)]

    return alike(summary.worst_first(result.nodes), outcome)


def _row(view: _View, shared: Shared[str]) -> tuple[NodeStatus, str, str]:
    status, many = shared.nodes[0].status, len(shared.nodes)
    if many == 1:
        return status, one_line(shared.nodes[0].name), shared.item
    names = _names(view, shared.nodes) if status in summary.TROUBLE or view.verbose else ""
    return status, plural(many, "node"), ": ".join(filter(None, [shared.item, names]))


def _reasons(view: _View) -> None:
    """Show why nodes are refused, unreachable or failed, unless a change says it."""
    troubled = [n for n in view.result.nodes if n.reason and not summary.explained(n)]
    for shared in alike(troubled, lambda n: [((n.status, n.reason, n.hint), n)]):
        node = shared.item
        view.page.gap()
        head = Text(f"{_names(view, shared.nodes)}: ", style="bold")
        view.page.line(head.append(node.status.value, style=STYLES[node.status]))
        view.page.block(node.reason, indent=2, whole=view.verbose)
        _hint(view, node.hint, indent=2)


def _hint(view: _View, hint: str, *, indent: int) -> None:
    if hint:
        view.page.beside(Text(" " * indent + "→ ", style="yellow"), one_line(hint), style="yellow")


def _changes(view: _View) -> None:
    def section(title: str, wanted: Callable[[Change], bool], style: str = "bold") -> None:
        found = alike(
            view.result.nodes,
            lambda node: [
                (_sameness(view, change, node), change) for change in node.changes if wanted(change)
            ],
        )
        _by_layer(view, Text(title, style=style), found, _change)

    section("Failed changes", lambda change: change.status is ChangeStatus.FAILED, "bold red")
    section(
        "Changes that the plan did not foresee",
        lambda c: not c.foreseen and c.status is ChangeStatus.CHANGED,
        "bold yellow",
    )
    section("Would change", lambda change: change.status is ChangeStatus.PLANNED)
    if view.verbose or view.diff or view.result.command is Command.REVERT:
        section("Changed", lambda c: c.foreseen and c.status is ChangeStatus.CHANGED)
    if view.verbose:
        section("Not tried", lambda change: change.status is ChangeStatus.SKIPPED)


def _sameness(view: _View, change: Change, node: Node) -> Hashable:
    hint = node.hint if change.status is ChangeStatus.FAILED else ""
    details = (change.diff if view.diff else "", tuple(change.commands) if view.verbose else ())
    return change.layer, change.name, change.status, change.reason, hint, details


def _change(view: _View, change: Change, several: Sequence[Shared[Change]]) -> None:
    name = _would(change.name) if change.status is ChangeStatus.PLANNED else one_line(change.name)
    title = Text(name)
    if len(several) == 1:
        title.append(_on(view, several[0].nodes), style="dim")
    view.page.line(title, indent=4)
    for shared in _some(view, several):
        _reason(view, shared, named=len(several) > 1)
        _change_details(view, shared.item)
        if shared.item.status is ChangeStatus.FAILED:
            _hint(view, shared.nodes[0].hint, indent=6)


def _reason(view: _View, shared: Shared[T], *, named: bool) -> None:
    """Show a reason; where there are several for one thing, each with its nodes."""
    reason = shared.item.reason.strip("\n")
    if not named:
        if reason:
            view.page.block(reason, indent=6, whole=view.verbose)
        return
    names = Text(f"      {_names(view, shared.nodes)}: ", style="dim")
    if "\n" in reason:
        view.page.line(names)
        view.page.block(reason, indent=8, whole=view.verbose)
    else:
        view.page.beside(names, reason)


def _change_details(view: _View, change: Change) -> None:
    if view.verbose:
        for command in change.commands:
            view.page.beside(Text("      $ ", style="dim"), command, style="dim")
    if view.diff and change.diff:
        view.page.diff(change.diff, indent=6)


def _would(name: str) -> str:
    """Turn "Install packages" into "would install packages"; leaves "SSH keys" its capitals."""
    name = one_line(name)
    spoken = name if name[1:2].isupper() else name[:1].lower() + name[1:]
    return f"would {spoken}"


def _checks(view: _View) -> None:
    def section(
        title: str, wanted: Verdict, style: str = "bold", *, with_reason: bool = False
    ) -> None:
        found = alike(
            view.result.nodes,
            lambda node: [
                ((c.layer, c.name, c.reason), c)
                for c in node.checks
                if c.verdict is wanted and (c.reason or not with_reason)
            ],
        )
        _by_layer(view, Text(title, style=style), found, _check)

    section("Failed checks", Verdict.FAILED, "bold red")
    section("Failed checks that are excepted", Verdict.EXCEPTED, "bold yellow")
    if not view.verbose:
        section("Measured", Verdict.PASSED, with_reason=True)
    skipped = len(summary.all_checks(view.result, Verdict.SKIPPED))
    if view.verbose:
        section("Skipped checks", Verdict.SKIPPED)
        section("Passed checks", Verdict.PASSED)
    elif skipped:
        view.page.gap()
        view.page.line(f"{plural(skipped, 'check')} skipped; --verbose says why", style="dim")


def _check(view: _View, check: Check, several: Sequence[Shared[Check]]) -> None:
    name = Text(one_line(check.name))
    if check.controls:
        name.append(f"  [{one_line(', '.join(check.controls))}]", style="cyan")
    if len(several) == 1:
        name.append(_on(view, several[0].nodes), style="dim")
    view.page.line(name, indent=4)
    if check.verdict is not Verdict.PASSED:
        view.page.line(one_line(check.title), indent=6, style="dim")
    for shared in _some(view, several):
        _reason(view, shared, named=len(several) > 1)


def _by_layer(
    view: _View,
    title: Text,
    found: Sequence[Shared[T]],
    show: Callable[[_View, T, Sequence[Shared[T]]], None],
) -> None:
    """Show what was found under its layers; what differs only in its reason stands together."""
    layers: dict[str, dict[tuple[str, int], list[Shared[T]]]] = {}
    for shared in in_order(found, view.result.nodes):
        names = layers.setdefault(shared.item.layer, {})
        names.setdefault((shared.item.name, shared.turn), []).append(shared)
    if layers:
        view.page.gap()
        view.page.line(title)
    for layer, names in layers.items():
        view.page.line(one_line(layer), indent=2, style="bold")
        for several in names.values():
            show(view, several[0].item, several)


def _some(view: _View, several: Sequence[Shared[T]]) -> Iterator[Shared[T]]:
    shown = len(several) if view.verbose or len(several) <= FEW + 1 else FEW
    yield from several[:shown]
    if shown < len(several):
        view.page.line(f"… {len(several) - shown} more reasons, see --json", indent=6, style="dim")


def _on(view: _View, nodes: Sequence[Node]) -> str:
    everyone = len(view.result.nodes)
    if everyone == 1:
        return ""
    all_of_them = f"all {plural(everyone, 'node')}"
    return f"  on {all_of_them if len(nodes) == everyone else _names(view, nodes)}"


def _names(view: _View, nodes: Sequence[Node]) -> str:
    names = [one_line(node.name) for node in nodes]
    if view.verbose or len(names) <= FEW + 1:
        return ", ".join(names)
    return ", ".join(names[:FEW]) + f" … {len(names) - FEW} more, see --json"


def _end(view: _View) -> None:
    view.page.gap()
    if len(view.result.nodes) > MANY and (whole := summary.plan_hash(view.result)):
        view.page.line(f"plan {whole} over all nodes", style="dim")
    doubt = summary.nothing_proven(view.result) or not view.result.nodes
    style = "bold yellow" if doubt else STYLES[summary.worst(view.result.nodes)]
    view.page.line(
        summary.verdict(view.result), style="bold red" if view.result.interrupted else style
    )
    view.page.beside(Text("next: ", style="dim"), summary.next_step(view.result))
