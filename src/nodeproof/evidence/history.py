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
    """Add the table, the newest run first; `names` spells nodes where a run is not on all."""
    found = list(_rows(result))
    if not found:
        return
    several = len(result.nodes) > 1
    heads = HEADS if several else HEADS[:-1]
    cells = [_cells(row, result)[: len(heads)] for row in found]
    wide = [max(cell_len(row[n]) for row in [heads, *cells]) for n in range(len(heads))]
    page.gap()
    page.line(_line(heads, wide, ["bold"] * len(heads)))
    for row, told in zip(found, cells, strict=True):
        page.line(_line(told, wide, ["", _STYLES.get(row.run.result, _TROUBLE)]))
        on = [node for node in result.nodes if node.name in row.nodes]
        where = "" if len(on) == len(result.nodes) else names(on)
        page.line(_details(row, where), indent=2, style="dim")


def _rows(result: Result) -> Iterator[_Row]:
    rows: dict[tuple[object, ...], _Row] = {}
    for node in result.nodes:
        for run in node.runs:
            key = (run.id, run.result, run.changes, tuple(run.layers), run.reverts, run.who)
            row = rows.setdefault(key, _Row(run, [], set()))
            row.nodes.append(node.name)
            row.settings.add(run.settings)
    yield from sorted(rows.values(), key=lambda row: row.run.id, reverse=True)


def _cells(row: _Row, result: Result) -> tuple[str, ...]:
    many, all_ = len(row.nodes), len(result.nodes)
    return (
        one_line(row.run.id),
        one_line(row.run.result).removeprefix("ok, "),
        one_line(row.run.began)[:16].replace("T", " "),
        one_line(row.run.who),
        str(row.run.changes),
        f"all {many:,}" if many == all_ else f"{many:,} of {all_:,}",
    )


def _line(cells: Sequence[str], wide: Sequence[int], styles: Sequence[str]) -> Text:
    text = Text()
    for position, (cell, width) in enumerate(zip(cells, wide, strict=True)):
        style = styles[position] if position < len(styles) else ""
        text.append(padded(cell, width), style=style or None).append("  ")
    text.rstrip()
    return text


def _details(row: _Row, where: str) -> str:
    run = row.run
    digest = next(iter(row.settings))[:DIGEST] if len(row.settings) == 1 else ""
    told = (
        ("on", where),
        ("takes back", run.reverts),
        ("layers", ", ".join(run.layers)),
        ("inventory", run.inventory),
        ("settings", digest),
    )
    return one_line("; ".join(f"{key} {value}" for key, value in told if value))
