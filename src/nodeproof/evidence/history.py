"""The runs of nodes as a table: the same run on many nodes is one row, differences stand out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from nodeproof.engine.result import Node, NodeRun, Result
from nodeproof.evidence.page import Page, padded
from nodeproof.evidence.plain import one_line

HEADS = ("run", "result", "began (UTC)", "who", "changes", "nodes")
DIGEST = 12
"""Characters of the settings' digest that are shown."""
_STYLES = {"ok": "green", "reverted": "dim", "running": "cyan"}
_TROUBLE = "bold yellow"


@dataclass(frozen=True)
class _Row:
    """One run with the nodes on which it is the same."""

    run: NodeRun
    nodes: list[str]
    settings: set[str]


def run_table(page: Page, result: Result, names: Callable[[Sequence[Node]], str]) -> None:
    """Add the table, the newest run first; `names` says which nodes a row is about."""
    found = list(_rows(result))
    if not found:
        return
    several = len(result.nodes) > 1
    cells = [_cells(row, result, names) for row in found]
    heads = HEADS if several else HEADS[:-1]
    wide = [max(cell_len(row[n]) for row in [HEADS, *cells]) for n in range(len(heads))]
    page.gap()
    page.line(_line(heads, wide, ["bold"] * len(heads)))
    for row, told in zip(found, cells, strict=True):
        style = _STYLES.get(row.run.result, _TROUBLE)
        lead = _line(told[:5], wide, ["", style])
        page.beside(lead, told[5] if several else "")
        page.line(_details(row), indent=2, style="dim")


def _rows(result: Result) -> Iterator[_Row]:
    rows: dict[tuple[object, ...], _Row] = {}
    for node in result.nodes:
        for run in node.runs:
            key = (run.id, run.result, run.changes, tuple(run.layers), run.reverts, run.who)
            row = rows.setdefault(key, _Row(run, [], set()))
            row.nodes.append(node.name)
            row.settings.add(run.settings)
    yield from sorted(rows.values(), key=lambda row: row.run.id, reverse=True)


def _cells(
    row: _Row, result: Result, names: Callable[[Sequence[Node]], str]
) -> tuple[str, str, str, str, str, str]:
    many = len(row.nodes)
    told = [node for node in result.nodes if node.name in row.nodes]
    return (
        one_line(row.run.id),
        one_line(row.run.result),
        one_line(row.run.began)[:16].replace("T", " "),
        one_line(row.run.who),
        str(row.run.changes),
        f"all {many:,}" if many == len(result.nodes) else f"{many:,}: {names(told)}",
    )


def _line(cells: Sequence[str], wide: Sequence[int], styles: Sequence[str]) -> Text:
    text = Text()
    for position, cell in enumerate(cells):
        style = styles[position] if position < len(styles) else ""
        text.append(padded(cell, wide[position]), style=style or None).append("  ")
    return text


def _details(row: _Row) -> str:
    run = row.run
    digest = next(iter(row.settings))[:DIGEST] if len(row.settings) == 1 else ""
    told = (
        ("takes back", run.reverts),
        ("layers", ", ".join(run.layers)),
        ("inventory", run.inventory),
        ("settings", digest),
    )
    return one_line("; ".join(f"{key} {value}" for key, value in told if value))
