"""nodeproof settings: every key that an inventory may hold."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from nodeproof.cli.options import json_option
from nodeproof.layers import LAYER_NAMES, choose_layers, layer_named
from nodeproof.settings.describe import Key, describe

WIDE = 160
"""Columns where nobody says how many there are."""


@click.command()
@click.argument("layer", nargs=-1, metavar="[LAYER]...")
@json_option
def settings(layer: tuple[str, ...], as_json: bool) -> None:
    """List every key with type, default, unit and meaning."""
    keys = {
        name: list(describe(layer_named(name).settings_model, name))
        for name in choose_layers(layer, ())
    }
    if as_json:
        click.echo(json.dumps([asdict(key) for some in keys.values() for key in some], indent=1))
        return
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    for some in keys.values():
        console.print(_table(some))
    if not layer:
        console.print(
            f'Layers: {", ".join(LAYER_NAMES)}. In an inventory: ssh = {{"max_sessions": 10}}'
        )


def _table(keys: list[Key]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("key", no_wrap=True)
    table.add_column("type", max_width=28)
    table.add_column("default", max_width=28)
    table.add_column("meaning", min_width=24)
    for key in keys:
        unit = f" [{key.unit}]" if key.unit else ""
        table.add_row(key.key, key.type, key.default + unit, key.meaning)
    return table
