"""A copy of the repository's Vagrantfile and inventories, with a Vagrant of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import Done, nodeproof

REPOSITORY = Path(__file__).resolve().parents[3]
NAME = "nodeproof-test"
"""The folder's name, with which vagrant-libvirt names machines, and the box's."""


@dataclass(frozen=True)
class Project:
    """The copy, in a scratch folder with a home of its own."""

    scratch: Path

    @property
    def folder(self) -> Path:
        """Where the Vagrantfile is."""
        return self.scratch / NAME

    @property
    def inventory(self) -> Path:
        """The copy of inventories/vagrant.py."""
        return self.folder / "inventories" / "vagrant.py"

    def environment(self, **more: str) -> dict[str, str]:
        """Return an environment in which nothing of the user's is read or written."""
        own = {name: value for name, value in os.environ.items() if "VAGRANT" not in name}
        return {
            **own,
            "HOME": str(self.scratch / "home"),
            "VAGRANT_HOME": str(self.scratch / "home" / "vagrant"),
            "VAGRANT_DEFAULT_PROVIDER": "libvirt",
            "NODEPROOF_STATE_DIR": str(self.scratch / "state"),
            "NO_COLOR": "1",
            **more,
        }

    def vagrant(self, *words: str, check: bool = True, **more: str) -> str:
        """Run vagrant beside the copy of the Vagrantfile; return everything it said."""
        started = time.monotonic()
        done = subprocess.run(
            ["vagrant", *words, "--no-tty"],
            cwd=self.folder,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        say(f"vagrant {' '.join(words)}", started, done.stdout)
        assert done.returncode == 0 or not check, done.stdout
        return done.stdout

    def nodeproof(self, verb: str, *options: str, **more: str) -> Done:
        """Run a command of nodeproof on the inventory, from a folder that is not the project's."""
        started = time.monotonic()
        done = nodeproof(verb, self.inventory, *options, env=self.environment(**more))
        counted = [f"{node['name']}: {_counts(node)}" for node in _nodes(done) if _counts(node)]
        say(f"nodeproof {verb} {' '.join(options)}", started, "\n".join([done.err, *counted]))
        return done


def copy(scratch: Path) -> Project:
    """Copy the Vagrantfile and the inventories."""
    project = Project(scratch)
    (scratch / "home").mkdir()
    shutil.copytree(REPOSITORY / "inventories", project.folder / "inventories")
    shutil.copy(REPOSITORY / "Vagrantfile", project.folder)
    return project


def say(what: str, started: float, output: str = "") -> None:
    """Tell how long a step took and how its output ended (`pytest -s`)."""
    print(f"\n{what}: {time.monotonic() - started:.1f} s")  # noqa: T201
    for line in output.splitlines()[-6:]:
        print(f"    {line}")  # noqa: T201


def _nodes(done: Done) -> list[dict[str, Any]]:
    return list(done.json["nodes"]) if done.out.startswith("{") else []


def _counts(node: dict[str, Any]) -> str:
    words = [change["status"] for change in node["changes"]]
    words += [check["verdict"] for check in node["checks"]]
    return ", ".join(f"{count} {word}" for word, count in Counter(words).items())
