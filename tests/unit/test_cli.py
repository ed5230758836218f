"""The command line: help, suggestions, exit codes, plain lines, pure JSON, completion."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from local_fleet import fleet

from nodeproof import __version__
from nodeproof.catalog.distributions import distributions
from nodeproof.cli.main import COMMANDS, cli
from nodeproof.engine import planfile
from nodeproof.engine import run as engine
from nodeproof.engine.adapter.inventory import load
from nodeproof.errors import Exit, RefusedError
from nodeproof.operations import files

SNAPSHOTS = Path(__file__).parent / "snapshots"
UPDATE = "NODEPROOF_UPDATE_SNAPSHOTS"
NOBODY_THERE = "127.0.0.1"
Invoke = Callable[..., Result]


def process(
    *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "nodeproof", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Return the command line in this process: quick, and its parts can be replaced."""
    monkeypatch.setenv("COLUMNS", "100")
    return lambda *arguments: CliRunner().invoke(cli, arguments, prog_name="nodeproof")


@pytest.fixture
def unreachable(tmp_path: Path) -> str:
    """Return an inventory of a host that nobody answers for."""
    path = tmp_path / "site.py"
    host = {"ssh_hostname": NOBODY_THERE, "ssh_port": 1, "ssh": {}}
    path.write_text(f"nodes = [('node1', {host!r})]\n")
    return str(path)


# Help


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    context = click.Context(cli)
    for name in COMMANDS:
        found.append((name,))
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            found += [(name, below) for below in command.commands]
    return found


@pytest.mark.parametrize("command", every_command(), ids="-".join)
def test_help(command: tuple[str, ...], invoke: Invoke) -> None:
    done = invoke(*command, "--help")
    assert done.exit_code == 0
    snapshot = SNAPSHOTS / f"{'-'.join(('nodeproof', *command))}.txt"
    if UPDATE in os.environ:
        SNAPSHOTS.mkdir(exist_ok=True)
        snapshot.write_text(done.output, encoding="utf-8")
    wanted = snapshot.read_text(encoding="utf-8") if snapshot.exists() else ""
    assert done.output == wanted, f"if this is meant: {UPDATE}=1 pytest {__file__}"


def test_no_snapshot_without_a_command() -> None:
    wanted = {"-".join(("nodeproof", *command)) for command in every_command()}
    assert {path.stem for path in SNAPSHOTS.glob("*.txt")} == wanted


@pytest.mark.parametrize("command", every_command(), ids="-".join)
def test_help_says_what_every_option_is_for(command: tuple[str, ...], invoke: Invoke) -> None:
    context = click.Context(cli)
    found: click.Command | None = cli
    for name in command:
        assert isinstance(found, click.Group)
        found = found.get_command(context, name)
    assert found is not None
    assert found.help
    without = [one.name for one in found.params if isinstance(one, click.Option) and not one.help]
    assert without in ([], ["distribution"], ["nodes", "distribution", "cpus"])


def test_short_help_and_version(invoke: Invoke) -> None:
    assert invoke("-h").output == invoke("--help").output
    for option in ("-V", "--version"):
        assert invoke(option).output == f"nodeproof {__version__}\n"


def test_nothing_said_is_help(invoke: Invoke) -> None:
    assert "Commands:" in invoke().output


