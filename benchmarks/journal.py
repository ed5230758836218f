"""What the journal costs an apply: python -m benchmarks.journal [ROUNDS] [--machine]

Side by side on one node: the same changes without the journal, with it, and with the guard as
well, in turn, from the same state. Prints seconds, round trips and ratios to the first. On a
container node (needs root and systemd-nspawn) a small site; with --machine the whole site on an
emulated machine, its packages fetched before.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

from nodeproof.engine.adapter import prepare_process

prepare_process()

from pyinfra.api import StringCommand  # noqa: E402 - after gevent's patches
from tests.support import write_inventory  # noqa: E402

from nodeproof.catalog.distributions import distributions  # noqa: E402
from nodeproof.engine import run as engine  # noqa: E402
from nodeproof.engine.adapter.inventory import load  # noqa: E402
from nodeproof.engine.result import Command, Node, NodeStatus  # noqa: E402
from nodeproof.lab import Lab, containers  # noqa: E402
from nodeproof.operations.journal import Change, OpenRun  # noqa: E402

PACKAGES = ("chrony", "rsync", "tree", "jq")
SITE = {
    "system": {
        "timezone": "Europe/Berlin",
        "packages": [*PACKAGES[1:]],
        "users": {"alice": {"sudo": "passwordless", "groups": ["ml"]}},
    },
    "ssh": {"max_sessions": 7},
}
WHOLE = {
    "system": SITE["system"],
    "containers": {"podman": True, "docker": True},
    "confinement": {},
    "ssh": {"max_sessions": 7},
}
FETCHED = {*PACKAGES, *chain(*distributions()["debian-13"].packages.values())}
UNDO = (
    f"sudo sh -c 'DEBIAN_FRONTEND=noninteractive apt-get -q -y purge {' '.join(PACKAGES)}; "
    "userdel -r alice; groupdel ml; rm -f /etc/sudoers.d/nodeproof-alice "
    "/etc/ssh/sshd_config.d/10-nodeproof.conf; ln -sfn /usr/share/zoneinfo/Etc/UTC /etc/localtime; "
    "systemctl reload ssh; rm -rf /var/lib/nodeproof/runs/*'"
)


class Quiet:
    """Watches nothing."""

    def node(self, host: str, doing: str) -> None:
        """Say nothing."""

    def change(self, host: str, change: Any) -> None:
        """Say nothing."""

    def done(self, node: Node) -> None:
        """Say nothing."""


@contextmanager
def nothing() -> Iterator[None]:
    """Make changes without keeping anything, opening or closing a run, or a guard."""

    def opened(session: Any, run: OpenRun, say: Any) -> tuple[list[str], str]:
        return [], session.fact(engine.Journal).last

    with (
        mock.patch.object(Change, "get_raw_value", StringCommand.get_raw_value),
        mock.patch.object(engine, "open_run", opened),
        mock.patch.object(engine, "close_run", return_value=None),
    ):
        yield


def journal() -> AbstractContextManager[object]:
    """Keep all, confirm nothing."""
    return mock.patch.object(Change, "guarded", False)


WAYS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "nothing": nothing,
    "journal": journal,
    "journal and guard": nullcontext,
}


def applied(inventory: Path, layers: tuple[str, ...]) -> tuple[float, int]:
    """Apply once; return seconds and round trips."""
    options = engine.Options(layers=layers, ask_password=lambda host: "")
    (node,) = engine.run(Command.APPLY, load(str(inventory)), options, Quiet()).nodes
    assert node.status is NodeStatus.CHANGED, (node.status, node.reason)  # noqa: S101
    return node.duration_s, node.round_trips


@contextmanager
def container(folder: Path) -> Iterator[tuple[Path, Callable[[], object]]]:
    """Give an inventory and what takes its changes away again."""
    with containers(["bench"], "debian-13", preinstall=("tzdata",)) as (node,):
        inventory = write_inventory(folder, [node], SITE)
        node.ssh(UNDO)
        applied(inventory, tuple(SITE))  # lists and archives of packages are there from now on
        yield inventory, lambda: node.ssh(UNDO)


@contextmanager
def machine(folder: Path) -> Iterator[tuple[Path, Callable[[], object]]]:
    """Give an inventory of an emulated machine, and what resets it."""
    lab = Lab("bench-journal")
    try:
        (node,) = lab.up(["bench"], distribution="debian-13")
        fetch = f"apt-get -q -y --download-only install {' '.join(sorted(FETCHED))}"
        home = "install -d -m 700 /var/lib/nodeproof"  # the journal's, where merges are kept, too
        node.ssh(f"sudo sh -c '{home} && apt-get -q update && {fetch}'")
        node.snapshot("bench")
        yield write_inventory(folder, [node], WHOLE), lambda: node.reset("bench")
    finally:
        lab.down(purge=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int, nargs="?", default=5)
    parser.add_argument("--machine", action="store_true", help="the whole site on a machine")
    asked = parser.parse_args()
    found: dict[str, list[tuple[float, int]]] = {way: [] for way in WAYS}
    layers = tuple(WHOLE if asked.machine else SITE)
    with (
        tempfile.TemporaryDirectory() as folder,
        (machine if asked.machine else container)(Path(folder)) as (inventory, undo),
    ):
        for _ in range(asked.rounds):
            for way, kept in WAYS.items():
                undo()
                with kept():
                    found[way].append(applied(inventory, layers))
    base = statistics.median(seconds for seconds, _ in found["nothing"])
    for way, measured in found.items():
        seconds = [one for one, _ in measured]
        print(
            f"{way:18} ratio {statistics.median(seconds) / base:.3f}, "
            f"median {statistics.median(seconds):6.2f} s "
            f"(min {min(seconds):.2f}, max {max(seconds):.2f}), "
            f"{max(trips for _, trips in measured)} round trips"
        )


if __name__ == "__main__":
    main()
