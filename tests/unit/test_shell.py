"""The root shell against a real ``sh``: what it answers, what it survives, how it becomes root."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from gevent.pool import Pool

from nodeproof.engine.adapter import shell as shell_module
from nodeproof.engine.adapter.connector import _ProcessStreams
from nodeproof.engine.adapter.shell import ConnectionLostError, Shell
from nodeproof.errors import UnreachableError

NOBODY = 65534
ANSWER = "correct horse 'battery' $(staple)"  # what the user types

# Behaves as sudo(8) with -n, -S, -k, -H and -p; what it sees while it holds the password is kept.
FAKE_SUDO = r"""#!/bin/sh
noninteractive= prompt=
while [ $# -gt 0 ]; do case $1 in
  -n) noninteractive=1; shift;;
  -S|-k|-H) shift;;
  -p) prompt=$2; shift 2;;
  *) break;;
esac; done
[ "$PASSWORDLESS" = yes ] && exec "$@"
[ -n "$noninteractive" ] && { echo 'sudo: a password is required' >&2; exit 1; }
for try in 1 2 3; do
  printf %s "$prompt" >&2
  IFS= read -r given || { echo 'sudo: no password was provided' >&2; exit 1; }
  tr '\0' ' ' <"/proc/$$/environ" >>"$SEEN"; cat /proc/[0-9]*/cmdline 2>/dev/null >>"$SEEN"
  [ "$given" = "$(cat "$ANSWER")" ] && exec "$@"
  echo 'Sorry, try again.' >&2; echo "$try" >>"$TRIES"
done
echo 'sudo: 3 incorrect password attempts' >&2
exit 1
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    """End a test that waits for ever."""
    with gevent.Timeout(30, AssertionError("no end after 30 s")):
        yield


def refuse(host: str) -> str:
    raise AssertionError(f"{host}: nobody may be asked for a password here")


@pytest.fixture
def shell() -> Iterator[Shell]:
    made = Shell("node1", _ProcessStreams, refuse)
    yield made
    made.close()


# What a command answers


@pytest.mark.parametrize("code", [0, 1, 2, 126, 127, 255])
def test_exit_code(shell: Shell, code: int) -> None:
    assert shell.run(f"exit {code}") == (code, b"", b"")


def test_exit_code_of_a_killed_command(shell: Shell) -> None:
    assert shell.run("kill -9 $$")[0] == 137
    assert shell.run("echo after") == (0, b"after\n", b"")


def test_streams_apart(shell: Shell) -> None:
    assert shell.run("echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"no newline",
        b"\n",
        b"\n\n\n",
        b"a\x00b\x00",
        bytes(range(256)),
        b"\xff\xfe no utf-8",
        b"0123456789abcdef0123456789abcdef 0\n",
        b"nodeproof-ready\nnodeproof-password\nnodeproof-no-sudo\n",
        b"np=$?\nprintf '%s %s\\n'",
    ],
)
def test_output_byte_for_byte(shell: Shell, said: bytes, tmp_path: Path) -> None:
    file = tmp_path / "said"
    file.write_bytes(said)
    assert shell.run(f"cat {file}; cat {file} >&2") == (0, said, said)
    assert shell.run("echo next") == (0, b"next\n", b"")


def test_large_output(shell: Shell) -> None:
    code, out, err = shell.run("head -c 5000000 /dev/zero; head -c 300000 /dev/zero >&2")
    assert (code, len(out), len(err)) == (0, 5_000_000, 300_000)


def test_many_at_once_get_their_own_answers(shell: Shell) -> None:
    pool = Pool(64)

    def ask(number: int) -> tuple[int, bytes, bytes]:
        return shell.run(f"echo out{number}; echo err{number} >&2; exit {number}")

    answers = pool.map(ask, range(64))

    assert answers == [
        (number, f"out{number}\n".encode(), f"err{number}\n".encode()) for number in range(64)
    ]


def test_standard_input_is_empty(shell: Shell) -> None:
    assert shell.run('cat; read -r line; echo "[$line]"') == (0, b"[]\n", b"")


@pytest.mark.parametrize(
    "command",
    ["echo 'unclosed", "if true", "((", "$(", "cat <<EOF", "`", "}", "echo )"],
)
def test_a_command_that_does_not_parse_harms_nobody_else(shell: Shell, command: str) -> None:
    code, _, err = shell.run(command)
    assert (code, bool(err)) == (2, True) or command == "cat <<EOF"
    assert shell.run("echo next") == (0, b"next\n", b"")


