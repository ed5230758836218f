"""What the journal costs an apply: python -m benchmarks.journal [ROUNDS]

Side by side on one container node: the same changes with and without the journal, in turn. Prints
seconds, round trips and the ratio. Needs root and systemd-nspawn.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from nodeproof.engine.adapter import prepare_process

prepare_process()

from pyinfra.api import StringCommand  # noqa: E402 - after gevent's patches
from tests.support import write_inventory  # noqa: E402

from nodeproof.engine import run as engine  # noqa: E402
from nodeproof.engine.adapter.inventory import Fleet, load  # noqa: E402
from nodeproof.engine.result import Command, Node, NodeStatus  # noqa: E402
from nodeproof.lab import containers  # noqa: E402
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
def without() -> Iterator[None]:
    """Make changes without keeping anything, opening or closing a run, or a guard."""

    def opened(session: Any, run: OpenRun, say: Any) -> tuple[list[str], str]:
        return [], session.fact(engine.Journal).last

    with (
        mock.patch.object(Change, "get_raw_value", StringCommand.get_raw_value),
        mock.patch.object(engine, "open_run", opened),
        mock.patch.object(engine, "close_run", return_value=None),
    ):
        yield


def applied(fleet: Fleet) -> tuple[float, int]:
    """Apply once; return seconds and round trips."""
    options = engine.Options(layers=("system", "ssh"), ask_password=lambda host: "")
    (node,) = engine.run(Command.APPLY, fleet, options, Quiet()).nodes
    assert node.status is NodeStatus.CHANGED, (node.status, node.reason)  # noqa: S101
    return node.duration_s, node.round_trips


def main(rounds: int) -> None:
    """Measure and print."""
    found: dict[str, list[tuple[float, int]]] = {"without": [], "with": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        containers(["bench"], "debian-13", preinstall=("tzdata",)) as (node,),
    ):
        inventory = write_inventory(Path(folder), [node], SITE)
        node.ssh(UNDO)
        applied(load(str(inventory)))  # lists and archives of packages are there from now on
        for _ in range(rounds):
            for way in found:
                node.ssh(UNDO)
                fleet = load(str(inventory))
                if way == "with":
                    found[way].append(applied(fleet))
                else:
                    with without():
                        found[way].append(applied(fleet))
    for way, measured in found.items():
        seconds = [one for one, _ in measured]
        print(
            f"{way:8} median {statistics.median(seconds):6.2f} s "
            f"(min {min(seconds):.2f}, max {max(seconds):.2f}), "
            f"{max(trips for _, trips in measured)} round trips"
        )
    medians = [statistics.median(s for s, _ in found[way]) for way in ("with", "without")]
    print(f"ratio    {medians[0] / medians[1]:.3f} over {rounds} rounds")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
