"""Steps: what the command sees and says, what it starts, limits and retention."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_node import AS_ROOT, Node, in_memory, killed, manifest, until

BUSY, CLOSED = 75, 77


@pytest.fixture
def node() -> Iterator[Node]:
    with in_memory() as node:
        yield node


@pytest.fixture(params=["dash", "bash"])
def any_shell(request: pytest.FixtureRequest) -> Iterator[Node]:
    with in_memory(request.param) as node:
        yield node


def test_the_command_is_run_as_it_is(any_shell: Node) -> None:
    node = any_shell
    node.begin()
    touched = node.files / "it"
    done = node.step(
        "printf 'a\\0b\\377'; printf 'c\\n\\n' >&2; umask; cat | wc -c; pwd\nexit 42", touched
    )
    assert done.returncode == 42
    assert done.stdout == b"a\0b\xff0022\n0\n" + os.getcwdb() + b"\n"
    assert done.stderr == b"c\n\n"
    assert (node.runs / "R1/0001/code").read_text() == "42\n"


@pytest.mark.parametrize(
    "command", ["", "# nothing", "true\n\n", "exit 3\n", "kill -9 $$", "nope-1"]
)
def test_odd_commands(node: Node, command: str) -> None:
    node.begin()
    code = subprocess.run(["sh", "-c", command], capture_output=True, check=False).returncode
    done = node.step(command, node.files / "it")
    assert done.returncode == (code if code >= 0 else 128 - code)
    assert node.revert().returncode == 0


def test_what_is_not_one_item_is_refused(node: Node) -> None:
    node.begin()
    touch = f"touch {node.files}/made"
    for item in (
        f"file\t{node.files}/it\nfile\t/etc/passwd",
        "nope\tname",
        "file",
        "custom/../x\ty",
        "",
    ):
        done = node.call("step", "R1", "0", "l", "n", item, "--", touch)
        assert done.returncode == 1, item
        assert b"nothing was changed" in done.stderr
    done = node.call("step", "R1", "0", "l", "two\nlines", f"file\t{node.files}/x", "--", touch)
    assert done.returncode == 1
    assert manifest(node.files) == {}
    assert not list((node.runs / "R1").glob("[0-9.]*"))


@pytest.mark.parametrize("run", ["", ".", "..", "../x", "a/b", "-n a", "a b", "R1\n", "$(id)", "*"])
def test_names_that_are_no_runs(node: Node, run: str) -> None:
    node.begin("R1")
    before = manifest(node.folder / "lib")
    for words in (
        ["begin", run],
        ["step", run, "0", "l", "n", f"file\t{node.files}/x", "--", f"touch {node.files}/x"],
        ["end", run, "ok"],
        ["examine", run, "", ""],
        ["revert", run, "R1", "", "", "0"],
        ["revert", "R1", run, "", "", "0"],
        ["confirm", run],
    ):
        assert node.call(*words).returncode != 0, words
    assert manifest(node.files) == {}
    assert manifest(node.folder / "lib") == before
    assert "run=R1\n" in (node.folder / "run/owner").read_text()


def test_a_file_that_is_too_large_is_not_changed(node: Node) -> None:
    large, small = node.files / "large", node.files / "small"
    large.write_bytes(os.urandom(70_000))
    node.begin()
    items = [f"file\t{small}", f"file\t{large}"]
    done = node.call(
        *("step", "R1", "0", "l", "n", *items, "--", f"touch {small}"), NODEPROOF_LARGEST_KB="64"
    )
    assert done.returncode == 1
    assert b"is larger than 64 KiB" in done.stderr
    assert b"nothing was changed" in done.stderr
    assert list(node.files.iterdir()) == [large]
    assert not list((node.runs / "R1").glob("[0-9.]*"))
    node.made(f"touch {small}", small)


@AS_ROOT
def test_on_a_full_disk_nothing_is_changed_and_all_is_taken_back(tmp_path: Path) -> None:
    """In a mount namespace of its own, with a disk of 1 MiB for the journal and the files."""
    script = tmp_path / "script"
    with in_memory() as node:
        script.write_text(f"""
            set -eu
            mount -t tmpfs -o size=1m,mode=700 tmpfs {node.folder}/disk
            export NODEPROOF_HOME={node.folder}/disk/lib
            J="dash {node.program}"; F={node.folder}/disk/it
            head -c 200000 /dev/urandom >$F; sha256sum $F >{tmp_path}/sum
            echo who=x | $J begin R1 >/dev/null
            $J step R1 0 l n "file	$F" -- "head -c 200000 /dev/urandom >$F.2; mv $F.2 $F"
            $J end R1 ok
            echo who=x | $J begin R2 >/dev/null
            head -c 2000000 /dev/zero >{node.folder}/disk/filler 2>/dev/null || :
            code=0; $J step R2 0 l n "file	$F" -- "touch {tmp_path}/changed" || code=$?
            echo $code >{tmp_path}/code
            rm {node.folder}/disk/filler
            $J revert R1 R2 '' '' 0
            sha256sum -c --status {tmp_path}/sum && touch {tmp_path}/back
        """)
        (node.folder / "disk").mkdir()
        done = subprocess.run(
            ["unshare", "-m", "--propagation", "private", "sh", script],
            env=node.environment(),
            capture_output=True,
            check=False,
        )
    assert done.returncode == 0, done
    assert (tmp_path / "code").read_text() == "1\n"
    assert b"nothing was changed" in done.stderr
    assert not (tmp_path / "changed").exists()
    assert (tmp_path / "back").exists()


def test_the_state_is_on_the_disk_before_the_step_has_its_name(node: Node) -> None:
    """Called by names in the order of calls: `sync` of each file, then the folder, then `mv`."""
    for tool in ("sync", "mv", "sh"):
        path = node.folder / "stubs" / tool
        real = shutil.which(tool)
        path.write_text(f'#!/bin/dash\necho "{tool} $*" >>{node.folder}/order\nexec {real} "$@"\n')
        path.chmod(0o755)
    (node.files / "it").write_text("old")
    node.begin()
    (node.folder / "order").unlink()
    node.made(f"echo new >{node.files}/it", node.files / "it")
    order = (node.folder / "order").read_text().splitlines()
    run = node.runs / "R1"
    named = next(i for i, line in enumerate(order) if line.startswith(f"mv -T -- {run}/.new"))
    made = next(i for i, line in enumerate(order) if line.startswith("sh -c echo new"))
    before = " ".join(order[:named])
    for name in ("1.file", "1.was", "items", "change"):
        assert f"{run}/.new/{name}" in before
    assert order[named - 1].endswith(f"{run}/.new") or f"sync -- {run}/.new " in before
    assert f"sync -- {run}" in order[named + 1 : made]
    assert f"{run}/0001/code" in " ".join(order[made:])


def test_log_lines_say_what_happened(node: Node) -> None:
    node.begin()
    node.made(":", node.files / "it")
    node.reverted()
    lines = [line.split(" ", 1) for line in (node.runs / "R1/log").read_text().splitlines()]
    assert [line[1] for line in lines] == ["end ok", "undone 0001 by R2"]
    assert all(line[0].endswith("Z") and "T" in line[0] for line in lines)


def test_a_daemon_that_a_change_leaves_does_not_hold_the_lock(node: Node) -> None:
    node.begin()
    pid = node.folder / "pid"
    node.made(f"sleep 60 </dev/null >/dev/null 2>&1 & echo $! >{pid}", node.files / "it")
    try:
        started = time.monotonic()
        node.made(":", node.files / "it")
        assert time.monotonic() - started < 20
        node.dead()
        assert ["interrupted", "R1"] in node.begin("R2")
    finally:
        os.kill(int(pid.read_text()), signal.SIGTERM)


# --- who is at work ---


def test_told_daemons_are_not_forgotten_by_a_crash(node: Node) -> None:
    path = node.files / "it"
    path.write_text("old")
    node.begin()
    node.made(f"echo new >{path}", path)
    node.made(":", "told\tssh.service")
    node.good("end", "R1", "ok")
    slow = node.folder / "stubs/systemctl"
    usual = slow.read_text()
    slow.write_text(f"#!/bin/sh\ntouch {node.folder}/telling; sleep 60\n")
    node.begin("R2")
    running = node.start("revert", "R1", "R2", "", "", "0")
    until((node.folder / "telling").exists)
    killed(running)
    slow.write_text(usual)
    node.dead()
    node.reverted("R1", "R3")
    assert path.read_text() == "old"
    assert "systemctl reload-or-restart -- ssh.service" in node.calls
    assert node.result() == "reverted"


def test_daemons_are_told_once_and_in_their_order(node: Node) -> None:
    node.begin()
    for name in ("a.service", "b.service", "a.service"):
        node.made(":", f"told\t{name}")
    node.reverted()
    told = [call.split()[-1] for call in node.calls if "reload" in call]
    assert told == ["a.service", "b.service"]


UNIT = """#!/bin/sh
case $1 in
    show) printf 'LoadState=loaded\\nUnitFileState=enabled\\nActiveState=%s\\n' "$(cat {state})" ;;
    is-active) grep -qx active {state} ;;
    start) echo active >{state} ;;
    stop) echo inactive >{state} ;;
    is-system-running) cat {state}.system ;;
