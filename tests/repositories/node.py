"""A container node on which operations are planned, applied and taken back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pyinfra.api import deploy

from nodeproof.catalog.distributions import distributions
from nodeproof.engine import run as engine
from nodeproof.engine.adapter.inventory import load
from nodeproof.engine.result import Change, Command, Node, Result
from nodeproof.engine.run import Options
from nodeproof.lab import ContainerNode
from nodeproof.layers import LAYER_NAMES
from tests.support import nodeproof, write_inventory


class Quiet:
    """Hears how a run goes on, and says nothing."""

    def node(self, host: str, doing: str) -> None:
        pass

    def change(self, host: str, change: Change) -> None:
        pass

    def done(self, node: Node) -> None:
        pass


class Site:
    """One node, and what a deploy of operations makes of it."""

    def __init__(self, node: ContainerNode, folder: Path) -> None:
        self.node = node
        self.inventory = write_inventory(folder, [node], {})

    def plan(self, operations: Callable[[], object]) -> Node:
        """Return what would be done."""
        return self._run(Command.PLAN, operations).nodes[0]

    def apply(self, operations: Callable[[], object]) -> Node:
        """Do it, and return what was done."""
        return self.applied(operations).nodes[0]

    def applied(self, operations: Callable[[], object]) -> Result:
        """Do it, and return the whole result."""
        return self._run(Command.APPLY, operations)

    def revert(self, run: str) -> None:
        """Take a run back."""
        done = nodeproof("revert", run, self.inventory, "--yes", "--json")
        assert done.code == 0, done.out + done.err

    def sh(self, script: str, *, check: bool = True) -> str:
        """Run a script as root and return what it printed."""
        done = self.node.ssh("sudo sh", stdin=script, check=False)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done.stdout

    def installed(self, *names: str) -> dict[str, str]:
        """Return the versions of these packages, of those that are installed."""
        listed = self.sh("dpkg-query -W -f '${db:Status-Status}|${Package}|${Version}\\n'")
        rows = (line.split("|") for line in listed.splitlines())
        return {
            name: version for state, name, version in rows if state == "installed" and name in names
        }

    def held(self) -> set[str]:
        """Return the names of packages that are held."""
        return set(self.sh("apt-mark showhold").split())

    def _run(self, command: Command, operations: Callable[[], object]) -> Result:
        options = Options(layers=LAYER_NAMES, ask_password=_no_password)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "preflight", lambda name, facts: distributions()["debian-13"])
            patch.setattr(engine, "deploy_layers", lambda *arguments: deploy("gpu")(operations)())
            return engine.run(command, load(str(self.inventory)), options, Quiet())


def changed(node: Node) -> list[str]:
    """Return the names of what was changed, or would be, in a run that came to its end."""
    assert node.status in ("ok", "changed", "pending"), node.reason
    return [one.name for one in node.changes if one.status in ("changed", "planned")]


def _no_password(host: str) -> str:
    raise AssertionError(f"{host}: asked for a password")
