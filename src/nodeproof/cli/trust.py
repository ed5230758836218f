"""nodeproof trust: enrol host keys after showing their fingerprints."""

from __future__ import annotations

import sys

import click

from nodeproof.cli.options import Selection, selects
from nodeproof.engine.adapter.hostkeys import HostKeysShown, Known, enrol, shown_by
from nodeproof.engine.adapter.inventory import load
from nodeproof.engine.adapter.pool import each
from nodeproof.errors import Exit, UnreachableError, UsageError


@click.command()
@selects
@click.option("-y", "--yes", is_flag=True, help="Enrol new keys without asking.")
@click.option("--replace", is_flag=True, help="Also enrol keys that changed.")
@click.option(
    "--fingerprint",
    multiple=True,
    metavar="SHA256:…",
    help="Enrol only hosts that show one of these keys; does not ask.",
)
def trust(selection: Selection, yes: bool, replace: bool, fingerprint: tuple[str, ...]) -> None:
    """Show the host keys of each node and enrol them in known_hosts.

    Compare the fingerprints with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on
    the node's console before you agree.
    """
    fleet = load(selection.inventory, limit=selection.limit)
    asked, _ = each(fleet.hosts, _ask)
    unreachable = [error for error in asked if isinstance(error, UnreachableError)]
    shown = [keys for keys in asked if isinstance(keys, HostKeysShown)]
    for keys in shown:
        _print(keys)
    for error in unreachable:
        click.secho(f"nodeproof: {error.message}", fg="red", err=True)
    wanted = [keys for keys in shown if keys.known is Known.NEW]
    changed = [keys for keys in shown if keys.known is Known.CHANGED]
    wanted += changed if replace else []
    if fingerprint:
        wanted = [keys for keys in wanted if {f for _, f in keys.fingerprints()} & {*fingerprint}]
    if wanted and not (yes or fingerprint):
        if not sys.stdin.isatty():
            raise UsageError("trust: no terminal to ask on", hint="add --yes or --fingerprint")
        if not click.confirm(f"Trust these {len(wanted)} hosts?", err=True):
            wanted = []
    for keys in wanted:
        enrol(keys)
    click.echo(f"{len(wanted)} enrolled, {len(shown) - len(wanted)} left as they were", err=True)
    if changed and not replace:
        names = ", ".join(keys.host for keys in changed)
        raise UnreachableError(
            f"host keys CHANGED: {names}",
            hint="if the machines were reinstalled: --replace; if not, stop here",
        )
    sys.exit(Exit.UNREACHABLE if unreachable else Exit.DONE)


def _ask(host: object) -> HostKeysShown | UnreachableError | None:
    try:
        return shown_by(host)  # type: ignore[arg-type]
    except UnreachableError as error:
        return error


def _print(keys: HostKeysShown) -> None:
    for kind, print_ in keys.fingerprints():
        color = {"CHANGED": "red", "new": "yellow"}.get(keys.known.value)
        word = click.style(keys.known.value, fg=color)
        click.echo(f"{keys.host}  {keys.entry}  {kind}  {print_}  {word}")