esac
"""


def daemon(node: Node, state: str) -> Path:
    """Give the node one daemon; return the file that holds its state."""
    path = node.folder / "daemon"
    path.write_text(f"{state}\n")
    Path(f"{path}.system").write_text("running\n")
    (node.folder / "stubs/systemctl").write_text(UNIT.format(state=path))
    return path


def test_a_daemon_that_came_to_its_end_runs_again(node: Node) -> None:
    """It would not start with what was changed: a profile, a port, a rule."""
    state = daemon(node, "active")
    node.begin()
    fails = f"echo failed >{state}; exit 1"
    node.call("step", "R1", "0", "l", "n", "told\tssh.service", "--", fails)
    assert state.read_text() == "failed\n"
    node.reverted()
    assert state.read_text() == "active\n"


def test_a_daemon_that_was_stopped_before_stays_so(node: Node) -> None:
    state = daemon(node, "inactive")
    node.begin()
    node.made(f"echo active >{state}", "unit\tssh.service")
    node.made(":", "told\tssh.service")
    node.reverted()
    assert state.read_text() == "inactive\n"


def test_a_boot_starts_no_daemon_of_its_own_accord(node: Node) -> None:
    state = daemon(node, "active")
    node.begin()
    node.made(":", "told\tssh.service")
    state.write_text("inactive\n")
    Path(f"{state}.system").write_text("starting\n")
    node.reverted()
    assert state.read_text() == "inactive\n"


# --- retention ---


def test_the_oldest_runs_are_forgotten_but_not_those_that_are_needed(node: Node) -> None:
    node.limits["NODEPROOF_KEEP_RUNS"] = "4"
    for n in range(9):
        node.begin(f"R{n}")
        if n == 3:
            (node.runs / "R1/kept").mkdir()
            (node.runs / "R2/result").unlink()  # another one that is open
            assert ["interrupted", "R2"] in node.begin(f"R{n}")
            (node.runs / "R2/result").unlink()
        node.good("end", f"R{n}", "ok")
    left = sorted(path.name for path in node.runs.iterdir())
    assert left == ["R1", "R6", "R7", "R8"]


def test_too_many_blobs_are_forgotten_but_never_the_own_run(node: Node) -> None:
    path = node.files / "it"
    path.write_bytes(os.urandom(50_000))
    node.limits["NODEPROOF_KEEP_KB"] = "60"
    for run in ("R1", "R2"):
        node.begin(run)
        node.made(":", path, run=run)
        node.good("end", run, "ok")
        assert (node.runs / run).exists()
    assert not (node.runs / "R1").exists()


def test_a_run_is_not_forgotten_by_the_one_that_takes_it_back(node: Node) -> None:
    path = node.files / "it"
    node.limits["NODEPROOF_KEEP_RUNS"] = "3"
    for run in ("R1", "R2", "R3"):
        node.begin(run)
        node.made(f"echo >{node.files}/{run}", node.files / run, run=run)
        node.good("end", run, "ok")
    node.reverted("R1", "R4")
    assert sorted(p.name for p in node.files.iterdir()) == ["R2", "R3"]
    assert not path.exists()


def test_taking_back_a_run_that_is_not_there_fails(node: Node) -> None:
    node.begin()
    assert node.call("revert", "R0", "R1", "", "", "0").returncode == 1


def test_custom_states_are_undone_by_their_command(any_shell: Node) -> None:
    node = any_shell
    path = node.files / "it"
    item = f"custom\tlabel\tcat {path}\trm -f {path};\ttouch {path}.undone"
    node.begin()
    node.made(f"echo set >{path}", item)
    node.reverted()
    assert [one.name for one in node.files.iterdir()] == ["it.undone"]
