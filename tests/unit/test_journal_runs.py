"""Runs: one at a time, whose they are, and what becomes of those that died."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_node import Node, in_memory, killed, manifest, until

BUSY, CLOSED = 75, 77


@pytest.fixture
def node() -> Iterator[Node]:
    with in_memory() as node:
        yield node


def test_a_second_run_is_refused_while_the_first_is_at_work(node: Node) -> None:
    node.begin("R1", "who=CORP\\nina@desk\n")
    done = node.call("begin", "R2", told=b"who=x\n")
    assert done.returncode == BUSY
    busy = done.stdout.decode().strip("\n").split("\t")
    assert busy[:3] == ["busy", "R1", "CORP\\nina@desk"]
    assert busy[4] == "alive"
    assert not (node.runs / "R2").exists()
    assert node.step("false", node.files / "it", run="R2").returncode == 1


@pytest.mark.parametrize("gone", ["owner", "restarted", "pid reused", "nothing known"])
def test_a_run_whose_controller_is_gone_is_settled(node: Node, gone: str) -> None:
    node.begin()
    lock = node.folder / "run/owner"
    text = lock.read_text()
    keep = {line.partition("=")[0]: line for line in text.splitlines()}
    if gone == "owner":
        node.dead()
    elif gone == "restarted":
        lock.write_text(text.replace(keep["boot"], "boot=00000000-0000"))
    elif gone == "pid reused":
        lock.write_text(text.replace(keep["started"], "started=1"))
    else:
        lock.write_text("run=R1\npid=999999999\nstarted=\n" + keep["boot"] + "\n")
    assert ["interrupted", "R1"] in [row[:2] for row in node.good("status")]
    rows = node.begin("R2")
    assert ["interrupted", "R1"] in rows
    assert ["last", "R1"] in rows
    assert node.result("R1") == "interrupted"
    done = node.step("false", node.files / "it", run="R1")
    assert done.returncode == CLOSED


def test_an_orphaned_change_that_still_runs_counts_as_at_work(node: Node) -> None:
    node.begin()
    running = node.start(
        *("step", "R1", "0", "l", "n", f"file\t{node.files}/it", "--"),
        f"touch {node.files}/it; sleep 30",
    )
    until((node.files / "it").exists)
    os.kill(running.pid, signal.SIGKILL)  # the program alone, not its command
    running.wait()
    node.dead()
    done = node.call("begin", "R2", told=b"")
    assert done.returncode == BUSY
    assert done.stdout.decode().rstrip("\n").split("\t")[4] == ""  # not alive
    killed(running)
    assert ["interrupted", "R1"] in node.begin("R2")


def test_of_many_that_begin_at_once_one_wins(node: Node) -> None:
    names = [f"R{n}" for n in range(8)]
    started = [node.start("begin", name) for name in names]
    codes = {
        name: (one.communicate(), one.returncode)[1]
        for name, one in zip(names, started, strict=True)
    }
    (winner,) = [name for name, code in codes.items() if code == 0]
    assert {code for name, code in codes.items() if name != winner} == {BUSY}
    assert f"run={winner}\n" in (node.folder / "run/owner").read_text()
    assert [path.name for path in node.runs.iterdir()] == [winner]


def test_the_owner_is_the_connection_above_the_program(node: Node) -> None:
    """On a node the sshd process above; here a program that has its name."""
    sshd = node.folder / "sshd-session"
    shutil.copy("/bin/dash", sshd)
    told = f"NODEPROOF_OWNER= sh {node.program} begin R1 </dev/null; echo $$; :"
    done = subprocess.run(
        [sshd, "-c", f"sh -c {shlex.quote(told)}; echo $$; :"],
        env=node.environment(),
        capture_output=True,
        check=True,
    )
    sshd_pid = done.stdout.split()[-1].decode()
    assert f"pid={sshd_pid}\n" in (node.folder / "run/owner").read_text()


def test_the_lock_is_given_up_at_the_end_and_only_by_its_run(node: Node) -> None:
    node.begin()
    node.good("end", "R1", "ok")
    assert not (node.folder / "run/owner").exists()
    assert node.call("begin", "R1").returncode == CLOSED
    node.begin("R2")
    assert node.call("end", "R1", "ok").returncode == 0
    assert node.call("end", "R1", "failed").returncode == CLOSED
    assert node.result("R1") == "ok"
    assert "run=R2\n" in (node.folder / "run/owner").read_text()


def test_a_run_goes_on_when_it_begins_again(node: Node) -> None:
    node.begin(about="who=first\n")
    node.made(":", node.files / "it")
    node.begin(about="who=second\n")
    node.made(":", node.files / "it")
    assert "who=first\n" in (node.runs / "R1/meta").read_text()
    assert node.good("runs")[0][5] == "1"  # changes, not commands


def test_a_step_of_a_run_without_the_lock_is_refused(node: Node) -> None:
    node.begin("R1")
    node.dead()
    node.begin("R2")
    (node.runs / "R1/result").unlink()
    done = node.step(f"touch {node.files}/it", node.files / "it", run="R1")
    assert done.returncode == BUSY
    assert manifest(node.files) == {}


# --- runs that died ---


def test_what_a_cut_off_step_left_is_settled(node: Node) -> None:
    path = node.files / "it"
    path.write_text("old")
    node.begin()
    running = node.start(
        *("step", "R1", "0", "l", "n", f"file\t{path}", "--"),
        f"cd {node.files}; echo half >.it.nodeproof; echo new >it; touch now; sleep 30",
    )
    until((node.files / "now").exists)
    killed(running)
    node.dead()
    assert ["interrupted", "R1"] in node.begin("R2")
    node.good("end", "R2", "ok")
    assert not (node.files / ".it.nodeproof").exists()
    assert "cut " in (node.runs / "R1/log").read_text()
    assert node.conflicts() == []
    path.write_text("mine")
    assert node.conflicts() == [(f"file {path}", "changed since, not by nodeproof")]
    rows = node.reverted("R1", "R3")
    assert path.read_text() == "old"
    (kept,) = [row[2] for row in rows if row[0] == "kept"]
    assert Path(kept).read_text() == "mine"


def test_a_step_killed_before_it_had_its_name_never_was(node: Node) -> None:
    node.begin()
    (node.runs / "R1/.new").mkdir()
    (node.runs / "R1/.new/items").write_text("file\t/etc/passwd\n")
    node.made(":", node.files / "it")
    assert sorted(path.name for path in (node.runs / "R1").glob("[0-9.]*")) == ["0001"]


def test_a_run_killed_while_it_began_is_settled(node: Node) -> None:
    (node.runs / "R0").mkdir(parents=True)
    assert ["interrupted", "R0"] in node.begin("R1")
    assert node.result("R0") == "interrupted"