@pytest.mark.parametrize("module", ["pyinfra", "paramiko", "testinfra", "rich", "pytest"])
def test_help_is_quick(module: str) -> None:
    """Half a second of imports is half a second at every key press of completion."""
    script = (
        "import sys; from nodeproof.cli.main import cli\n"
        "try: cli.main(['--help'], prog_name='nodeproof')\n"
        f"except SystemExit: pass\nsys.exit({module!r} in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0


# Exit codes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("apli", "x"), "no command 'apli'; did you mean apply?"),
        (("settinks",), "did you mean settings?"),
        (("xyz",), "no command 'xyz'"),
        (("plan",), "Missing argument 'INVENTORY'"),
        (("plan", "x", "--diif"), "--diff"),
        (("plan", "nothere.py"), "nothere.py: no such inventory file"),
        (("plan", "./folder/hosts"), "no such inventory file"),
        (("plan", "@local", "--layer", "shh"), "did you mean ssh?"),
        (("plan", "@local", "--skip-layer", "openpbs"), "layers are system, "),
        (("plan", "@local", "--limit", "node1"), "--limit node1: no host or group"),
        (("settings", "systm"), "did you mean system?"),
        (("report", "nothere"), "nothere"),
        (("report", "--format", "pdf"), "pdf"),
        (("completion", "tcsh"), "tcsh"),
        (("verify", "@local", "--standard", "cis_debian14"), "did you mean cis_debian13?"),
        (("report", "--standard", "zzz"), "standards are cis_debian12, "),
        (("apply", "@local"), "apply: there is no terminal to ask on"),
        (("lab", "upp"), "upp"),
        (("revert",), "Missing argument 'RUN'"),
        (("revert", "last", "@local"), "revert: there is no terminal to ask on"),
        (("revert", "last", "-y"), "last: no run of this machine"),
        (("revert", "", "-y"), "RUN: is empty"),
        (("revert", "last", "@local", "-y", "--layer", "shh"), "did you mean ssh?"),
        (
            ("revert", "last", "@local", "-y", "--control", "NP-SHS-01"),
            "unknown control; nearest is NP-S",
        ),
        (("revert", "last", "@local", "-y", "--control", "NP-CON-01"), "no changes of its own"),
        (
            ("revert", "last", "@local", "-y", "--layer", "ssh", "--control", "NP-SSH-01"),
            "give one of them",
        ),
        (("runs", "nothere.py"), "nothere.py: no such inventory file"),
    ],
)
def test_wrong_use_is_2(arguments: tuple[str, ...], said: str, invoke: Invoke) -> None:
    def looked(*_: object) -> None:
        raise AssertionError("a node was asked")

    done = invoke(*arguments)
    assert (done.exit_code, done.stdout) == (Exit.USAGE, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_settings_are_2_and_no_node_is_touched(tmp_path: Path, invoke: Invoke) -> None:
    path = tmp_path / "site.py"
    path.write_text("nodes = [('node1', {'ssh': {'max_sesions': 1}})]\n")
    done = invoke("apply", str(path), "--yes")
    assert done.exit_code == Exit.USAGE
    assert "node1: ssh.max_sesions: unknown key" in done.stderr
    assert "did you mean max_sessions?" in done.stderr
    assert "no node was touched" in done.stderr


@pytest.mark.parametrize(
    "command", ["inspect", "plan", "apply", "verify", "trust", "runs", "revert"]
)
def test_unreachable_is_3(command: str, unreachable: str) -> None:
    yes = ["--yes"] if command in ("apply", "trust", "revert") else []
    run = ["20261121T011451Z-6d051a"] if command == "revert" else []
    done = process(command, *run, unreachable, *yes)
    assert done.returncode == Exit.UNREACHABLE
    assert "node1" in done.stderr
    assert "refused" in (done.stdout + done.stderr).lower()
    assert "Traceback" not in done.stderr


def local(monkeypatch: pytest.MonkeyPatch, deploy: Callable[[], object], refusal: str = "") -> None:
    """Make commands work on this machine, with `deploy` as its site."""

    def preflight(name: str, facts: object) -> object:
        if refusal:
            raise RefusedError(f"{name}: {refusal}", hint="use another machine")
        return distributions()["debian-12"]

    monkeypatch.setattr(engine, "preflight", preflight)
    monkeypatch.setattr(engine, "deploy_layers", lambda *_: deploy())
    for name in ("plan", "apply", "inspect"):
        module = sys.modules[f"nodeproof.cli.{name}"]
        monkeypatch.setattr(module, "load", lambda source, limit: fleet("node1"))


@pytest.fixture
def loaded() -> None:
    """Import the commands, so that their parts can be replaced."""
    for name in ("plan", "apply", "inspect", "verify"):
        cli.get_command(click.Context(cli), name)


def write(path: Path) -> Callable[[], object]:
    return lambda: files.content(name="Write it", path=str(path), text="new\n")


def test_refused_is_4(monkeypatch: pytest.MonkeyPatch, loaded: None, invoke: Invoke) -> None:
    local(monkeypatch, lambda: None, refusal="Fedora 43 is not supported")
    for arguments in (("plan", "x"), ("apply", "x", "--yes")):
        done = invoke(*arguments)
        assert done.exit_code == Exit.REFUSED
        assert "Fedora 43 is not supported" in done.output
        assert "use another machine" in done.output


def test_pending_is_5_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, loaded: None, invoke: Invoke, tmp_path: Path
) -> None:
    local(monkeypatch, write(tmp_path / "file"))
    assert invoke("plan", "x").exit_code == Exit.DONE
    assert invoke("plan", "x", "--detailed-exitcode").exit_code == Exit.PENDING
    assert invoke("apply", "x", "--yes", "--dry").exit_code == Exit.DONE
    assert not (tmp_path / "file").exists()
    assert invoke("apply", "x", "--yes").exit_code == Exit.DONE
    assert (tmp_path / "file").read_text() == "new\n"
    assert invoke("plan", "x", "--detailed-exitcode").exit_code == Exit.DONE


