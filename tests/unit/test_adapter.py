"""Foresee, run, and keep hosts apart: the engine and pyinfra below it, on this machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterator
from hashlib import sha256
from pathlib import Path

import gevent
import pytest
from local_fleet import Traffic, fleet, planned, run, session
from pyinfra import host
from pyinfra.api import (
    DeployError,
    FactBase,
    OperationValueError,
    QuoteString,
    StringCommand,
    operation,
)
from pyinfra.api.hiddenvalue import HiddenValue

from nodeproof.engine import run as engine
from nodeproof.engine.canonical import digest
from nodeproof.engine.fingerprint import SHORT, Fingerprint
from nodeproof.engine.result import Change, ChangeStatus, Command, Node, NodeStatus, Result
from nodeproof.engine.stale import what_moved
from nodeproof.errors import NodeproofError, UnreachableError
from nodeproof.facts.files import FileState
from nodeproof.operations import files, journal
from nodeproof.operations.journal import OpenRun
from nodeproof.operations.outcome import changes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as a node does")


CUT = "kill -9 $(ps -o ppid= -p $PPID)"
"""Kills the shell that runs the commands."""


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    with gevent.Timeout(60, AssertionError("no end after 60 s")):
        yield


@operation()
def shell(command: str) -> Generator[StringCommand]:
    yield StringCommand("sh", "-c", QuoteString(command))


@operation()
def login(password: HiddenValue) -> Generator[StringCommand]:
    yield StringCommand("test", QuoteString(password), "!=", "x")


@operation()
def breaks(error: Exception) -> Generator[StringCommand]:
    raise error
    yield StringCommand("true")


@operation()
def following(after: object) -> Generator[StringCommand]:
    if changes(after):
        yield StringCommand("echo followed")


class Odd(FactBase[str]):
    def command(self, script: str) -> StringCommand:
        return StringCommand("sh", "-c", QuoteString(script))

    def process(self, output: list[str]) -> str:
        (line,) = output
        return line


@operation()
def looks(script: str) -> Generator[StringCommand]:
    host.get_fact(Odd, script=script)
    yield StringCommand("true")


@operation()
def prepared(path: Path, old: bool) -> Generator[StringCommand]:
    if old:
        yield journal.Change("echo", "fetched", touches=[journal.file(str(path))], counts=False)
    yield StringCommand("touch", "--", QuoteString(str(path)))


def write(path: Path, text: str = "new\n", **options: object) -> object:
    return files.content(name=f"Write {path.name}", path=str(path), text=text, **options)


def ignored(change: object) -> None:
    """Do nothing at the beginning of a change."""


def by_name(result: Result) -> dict[str, Node]:
    return {node.name: node for node in result.nodes}


# Foreseen and done


def test_done_is_what_was_foreseen(tmp_path: Path) -> None:
    def deploy() -> None:
        files.directory(name="Make a folder", path=str(tmp_path / "folder"), mode="750")
        write(tmp_path / "folder" / "file", mode="640")
        write(tmp_path / "right", "right\n")
        files.absent(name="Remove", path=str(tmp_path / "old"))

    (tmp_path / "right").write_text("right\n")
    (tmp_path / "right").chmod(0o644)
    (tmp_path / "old").write_text("old\n")
    with session() as node:
        node.collect(deploy)
        foreseen = node.foresee()
        assert not (tmp_path / "folder").exists()
        done = list(node.run(foreseen, OpenRun("20260101T000000Z-unit"), ignored))

    assert [len(one.commands) for one in foreseen] == [1, 2, 0, 1]
    assert [tuple(one.commands) for one in done] == [one.commands for one in foreseen]
    assert [one.foreseen for one in done] == [True] * 4
    assert [one.status.value for one in done] == ["changed", "changed", "unchanged", "changed"]
    assert stat.S_IMODE((tmp_path / "folder" / "file").stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "right"]

    with session() as node:
        node.collect(deploy)
        assert [one.commands for one in node.foresee()] == [()] * 4


def test_foreseeing_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traffic = Traffic(monkeypatch)
    with session() as node:
        node.collect(lambda: [write(tmp_path / "file"), shell(f"touch {tmp_path / 'touched'}")])
        node.foresee()
        node.foresee()
    assert list(tmp_path.iterdir()) == []
    assert not any("touch" in command for command in traffic.commands)


def test_what_nobody_foresaw_is_flagged(tmp_path: Path) -> None:
    def deploy() -> None:
        shell(f"touch {tmp_path / 'litter'}", name="Litter")
        files.absent(name="Clean", path=str(tmp_path / "litter"))

    with session() as node:
        node.collect(deploy)
        foreseen = node.foresee()
        litter, clean = node.run(foreseen, OpenRun("20260101T000000Z-unit"), ignored)
    assert [len(one.commands) for one in foreseen] == [1, 0]
    assert (litter.foreseen, clean.foreseen) == (True, False)
    assert clean.status is ChangeStatus.CHANGED
    assert clean.reason == "not foreseen: an earlier change made it necessary"


def test_what_was_done_already_is_flagged(tmp_path: Path) -> None:
    def deploy() -> None:
        shell(f"rm {tmp_path / 'litter'}", name="Clean before")
        files.absent(name="Clean", path=str(tmp_path / "litter"))

    (tmp_path / "litter").touch()
    with session() as node:
        node.collect(deploy)
        _, clean = node.run(node.foresee(), OpenRun("20260101T000000Z-unit"), ignored)
    assert (clean.status, clean.foreseen) == (ChangeStatus.UNCHANGED, False)
    assert clean.reason == "an earlier change had already done it"


@pytest.mark.parametrize("right", [True, False])
def test_what_follows_a_change_is_foreseen_with_it(tmp_path: Path, right: bool) -> None:
    path = tmp_path / "file"
    if right:
        path.write_text("new\n")
        path.chmod(0o644)

    def deploy() -> None:
        written = write(path)
        following(after=written, name="Follow")
        shell("true", name="Only if", _if=written.did_change)

    with session() as node:
        node.collect(deploy)
        foreseen = node.foresee()
        done = list(node.run(foreseen, OpenRun("20260101T000000Z-unit"), ignored))
    many = [0, 0, 0] if right else [2, 1, 1]
    assert [len(one.commands) for one in foreseen] == many
    assert [len(one.commands) for one in done] == many
    assert all(one.foreseen for one in done)


def test_a_failure_skips_the_rest_of_this_host(tmp_path: Path) -> None:
    with session() as node:
        node.collect(
            lambda: [
                write(tmp_path / "first"),
                shell("echo some; echo 'it broke' >&2; exit 3", name="Break"),
                write(tmp_path / "last"),
            ]
        )
        done = list(node.run(node.foresee(), OpenRun("20260101T000000Z-unit"), ignored))
    assert [one.status.value for one in done] == ["changed", "failed", "skipped"]
    assert "it broke" in done[1].reason
    assert done[2].reason == "an earlier change failed: Break"
    assert not (tmp_path / "last").exists()


def test_a_refused_file_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old\n")
    check = ["sh", "-c", "echo 'line 1: bad' >&2; exit 1", "sh", "%s"]
    with session() as node:
        node.collect(lambda: write(path, validate=check))
        (done,) = node.run(node.foresee(), OpenRun("20260101T000000Z-unit"), ignored)
    assert done.status is ChangeStatus.FAILED
    assert "line 1: bad" in done.reason
    assert path.read_text() == "old\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_an_upload_that_fails_says_why(tmp_path: Path) -> None:
    with session() as node:
        node.collect(lambda: write(tmp_path / "missing" / "file"))
        (done,) = node.run(node.foresee(), OpenRun("20260101T000000Z-unit"), ignored)
    assert done.status is ChangeStatus.FAILED
    assert "No such file or directory" in done.reason


# Facts


def test_facts_are_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traffic = Traffic(monkeypatch)
    with session() as node:
        node.collect(lambda: [write(tmp_path / str(n)) for n in range(30)])
        node.foresee()
    assert traffic.rounds == 1
    assert len(traffic.commands) == 30


def test_one_fact_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traffic = Traffic(monkeypatch)
    path = str(tmp_path / "file")
    with session() as node:
        node.collect(lambda: [files.absent(name=str(n), path=path) for n in range(5)])
        done = list(node.run(node.foresee(), OpenRun("20260101T000000Z-unit"), ignored))
    assert len(traffic.commands) == 1
    assert {one.status for one in done} == {ChangeStatus.UNCHANGED}


def test_facts_are_read_again_after_a_change(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    with session() as node:
        assert node.fact(FileState, path=path) is None
        node.collect(lambda: write(tmp_path / "file"))
        list(node.run(node.foresee(), OpenRun("20260101T000000Z-unit"), ignored))
        assert node.fact(FileState, path=path).text == "new\n"


def test_facts_are_read_together_again_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrong").touch()
    for n in range(20):
        (tmp_path / str(n)).write_text("new\n")
        (tmp_path / str(n)).chmod(0o644)
    traffic = Traffic(monkeypatch)
    with session() as node:
        node.collect(
            lambda: [write(tmp_path / "wrong"), *(write(tmp_path / str(n)) for n in range(20))]
        )
        done = list(node.run(node.foresee(), OpenRun("20260101T000000Z-unit"), ignored))
    assert [one.status.value for one in done] == ["changed", *["unchanged"] * 20]
    assert traffic.rounds == 2


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'cannot read that' >&2; exit 1", "cannot read that"),
        ("exit 4", "exit code 4"),
        ("echo one; echo two", "too many values"),
    ],
)
def test_a_fact_that_fails_is_said_in_one_line(script: str, said: str) -> None:
    with session() as node:
        node.collect(lambda: looks(script))
        with pytest.raises(NodeproofError) as caught:
            node.foresee()
    assert caught.value.message.startswith("node1: cannot read its state: ")
    assert said in caught.value.message
    assert "\n" not in caught.value.message


# Hosts apart


def only(name: str, action: Callable[[], object], path: Path) -> Callable[[str], object]:
    """Return a deploy that writes a file on every host and does `action` on one, in between."""

    def deploy(host_name: str) -> None:
        if host_name == name:
            action()
        write(path / host_name)

    return deploy


def fail() -> object:
    return shell("exit 1", name="Break")


def refuse() -> object:
    raise DeployError("b: ssh: would lock you out")


def bug() -> object:
    raise KeyError("a mistake of ours")


@pytest.mark.parametrize(
    ("action", "status", "reason"),
    [
        (fail, NodeStatus.FAILED, "Break"),
        (refuse, NodeStatus.REFUSED, "ssh: would lock you out"),
        (bug, NodeStatus.FAILED, "KeyError: 'a mistake of ours'"),
        (
            lambda: breaks(OperationValueError("x.y: is odd")),
            NodeStatus.REFUSED,
            "breaks: x.y: is odd",
        ),
        (lambda: breaks(ValueError("odd")), NodeStatus.FAILED, "ValueError: odd"),
        (lambda: breaks(RuntimeError("odd")), NodeStatus.FAILED, "RuntimeError: odd"),
        (lambda: looks("exit 4"), NodeStatus.FAILED, "cannot read its state: exit code 4"),
        (lambda: looks("echo 1; echo 2"), NodeStatus.FAILED, "cannot read its state: "),
        (lambda: looks(CUT), NodeStatus.UNREACHABLE, "connection lost"),
    ],
)
def test_trouble_of_one_host_stays_its_own(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    action: Callable[[], object],
    status: NodeStatus,
    reason: str,
) -> None:
    hosts = fleet("a", "b", "c")
    result = run(Command.APPLY, hosts, only("b", action, tmp_path), monkeypatch)
    nodes = by_name(result)
    assert list(nodes) == ["a", "b", "c"]
    assert (nodes["a"].status, nodes["c"].status) == (NodeStatus.CHANGED, NodeStatus.CHANGED)
    assert nodes["b"].status is status
    assert reason in nodes["b"].reason
    assert "\n" not in nodes["b"].reason
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]


def test_a_node_lost_in_the_middle_keeps_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deploy(name: str) -> None:
        write(tmp_path / f"{name}-first")
        if name == "b":
            shell(CUT, name="Cut")
        write(tmp_path / f"{name}-last")

    nodes = by_name(run(Command.APPLY, fleet("a", "b"), deploy, monkeypatch))
    assert nodes["a"].status is NodeStatus.CHANGED
    assert nodes["b"].status is NodeStatus.UNREACHABLE
    assert "connection lost" in nodes["b"].reason
    statuses = [change.status.value for change in nodes["b"].changes]
    assert statuses == ["changed", "failed", "skipped"]


def test_a_fact_that_fails_between_changes_keeps_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"

    def deploy(name: str) -> None:
        shell(f"touch {broken}", name="Touch")
        looks(f"! test -e {broken} || exit 5; echo fine", name="Look")

    (node,) = run(Command.APPLY, fleet("a"), deploy, monkeypatch).nodes
    assert node.status is NodeStatus.FAILED
    assert [change.status.value for change in node.changes] == ["changed", "failed"]
    assert "exit code 5" in node.changes[1].reason


def test_unreachable_node_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nodeproof.engine.adapter.connector import NodeLocalConnector

    start = NodeLocalConnector._start

    def closed(connector: NodeLocalConnector, command: str) -> object:
        return start(connector, command if connector.host.name != "b" else "exit 1")

    monkeypatch.setattr(NodeLocalConnector, "_start", closed)
    nodes = by_name(
        run(Command.APPLY, fleet("a", "b"), lambda name: write(tmp_path / name), monkeypatch)
    )
    assert nodes["a"].status is NodeStatus.CHANGED
    assert nodes["b"].status is NodeStatus.UNREACHABLE
    assert nodes["b"].hint


def test_many_hosts_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"node{number:02}" for number in range(20)]

    def deploy(name: str) -> None:
        files.directory(name="Make a folder", path=str(tmp_path / name))
        write(tmp_path / name / "name", f"{name} {host.name}\n")

    result = run(Command.APPLY, fleet(*names), deploy, monkeypatch)
    assert [node.name for node in result.nodes] == names
    assert {node.status for node in result.nodes} == {NodeStatus.CHANGED}
    assert all((tmp_path / n / "name").read_text() == f"{n} {n}\n" for n in names)

    again = run(Command.APPLY, fleet(*names), deploy, monkeypatch)
    assert {node.status for node in again.nodes} == {NodeStatus.OK}
    changed = [one for node in again.nodes for one in node.changes if one.commands]
    assert changed == []


# The plan's hash


def hash_of(
    monkeypatch: pytest.MonkeyPatch, deploy: Callable[[str], object], **data: object
) -> str:
    (node,) = run(Command.PLAN, fleet("a", data=data), deploy, monkeypatch).nodes
    assert len(node.plan_hash) == 64
    return node.plan_hash


def test_hash_is_stable_and_tells_plans_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    first = hash_of(monkeypatch, lambda _: write(path))
    assert hash_of(monkeypatch, lambda _: write(path)) == first
    others = {
        "content": hash_of(monkeypatch, lambda _: write(path, "other\n")),
        "mode": hash_of(monkeypatch, lambda _: write(path, mode="600")),
        "path": hash_of(monkeypatch, lambda _: write(tmp_path / "other")),
        "more": hash_of(monkeypatch, lambda _: [write(path), shell("true", name="More")]),
        "name": hash_of(
            monkeypatch, lambda _: files.content(name="X", path=str(path), text="new\n")
        ),
        "settings": hash_of(monkeypatch, lambda _: write(path), ssh={"max_sessions": 11}),
    }
    path.write_text("old\n")
    others["node"] = hash_of(monkeypatch, lambda _: write(path))
    assert len({first, *others.values()}) == len(others) + 1


def test_a_plan_is_applied_as_it_was_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    agreed = planned(fleet("a"), lambda _: write(path), monkeypatch)
    path.write_text("somebody was here\n")
    (moved,) = run(Command.APPLY, fleet("a"), lambda _: write(path), monkeypatch, agreed).nodes
    assert moved.status is NodeStatus.REFUSED
    assert moved.reason == f"the node moved since the plan was made: {path} appeared"
    assert path.read_text() == "somebody was here\n"

    path.unlink()
    (same,) = run(Command.APPLY, fleet("a"), lambda _: write(path), monkeypatch, agreed).nodes
    assert same.status is NodeStatus.CHANGED
    assert path.read_text() == "new\n"


def test_a_node_that_the_plan_does_not_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = planned(fleet("a"), lambda _: write(tmp_path / "x"), monkeypatch)
    (node,) = run(
        Command.APPLY, fleet("b"), lambda _: write(tmp_path / "x"), monkeypatch, agreed
    ).nodes
    assert (node.status, node.reason) == (NodeStatus.REFUSED, "it is not in the plan")


def test_what_a_plan_rests_on_costs_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything in the fingerprint was read anyway, for the changes themselves."""

    def deploy(name: str) -> None:
        write(tmp_path / "one")
        files.absent(name="Remove", path=str(tmp_path / "two"))

    (with_digests,) = run(Command.PLAN, fleet("a"), deploy, monkeypatch).nodes
    agreed = planned(fleet("a"), deploy, monkeypatch)
    monkeypatch.setattr(engine, "fingerprint", lambda *_: agreed["a"])
    (without,) = run(Command.PLAN, fleet("a"), deploy, monkeypatch).nodes
    assert with_digests.round_trips == without.round_trips == 5  # machine, journal, boot, paths
    assert {name.split()[0] for name in agreed["a"].facts} == {
        "Node",
        "Journal",
        "Boot",
        "FileState",
    }