@pytest.mark.parametrize(
    "word", ["a b", "a'b", 'a"b', "$HOME", "`id`", "a\nb", "\\", "*", "-n", "ünïcode", ""]
)
def test_words_arrive_as_they_were_quoted(shell: Shell, word: str) -> None:
    assert shell.run(f"printf %s {shlex.quote(word)}") == (0, word.encode(), b"")


def test_commands_do_not_change_each_other(shell: Shell) -> None:
    shell.run("cd /tmp; umask 077; export WORD=1; exec >/dev/null")
    assert shell.run('pwd; umask; echo "[$WORD]"') == (0, b"/\n0022\n[]\n", b"")


def test_umask_path_and_locale_are_settled(tmp_path: Path) -> None:
    poor = lambda command: _ProcessStreams(  # noqa: E731
        f"cd {tmp_path}; umask 077; export PATH=/usr/bin:/bin LC_ALL=C.UTF-8; {command}"
    )
    shell = Shell("node1", poor, refuse)
    said = shell.run("umask; echo $LC_ALL; command -v chroot; pwd")[1].decode().split()
    shell.close()
    assert said == ["0022", "C", "/usr/sbin/chroot", "/"]


@pytest.mark.parametrize("noise", ["echo welcome", "printf 'no newline'", "echo; echo '\xff'"])
def test_noise_at_login_is_ignored(noise: str) -> None:
    shell = Shell("node1", lambda command: _ProcessStreams(f"{noise}; {command}"), refuse)
    assert shell.run("echo hello") == (0, b"hello\n", b"")
    shell.close()


# Time


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        gevent.sleep(0.02)
    return False


