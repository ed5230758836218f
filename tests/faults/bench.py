"""A machine to break: what an apply would only wait for is there, and a user lives on it."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nodeproof.catalog.distributions import distributions
from nodeproof.lab import Lab, qemu
from tests.faults.node import NodeMachine
from tests.support import nodeproof, write_inventory

NODE = "node1"
TAG = "bench"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx0xk8eXh1oZ2b0vIuZp0i2mJtI8jC4gJ0n1Pq8b9aR trainer"
SITE: dict[str, Any] = {
    "system": {
        "timezone": "Europe/Berlin",
        "packages": ["rsync", "tree"],
        "ntp_servers": ["192.0.2.123"],
        "users": {"trainer": {"groups": ["ml"], "sudo": "passwordless", "keys": [KEY]}},
    },
    "containers": {"podman": True, "docker": False, "compose": False},
    "confinement": {},
    "ssh": {"max_sessions": 20},
}
"""All four layers; the engine and chrony are there already, small packages really are installed."""

FULL: dict[str, Any] = {**SITE, "containers": {"podman": True, "docker": True}}
"""The same with engines, on a machine that has neither."""

LIGHT: dict[str, Any] = {
    "system": {
        **{key: SITE["system"][key] for key in ("timezone", "packages")},
        "users": {**SITE["system"]["users"], "second": {"groups": ["ml"]}, "third": {}},
    },
    "ssh": {"max_sessions": 20},
}
"""What a container node can have of it."""

TOOLS = ("e2fsprogs", "nftables")
"""What the faults are made with."""
WAITED_FOR = "chrony"
"""What an apply would wait for longest; smaller packages are really installed."""

USER_FILES = """\
set -eu
home=/home/ops
mkdir -p $home/papers /srv/models /var/lib/mine "/srv/with space"
echo 'my notes' >$home/papers/notes.txt
echo 'alias ll="ls -l"' >>$home/.bashrc
echo secret >$home/.token; chmod 600 $home/.token
chown -R ops:ops $home
ln -sfn /srv/models $home/models
head -c 1000000 /dev/zero | tr '\\0' m >/srv/models/model.bin; chmod 640 /srv/models/model.bin
echo 'odd name' >"/srv/with space/it's here"
echo 'mine = 1' >/etc/mine.conf; chown ops:root /etc/mine.conf; chmod 664 /etc/mine.conf
echo state >/var/lib/mine/state; chmod 600 /var/lib/mine/state
printf '# mine\\nPrintLastLog no\\n' >/etc/ssh/sshd_config.d/50-mine.conf
echo 'Defaults:ops passwd_tries=2' >/etc/sudoers.d/50-mine; chmod 440 /etc/sudoers.d/50-mine
echo '17 3 * * * true' | crontab -u ops -
id keeper >/dev/null 2>&1 || useradd --create-home --groups games keeper
echo kept >/home/keeper/kept; chown keeper:keeper /home/keeper/kept
"""
"""What a user has on the machine; none of it is nodeproof's business."""

WATCHED = (
    *("/home/ops/papers", "/home/ops/.bashrc", "/home/ops/.token", "/home/ops/models"),
    *("/home/ops/.ssh", "/srv/models", "'/srv/with space'", "/etc/mine.conf", "/var/lib/mine"),
    *("/etc/ssh/sshd_config.d/50-mine.conf", "/etc/sudoers.d/50-mine", "/etc/sudoers.d/90-lab"),
    *("/var/spool/cron/crontabs/ops", "/home/keeper", "/etc/fstab", "/etc/resolv.conf"),
    *("$(ls -d /etc/colleague.conf /home/colleague /srv/models/added 2>/dev/null)",),
)
PICTURE = (
    f"for p in {' '.join(WATCHED)}; do find \"$p\" -printf '%p %y %m %u:%g %l\\n'; "
    'find "$p" -type f -exec sha256sum -- {} +; done; '
    "getent passwd ops keeper; getent shadow ops keeper root; id keeper | tr , ' '"
)

OWN_VAR = """\
set -eu
dd if=/dev/zero of=/var.img bs=1M count=1200 status=none
mkfs.ext4 -q -F -N 60000 -E nodiscard /var.img
mount -o loop /var.img /mnt
cp -a /var/. /mnt/
umount /mnt
echo '/var.img /var ext4 loop,defaults 0 2' >>/etc/fstab
"""
"""A /var of its own, which can be full while / is not, and not while / is; with few inodes."""