def test_commands_that_may_be_needed_or_not_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Package lists grow old: the plan says so, and stays true."""
    path = tmp_path / "file"
    agreed = planned(fleet("a"), lambda _: prepared(path, old=False, name="P"), monkeypatch)
    later = planned(fleet("a"), lambda _: prepared(path, old=True, name="P"), monkeypatch)
    assert later == agreed
    (node,) = run(
        Command.APPLY, fleet("a"), lambda _: prepared(path, old=True, name="P"), monkeypatch, agreed
    ).nodes
    assert (node.status, node.changes[0].commands) == (
        NodeStatus.CHANGED,
        ["echo fetched", f"touch -- {path}"],
    )


# What must not be shown


def test_secrets_are_masked_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    path.write_text("old hunter1\n")

    def deploy(name: str) -> None:
        write(path, "token hunter2\n", secret=True, mode="600")
        login(HiddenValue("hunter3"), name="Log in")

    planned = run(Command.PLAN, fleet("a"), deploy, monkeypatch)
    applied = run(Command.APPLY, fleet("a"), deploy, monkeypatch)
    for result in (planned, applied):
        assert "hunter" not in result.model_dump_json()
        assert "hunter" not in repr(result)
    first, second = applied.nodes[0].changes
    assert first.commands[0].endswith("(secret)")
    assert (first.diff, second.status) == ("", ChangeStatus.CHANGED)
    assert path.read_text() == "token hunter2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_plan_has_no_digest_of_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong content that became another is replaced as foreseen; a right one that moved not."""
    path = tmp_path / "token"

    def deploy(name: str) -> None:
        write(path, "hunter2\n", secret=True, mode="600")

    def planned_with(content: str) -> Fingerprint:
        path.write_text(content)
        path.chmod(0o600)
        return planned(fleet("a"), deploy, monkeypatch)["a"]

    wrong, right = planned_with("hunter1\n"), planned_with("hunter2\n")
    assert planned_with("hunter3\n") == wrong
    assert what_moved(right, wrong) == (
        'the changes differ since the plan was made: "Write token | Write token" is needed now'
    )
    for content in ("hunter1\n", "hunter2\n"):
        traces = (content.strip(), sha256(content.encode()).hexdigest(), digest(content.encode()))
        assert not [one for one in traces if one[:SHORT] in right.model_dump_json()]


