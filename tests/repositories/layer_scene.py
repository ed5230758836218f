"""A node beside repositories, and what is asked of its layers there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nodeproof.lab import ContainerNode
from tests.support import Done, Running, nodeproof, write_inventory

STAY, INSIDE = "/run/stay", "/run/inside"
WAITS = f"while [ -e {STAY} ]; do touch {INSIDE}; sleep 0.1; done\n"
"""A package's script in which a test can stay."""


class Scene:
    """A node, what is asked of it, and what came of it."""

    looks: str
    """A script that prints what the layer could change."""

    def __init__(self, node: ContainerNode, folder: Path) -> None:
        self.node, self.folder = node, folder

    def do(
        self, command: str, layers: Mapping[str, Any], env: Mapping[str, str] | None = None
    ) -> Done:
        """Plan, apply or verify what is asked of layers."""
        yes = ["--yes"] if command == "apply" else []
        inventory = write_inventory(self.folder, [self.node], layers)
        return nodeproof(command, inventory, *yes, "--json", env=env)

    @contextmanager
    def inside(
        self, layers: Mapping[str, Any], env: Mapping[str, str] | None = None
    ) -> Iterator[Running]:
        """Apply, and stay inside a transaction of packages while the context lasts."""
        self.sh(f"touch {STAY}; rm -f {INSIDE}")
        inventory = write_inventory(self.folder, [self.node], layers)
        running = Running("apply", inventory, "--yes", "--json", env=env)
        self.sh(f"timeout 300 sh -c 'until [ -e {INSIDE} ]; do sleep 0.1; done'")
        yield running
        self.sh(f"rm {STAY}")

    def last_run(self) -> str:
        """Return the newest run's id."""
        return self.sh("ls /var/lib/nodeproof/runs | tail -n 1").strip()

    def back(self, *runs: Done | str) -> None:
        """Take runs back, in this order."""
        inventory = write_inventory(self.folder, [self.node], {})
        for run in runs:
            name = run if isinstance(run, str) else run.json["run"]
            done = nodeproof("revert", name, inventory, "--yes", "--json")
            assert done.code == 0, done.out + done.err

    def changed(self, done: Done) -> list[str]:
        """Return what was changed, or would be; nothing may have gone wrong."""
        assert done.code == 0, done.out + done.err
        return done.changed(self.node.name)

    def refused(self, done: Done) -> str:
        """Return why it was refused."""
        assert done.code == 4, done.out + done.err
        reason: str = done.node(self.node.name)["reason"]
        return reason

    def failed(self, done: Done) -> set[str]:
        """Return the checks that failed."""
        assert done.out, done.err
        assert done.json["nodes"], done.err
        return set(done.failing(self.node.name))

    def sh(self, script: str) -> str:
        """Run a script as root and return what it printed."""
        done = self.node.ssh("sudo sh", stdin=script, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def state(self) -> set[str]:
        """Return what the layer could change."""
        return set(self.sh(self.looks).splitlines())
