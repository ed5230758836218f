"""nodeproof apply: make it so."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import click

from nodeproof.cli.finish import finish, show
from nodeproof.cli.options import Selection, asks_password, json_option, reboots, selects
from nodeproof.cli.password import Password
from nodeproof.cli.progress import progress
from nodeproof.engine import planfile
from nodeproof.engine.adapter.inventory import Fleet, load
from nodeproof.engine.fingerprint import Fingerprint
from nodeproof.engine.outcome import exit_code
from nodeproof.engine.reboot import Order
from nodeproof.engine.result import Command, NodeStatus, Result
from nodeproof.engine.run import Options, run
from nodeproof.errors import Exit, UsageError
from nodeproof.evidence.reboots import would_reboot

Agreed = Mapping[str, Fingerprint] | None
"""Host to what the plan rests on that somebody agreed to; None where nobody was asked."""


@click.command()
@selects
@asks_password
@click.option("-y", "--yes", is_flag=True, help="Do not ask; needed where there is no terminal.")
@click.option("--dry", is_flag=True, help="Only say what would change, as plan does.")
@click.option("--diff", is_flag=True, help="Show how files change.")
@reboots
@json_option
def apply(
    selection: Selection,
    password: Password,
    yes: bool,
    dry: bool,
    diff: bool,
    as_json: bool,
    order: Order,
) -> None:
    """Make each node what its settings say.

    Instead of an INVENTORY, a plan saved by `nodeproof plan --out FILE` can be given; it is
    applied exactly as it was read, and nodes that changed since are refused.
    """
    agreed: Agreed = None
    if planfile.is_plan(selection.inventory):
        selection, agreed = _saved(selection)
        yes = True
    fleet = load(selection.inventory, limit=selection.limit)
    if dry or not yes:
        planned, agreed = _run(Command.PLAN, fleet, _options(selection, password, order))
        if dry:
            finish(planned, as_json=as_json, diff=diff)
        _agree(planned, diff)
    done, _ = _run(Command.APPLY, fleet, _options(selection, password, order, agreed))
    finish(done, as_json=as_json, diff=diff)


def _options(
    selection: Selection,
    password: Password,
    order: Order,
    agreed: Agreed = None,
) -> Options:
    return Options(layers=selection.layers, ask_password=password, agreed=agreed, reboot=order)


def _run(command: Command, fleet: Fleet, options: Options) -> tuple[Result, dict[str, Fingerprint]]:
    """Return what came of it, and what that rests on."""
    with progress(fleet.names) as watcher:
        if isinstance(options.ask_password, Password):
            options.ask_password.quiet = watcher.quiet
        return run(command, fleet, options, watcher), options.planned


def _agree(planned: Result, diff: bool) -> None:
    """Show the plan and ask; exit unless it is agreed to."""
    if not sys.stdin.isatty():
        raise UsageError(
            "apply: there is no terminal to ask on", hint="add --yes, or apply a saved plan"
        )
    show(planned, as_json=False, diff=diff)
    if (code := exit_code(planned)) is not Exit.DONE:
        sys.exit(code)
    idle = all(node.status is NodeStatus.OK for node in planned.nodes)
    if idle and not any(would_reboot(node) for node in planned.nodes):
        sys.exit(Exit.DONE)
    if not click.confirm("Apply?", err=True):
        sys.exit(Exit.DONE)


def _saved(selection: Selection) -> tuple[Selection, dict[str, Fingerprint]]:
    """Read a saved plan; it decides hosts and layers."""
    saved = planfile.load(selection.inventory)
    if selection.limit:
        raise UsageError("--limit: a saved plan names its nodes", hint="make a plan with --limit")
    return Selection(saved.inventory, tuple(saved.nodes), saved.layers), saved.nodes
