"""nodeproof plan: what would change, and whether it can work."""

from __future__ import annotations

from pathlib import Path

import click

from nodeproof.cli.finish import finish
from nodeproof.cli.options import Selection, asks_password, json_option, selects
from nodeproof.cli.password import Password
from nodeproof.cli.progress import progress
from nodeproof.engine import planfile
from nodeproof.engine.adapter.inventory import load
from nodeproof.engine.result import Command
from nodeproof.engine.run import Options, run
from nodeproof.evidence.summary import plural


@click.command()
@selects
@asks_password
@click.option("--out", type=click.Path(path_type=Path), help="Save the plan, to apply it as it is.")
@click.option("-v", "--verbose", is_flag=True, help="Also show the commands.")
@click.option("--diff", is_flag=True, help="Show how files would change.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 5 when changes are pending.")
@json_option
def plan(
    selection: Selection,
    password: Password,
    out: Path | None,
    verbose: bool,
    diff: bool,
    detailed_exitcode: bool,
    as_json: bool,
) -> None:
    """Say what would change on each node; changes nothing."""
    fleet = load(selection.inventory, limit=selection.limit)
    with progress(fleet.names) as watcher:
        password.quiet = watcher.quiet
        options = Options(layers=selection.layers, ask_password=password)
        result = run(Command.PLAN, fleet, options, watcher)
    if out is not None:
        saved = planfile.save(out, result, selection.layers, options.planned)
        click.echo(
            f"plan for {plural(len(saved.nodes), 'node')}: {out}; apply it: nodeproof apply {out}",
            err=True,
        )
    finish(result, as_json=as_json, detailed=detailed_exitcode, verbose=verbose, diff=diff)
