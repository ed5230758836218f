"""nodeproof runs: what was done to the nodes, by whom, and what came of it."""

from __future__ import annotations

import click

from nodeproof.cli.finish import finish
from nodeproof.cli.options import asks_password, json_option
from nodeproof.cli.password import Password
from nodeproof.cli.progress import progress
from nodeproof.engine import history
from nodeproof.engine.adapter.inventory import load
from nodeproof.engine.run import Options
from nodeproof.layers import LAYER_NAMES


@click.command()
@click.argument("inventory")
@click.option("--limit", multiple=True, metavar="HOST|GROUP|PATTERN", help="Only these hosts.")
@asks_password
@json_option
def runs(inventory: str, limit: tuple[str, ...], password: Password, as_json: bool) -> None:
    """List the runs that the nodes' journals know, the newest first; changes nothing."""
    fleet = load(inventory, limit=limit)
    with progress(fleet.names) as watcher:
        password.quiet = watcher.quiet
        options = Options(layers=LAYER_NAMES, ask_password=password)
        result = history.runs(fleet, options, watcher)
    finish(result, as_json=as_json)