def test_a_secret_that_fails_is_not_shown_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deploy(name: str) -> None:
        write(tmp_path / "missing" / "token", "token hunter2\n", secret=True)

    result = run(Command.APPLY, fleet("a"), deploy, monkeypatch)
    assert result.nodes[0].status is NodeStatus.FAILED
    assert "hunter" not in result.model_dump_json()


def test_diff_shows_what_changes_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("same\nold\n")
    result = run(Command.PLAN, fleet("a"), lambda _: write(path, "same\nnew\n"), monkeypatch)
    (change,) = result.nodes[0].changes
    assert change.diff.splitlines()[:2] == [f"--- {path} (on the node)", f"+++ {path}"]
    assert "-old\n+new\n" in change.diff


# Interrupted


def test_progress_is_told_in_order(tmp_path: Path) -> None:
    with session() as node:
        node.collect(lambda: [write(tmp_path / str(n)) for n in range(3)])
        steps = node.run(node.foresee(), OpenRun("20260101T000000Z-unit"), ignored)
        first: Change = next(steps)
        assert first.name == "Write 0"
        assert [entry.name for entry in tmp_path.iterdir()] == ["0"]
        steps.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["0"]


def test_execute_tells_code_and_streams() -> None:
    with session() as node:
        assert node.execute("echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")
        assert node.host.connector.shell is not None
        node.host.connector.shell.close()
        with pytest.raises(UnreachableError, match=r"^node1: connection lost"):
            node.execute("true")