def test_failed_is_1(
    monkeypatch: pytest.MonkeyPatch, loaded: None, invoke: Invoke, tmp_path: Path
) -> None:
    local(monkeypatch, write(tmp_path / "missing" / "file"))
    done = invoke("apply", "x", "--yes")
    assert done.exit_code == Exit.FAILED
    assert "Write it" in done.output


def test_a_mistake_of_ours_is_1_and_one_line(
    monkeypatch: pytest.MonkeyPatch, loaded: None, invoke: Invoke
) -> None:
    def mistake() -> None:
        raise KeyError("mistake")

    local(monkeypatch, mistake)
    done = invoke("plan", "x")
    assert done.exit_code == Exit.FAILED
    assert "KeyError: 'mistake'" in done.output
    assert "Traceback" not in done.output


# A saved plan


def test_a_saved_plan_is_applied_or_refused(
    monkeypatch: pytest.MonkeyPatch, loaded: None, invoke: Invoke, tmp_path: Path
) -> None:
    local(monkeypatch, write(tmp_path / "file"))
    plan = str(tmp_path / "site.plan.json")
    assert invoke("plan", "x", "--out", plan).exit_code == Exit.DONE
    assert planfile.load(plan).nodes.keys() == {"node1"}

    (tmp_path / "file").write_text("somebody was here\n")
    moved = invoke("apply", plan)
    assert moved.exit_code == Exit.REFUSED
    said = " ".join(moved.output.split())
    assert f"moved since the plan was made: {tmp_path / 'file'} appeared" in said
    assert (tmp_path / "file").read_text() == "somebody was here\n"

    (tmp_path / "file").unlink()
    assert invoke("apply", plan).exit_code == Exit.DONE
    assert (tmp_path / "file").read_text() == "new\n"
    assert invoke("apply", plan, "--limit", "node1").exit_code == Exit.USAGE


@pytest.mark.parametrize("moves", [False, True])
def test_what_moves_between_question_and_answer_is_refused(
    monkeypatch: pytest.MonkeyPatch, loaded: None, invoke: Invoke, tmp_path: Path, moves: bool
) -> None:
    path = tmp_path / "file"
    local(monkeypatch, write(path))
    asking = sys.modules["nodeproof.cli.apply"]
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True), exit=sys.exit)
    monkeypatch.setattr(asking, "sys", terminal)

    def confirm(question: str, err: bool) -> bool:
        if moves:
            path.write_text("somebody was here\n")
        return True

    monkeypatch.setattr("click.confirm", confirm)
    done = invoke("apply", "x")
    said = " ".join(done.output.split())
    assert done.exit_code == (Exit.REFUSED if moves else Exit.DONE), said
    assert (f"the node moved since the plan was made: {path} appeared" in said) is moves
    assert path.read_text() == ("somebody was here\n" if moves else "new\n")


