"""libvirt for one test: started by hand where no systemd runs it, and left as it was found."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nodeproof.lab import requirements

URI = "qemu:///system"
POOL = "default"  # vagrant-libvirt makes it where it is missing
NETWORK = "vagrant-libvirt"  # and this one
READY_S = 120

Holdings = dict[str, set[str]]


@contextmanager
def running(logs: Path) -> Iterator[None]:
    """Have libvirt answer; daemons started here are stopped by their process ids."""
    daemons = []
    try:
        if not _answers():
            assert os.geteuid() == 0, f"{URI} does not answer, and only root can start libvirt"
            daemons = [_start(name, logs) for name in ("virtlogd", "libvirtd")]
            _wait(daemons)
        yield
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(60)


def holdings() -> Holdings:
    """Return the names of everything that libvirt holds, by kind."""
    pools = _names("pool-list", "--all", "--name")
    volumes = {
        line.split()[0]
        for pool in pools & {POOL}
        for line in _virsh("vol-list", "--pool", pool).splitlines()
        if line.strip()
    }
    return {
        "domain": _names("list", "--all", "--name"),
        "net": _names("net-list", "--all", "--name"),
        "pool": pools,
        "vol": volumes,
    }


def tidy(before: Holdings, prefix: str) -> None:
    """Remove what a test made: machines and volumes of its prefix, then network and pool.

    The last two are removed only when they were not there before.
    """
    for domain in _made("domain", before, prefix):
        _virsh("destroy", domain, check=False)  # fails where it is off already
        _virsh("undefine", domain)
    for volume in _made("vol", before, prefix):
        _virsh("vol-delete", "--pool", POOL, volume)
    if _made("net", before, NETWORK):
        _virsh("net-destroy", NETWORK, check=False)
        _virsh("net-undefine", NETWORK)
    # Files outlast their pool, and are not seen without it.
    left = _made("vol", before, "nodeproof")
    assert not left, f"left in the pool {POOL}: {left}"
    if _made("pool", before, POOL):
        _virsh("pool-destroy", POOL)
        _virsh("pool-undefine", POOL)


def _made(kind: str, before: Holdings, prefix: str) -> list[str]:
    return [name for name in holdings()[kind] - before[kind] if name.startswith(prefix)]


def _start(name: str, logs: Path) -> subprocess.Popen[bytes]:
    with (logs / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [requirements.command(name)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the test; these must outlive it to be tidied
        )


def _wait(daemons: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + READY_S
    while not _answers():
        dead = [daemon.args for daemon in daemons if daemon.poll() is not None]
        assert not dead, f"ended early: {dead}"
        assert time.monotonic() < deadline, f"libvirt does not answer after {READY_S} s"
        time.sleep(1)


def _answers() -> bool:
    done = subprocess.run(["virsh", "-c", URI, "version"], capture_output=True, check=False)
    return done.returncode == 0


def _names(*words: str) -> set[str]:
    return set(_virsh(*words).split())


def _virsh(*words: str, check: bool = True) -> str:
    done = subprocess.run(
        ["virsh", "-c", URI, "--quiet", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or not check, f"virsh {' '.join(words)}: {done.stderr}"
    return done.stdout
