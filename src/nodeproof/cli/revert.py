"""nodeproof revert: take a run back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import click
from click.shell_completion import CompletionItem

from nodeproof.cli.finish import finish, show
from nodeproof.cli.options import asks_password, json_option
from nodeproof.cli.password import Password
from nodeproof.cli.progress import progress
from nodeproof.engine import history
from nodeproof.engine import revert as engine
from nodeproof.engine.adapter.inventory import Fleet, load
from nodeproof.engine.outcome import exit_code
from nodeproof.engine.result import Command, NodeStatus, Result
from nodeproof.engine.revert import TAKE_BACK, Part
from nodeproof.engine.run import Options, Watcher
from nodeproof.errors import Exit, UsageError
from nodeproof.evidence import store
from nodeproof.evidence.controls import chosen, controls, going_along
from nodeproof.layers import LAYER_NAMES, choose_layers


def _complete_run(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    known = [result.run for result in store.kept(typed, Command.APPLY)]
    last = [history.LAST] if history.LAST.startswith(typed) else []
    return [CompletionItem(run) for run in [*last, *known]]


def _complete_control(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    found = controls().values()
    return [CompletionItem(one.id, help=one.title) for one in found if one.id.startswith(typed)]


@click.command()
@click.argument("run", shell_complete=_complete_run)
@click.argument("inventory", required=False)
@click.option("--limit", multiple=True, metavar="HOST|GROUP|PATTERN", help="Only these hosts.")
@click.option("--layer", metavar="LAYER", default="", help="Only what this layer changed.")
@click.option(
    "--control",
    metavar="ID",
    default="",
    shell_complete=_complete_control,
    help="Only the changes that meet this control.",
)
@asks_password
@click.option("-y", "--yes", is_flag=True, help="Do not ask; needed where there is no terminal.")
@click.option("--dry", is_flag=True, help="Only say what would be taken back.")
@json_option
def revert(
    run: str,
    inventory: str | None,
    limit: tuple[str, ...],
    layer: str,
    control: str,
    password: Password,
    yes: bool,
    dry: bool,
    as_json: bool,
) -> None:
    """Take a run back: files, accounts, packages, units and settings become what they were.

    RUN is the id of a run, its beginning, or `last`; `nodeproof runs` lists them. The INVENTORY
    may be left out where this machine made the run. What somebody changed since is never
    overwritten: the node is refused, and says who it was.
    """
    if not (yes or dry or sys.stdin.isatty()):
        raise UsageError("revert: there is no terminal to ask on", hint="add --yes, or --dry")
    part = _part(layer, control)
    fleet = load(inventory or _inventory_of(run), limit=limit)
    desk = _Desk(fleet, password, control)
    part = replace(part, run=desk.meant(run))
    if dry or not yes:
        planned = desk.do(engine.examine, part)
        if dry:
            finish(planned, as_json=as_json)
        _ask(planned)
    finish(desk.do(engine.revert, part), as_json=as_json)


def _part(layer: str, control: str) -> Part:
    """Return which part of a run is meant; raises UsageError."""
    if layer and control:
        raise UsageError("--layer and --control: give one of them")
    if control:
        found = chosen(control)
        return Part("", found.layer, found.changes)
    if layer:
        choose_layers([layer], [])
    return Part("", layer)


def _inventory_of(run: str) -> str:
    """Return the inventory that a kept run was about; raises UsageError."""
    if not run:
        raise UsageError("RUN: is empty", hint="`nodeproof runs INVENTORY` lists them")
    found = {one.inventory for one in store.kept(run, Command.APPLY, Command.REVERT)}
    if len(found) == 1:
        return found.pop()
    raise UsageError(
        f"{run}: no run of this machine; which nodes it was on is not known",
        hint=f"name the inventory: nodeproof revert {run} INVENTORY",
    )


class _Desk:
    """Hands work on a fleet to the engine, and says which controls go with what is taken back."""

    def __init__(self, fleet: Fleet, password: Password, control: str) -> None:
        self._fleet = fleet
        self._password = password
        self._control = control

    def meant(self, word: str) -> str:
        """Return the run that a word means on these nodes; raises UsageError, RefusedError."""
        if history.is_whole(word):
            return word
        listed = self._run(history.runs)
        if all(node.status is not NodeStatus.OK for node in listed.nodes):
            show(listed, as_json=False)
            sys.exit(exit_code(listed))
        return history.meant(word, listed.nodes)

    def do(self, work: Callable[[Fleet, Options, Watcher, Part], Result], part: Part) -> Result:
        """Return what came of it, with the controls that go along."""
        result = self._run(lambda fleet, options, watcher: work(fleet, options, watcher, part))
        if not self._control:
            return result
        nodes = []
        for node in result.nodes:
            names = [change.name.removeprefix(TAKE_BACK) for change in node.changes]
            along = going_along(self._control, names)
            told = [f"with {self._control} go {', '.join(along)}"] if along else []
            nodes.append(node.model_copy(update={"notes": [*node.notes, *told]}))
        return result.model_copy(update={"nodes": nodes})

    def _run(self, work: Callable[[Fleet, Options, Watcher], Result]) -> Result:
        with progress(self._fleet.names) as watcher:
            self._password.quiet = watcher.quiet
            options = Options(layers=LAYER_NAMES, ask_password=self._password)
            return work(self._fleet, options, watcher)


def _ask(planned: Result) -> None:
    """Show what would be taken back and ask; exits where the answer is no or there is nothing."""
    show(planned, as_json=False)
    if (code := exit_code(planned)) is not Exit.DONE:
        sys.exit(code)
    if all(node.status is NodeStatus.OK for node in planned.nodes):
        sys.exit(Exit.DONE)
    if not click.confirm("Take it back?", err=True):
        sys.exit(Exit.DONE)