@dataclass
class Bench:
    """One machine with its inventory and what is known about it."""

    name: str
    machine: Any
    """A `Machine`, or a `NodeMachine`."""
    inventory: Path
    full: bool = False
    changes: list[str] = field(default_factory=list)
    """Names of the changes that an apply of the snapshot makes: ``layer | name``."""
    apply_s: float = 0.0
    """How long it takes."""

    def root(self, script: str, *, check: bool = True, timeout: float = 300) -> str:
        """Run a script as root over a new connection; return what it printed."""
        done = self.machine.ssh(["sudo", "-n", "sh", "-c", script], check=check, timeout=timeout)
        return str(done.stdout)

    def picture(self) -> str:
        """Return the user's files: content, mode, owner."""
        return self.root(PICTURE)

    @property
    def container(self) -> bool:
        """Whether it has no kernel of its own."""
        return isinstance(self.machine, NodeMachine)

    def console(self) -> str:
        """Return the end of its console."""
        if self.container:
            return str(self.machine.console())
        return qemu.console_tail(self.machine.folder, 200)

    def close(self, *, keep: bool = False) -> None:
        """Stop it, and remove it unless it is kept for the next campaign."""
        if self.container:
            self.machine.close()
        else:
            Lab(self.name).down(purge=not keep)

    def reset(self) -> None:
        """Go back to the machine as it was prepared."""
        self.machine.reset(TAG)


def made(name: str, distribution: str, folder: Path, *, full: bool, container: bool) -> Bench:
    """Make a machine, prepare it, and apply once to know what an apply does and takes."""
    folder.mkdir(parents=True, exist_ok=True)
    machine: Any
    if container:
        machine, site = NodeMachine(NODE, distribution), LIGHT
    else:
        machine, site = _machine(name, distribution, full=full), FULL if full else SITE
    bench = Bench(name, machine, write_inventory(folder, [machine], site), full=full)
    if container or TAG not in machine.spec.snapshots:
        _prepare(bench)
    bench.reset()
    planned = nodeproof("plan", bench.inventory, "--json")
    assert planned.code == 0, planned.out + planned.err
    bench.changes = planned.changed(NODE)
    if not full:
        bench.apply_s = _measured(bench, folder / "apply_s")
    return bench


def _measured(bench: Bench, known: Path) -> float:
    """Apply and verify without a fault, once a campaign; return the seconds of the apply."""
    if known.exists():
        return float(known.read_text())
    began = time.monotonic()
    done = nodeproof("apply", bench.inventory, "--yes", "--json")
    assert done.code == 0, done.out + done.err
    seconds = time.monotonic() - began
    verified = nodeproof("verify", bench.inventory, "--json")
    assert verified.code == 0, verified.failing(NODE)
    known.write_text(f"{seconds:.1f}")
    return seconds


def _machine(name: str, distribution: str, *, full: bool) -> Any:
    packages = {*TOOLS, *(() if full else distributions()[distribution].packages["podman"])}
    (machine,) = Lab(name).up(
        [NODE],
        distribution=distribution,
        cpus=1,
        memory_mb=2048 if full else 1536,
        preinstall=sorted(packages),
    )
    return machine


def unmade(bench: Bench) -> None:
    """Take away much of what an apply made, so that there is something to do again."""
    script = (
        "export DEBIAN_FRONTEND=noninteractive; dpkg --purge rsync tree >/dev/null 2>&1; "
        "rm -f /etc/ssh/sshd_config.d/10-nodeproof.conf /etc/sudoers.d/nodeproof-trainer "
        "/etc/apparmor.d/nodeproof-workload; timedatectl set-timezone UTC; "
        "systemctl reload ssh; for u in trainer second third; do userdel -r $u; done 2>/dev/null; "
        "groupdel ml 2>/dev/null; "
        "rm -f /etc/containers/containers.conf.d/50-nodeproof.conf"
    )
    bench.root(script, check=False)


def _prepare(bench: Bench) -> None:
    machine = bench.machine
    machine.ssh(["sudo", "sh", "-c", USER_FILES])
    machine.ssh("sudo apt-get -q -q update")
    if not bench.full and not bench.container:
        machine.ssh(f"sudo DEBIAN_FRONTEND=noninteractive apt-get -q -y install {WAITED_FOR}")
        machine.ssh(["sudo", "sh", "-c", OWN_VAR])
        machine.ssh("sudo systemctl reboot", check=False)
        time.sleep(5)
        machine.wait()
        machine.wait_booted()
        assert bench.root("findmnt -n -o FSTYPE /var").strip() == "ext4"
    machine.snapshot(TAG)


def tail(text: str, lines: int = 40) -> str:
    """Return the last lines of a text."""
    return "\n".join(text.splitlines()[-lines:])


def ran(argv: list[str], seconds: float) -> subprocess.CompletedProcess[str] | None:
    """Run a command; None where it does not end in time."""
    try:
        return subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return None
