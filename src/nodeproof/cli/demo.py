"""nodeproof demo: all of it, on a machine of its own."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

from nodeproof.checks.verify import verify
from nodeproof.cli.finish import show
from nodeproof.cli.lab import show_progress
from nodeproof.cli.password import Password
from nodeproof.cli.progress import progress
from nodeproof.cli.report import Format, render, write
from nodeproof.engine.adapter.inventory import Fleet, load
from nodeproof.engine.outcome import exit_code
from nodeproof.engine.result import Command, Result
from nodeproof.engine.run import Options, run
from nodeproof.errors import Exit
from nodeproof.evidence import store
from nodeproof.lab import Lab
from nodeproof.layers import LAYER_NAMES
from nodeproof.resources import shipped

NAME = "demo"


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("reports"),
    show_default=True,
    help="Folder for the reports.",
)
@click.option("--distribution", default="debian-13", show_default=True, help="Of the machine.")
@click.option(
    "--keep/--no-keep", default=True, show_default=True, help="Leave the machine running."
)
def demo(out: Path, distribution: str, keep: bool) -> None:
    """Boot a machine, apply the example site, verify it, and write the report."""
    began = time.monotonic()
    show_progress()
    lab = Lab(NAME)
    lab.up(["node1"], distribution=distribution)
    os.environ["NODEPROOF_LAB"] = NAME
    fleet = load(str(shipped("inventories", "lab.py")))
    applied = _apply(fleet)
    verified = _verify(fleet) if exit_code(applied) is Exit.DONE else None
    for result in filter(None, (applied, verified)):
        store.save(result)
        show(result, as_json=False)
    last = verified or applied
    path = out / "demo.html"
    write(path, render(last, Format.HTML))
    click.echo(
        f"\nreport: {path.resolve()}\n"
        f"apply {applied.duration_s:.0f} s, all of it {time.monotonic() - began:.0f} s"
    )
    if keep:
        click.echo(
            f"the machine: nodeproof lab ssh --name {NAME} node1; away with it: "
            f"nodeproof lab down --name {NAME} --purge"
        )
    else:
        lab.down()
    sys.exit(exit_code(last))


def _apply(fleet: Fleet) -> Result:
    with progress(fleet.names) as watcher:
        options = Options(layers=LAYER_NAMES, ask_password=Password())
        return run(Command.APPLY, fleet, options, watcher)


def _verify(fleet: Fleet) -> Result:
    with progress(fleet.names) as watcher:
        return verify(fleet, LAYER_NAMES, Password(), watcher)
