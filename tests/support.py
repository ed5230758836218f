"""What tests of real nodes share: inventories made on the spot, and the command line."""

from __future__ import annotations

import json
import os
import pprint
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

TIMEOUT_S = 1500


class Reachable(Protocol):
    """A lab machine or a container node."""

    name: str
    address: str
    ssh_port: int
    user: str
    key: Path
    known_hosts: Path


def connection(node: Reachable) -> dict[str, Any]:
    """Return a node's connection data."""
    return {
        "ssh_hostname": node.address,
        "ssh_port": node.ssh_port,
        "ssh_user": node.user,
        "ssh_key": str(node.key),
        "ssh_known_hosts_file": str(node.known_hosts),
    }


def write_inventory(
    folder: Path, nodes: Sequence[Reachable], data: Mapping[str, Any], **hosts: Mapping[str, Any]
) -> Path:
    """Write an inventory of these nodes with group data; `hosts` adds data to single ones."""
    rows = [(node.name, {**connection(node), **hosts.get(node.name, {})}) for node in nodes]
    path = folder / "inventory.py"
    path.write_text(f"nodes = ({pprint.pformat(rows)}, {pprint.pformat(dict(data))})\n")
    return path


class Done:
    """A finished command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> dict[str, Any]:
        """The result that it printed."""
        parsed: dict[str, Any] = json.loads(self.out)
        return parsed

    def node(self, name: str) -> dict[str, Any]:
        """One node's part of the result."""
        found: dict[str, Any] = next(n for n in self.json["nodes"] if n["name"] == name)
        return found

    def changed(self, name: str) -> list[str]:
        """What changed, or would, on a node: ``layer | name``."""
        return [
            f"{change['layer']} | {change['name']}"
            for change in self.node(name)["changes"]
            if change["status"] in ("changed", "planned")
        ]

    def failing(self, name: str) -> list[str]:
        """The checks that failed on a node."""
        return [c["name"] for c in self.node(name)["checks"] if c["verdict"] == "failed"]


def command(*arguments: object) -> list[str]:
    """Return the argv of nodeproof."""
    return [sys.executable, "-m", "nodeproof", *map(str, arguments)]


def environment(state: Path | None = None) -> dict[str, str]:
    """Return an environment in which results are kept apart."""
    extra = {"NODEPROOF_STATE_DIR": str(state)} if state else {}
    return {**os.environ, "NO_COLOR": "1", **extra}


def nodeproof(*arguments: object, env: Mapping[str, str] | None = None) -> Done:
    """Run nodeproof to its end."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        stdin=subprocess.DEVNULL,
        env=env or environment(),
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Running:
    """nodeproof at work, with its progress lines as they come."""

    def __init__(self, *arguments: object, env: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            stdin=subprocess.DEVNULL,
            env=env or environment(),
        )
        self.lines: list[str] = []
        self._ended = False
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, text: str, seconds: float = 600) -> None:
        """Wait until a progress line holds `text`; fails when the command ends before."""

        def seen() -> bool:
            return any(text in line for line in self.lines) or self._ended

        with self._news:
            self._news.wait_for(seen, seconds)
        assert any(text in line for line in self.lines), "".join(self.lines[-20:])

    def finish(self) -> Done:
        """Wait for its end."""
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        code = self.process.wait(TIMEOUT_S)
        return Done(code, out, "".join(self.lines))

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()
