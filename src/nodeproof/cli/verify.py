"""nodeproof verify: prove it."""

from __future__ import annotations

import click

from nodeproof.cli.finish import finish
from nodeproof.cli.options import Selection, asks_password, json_option, selects
from nodeproof.cli.password import Password
from nodeproof.cli.progress import progress
from nodeproof.cli.standards import standard_option
from nodeproof.engine.adapter.inventory import load


@click.command()
@selects
@asks_password
@standard_option
@click.option(
    "--burn-in", is_flag=True, help="Burn in the GPUs, too: minutes, and nobody else may use them."
)
@click.option(
    "--burn-in-seconds",
    type=click.IntRange(1, 3600),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="How long each part of the burn-in takes.",
)
@click.option("-v", "--verbose", is_flag=True, help="Also show what passed.")
@json_option
def verify(
    selection: Selection,
    password: Password,
    standards: tuple[str, ...],
    burn_in: bool,
    burn_in_seconds: int,
    verbose: bool,
    as_json: bool,
) -> None:
    """Check each node against its settings by measuring the running machine; changes nothing."""
    from nodeproof.checks.verify import verify as check

    fleet = load(selection.inventory, limit=selection.limit)
    with progress(fleet.names) as watcher:
        password.quiet = watcher.quiet
        seconds = burn_in_seconds if burn_in else 0
        result = check(
            *(fleet, selection.layers, password, watcher), burn_in=seconds, standards=standards
        )
    finish(result, as_json=as_json, verbose=verbose)
