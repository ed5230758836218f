"""From a result to an exit code: the worst that any node has decides."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

import nodeproof
from nodeproof.engine.outcome import exit_code
from nodeproof.engine.result import Command, Node, NodeStatus, Result
from nodeproof.errors import (
    Exit,
    NodeproofError,
    RefusedError,
    UnreachableError,
    UsageError,
    said,
)


def result(*statuses: NodeStatus, interrupted: bool = False) -> Result:
    return Result(
        command=Command.APPLY,
        run="20261003T091500Z-4f2a9c",
        version="0",
        inventory="x",
        started="",
        duration_s=0,
        nodes=[Node(name=str(n), status=status) for n, status in enumerate(statuses)],
        interrupted=interrupted,
    )


ALONE = {
    NodeStatus.OK: Exit.DONE,
    NodeStatus.CHANGED: Exit.DONE,
    NodeStatus.PENDING: Exit.DONE,
    NodeStatus.FAILED: Exit.FAILED,
    NodeStatus.REFUSED: Exit.REFUSED,
    NodeStatus.UNREACHABLE: Exit.UNREACHABLE,
}
WORST_FIRST = (NodeStatus.FAILED, NodeStatus.REFUSED, NodeStatus.UNREACHABLE)


@pytest.mark.parametrize("status", NodeStatus)
def test_one_node(status: NodeStatus) -> None:
    assert exit_code(result(status)) is ALONE[status]
    detailed = Exit.PENDING if status is NodeStatus.PENDING else ALONE[status]
    assert exit_code(result(status), detailed=True) is detailed


@pytest.mark.parametrize("pair", [*combinations(NodeStatus, 2)], ids=lambda pair: "+".join(pair))
def test_two_nodes(pair: tuple[NodeStatus, NodeStatus]) -> None:
    worst = next((status for status in WORST_FIRST if status in pair), None)
    for order in (pair, pair[::-1]):
        if worst:
            assert exit_code(result(*order), detailed=True) is ALONE[worst]
        else:
            pending = NodeStatus.PENDING in pair
            assert exit_code(result(*order), detailed=True) is (
                Exit.PENDING if pending else Exit.DONE
            )


def test_no_node() -> None:
    assert exit_code(result()) is Exit.DONE


@pytest.mark.parametrize("status", NodeStatus)
def test_interrupted_says_so_whatever_the_nodes_say(status: NodeStatus) -> None:
    assert exit_code(result(status, interrupted=True)) is Exit.INTERRUPTED


def test_codes_are_those_documented() -> None:
    assert {code.name: code.value for code in Exit} == {
        "DONE": 0,
        "FAILED": 1,
        "USAGE": 2,
        "UNREACHABLE": 3,
        "REFUSED": 4,
        "PENDING": 5,
        "INTERRUPTED": 130,
    }
    page = Path(nodeproof.__file__).parents[2] / "docs" / "reference" / "exit-codes.md"
    rows = re.findall(r"^\| (\d+) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(int(row) for row in rows) == sorted(Exit)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NodeproofError, Exit.FAILED),
        (UsageError, Exit.USAGE),
        (UnreachableError, Exit.UNREACHABLE),
        (RefusedError, Exit.REFUSED),
    ],
)
def test_errors_have_their_code(error: type[NodeproofError], code: Exit) -> None:
    assert error("x: y").exit_code is code


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UsageError("x: is wrong", hint="do this"), "x: is wrong"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (KeyError("users"), "KeyError: 'users'"),
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (ValueError(), "ValueError: "),
        (ConnectionResetError(), "ConnectionResetError: "),
    ],
)
def test_what_an_error_says_is_one_line(error: Exception, text: str) -> None:
    assert said(error) == text
