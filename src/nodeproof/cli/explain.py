"""nodeproof explain: why a node would get the driver that it would get."""

from __future__ import annotations

import json
import sys
from datetime import date
from typing import Any

import click

from nodeproof.catalog.overlay import current
from nodeproof.catalog.resolve.asked import Asked, OfAccelerators
from nodeproof.catalog.resolve.choice import Choice, Refusal
from nodeproof.catalog.resolve.machine import machine
from nodeproof.catalog.resolve.resolver import resolve
from nodeproof.catalog.resolve.text import told
from nodeproof.cli.options import Selection, asks_password, json_option, selects
from nodeproof.cli.password import Password
from nodeproof.cli.progress import progress
from nodeproof.cli.resolve import asked
from nodeproof.engine.adapter.inventory import Fleet, load
from nodeproof.engine.outcome import exit_code
from nodeproof.engine.result import Command, Node, NodeStatus, Result
from nodeproof.engine.run import Options, run
from nodeproof.errors import Exit, UsageError


@click.command()
@selects
@click.option(
    "--settings", metavar="FILE", help="Asks for this instead of what the inventory asks for."
)
@asks_password
@json_option
def explain(selection: Selection, settings: str | None, password: Password, as_json: bool) -> None:
    """Say why each node would get which driver and toolkits; changes nothing."""
    instead = asked(settings) if settings is not None else None
    fleet = load(selection.inventory, limit=selection.limit)
    with progress(fleet.names) as watcher:
        password.quiet = watcher.quiet
        options = Options(layers=selection.layers, ask_password=password)
        result = run(Command.INSPECT, fleet, options, watcher)
    answers = {
        node.name: _answer(node, instead or _asked(fleet, node.name))
        for node in result.nodes
        if node.status == NodeStatus.OK
    }
    _show(result, answers, as_json=as_json)
    code = exit_code(result, detailed=False)
    refused = any(isinstance(answer, Refusal) for answer in answers.values())
    worse = code not in (Exit.DONE, Exit.UNREACHABLE)
    sys.exit(Exit.REFUSED if refused and not worse else code)


def _asked(fleet: Fleet, name: str) -> Asked:
    """Return what the inventory asks of a node's accelerators, else the defaults."""
    layers = fleet.settings[name].layers.values()
    asking = (one for one in layers if isinstance(one, OfAccelerators) and one.asks())
    return next((one.asked for one in asking), Asked())


def _answer(node: Node, wanted: Asked) -> Choice | Refusal:
    """Answer for one node; facts that cannot be used are a refusal, not an end for the others."""
    try:
        return resolve(wanted, machine(node.facts, node.name), current(), date.today())
    except UsageError as error:
        return Refusal(rule="hosts.facts-are-whole", text=error.message, hint=error.hint or "")


def _show(result: Result, answers: dict[str, Choice | Refusal], *, as_json: bool) -> None:
    if as_json:
        found: dict[str, Any] = {
            name: answer.model_dump(mode="json") for name, answer in answers.items()
        }
        for node in result.nodes:
            found.setdefault(node.name, {"verdict": str(node.status), "text": node.reason})
        click.echo(json.dumps(found, indent=1))
        return
    for node in result.nodes:
        answer = answers.get(node.name)
        text = told(answer) if answer else f"{node.status}: {node.reason}"
        click.echo(f"{node.name}: {text}")
