"""The node's program with a journal, account files and daemons of its own below a folder."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nodeproof.operations.journal import program

THOROUGH = "NODEPROOF_THOROUGH" in os.environ
"""Whether to try everything and much at random; by default, a part of it that is fast."""

MEMORY = Path("/dev/shm")
"""Where writing durably costs nothing."""

AS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: what is tested is root's rights"
)

USERS = (
    "root:x:0:0:root:/root:/bin/bash\n"
    "daemon:x:1:1::/:/bin/false\n"
    "ada:x:900:900::/home/ada:/bin/sh\n"
)
ACCOUNTS = {
    "passwd": USERS,
    "shadow": "root:*:1::::::\ndaemon:*:1::::::\nada:!:1::::::\n",
    "group": "root:x:0:\ndaemon:x:1:\nada:x:900:\nsudo:x:27:ada\n",
    "gshadow": "root:*::\ndaemon:*::\nada:!::\nsudo:*::ada\n",
    "subuid": "ada:100000:65536\n",
    "subgid": "ada:100000:65536\n",
}

# What would touch the machine's own daemons only says that it was called.
STUB = """#!/bin/sh
[ ! -e {folder}/refuse.${{0##*/}} ] || exit 1
printf '%s %s\\n' "${{0##*/}}" "$*" >>{folder}/calls
"""
STUBS = ("systemctl", "systemd-run", "apparmor_parser")


@dataclass
class Node:
    """One node; every call is one run of its program."""

    folder: Path
    shell: str = "dash"
    owner: int = field(default_factory=os.getpid)
    limits: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("lib/bin", "run", "files", "stubs", "etc/systemd/system/sysinit.target.wants"):
            (self.folder / name).mkdir(parents=True)
        for name, text in ACCOUNTS.items():
            (self.etc / name).write_text(text)
            (self.etc / name).chmod(0o640 if "shadow" in name else 0o644)
        for name in STUBS:
            (self.folder / "stubs" / name).write_text(STUB.format(folder=self.folder))
            (self.folder / "stubs" / name).chmod(0o755)
        self.program.write_bytes(program())
        self.program.chmod(0o700)

    @property
    def program(self) -> Path:
        return self.folder / "lib/bin/journal"

    @property
    def runs(self) -> Path:
        return self.folder / "lib/runs"

    @property
    def etc(self) -> Path:
        return self.folder / "etc"

    @property
    def files(self) -> Path:
        """Where tests put what is changed."""
        return self.folder / "files"

    @property
    def calls(self) -> list[str]:
        """Return what daemons' tools were asked for."""
        told = self.folder / "calls"
        return told.read_text().splitlines() if told.exists() else []

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": f"{self.folder}/stubs:{os.environ['PATH']}:/usr/sbin:/sbin",
            "NODEPROOF_HOME": f"{self.folder}/lib",
            "NODEPROOF_RUN": f"{self.folder}/run",
            "NODEPROOF_ETC": str(self.etc),
            "NODEPROOF_OWNER": str(self.owner),
            **self.limits,
            **more,
        }

    def start(self, *words: str, **more: str) -> subprocess.Popen[bytes]:
        """Start the program in a group of processes of its own."""
        return subprocess.Popen(
            [self.shell, self.program, *words],
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def call(
        self, *words: str, told: bytes = b"", **more: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the program and what it leaves in the background; what it prints is bytes."""
        done = subprocess.run(
            [self.shell, self.program, *words],
            env=self.environment(**more),
            input=told,
            capture_output=True,
            timeout=60,
            check=False,
            start_new_session=True,  # tests kill the whole group
        )
        self.at_rest()
        return done

    def at_rest(self, seconds: float = 2) -> None:
        """Wait until no step is at work; a daemon that a test left may be for ever."""
        lock = self.folder / "run/owner.step"
        if lock.exists():
            subprocess.run(["flock", "-w", str(seconds), lock, "true"], check=False)

    def good(self, *words: str, told: bytes = b"") -> list[list[str]]:
        """Run the program, which must succeed; return the rows that it prints."""
        done = self.call(*words, told=told)
        assert done.returncode == 0, (words, done)
        return [line.split("\t") for line in done.stdout.decode(errors="replace").splitlines()]

    def begin(
        self, run: str = "R1", about: str = "who=ops@desk\nlayers=system\n"
    ) -> list[list[str]]:
        return self.good("begin", run, told=about.encode())

    def step(
        self,
        command: str,
        *items: str | Path,
        run: str = "R1",
        guard: int = 0,
        layer: str = "system",
        name: str = "Change it",
    ) -> subprocess.CompletedProcess[bytes]:
        """Make a change; an item without a kind is a file."""
        told = [item_of(item) for item in items]
        return self.call("step", run, str(guard), layer, name, *told, "--", command)

    def made(self, command: str, *items: str | Path, run: str = "R1", guard: int = 0) -> None:
        done = self.step(command, *items, run=run, guard=guard)
        assert done.returncode == 0, done

    def examine(self, run: str = "R1", layer: str = "", names: str = "") -> list[list[str]]:
        return self.good("examine", run, layer, names)

    def conflicts(self, run: str = "R1") -> list[tuple[str, ...]]:
        return [tuple(row[1:]) for row in self.examine(run) if row[0] == "conflict"]

    def revert(
        self, run: str = "R1", by: str = "R2", layer: str = "", names: str = "", guard: int = 0
    ) -> subprocess.CompletedProcess[bytes]:
        """Take a run back as another one, which is opened and closed around it."""
        if not self.result(run):
            self.good("end", run, "ok")
        self.begin(by)
        done = self.call("revert", run, by, layer, names, str(guard))
        if not guard:
            self.good("end", by, "ok" if done.returncode == 0 else "failed")
        return done

    def reverted(self, run: str = "R1", by: str = "R2") -> list[list[str]]:
        done = self.revert(run, by)
        assert done.returncode == 0, done
        return [line.split("\t") for line in done.stdout.decode().splitlines()]

    def result(self, run: str = "R1") -> str:
        """Return how a run ended; empty while it is open."""
        path = self.runs / run / "result"
        if not path.exists():
            return ""
        listed = [row.split("\t") for row in self.call("runs").stdout.decode().splitlines()]
        ended = path.read_text().strip()
        return next((row[1] for row in listed if row[0] == run), ended)

    def dead(self) -> None:
        """Let the controller of the open run be gone."""
        lock = self.folder / "run/owner"
        lines = [line for line in lock.read_text().splitlines() if not line.startswith("pid=")]
        lock.write_text("\n".join([*lines, "pid=999999999"]) + "\n")


def item_of(item: str | Path) -> str:
    """Return an item as the program takes it."""
    return str(item) if "\t" in str(item) else f"file\t{item}"


@contextmanager
def in_memory(shell: str = "dash") -> Iterator[Node]:
    """Make a node where nothing is ever written to a disk."""
    place = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="nodeproof-", dir=place) as folder:
        yield Node(Path(folder), shell)


def manifest(*tops: Path) -> dict[str, tuple[object, ...]]:
    """Return each path below these with type, mode, owner, content or target, and attributes."""
    found: dict[str, tuple[object, ...]] = {}
    for top in tops:
        for folder, names, files in os.walk(top):
            for name in [*names, *files]:
                path = Path(folder, name)
                found[str(path)] = entry(path)
    return found


def entry(path: Path) -> tuple[object, ...]:
    """Return what one path is."""
    is_ = path.lstat()
    content: object = None
    if stat.S_ISLNK(is_.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(is_.st_mode):
        content = path.read_bytes()
    names = sorted(os.listxattr(path, follow_symlinks=False))
    extended = tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)
    return (oct(is_.st_mode), is_.st_uid, is_.st_gid, content, extended)


def acl(path: Path, user: int = 1000, rights: int = 4) -> None:
    """Let one more user have these rights on a path (setfacl is not on every machine)."""
    entries: Sequence[tuple[int, int, int]] = (
        (0x01, 6, 0xFFFFFFFF),
        (0x02, rights, user),
        (0x04, 4, 0xFFFFFFFF),
        (0x10, 6, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    )
    told = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + right.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, right, who in entries
    )
    os.setxattr(path, "system.posix_acl_access", told)


def killed(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it started, without a chance to clean up."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def copy_of(node: Node, name: str, to: Mapping[str, str]) -> None:
    """Replace texts in an account file, as other tools do it: by a new file."""
    path = node.etc / name
    text = path.read_text()
    for old, new in to.items():
        assert old in text
        text = text.replace(old, new)
    shutil.copy2(path, path.with_name(name + ".other"))
    path.with_name(name + ".other").write_text(text)
    path.with_name(name + ".other").rename(path)


def until(told: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not told():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


TOOLS = ("mv", "rm", "sync", "cp", "cat", "sed", "find", "sort", "tar", "flock", "rmdir", "mkdir")


def end_after(node: Node, calls: int) -> None:
    """Let the program be killed at the n-th tool that it calls; at none with 0."""
    for tool in TOOLS:
        path = node.folder / "stubs" / tool
        path.unlink(missing_ok=True)
        if calls:
            path.write_text(
                "#!/bin/dash\n"
                f"cd {node.folder}; echo >>count\n"
                "n=0; while read -r _; do n=$((n + 1)); done <count\n"
                'cd "$OLDPWD"\n'
                f"[ $n -lt {calls} ] || kill -9 0\n"
                f'exec {shutil.which(tool)} "$@"\n'
            )
            path.chmod(0o755)
    (node.folder / "count").unlink(missing_ok=True)
