"""What is to be said besides: what was found, what cannot be undone, who needs a reboot."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

from rich.text import Text

from nodeproof.engine.result import ChangeStatus, Command, Node, NodeStatus, Result
from nodeproof.evidence.alike import alike
from nodeproof.evidence.page import STYLES, Page
from nodeproof.evidence.plain import one_line
from nodeproof.evidence.reboots import sentences

_CALM = (NodeStatus.OK, NodeStatus.CHANGED, NodeStatus.PENDING)

Names = Callable[[Sequence[Node]], str]


def notes(page: Page, result: Result, names: Names) -> None:
    """Add what was found or done on nodes besides, each note once with its nodes."""
    found = alike(result.nodes, lambda node: [(note, note) for note in node.notes])
    if found:
        page.gap()
    for shared in found:
        lead = Text(f"{names(shared.nodes)}: ", style="bold")
        page.beside(lead, one_line(shared.item))


def lasting(page: Page, result: Result, names: Names) -> None:
    """Add what revert could not take back, of what would change or was changed."""
    found = alike(result.nodes, _lasting)
    if found:
        page.gap()
        page.line("Cannot be taken back", style="bold yellow")
    for shared in found:
        layer, name, sentence = shared.item
        page.line(Text(one_line(f"{layer} | {name}")), indent=2)
        where = f" ({names(shared.nodes)})" if len(result.nodes) > 1 else ""
        page.line(one_line(sentence) + where, indent=4)


def _lasting(node: Node) -> Iterator[tuple[Hashable, tuple[str, str, str]]]:
    for change in node.changes:
        if change.status in (ChangeStatus.PLANNED, ChangeStatus.CHANGED):
            for sentence in change.lasting:
                told = (change.layer, change.name, sentence)
                yield told, told


def reboots(page: Page, result: Result, names: Names) -> None:
    """Add who was rebooted, and who needs to be, with what is to be known about it."""
    planned = result.command is Command.PLAN

    def told(node: Node) -> tuple[str, ...]:
        return tuple(sentences(node.reboot, planned=planned)) if node.reboot else ()

    for shared in alike(
        result.nodes, lambda node: [(told(node), told(node))] if told(node) else []
    ):
        first, *rest = shared.item
        page.gap()
        style = STYLES[NodeStatus.PENDING if shared.nodes[0].status in _CALM else NodeStatus.FAILED]
        page.beside(Text(f"{names(shared.nodes)}: ", style="bold"), first, style=style)
        for sentence in rest:
            page.line(one_line(sentence), indent=2, style="dim")
