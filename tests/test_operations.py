"""Operations, a case a file: given facts and arguments, exactly these commands; then none."""

from __future__ import annotations

import inspect
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import OperationError
from pyinfra.api.operation import OperationMeta
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_host

from nodeproof.operations import files
from nodeproof.operations.journal import Change
from tests import cases

CASES = cases.found("operations")
KEYS = {"kwargs", "facts", "commands", "touches", "lasting", "then", "raises", "noop"}


class Node:
    """A host with the facts of a case."""

    name = "node1"

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = cases.Facts(facts)
        self.said: list[str] = []

    def get_fact(self, fact: Any, **arguments: Any) -> Any:
        return self.facts.get(fact, arguments)

    def noop(self, why: str) -> None:
        self.said.append(why)


def earlier(outcome: str) -> OperationMeta:
    """Return an operation that was done: changed or unchanged."""
    meta = OperationMeta("", None)
    meta.set_complete(True, [outcome] if outcome == "changed" else [], CommandOutput([]))
    return meta


def evaluated(
    name: str, kwargs: dict[str, Any], facts: dict[str, Any]
) -> tuple[list[Any], list[str], Node]:
    """Return the commands, what they touch, and the host that was asked."""
    node = Node(facts)
    after = kwargs.get("after")
    if after is not None:
        metas = [earlier(one) for one in ([after] if isinstance(after, str) else after)]
        kwargs = {**kwargs, "after": metas[0] if isinstance(after, str) else metas}
    operation = cases.operations()[name]._inner
    inspect.signature(operation).bind(**kwargs)
    kwargs = cases.arguments(operation, kwargs)
    with ctx_host.use(node):
        commands = list(operation(**kwargs))
    return commands, touched(commands), node


def shown(command: Any) -> Any:
    if isinstance(command, files.Upload):
        return {"upload": command.final, "content": command.src.read().decode()}
    assert isinstance(command, Change), "a command that is not in the journal"
    return str(command)


def touched(commands: list[Any]) -> list[str]:
    """Return the kinds and names that commands say they touch, in order, each once."""
    items = [item for one in commands if isinstance(one, Change) for item in one.touches]
    return list(dict.fromkeys(str(item).replace("\t", " ") for item in items))


def lasting(commands: list[Any]) -> list[str]:
    """Return what commands say cannot be taken back."""
    return [said for one in commands if isinstance(one, Change) for said in one.lasting]


@pytest.mark.parametrize("path", CASES, ids=cases.named)
def test_operation(path: Path) -> None:
    case = cases.read(path)
    assert case.keys() <= KEYS
    name, kwargs, facts = path.parent.name, case.get("kwargs", {}), case.get("facts", {})
    if "raises" in case:
        with pytest.raises(OperationError) as caught:
            evaluated(name, kwargs, facts)
        assert str(caught.value) == case["raises"]
        return
    sent, touches, node = evaluated(name, kwargs, facts)
    commands = [shown(command) for command in sent]
    assert commands == case["commands"]
    assert touches == case.get("touches", [])
    assert lasting(sent) == case.get("lasting", [])
    # Who reads a verbose run learns why nothing was done.
    assert bool(node.said) is (not commands)
    if "noop" in case:
        assert node.said == [case["noop"]]
    if commands:
        if "after" in kwargs:
            kwargs = {**kwargs, "after": unchanged(kwargs["after"])}
        if "stale" in kwargs:
            kwargs = {**kwargs, "stale": False}
        again, _, _ = evaluated(name, kwargs, {**facts, **case["then"]})
        assert again == []


def unchanged(after: str | list[str]) -> str | list[str]:
    return "unchanged" if isinstance(after, str) else ["unchanged"] * len(after)


def test_fetching_old_package_lists_does_not_count() -> None:
    """They grow old while a plan is read; that must not make it stale."""
    node = Node({"packages.AptPackages": {"lists_fresh": False}})
    operation = cases.operations()["packages.present"]._inner
    with ctx_host.use(node):
        found = list(operation(manager="apt", packages=["chrony"]))
    assert [one.counts for one in found] == [False, True]


@pytest.mark.parametrize("path", CASES, ids=cases.named)
def test_commands_parse(path: Path) -> None:
    """A command that the node's shell cannot parse fails at the worst moment."""
    commands = [one for one in cases.read(path).get("commands", []) if isinstance(one, str)]
    for command in commands:
        done = subprocess.run(["sh", "-n", "-c", command], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("name", cases.operations())
def test_every_operation_has_cases(name: str) -> None:
    written = [cases.read(path) for path in CASES if path.parent.name == name]
    assert len(written) >= 2
    assert any(case.get("commands") for case in written), "none in which it does something"
    assert any(case.get("commands") == [] for case in written), "none in which all is right"


def test_no_case_without_an_operation() -> None:
    assert {path.parent.name for path in CASES} == cases.operations().keys()