@pytest.mark.parametrize("content", ["{}", "{", '{"schema": "nodeproof/plan/1"}'])
def test_what_is_not_a_plan_is_2(tmp_path: Path, invoke: Invoke, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    done = invoke("apply", str(path))
    assert done.exit_code == Exit.USAGE
    assert "not a plan of this version" in done.stderr


# Output


def test_json_is_all_of_standard_output(unreachable: str) -> None:
    for command in ("plan", "inspect", "verify"):
        done = process(command, unreachable, "--json")
        result = json.loads(done.stdout)
        assert done.returncode == Exit.UNREACHABLE
        assert (result["schema"], result["command"]) == ("nodeproof/result/1", command)
        assert result["nodes"][0]["status"] == "unreachable"


def test_settings_as_json(invoke: Invoke) -> None:
    keys: list[dict[str, Any]] = json.loads(invoke("settings", "--json").stdout)
    assert {"ssh.max_sessions", "system.users.NAME.keys", "containers.docker"} <= {
        key["key"] for key in keys
    }
    assert all(key["meaning"] and key["type"] for key in keys)
    only = json.loads(invoke("settings", "ssh", "--json").stdout)
    assert {key["key"].split(".")[0] for key in only} == {"ssh"}


def test_plain_lines_without_a_terminal(unreachable: str) -> None:
    done = process("plan", unreachable)
    lines = done.stderr.splitlines()
    assert lines[0] == "node1: connecting"
    assert lines[1].startswith("node1: unreachable after ")
    assert "\x1b" not in done.stderr + done.stdout
    assert "\r" not in done.stderr + done.stdout


def test_results_are_kept(unreachable: str, own_state: Path) -> None:
    process("plan", unreachable)
    (kept,) = (own_state / "results").glob("*.json")
    assert json.loads(kept.read_text())["command"] == "plan"
    done = process("report", "--format", "json")
    assert json.loads(done.stdout)["run"] == kept.stem
    assert done.returncode == Exit.UNREACHABLE


def test_a_reader_that_leaves_early_is_no_error() -> None:
    script = f"{sys.executable} -m nodeproof settings | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


# Interrupted


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[str]:
    """Return an inventory of a host that answers the phone and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        path = tmp_path / "site.py"
        host = {"ssh_hostname": "127.0.0.1", "ssh_port": port}
        path.write_text(f"nodes = [('node1', {host!r}), ('node2', {host!r})]\n")
        yield str(path)


def test_interrupted_is_130_and_says_what_was_found(silent: str) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "nodeproof", "plan", silent, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    assert running.stderr.readline() == "node1: connecting\n"
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=20)
    assert running.returncode == Exit.INTERRUPTED
    assert "Traceback" not in err
    result = json.loads(out)
    assert result["interrupted"] is True
    assert {node["reason"] for node in result["nodes"]} == {"interrupted"}


class Terminal:
    """The command on a terminal."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.pid, self.file = os.forkpty()
        if not self.pid:
            os.environ.update(environment)
            command = [sys.executable, "-m", "nodeproof", *arguments]
            os.execve(sys.executable, command, dict(os.environ))  # noqa: S606
        self.said = b""

    def until(self, text: bytes) -> None:
        end = time.monotonic() + 30
        while text not in self.said and time.monotonic() < end:
            try:
                self.said += os.read(self.file, 4096)
            except OSError:
                break
        assert text in self.said, self.said

    def type(self, text: bytes) -> None:
        # A signal between the question and the reading of the answer would be seen after it only.
        time.sleep(0.5)
        os.write(self.file, text)

    def code(self) -> int:
        while True:
            try:
                if not (more := os.read(self.file, 4096)):
                    break
                self.said += more
            except OSError:
                break
        os.close(self.file)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.parametrize(
    ("typed", "code"),
    [(b"\x03", Exit.INTERRUPTED), (b"\x04", Exit.INTERRUPTED), (b"n\n", Exit.DONE)],
)
def test_a_question_can_be_left(tmp_path: Path, typed: bytes, code: Exit) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    server = tmp_path / "server.py"
    server.write_text(
        "import paramiko, socket, sys\n"
        "listening = socket.create_server(('127.0.0.1', 0))\n"
        "print(listening.getsockname()[1], flush=True)\n"
        f"key = paramiko.Ed25519Key.from_private_key_file({str(key)!r})\n"
        "while True:\n"
        "    transport = paramiko.Transport(listening.accept()[0])\n"
        "    transport.add_server_key(key)\n"
        "    try: transport.start_server(server=paramiko.ServerInterface())\n"
        "    except Exception: pass\n"
    )
    running = subprocess.Popen([sys.executable, str(server)], stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        data = {
            "ssh_hostname": "127.0.0.1",
            "ssh_port": int(running.stdout.readline()),
            "ssh_known_hosts_file": str(tmp_path / "known_hosts"),
        }
        (tmp_path / "site.py").write_text(f"nodes = [('node1', {data!r})]\n")
        terminal = Terminal("trust", str(tmp_path / "site.py"))
        terminal.until(b"Trust these 1 hosts?")
        terminal.type(typed)
        assert terminal.code() == code
        assert b"SHA256:" in terminal.said
        assert b"Traceback" not in terminal.said
        assert not (tmp_path / "known_hosts").exists()
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


@pytest.fixture
def asking(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which this machine's user is not root, and sudo asks."""
    for name, text in (("id", "echo 1000\n"), ("sudo", FAKE_SUDO)):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TRIES": str(tmp_path / "tries")}


FAKE_SUDO = r"""[ "$1" = -n ] && exit 1
while [ "$1" != sh ]; do [ "$1" = -p ] && prompt=$2; shift; done
printf %s "$prompt" >&2; IFS= read -r given; echo x >>"$TRIES"
[ "$given" = "right one" ] && exec "$@"
printf 'Sorry, try again.\n%s' "$prompt" >&2; IFS= read -r given; echo x >>"$TRIES"; exit 1
"""


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (b"wrong\n", Exit.UNREACHABLE, b"the password is wrong"),
        (b"right one\n", Exit.UNREACHABLE, b"commands run as user 1000 instead of root"),
        (b"\x04", Exit.UNREACHABLE, b"no sudo password was given"),
        (b"\x03", Exit.INTERRUPTED, b"interrupted"),
    ],
)
def test_the_sudo_password_is_asked_for(
    asking: dict[str, str], typed: bytes, code: Exit, said: bytes, tmp_path: Path
) -> None:
    terminal = Terminal("plan", "@local", **asking)
    terminal.until(b"sudo password: ")
    terminal.type(typed)
    assert terminal.code() == code
    assert said in terminal.said
    assert b"Traceback" not in terminal.said
    assert typed.strip() not in terminal.said.replace(b"the password is wrong", b"")
    tries = tmp_path / "tries"
    assert (tries.read_text().split() if tries.exists() else []) == ["x"] * typed.endswith(b"\n")


def test_without_a_terminal_nobody_is_asked(asking: dict[str, str]) -> None:
    for arguments in (("plan", "@local"), ("plan", "@local", "-K")):
        done = process(*arguments, **asking)
        assert done.returncode == Exit.UNREACHABLE
        assert "no terminal to ask on" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


# Completion


def completed(words: str, number: int) -> list[str]:
    done = process(_NODEPROOF_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(number))
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_completion_knows_commands_and_options() -> None:
    assert completed("nodeproof ", 1) == list(COMMANDS)
    assert completed("nodeproof ver", 1) == ["verify"]
    assert "--detailed-exitcode" in completed("nodeproof plan --", 2)
    assert set(completed("nodeproof completion ", 2)) == {"bash", "zsh", "fish"}
    assert completed("nodeproof revert la", 2) == ["last"]
    assert completed("nodeproof verify --standard cis_deb", 3) == ["cis_debian12", "cis_debian13"]
    assert completed("nodeproof report --standard gdpr", 3) == ["gdpr_32"]
    assert completed("nodeproof revert last --control NP-CON", 4) == [
        *("NP-CON-01", "NP-CON-02", "NP-CON-03")
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_one_of_the_shell(shell: str, tmp_path: Path, invoke: Invoke) -> None:
    done = invoke("completion", shell)
    assert done.exit_code == 0
    assert "_NODEPROOF_COMPLETE" in done.stdout
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    script = tmp_path / "script"
    script.write_text(done.stdout)
    checked = subprocess.run(
        [shell, "-n", str(script)], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    if shell == "bash":
        use = f"source {script} && complete -p nodeproof"
        used = subprocess.run(["bash", "-c", use], capture_output=True, text=True, check=False)
        assert used.returncode == 0
        assert "_nodeproof_completion" in used.stdout


# A scaffold


def test_init_makes_an_inventory_without_a_problem(tmp_path: Path, invoke: Invoke) -> None:
    folder = tmp_path / "ours"
    done = invoke("init", str(folder))
    assert done.exit_code == 0
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert made == {
        "inventory.py", "group_data/all.py", "group_data/nodes.py", "README.md", ".gitignore"
    }  # fmt: skip
    assert {Path(line) for line in done.stdout.splitlines()} == {folder / name for name in made}
    asked = load(str(folder / "inventory.py"))
    assert asked.names == ("node1", "node2")
    assert {"system", "ssh"} <= asked.settings["node1"].layers.keys()


def test_init_example_lines_are_true(tmp_path: Path, invoke: Invoke) -> None:
    """A comment that says what may stand there must be right when its # is taken away."""
    invoke("init", str(tmp_path))
    path = tmp_path / "group_data" / "nodes.py"
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1cNJQHhVbGWL5Qkz0sYvNhmIxbqkd1jkR7Rl4TgpEJ ops@x"
    text = (
        path.read_text().replace("    # ", "    ").replace("ssh-ed25519 AAAA... alice@laptop", key)
    )
    path.write_text(text)
    system = load(str(tmp_path / "inventory.py")).settings["node1"].layers["system"]
    assert system.model_dump()["users"]["alice"]["keys"] == [key]


def test_init_never_overwrites(tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "inventory.py").write_text("mine\n")
    done = invoke("init", str(tmp_path))
    assert done.exit_code == Exit.USAGE
    assert "has inventory.py already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["inventory.py"]
    assert (tmp_path / "inventory.py").read_text() == "mine\n"


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_init_where_it_cannot(tmp_path: Path, invoke: Invoke, where: str) -> None:
    (tmp_path / "file").touch()
    done = invoke("init", str(tmp_path / where))
    assert done.exit_code == Exit.USAGE
    assert "Traceback" not in done.output
