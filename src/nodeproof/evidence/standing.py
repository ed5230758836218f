"""What a result says of standards and exceptions, for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text

from nodeproof.engine.result import Exempted, Node, Result, Score
from nodeproof.evidence.alike import alike
from nodeproof.evidence.controls import controls
from nodeproof.evidence.page import Page, padded
from nodeproof.evidence.plain import one_line

HEADS = ("standard", "hold", "excepted", "failed", "unseen", "looked at")
Names = Callable[[Sequence[Node]], str]


def held(score: Score) -> str:
    """Return how many items of a standard hold, of those that should."""
    return f"{len(score.passed)} of {score.applicable}"


def looked_at(score: Score) -> str:
    """Return how many of a standard's items that can be automated were looked at."""
    return f"{score.looked_at} of {score.automated}"


def told(one: Exempted) -> str:
    """Return what an exception is about: what is asked for, what there is instead, for whom."""
    if not one.parameter:
        return one.wanted
    there = f"set to {one.value}" if one.value else "left as it is"
    roles = f", for {', '.join(one.roles)}" if one.roles else ""
    return f"{one.parameter} should be {one.wanted}, is {there}{roles}"


def until(one: Exempted) -> str:
    """Return when an exception ends."""
    if not one.expires:
        return "no end"
    return f"ended on {one.expires}, no longer counts" if one.expired else f"until {one.expires}"


def scores(page: Page, result: Result) -> None:
    """Add a line a standard: what holds, what does not, and how much of it was looked at."""
    if not result.scores:
        return
    rows = [
        (
            _name(score),
            held(score),
            *(str(len(one) or "") for one in (score.excepted, score.failed, score.unseen)),
            looked_at(score),
        )
        for score in result.scores
    ]
    wide = [max(len(one_line(row[n])) for row in [HEADS, *rows]) for n in range(len(HEADS))]
    page.gap()
    page.line(_line(HEADS, wide, bold=True))
    for row, score in zip(rows, result.scores, strict=True):
        bad = score.failed or score.unseen
        page.line(_line(row, wide, style="red" if bad else "yellow" if score.excepted else "green"))


def exceptions(page: Page, result: Result, names: Names) -> None:
    """Add what is not met on purpose, each once with its nodes."""
    found = alike(result.nodes, lambda node: [(str(one), one) for one in node.exceptions])
    if not found:
        return
    page.gap()
    page.line("Exceptions", style="bold")
    for shared in found:
        one = shared.item
        where = f"  on {one_line(names(shared.nodes))}" if len(result.nodes) > 1 else ""
        lead = Text.assemble("  ", (one_line(one.control), "cyan"), "  ")
        page.beside(lead, Text(one_line(told(one))).append(where, style="dim"))
        page.line(one_line(f"because: {one.reason}"), indent=4)
        page.line(one_line(f"instead: {one.compensation}"), indent=4)
        page.line(one_line(until(one)), indent=4, style="bold yellow" if one.expired else "dim")


def _name(score: Score) -> str:
    known = controls().standards.get(score.standard)
    return known.name if known else score.standard


def _line(
    cells: Sequence[str], wide: Sequence[int], *, bold: bool = False, style: str = ""
) -> Text:
    text = Text()
    for position, (cell, width) in enumerate(zip(cells, wide, strict=True)):
        shown = "bold" if bold else style if position == 1 else ""
        text.append(padded(one_line(cell), width), style=shown or None).append("  ")
    text.rstrip()
    return text
