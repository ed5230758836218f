"""systemd-nspawn, on a host run by systemd and on one that is not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from nodeproof.lab import bridge, requirements

# Without systemd nobody makes a cgroup for the node: enter one of its own in each hierarchy, and
# keep what nspawn writes under /run out of the host's.
_ENTER = """
while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 1; shift; done
shift
mkdir -p /run/systemd/nspawn && mount -t tmpfs tmpfs /run/systemd/nspawn || exit 1
exec "$@"
"""


def spawn(machine: str, root: Path, log: Path) -> subprocess.Popen[bytes]:
    """Boot ``root`` as ``machine``; what it prints goes to ``log``."""
    argv = [
        requirements.command("systemd-nspawn"),
        *("--quiet", "--boot", f"--machine={machine}", f"--directory={root}"),
        *(f"--network-bridge={bridge.NAME}", "--resolv-conf=off", "--timezone=off"),
        # On SIGTERM nspawn passes this on, which is systemd's word for an orderly power-off.
        *("--console=pipe", "--register=no", "--kill-signal=SIGRTMIN+3", "--link-journal=no"),
        _mark(machine),
    ]
    environment = dict(os.environ)
    if not host_has_systemd():
        groups = [str(_made(hierarchy / machine)) for hierarchy in hierarchies()]
        slave = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", _ENTER, "sh"]
        argv = [*slave, *groups, "--", *argv[:1], "--keep-unit", *argv[1:]]
        environment["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "1"
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def stop(machine: str, process: subprocess.Popen[bytes], seconds: float) -> None:
    """Shut the node down; kill it where that takes longer than ``seconds``."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        kill(machine)
        process.wait()


def kill(machine: str) -> None:
    """Kill the node called ``machine``, and wait for the end of its processes.

    Its systemd outlives a killed nspawn, and takes every process of the node with it.
    """
    killed = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if _mark(machine).encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
                killed.append(folder)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    for folder in killed:
        _wait_gone(folder)
    _remove_export(machine)


def remove_cgroups(machine: str) -> None:
    """Remove the cgroups made by ``spawn``, which are empty once the node has ended."""
    if host_has_systemd():
        return
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy / machine, topdown=False):
            _remove_cgroup(Path(folder))


def host_has_systemd() -> bool:
    """Say whether this host was booted by systemd; see sd_booted(3)."""
    return Path("/run/systemd/system").is_dir()


def hierarchies(mountinfo: Path = Path("/proc/self/mountinfo")) -> list[Path]:
    """Return the cgroup hierarchies that keep a node's processes together."""
    found = []
    for line in mountinfo.read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(maxsplit=2)
        wanted = re.search(r"(?:^|,)(?:name=systemd|pids|memory)(?:,|$)", options)
        if kind == "cgroup2" or (kind == "cgroup" and wanted):
            found.append(Path(before.split()[4]))
    return found


def _remove_export(machine: str) -> None:
    """Remove what a killed nspawn leaves mounted, for which it would refuse the name."""
    export = Path("/run/systemd/nspawn/unix-export", machine)
    if export.is_mount():
        subprocess.run([requirements.command("umount"), str(export)], check=True)  # noqa: S603
    if export.is_dir():
        export.rmdir()


def _mark(machine: str) -> str:
    """Return a word of the command lines of both nspawn and the node's systemd, who ignores it."""
    return f"nodeproof.node={machine}"


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _remove_cgroup(folder: Path, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            folder.rmdir()
        except OSError:
            # The kernel takes a moment to let go of processes that have just ended.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _wait_gone(folder: Path, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while _alive(folder) and time.monotonic() < deadline:
        time.sleep(0.05)


def _alive(folder: Path) -> bool:
    try:
        return "State:\tZ" not in (folder / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
