"""Results as one HTML page that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from nodeproof.engine.result import Command, NodeStatus, Result
from nodeproof.evidence import standing, summary, view
from nodeproof.evidence.controls import controls
from nodeproof.evidence.coverage import Proof, coverage, unmeasured
from nodeproof.evidence.plain import one_line, printable
from nodeproof.evidence.reboots import sentences
from nodeproof.resources import shipped

TEMPLATE = "report.html.j2"
MOST_COLUMNS = 30
"""With more nodes than this, controls are counted and not shown node by node."""


def render_html(result: Result) -> str:
    """Return the page."""
    columns = summary.worst_first(result.nodes)
    covered = coverage(columns)
    groups = view.outcomes(result)
    attention = view.attention(result)
    known, scored = controls().standards, {score.standard for score in result.scores}
    verdict, _, more = summary.verdict(result).partition("; ")
    values = {
        "result": result,
        "status": view.tone(result),
        "verdict": verdict,
        "more": more,
        # Whoever reads the page of a proof has no next command.
        "next_step": "" if result.command is Command.VERIFY else summary.next_step(result),
        "took": summary.duration(result.duration_s),
        "totals": view.totals(result),
        "troubled": view.troubled(result),
        "attention": attention[: view.MOST_ITEMS],
        "unshown": len(attention[view.MOST_ITEMS :]),
        "steps": view.steps(result),
        "covered": covered,
        "columns": columns,
        "unmeasured": unmeasured(covered) if covered else [],
        "standards": {key: known[key] for key in known if key in scored or not scored},
        "exceptions": view.exceptions(result),
        "matrix": len(result.nodes) <= MOST_COLUMNS,
        "proofs": list(Proof),
        "cards": groups[: view.MOST_CARDS],
        "rows": groups[view.MOST_CARDS :],
        "whole": len(groups) <= view.MOST_WHOLE_CARDS,
        "statuses": [s for s in NodeStatus if any(n.status is s for n in result.nodes)],
    }
    return _environment().get_template(TEMPLATE).render(values)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(shipped("templates", "report")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        diff_lines=_diff_lines,
        line=one_line,
        flat=lambda facts: list(view.flat(facts)),
        explained=summary.explained,
        held=standing.held,
        looked_at=standing.looked_at,
        told=standing.told,
        machine=summary.machine,
        moment=_moment,
        seconds=summary.duration,
        reboots=lambda reboot, command: list(
            sentences(reboot, planned=command is Command.PLAN) if reboot else ()
        ),
        tally=summary.tally,
    )
    environment.globals.update(budget=view.Budget(), plural=summary.plural)
    return environment


def _shown(value: Any) -> Any:
    """Make every string safe to read; the template's autoescape makes it safe as HTML."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _moment(iso: str) -> str:
    """Return a time as people read it; what is no time stays as it is."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = "UTC" if moment.utcoffset() == timedelta() else moment.tzname() or ""
    return f"{moment:%Y-%m-%d %H:%M:%S} {zone}".rstrip()


def _diff_lines(diff: str) -> list[tuple[str, str]]:
    """Return lines with the class of each: added, removed, where, or none."""
    classes = {"+": "add", "-": "del", "@": "at"}
    return [(classes.get(line[:1], ""), line) for line in printable(diff).strip("\n").split("\n")]
