"""`nodeproof lab`: disposable test machines."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from typing import Any

import click

from nodeproof.errors import UsageError
from nodeproof.lab import Lab, Machine
from nodeproof.lab.sources import CODENAMES
from nodeproof.lab.spec import command

_name = click.option("--name", default="lab", show_default=True, help="The lab's name.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


class _Progress(logging.Handler):
    """Shows what the lab does, a line each, on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        click.echo(record.getMessage(), err=True)


@click.group()
def lab() -> None:
    """Make, use and remove disposable test machines."""
    show_progress()


def show_progress() -> None:
    """Show what the lab does, on stderr."""
    logger = logging.getLogger("nodeproof.lab")
    logger.setLevel(logging.INFO)
    logger.handlers = [_Progress()]
    logger.propagate = False


@lab.command()
@_name
@click.option(
    "--nodes", default=1, show_default=True, type=click.IntRange(1, 250), help="How many."
)
@click.option(
    "--distribution",
    default="debian-13",
    show_default=True,
    type=click.Choice(list(CODENAMES)),
    help="What they run.",
)
@click.option(
    "--cpus", default=1, show_default=True, type=click.IntRange(1, 64), help="Of each machine."
)
@click.option(
    "--memory",
    default=2048,
    show_default=True,
    type=click.IntRange(512),
    help="Of each machine, in MB.",
)
@click.option("--preinstall", multiple=True, metavar="PACKAGE", help="Put it into the image.")
@_json
def up(
    name: str,
    nodes: int,
    distribution: str,
    cpus: int,
    memory: int,
    preinstall: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make and start node1, node2 and so on, and wait until ssh works on each."""
    names = [f"node{number}" for number in range(1, nodes + 1)]
    machines = Lab(name).up(
        names, distribution=distribution, cpus=cpus, memory_mb=memory, preinstall=preinstall
    )
    _show(machines, as_json=as_json)


@lab.command(context_settings={"ignore_unknown_options": True})
@_name
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def ssh(name: str, node: str, command: tuple[str, ...]) -> None:
    """Log in to NODE, or run COMMAND there; its exit status becomes this command's."""
    machine = Lab(name).machine(node)
    if not machine.running:
        raise machine.not_running()
    # As with ssh itself, the words are joined and the remote shell reads them.
    argv = machine.access.argv(" ".join(command))
    os.execv(argv[0], argv)  # noqa: S606


@lab.command()
@_name
@click.option("--tag", default="ready", show_default=True, help="The snapshot to go back to.")
@click.argument("nodes", nargs=-1)
def reset(name: str, tag: str, nodes: tuple[str, ...]) -> None:
    """Put NODES (default: all) back to the moment after their first boot."""
    for machine in _chosen(Lab(name), nodes):
        machine.reset(tag)
        click.echo(f"{machine.name}: reset to {tag}", err=True)


@lab.command()
@_name
@click.option("--purge", is_flag=True, help="Remove the disks too.")
@click.argument("nodes", nargs=-1)
def down(name: str, purge: bool, nodes: tuple[str, ...]) -> None:
    """Shut down NODES (default: all); their disks stay for the next `up`."""
    stopped = Lab(name).down(nodes, purge=purge)
    click.echo(f"lab {name}: stopped {', '.join(stopped) or 'nothing, none ran'}", err=True)


@lab.command()
@_name
@_json
def status(name: str, as_json: bool) -> None:
    """Show the machines of the lab."""
    _show(Lab(name).machines(), as_json=as_json)


def _chosen(lab: Lab, names: Sequence[str]) -> list[Machine]:
    machines = [lab.machine(name) for name in names] if names else lab.machines()
    if not machines:
        raise UsageError(f"lab {lab.name}: has no machines", hint=f"Run: {command('up', lab.name)}")
    return machines


def _show(machines: Sequence[Machine], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"machines": [_row(machine) for machine in machines]}, indent=2))
        return
    for machine in machines:
        state = "running" if machine.running else "down"
        shape = (
            f"{machine.spec.distribution}, {machine.spec.cpus} CPUs, {machine.spec.memory_mb} MB"
        )
        click.echo(f"{machine.name}  {state}  ssh 127.0.0.1:{machine.ssh_port}  {shape}")


def _row(machine: Machine) -> dict[str, Any]:
    return {
        "name": machine.name,
        "running": machine.running,
        "address": machine.address,
        "ssh_port": machine.ssh_port,
        "user": machine.user,
        "key": str(machine.key),
        "known_hosts": str(machine.known_hosts),
        "private_address": machine.private_address,
        "distribution": machine.spec.distribution,
        "preinstall": list(machine.spec.preinstall),
        "cpus": machine.spec.cpus,
        "memory_mb": machine.spec.memory_mb,
        "snapshots": list(machine.spec.snapshots),
    }
