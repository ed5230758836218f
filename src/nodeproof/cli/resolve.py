"""nodeproof resolve: what would be chosen for a machine, without any node."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from nodeproof.catalog.overlay import current
from nodeproof.catalog.resolve.asked import Asked
from nodeproof.catalog.resolve.choice import Choice
from nodeproof.catalog.resolve.machine import machine
from nodeproof.catalog.resolve.resolver import resolve as answer_to
from nodeproof.catalog.resolve.text import told
from nodeproof.cli.options import json_option
from nodeproof.errors import Exit, UsageError
from nodeproof.settings.problems import SettingsError, from_validation

LAYER = "gpu"


@click.command()
@click.option(
    "--facts",
    required=True,
    metavar="FILE",
    help="What `inspect --json` printed, or one node's facts out of it.",
)
@click.option(
    "--settings", metavar="FILE", help="What is asked for, as TOML or JSON; else the defaults."
)
@click.option("--node", metavar="NAME", help="Which node, where the facts are of several.")
@json_option
def resolve(facts: str, settings: str | None, node: str | None, as_json: bool) -> None:
    """Say which driver, toolkits and companions work together on a machine, and why.

    Nothing is connected to and nothing is changed. Ends with 4 where there is no choice.
    """
    found = _node(_read(facts), facts, node)
    answer = answer_to(asked(settings), machine(found, facts), current(), date.today())
    click.echo(answer.model_dump_json(indent=1) if as_json else told(answer))
    sys.exit(Exit.DONE if isinstance(answer, Choice) else Exit.REFUSED)


def asked(path: str | None) -> Asked:
    """Return what a file asks for; raises SettingsError with everything that is wrong in it."""
    found = _read(path) if path is not None else {}
    layer = found.get(LAYER, found)
    if not isinstance(layer, dict):
        raise UsageError(f"{path}: {LAYER} is no table")
    try:
        return Asked.model_validate(layer)
    except ValidationError as error:
        problems = from_validation(error, Asked, str(path), LAYER, "")
        raise SettingsError(problems) from error


def _read(path: str) -> dict[str, Any]:
    """Return what a file of JSON or TOML holds; raises UsageError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    try:
        found = tomllib.loads(text) if path.endswith(".toml") else json.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        kind = "TOML" if path.endswith(".toml") else "JSON"
        raise UsageError(f"{path}: is not {kind}: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path}: holds no table")
    return found


def _node(found: Mapping[str, Any], path: str, name: str | None) -> Mapping[str, Any]:
    """Return one node's facts of a result, or facts that stand by themselves."""
    nodes = found.get("nodes")
    if not isinstance(nodes, list):
        return found
    named = {str(one.get("name")): one for one in nodes if isinstance(one, dict)}
    if name is None and len(named) == 1:
        name = next(iter(named))
    if name is None or name not in named:
        known = ", ".join(named) or "none"
        raise UsageError(
            f"{path}: holds facts of {len(named)} nodes" + (f", and not of {name}" if name else ""),
            hint=f"pass --node; they are {known}",
        )
    facts: Mapping[str, Any] = named[name].get("facts", {})
    return facts
