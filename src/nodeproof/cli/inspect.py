"""nodeproof inspect: what the nodes are."""

from __future__ import annotations

import click

from nodeproof.cli.finish import finish
from nodeproof.cli.options import Selection, asks_password, json_option, selects
from nodeproof.cli.password import Password
from nodeproof.cli.progress import progress
from nodeproof.engine.adapter.inventory import load
from nodeproof.engine.result import Command
from nodeproof.engine.run import Options, run


@click.command()
@selects
@asks_password
@json_option
def inspect(selection: Selection, password: Password, as_json: bool) -> None:
    """Read what each node is; changes nothing."""
    fleet = load(selection.inventory, limit=selection.limit)
    with progress(fleet.names) as watcher:
        password.quiet = watcher.quiet
        options = Options(layers=selection.layers, ask_password=password)
        result = run(Command.INSPECT, fleet, options, watcher)
    finish(result, as_json=as_json, verbose=True)
