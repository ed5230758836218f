"""The guard on the node: what nobody confirms is taken back by the node itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest
from journal_node import THOROUGH, Node, end_after, in_memory, killed, manifest, until

CLOSED = 77


@pytest.fixture
def node() -> Iterator[Node]:
    with in_memory() as node:
        yield node


def armed(node: Node) -> bool:
    return (node.folder / "lib/armed").exists()


def unit(node: Node) -> str:
    return (node.etc / "systemd/system/nodeproof-guard-boot.service").read_text()


def test_a_guarded_step_arms_a_timer_and_a_unit_at_boot_before_the_change(node: Node) -> None:
    node.begin()
    path = node.files / "it"
    node.made(f"cp {node.folder}/calls {path}", path, guard=180)
    assert path.read_text().startswith("systemd-run ")
    (call,) = [call for call in node.calls if call.startswith("systemd-run")]
    assert "--on-active=180" in call
    assert call.endswith(f"-- {node.program} expire R1 nobody-confirmed-it-within-180-seconds")
    assert f"ExecStart={node.program} expire R1 the-machine-was-restarted" in unit(node)
    link = node.etc / "systemd/system/sysinit.target.wants/nodeproof-guard-boot.service"
    assert os.readlink(link).endswith("/nodeproof-guard-boot.service")
    node.made(":", path, guard=180)
    assert len([call for call in node.calls if call.startswith("systemd-run")]) == 1


def test_a_step_without_a_guard_arms_nothing(node: Node) -> None:
    node.begin()
    node.made(":", node.files / "it")
    assert not armed(node)
    assert node.calls == []


def test_nothing_is_changed_where_the_guard_cannot_be_armed(node: Node) -> None:
    (node.folder / "refuse.systemd-run").touch()
    node.begin()
    done = node.step(f"touch {node.files}/it", node.files / "it", guard=180)
    assert done.returncode == 1
    assert b"nothing was changed" in done.stderr
    assert manifest(node.files) == {}
    assert not armed(node)
    assert not list((node.runs / "R1").glob("[0-9.]*"))
    assert not list((node.etc / "systemd/system").glob("*.service"))


def test_what_is_not_confirmed_is_taken_back_what_was_confirmed_stays(node: Node) -> None:
    one, two, three = (node.files / name for name in ("one", "two", "three"))
    node.begin()
    node.made(f"touch {one}", one, guard=180)
    node.good("confirm", "R1")
    assert not armed(node)
    node.made(f"touch {two}", two, guard=180)
    node.made(f"touch {three}", three)
    node.good("expire", "R1", "too-late")
    assert (one.exists(), two.exists(), three.exists()) == (True, False, True)
    assert node.result() == "taken-back"
    assert not armed(node)
    assert node.step(f"touch {two}", two).returncode == CLOSED
    assert node.call("confirm", "R1").returncode == CLOSED
    assert node.call("end", "R1", "ok").returncode == CLOSED
    assert node.result() == "taken-back"
    assert not (node.folder / "run/owner").exists()


def test_expire_after_confirm_does_nothing(node: Node) -> None:
    path = node.files / "it"
    node.begin()
    node.made(f"touch {path}", path, guard=180)
    node.good("confirm", "R1")
    node.good("expire", "R1", "too-late")
    assert path.exists()
    assert node.result() == ""
    node.made(":", path)


def test_expire_of_another_run_does_nothing(node: Node) -> None:
    path = node.files / "it"
    node.begin()
    node.made(f"touch {path}", path, guard=180)
    node.good("expire", "R0", "too-late")
    assert path.exists()
    assert armed(node)


def test_after_a_restart_there_is_no_run_folder(node: Node) -> None:
    path = node.files / "it"
    node.begin()
    node.made(f"touch {path}", path, guard=180)
    shutil.rmtree(node.folder / "run")
    node.good("expire", "R1", "the-machine-was-restarted")
    assert not path.exists()
    assert node.result() == "taken-back"


def test_the_next_run_takes_back_what_a_dead_one_left_unconfirmed(node: Node) -> None:
    path = node.files / "it"
    folder = node.files / "folder"
    node.begin()
    node.made(f"touch {path}; mkdir {folder}; touch {folder}/x", path, folder, guard=180)
    (folder / "mine").write_text("precious")
    node.dead()
    assert ["reverted", "R1"] in (rows := node.begin("R2"))
    assert {row[0] for row in rows} == {"reverted", "last"}
    assert not path.exists()
    assert (node.runs / f"R1/kept{folder}/mine").read_text() == "precious"


def test_what_could_not_be_taken_back_is_named(node: Node) -> None:
    path = node.files / "it"
    path.write_text("old")
    node.begin()
    node.made(f"echo new >{path}", path, guard=180)
    path.unlink()
    path.mkdir()
    (path / "mine").write_text("precious")  # in the way of what was there
    node.dead()
    assert ["left", "R1", f"file {path};"] in node.begin("R2")
    assert node.result() == "not-taken-back"
    assert (path / "mine").read_text() == "precious"
    shutil.rmtree(path)
    node.good("revert", "R1", "R2", "", "", "0")
    assert path.read_text() == "old"


def test_an_edit_in_the_meantime_is_kept(node: Node) -> None:
    path = node.files / "it"
    path.write_text("old")
    node.begin()
    node.made(f"echo new >{path}", path, guard=180)
    path.write_text("mine")
    node.good("expire", "R1", "too-late")
    assert path.read_text() == "old"
    assert (node.runs / f"R1/kept{path}").read_text() == "mine"


def test_only_a_new_connection_confirms(node: Node) -> None:
    """The connection that opened the run may be one that no new client would get."""
    node.begin()
    node.made(":", node.files / "it", guard=180)
    lock = node.folder / "run/owner"
    text = lock.read_text()
    assert f"pid={os.getpid()}\n" in text
    environment = {**node.environment(), "NODEPROOF_OWNER": ""}
    # On this machine itself the connection is the program's parent: this one.
    done = subprocess.run(
        ["dash", node.program, "confirm", "R1"], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"only a new connection can confirm" in done.stderr
    assert armed(node)
    done = subprocess.run(
        ["sh", "-c", f"dash {node.program} confirm R1; exit $?"], env=environment, check=False
    )
    assert done.returncode == 0
    assert not armed(node)


def test_expire_waits_for_the_change_that_is_under_way(node: Node) -> None:
    path, go = node.files / "it", node.files / "go"
    node.begin()
    node.made(":", path, guard=180)
    running = node.start(
        *("step", "R1", "180", "l", "n", f"file\t{path}", "--"),
        f"touch {node.files}/now; until [ -e {go} ]; do sleep 0.1; done; echo late >{path}",
    )
    until((node.files / "now").exists)
    expiring = node.start("expire", "R1", "too-late")
    time.sleep(0.5)
    assert expiring.poll() is None
    assert node.call("confirm", "R1").returncode != 0 if expiring.poll() else True
    go.touch()
    running.communicate()
    expiring.communicate()
    assert (running.returncode, expiring.returncode) == (0, 0)
    assert not path.exists()
    assert node.result() == "taken-back"


def test_a_step_that_waits_while_the_guard_takes_back_is_refused(node: Node) -> None:
    path = node.files / "it"
    slow = node.folder / "stubs/systemctl"
    usual = slow.read_text()
    node.begin()
    node.made(f"touch {path}", path, "told\tcron.service", guard=180)
    slow.write_text(f"#!/bin/sh\ntouch {node.folder}/telling; sleep 1\n")
    expiring = node.start("expire", "R1", "too-late")
    until((node.folder / "telling").exists)
    slow.write_text(usual)
    done = node.step(f"touch {path}", path, guard=180)
    expiring.communicate()
    assert done.returncode == CLOSED
    assert not path.exists()
    assert not armed(node)


def test_a_change_that_hangs_is_taken_back_when_it_ends_at_last(node: Node) -> None:
    path, go = node.files / "it", node.files / "go"
    node.begin()
    running = node.start(
        *("step", "R1", "180", "l", "n", f"file\t{path}", "--"),
        f"touch {node.files}/now; until [ -e {go} ]; do sleep 0.1; done; echo late >{path}",
    )
    until((node.files / "now").exists)
    impatient = node.folder / "stubs/flock"
    impatient.write_text(
        '#!/bin/sh\n[ "$1" = -w ] && [ "$2" = 30 ] && exit 1\nexec /usr/bin/flock "$@"\n'
    )
    impatient.chmod(0o755)
    node.good("expire", "R1", "too-late")
    go.touch()
    _, err = running.communicate()
    assert running.returncode == CLOSED
    assert b"the change was taken back" in err
    assert not path.exists()


def test_a_confirmation_counts_for_all_or_for_none(node: Node) -> None:
    """Killed at any of its calls, it left both changes or neither."""
    for last in range(1, 60, 1 if THOROUGH else 4):
        with in_memory() as one:
            paths = [one.files / "a", one.files / "b"]
            one.begin()
            for path in paths:
                one.made(f"touch {path}", path, guard=180)
            end_after(one, last)
            done = one.call("confirm", "R1")
            end_after(one, 0)
            one.good("expire", "R1", "the-machine-was-restarted")
            there = [path.exists() for path in paths]
            assert there in ([True, True], [False, False])
            assert one.result() == ("" if all(there) else "taken-back")
            assert not armed(one)
            if done.returncode == 0:
                return
    raise AssertionError("it never came to its end")


def test_an_interrupted_expire_goes_on(node: Node) -> None:
    for last in range(1, 400, 1 if THOROUGH else 9):
        with in_memory() as one:
            paths = [one.files / "a", one.files / "b"]
            one.begin()
            for path in paths:
                one.made(f"touch {path}", path, "told\tcron.service", guard=180)
            end_after(one, last)
            done = one.call("expire", "R1", "too-late")
            end_after(one, 0)
            one.good("expire", "R1", "the-machine-was-restarted")
            assert manifest(one.files) == {}
            assert one.result() == "taken-back"
            assert "systemctl reload-or-restart -- cron.service" in one.calls
            assert not armed(one)
            if done.returncode == 0:
                return
    raise AssertionError("it never came to its end")


def test_what_the_daemon_refuses_is_taken_back_at_once(node: Node) -> None:
    checker = node.folder / "stubs/visudo"
    checker.write_text("#!/bin/sh\necho 'sudoers: syntax error'; exit 1\n")
    checker.chmod(0o755)
    folder = node.files / "new"
    node.begin()
    done = node.call(
        *("step", "R1", "180", "l", "n", f"file\t{folder}", "file\t/etc/sudoers.d/nodeproof-none"),
        *("--", f"mkdir {folder}; touch {folder}/x"),
    )
    assert done.returncode == 1
    assert b"syntax error" in done.stderr
    assert b"the change was taken back" in done.stderr
    assert manifest(node.files) == {}
    assert sorted(path.name for path in node.runs.iterdir()) == ["R1"]
    assert (node.runs / f"R1/kept{folder}/x").exists()


def test_a_guarded_revert_is_taken_back_too(node: Node) -> None:
    path = node.files / "it"
    node.begin()
    node.made(f"touch {path}", path, guard=180)
    node.good("confirm", "R1")
    node.revert("R1", "R2", guard=120)
    assert not path.exists()
    assert armed(node)
    node.good("expire", "R2", "too-late")
    assert path.exists()
    assert node.result("R2") == "taken-back"


def test_a_killed_expire_leaves_no_lock(node: Node) -> None:
    path = node.files / "it"
    node.begin()
    node.made(f"touch {path}", path, "told\tcron.service", guard=180)
    slow = node.folder / "stubs/systemctl"
    usual = slow.read_text()
    slow.write_text(f"#!/bin/sh\ntouch {node.folder}/telling; sleep 60\n")
    expiring = node.start("expire", "R1", "too-late")
    until((node.folder / "telling").exists)
    killed(expiring)
    slow.write_text(usual)
    node.dead()
    assert ["reverted", "R1"] in node.begin("R2")
    assert not path.exists()
