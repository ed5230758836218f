"""Hosts that are this machine: as many as a test needs, each with a root shell of its own."""

from __future__ import annotations

import atexit
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import Inventory

from nodeproof.catalog.distributions import distributions
from nodeproof.engine import run as engine
from nodeproof.engine.adapter.connector import NodeLocalConnector
from nodeproof.engine.adapter.facts import FactCache
from nodeproof.engine.adapter.inventory import Fleet
from nodeproof.engine.adapter.session import Session
from nodeproof.engine.adapter.shell import Shell, Streams
from nodeproof.engine.fingerprint import Fingerprint
from nodeproof.engine.result import Change, Command, Node, Result
from nodeproof.engine.run import Options
from nodeproof.layers import LAYER_NAMES
from nodeproof.settings.site import validate

Deploy = Callable[[], object]
JOURNALS = Path(tempfile.mkdtemp(prefix="nodeproof-journals-"))
atexit.register(shutil.rmtree, JOURNALS)


class LocalNode(NodeLocalConnector):
    """This machine with a journal of its own, as if it were a machine of its own."""

    def _start(self, command: str) -> Streams:
        home = shlex.quote(str(JOURNALS / self.host.name))
        return super()._start(
            f"export NODEPROOF_HOME={home}/lib NODEPROOF_RUN={home}/run; {command}"
        )


def fleet(*names: str, data: Mapping[str, Any] | None = None) -> Fleet:
    """Return hosts with these names that all are this machine."""
    inventory = Inventory(([(name, dict(data or {})) for name in names], {}))
    for host in inventory:
        host.connector_cls = LocalNode
    settings = validate("test", {name: data or {} for name in names})
    return Fleet("test", inventory, tuple(inventory), settings)


def no_password(host: str) -> str:
    raise AssertionError(f"{host}: asked for a password")


@contextmanager
def session(name: str = "node1") -> Iterator[Session]:
    """Return a connected session with this machine."""
    (host,) = fleet(name).hosts
    opened = Session(host, no_password)
    opened.connect()
    try:
        yield opened
    finally:
        opened.disconnect()


class Watcher:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, Change]] = []
        self.ended: list[Node] = []

    def node(self, host: str, doing: str) -> None:
        pass

    def change(self, host: str, change: Change) -> None:
        self.changes.append((host, change))

    def done(self, node: Node) -> None:
        self.ended.append(node)


def run(
    command: Command,
    hosts: Fleet,
    deploy: Callable[[str], object],
    monkeypatch: pytest.MonkeyPatch,
    agreed: dict[str, Fingerprint] | None = None,
) -> Result:
    """Run a command whose site is `deploy`, called with each host's name."""
    options = Options(layers=LAYER_NAMES, ask_password=no_password, agreed=agreed)
    return _run(command, hosts, deploy, monkeypatch, options)


def planned(
    hosts: Fleet, deploy: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Fingerprint]:
    """Plan, and return what each host's plan rests on."""
    options = Options(layers=LAYER_NAMES, ask_password=no_password)
    _run(Command.PLAN, hosts, deploy, monkeypatch, options)
    return options.planned


def _run(
    command: Command,
    hosts: Fleet,
    deploy: Callable[[str], object],
    monkeypatch: pytest.MonkeyPatch,
    options: Options,
) -> Result:
    monkeypatch.setattr(engine, "preflight", lambda name, facts: distributions()["debian-12"])
    monkeypatch.setattr(
        engine, "deploy_layers", lambda settings, layers, facts, row: deploy(settings.host)
    )
    return engine.run(command, hosts, options, Watcher())


class Traffic:
    """Counts what goes to the node."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rounds = 0
        self.commands: list[str] = []
        fetch, run_ = FactCache.fetch, Shell.run

        def counted(cache: FactCache) -> int:
            many = fetch(cache)
            self.rounds += bool(many)
            return many

        def noted(shell: Shell, command: str, **options: Any) -> tuple[int, bytes, bytes]:
            self.commands.append(command)
            return run_(shell, command, **options)

        monkeypatch.setattr(FactCache, "fetch", counted)
        monkeypatch.setattr(Shell, "run", noted)