def test_timeout_kills_the_command(shell: Shell, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(TimeoutError, match=r"no end after 1 s: echo"):
        shell.run(f"echo $$ >{pids}; sleep 60 & echo $! >>{pids}; wait", timeout=1)
    assert len(pids.read_text().split()) == 2
    for pid in map(int, pids.read_text().split()):
        assert wait_until(lambda pid=pid: not alive(pid))
    assert shell.run("echo next") == (0, b"next\n", b"")


def test_no_timeout_for_what_ends_in_time(shell: Shell) -> None:
    assert shell.run("echo quick; exit 7", timeout=20) == (7, b"quick\n", b"")


def test_other_commands_wait_out_a_timeout(shell: Shell) -> None:
    slow = gevent.spawn(shell.run, "sleep 60", timeout=1)
    quick = gevent.spawn(shell.run, "echo quick")
    gevent.joinall([slow, quick], timeout=10)
    assert isinstance(slow.exception, TimeoutError)
    assert quick.value == (0, b"quick\n", b"")


# The node goes away


def sh_pid(shell: Shell) -> int:
    return int(shell.run("echo $PPID")[1])


def test_node_that_dies_answers_everybody(shell: Shell, tmp_path: Path) -> None:
    pid = sh_pid(shell)
    first = tmp_path / "pid"
    waiting = [gevent.spawn(shell.run, f"echo $$ >{first}; exec sleep 30")]
    waiting += [gevent.spawn(shell.run, "echo never") for _ in range(5)]
    assert wait_until(lambda: first.exists() and first.read_text().endswith("\n"))
    os.kill(pid, 9)
    os.kill(int(first.read_text()), 9)  # it holds the streams open
    gevent.joinall(waiting, timeout=5)
    assert [type(job.exception) for job in waiting] == [ConnectionLostError] * 6
    assert not shell.alive
    with pytest.raises(ConnectionLostError):
        shell.run("echo later")


def test_closed_shell_says_so(shell: Shell) -> None:
    waiting = gevent.spawn(shell.run, "sleep 2")
    gevent.sleep(0.1)
    shell.close()
    waiting.join(timeout=5)
    assert isinstance(waiting.exception, ConnectionLostError)
    with pytest.raises(ConnectionLostError):
        shell.run("echo later")


# Uploads


def test_new_file_is_for_root_only(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "new"
    assert shell.upload(b"a\x00b\xff", str(path)) == (0, b"", b"")
    assert path.read_bytes() == b"a\x00b\xff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@needs_root
def test_replaced_file_keeps_mode_and_owner(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_text("old")
    path.chmod(0o640)
    os.chown(path, NOBODY, NOBODY)
    assert shell.upload(b"new", str(path)) == (0, b"", b"")
    now = path.stat()
    assert (path.read_text(), stat.S_IMODE(now.st_mode)) == ("new", 0o640)
    assert (now.st_uid, now.st_gid) == (NOBODY, NOBODY)
    assert [file.name for file in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"x" * 57, b"x" * 58, b"end-0\n", bytes(range(256)) * 800],
    ids=lambda content: f"{len(content)} bytes",  # content that is no name, the same everywhere
)
def test_content_arrives_byte_for_byte(shell: Shell, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    assert shell.upload(content, str(path))[0] == 0
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["a b", "a'b", "$(id)", "-rf", "a\nb", "*", "ü"])
def test_any_name(shell: Shell, tmp_path: Path, name: str) -> None:
    assert shell.upload(b"here", str(tmp_path / name)) == (0, b"", b"")
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("where", ["missing/file", "folder"])
def test_upload_that_cannot_work_leaves_nothing(shell: Shell, tmp_path: Path, where: str) -> None:
    (tmp_path / "folder").mkdir()
    code, _, err = shell.upload(b"x", str(tmp_path / where))
    assert code != 0
    assert err
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


@needs_root
def test_full_disk_leaves_the_old_file(shell: Shell, tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        path = tmp_path / "file"
        path.write_text("old")
        code, _, err = shell.upload(b"x" * 200_000, str(path))
        assert code != 0
        assert b"No space left" in err
        assert path.read_text() == "old"
        assert [file.name for file in tmp_path.iterdir()] == ["file"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_uploads_and_commands_at_once(shell: Shell, tmp_path: Path) -> None:
    jobs = [
        gevent.spawn(shell.upload, str(n).encode() * 1000, str(tmp_path / str(n)))
        for n in range(20)
    ]
    jobs += [gevent.spawn(shell.run, f"echo {n}") for n in range(20)]
    gevent.joinall(jobs, timeout=20)
    assert [job.value[0] for job in jobs] == [0] * 40
    assert all((tmp_path / str(n)).read_bytes() == str(n).encode() * 1000 for n in range(20))
    assert [job.value[1] for job in jobs[20:]] == [f"{n}\n".encode() for n in range(20)]


# Becoming root


class Node:
    """A user's login on this machine, with a sudo of our making first on PATH."""

    beside = ":/usr/bin:/bin"

    def __init__(self, folder: Path, *, passwordless: bool = False) -> None:
        self.folder = folder
        self.seen, self.tries = folder / "seen", folder / "tries"
        self.path = folder / "bin"
        self.path.mkdir()
        self.passwordless = passwordless
        self.others = ":/usr/bin:/bin"
        self.streams: _ProcessStreams | None = None
        (folder / "answer").write_text(ANSWER)
        for file in (self.seen, self.tries):
            file.touch()
        for path in [folder, *folder.parents][:4]:
            path.chmod(path.stat().st_mode | 0o055)
        for path in (folder, self.seen, self.tries):
            os.chown(path, NOBODY, NOBODY)

    def install(self, sudo: str) -> None:
        (self.path / "sudo").write_text(sudo)
        (self.path / "sudo").chmod(0o755)

    def start(self, command: str) -> _ProcessStreams:
        environment = {
            "PATH": f"{self.path}{self.others}",
            "PASSWORDLESS": "yes" if self.passwordless else "no",
            "ANSWER": str(self.folder / "answer"),
            "SEEN": str(self.seen),
            "TRIES": str(self.tries),
        }
        words = [f"{key}={value}" for key, value in environment.items()]
        become = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups env -i"
        self.streams = _ProcessStreams(
            f"cd /; exec {become} {shlex.join(words)} sh -c {shlex.quote(command)}"
        )
        return self.streams

    def ended(self) -> bool:
        assert self.streams is not None
        return wait_until(lambda: not alive(self.streams._process.pid))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path)
    made.install(FAKE_SUDO)
    return made


def everything_that_others_can_see() -> bytes:
    return b"".join(
        path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()
    )


@needs_root
def test_sudo_without_a_password(node: Node) -> None:
    node.passwordless = True
    shell = Shell("node1", node.start, refuse)
    assert shell.run("echo root") == (0, b"root\n", b"")
    shell.close()


@needs_root
def test_sudo_with_the_right_password(node: Node) -> None:
    asked: list[str] = []

    def answer(host: str) -> str:
        asked.append(host)
        return ANSWER

    shell = Shell("node1", node.start, answer)
    # What is written after the password reaches the shell, not sudo.
    assert shell.run("echo root") == (0, b"root\n", b"")
    assert shell.run("cat") == (0, b"", b"")
    assert asked == ["node1"]
    shell.close()


@needs_root
def test_password_is_nowhere_to_be_seen(node: Node) -> None:
    shell = Shell("node1", node.start, lambda host: ANSWER)
    waiting = gevent.spawn(shell.run, "sleep 0.5")
    gevent.sleep(0.1)
    assert ANSWER.encode() not in everything_that_others_can_see()
    waiting.join()
    assert b"sudo" in node.seen.read_bytes()
    assert ANSWER.encode() not in node.seen.read_bytes()
    assert b"horse" not in shell.run("cat /proc/self/environ; set")[1]
    shell.close()


@needs_root
def test_wrong_password_is_said_quickly_and_tried_once(node: Node) -> None:
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"^node1: .*the password is wrong") as caught:
        Shell("node1", node.start, lambda host: "wrong")
    assert time.monotonic() - began < 5
    assert caught.value.hint
    assert "wrong" not in str(caught.value.hint)
    assert node.ended()
    assert node.tries.read_text().split() == ["1"]


@needs_root
def test_nobody_to_ask_for_the_password(node: Node) -> None:
    def nobody(host: str) -> str:
        raise UnreachableError(f"{host}: no terminal to ask on")

    with pytest.raises(UnreachableError, match="no terminal"):
        Shell("node1", node.start, nobody)
    assert node.ended()


@needs_root
def test_no_sudo_and_not_root(node: Node) -> None:
    (node.path / "sudo").unlink()
    for program in ("sh", "id"):
        (node.path / program).symlink_to(f"/usr/bin/{program}")
    node.others = ""  # this machine may have a sudo of its own
    with pytest.raises(UnreachableError, match=r"^node1: sudo is not installed") as caught:
        Shell("node1", node.start, refuse)
    assert caught.value.hint
    assert node.ended()


@needs_root
def test_sudo_that_refuses_this_user(node: Node) -> None:
    node.install("#!/bin/sh\necho 'nobody is not in the sudoers file.' >&2; exit 1\n")
    with pytest.raises(UnreachableError, match=r"^node1: .*nobody is not in the sudoers file"):
        Shell("node1", node.start, lambda host: ANSWER)
    assert node.ended()


@needs_root
def test_sudo_that_refuses_after_the_password(node: Node) -> None:
    last = 'echo "Sorry, user nobody may not run sh as root." >&2; exit 1'
    node.install(FAKE_SUDO.replace('&& exec "$@"\n  echo', f"&& {{ {last}; }}\n  echo"))
    with pytest.raises(UnreachableError, match=r"^node1: .*Sorry, user nobody may not run sh"):
        Shell("node1", node.start, lambda host: ANSWER)
    assert node.ended()


@needs_root
def test_sudo_that_never_answers(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_module, "START_S", 0.5)
    node.install("#!/bin/sh\nexec sleep 3\n")
    with pytest.raises(UnreachableError, match=r"^node1: .*no answer within"):
        Shell("node1", node.start, lambda host: ANSWER)
    assert node.ended()


@needs_root
def test_sudo_that_lectures_and_asks_late(node: Node) -> None:
    lecture = "#!/bin/sh\n[ \"$1\" = -n ] || { sleep 0.3; echo 'We trust you...' >&2; }\n"
    node.install(lecture + FAKE_SUDO.removeprefix("#!/bin/sh\n"))
    shell = Shell("node1", node.start, lambda host: ANSWER)
    assert shell.run("echo root") == (0, b"root\n", b"")
    shell.close()


def test_node_that_closes_at_once() -> None:
    with pytest.raises(UnreachableError, match=r"^node1: "):
        Shell("node1", lambda command: _ProcessStreams("echo 'no entry' >&2; exit 1"), refuse)
