"""One virtual machine of a lab."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from nodeproof.errors import UnreachableError, UsageError
from nodeproof.lab import guest, network, qemu, spec, ssh
from nodeproof.lab.qmp import Qmp
from nodeproof.lab.spec import Spec

log = logging.getLogger(__name__)
READY = "ready"
BOOT_SECONDS = 600  # an emulated machine on a busy host
PROGRESS_SECONDS = 15


class Machine:
    """A machine that a lab made; ``folder`` holds its disk, console, monitor and known host."""

    def __init__(self, folder: Path, key: Path, spec: Spec) -> None:
        """Take a machine from its folder, the lab's key and what is kept about it."""
        self.folder = folder
        self.key = key
        self.spec = spec

    @property
    def name(self) -> str:
        """Return its name, which is its hostname."""
        return self.spec.name

    @property
    def address(self) -> str:
        """Return the address to connect to."""
        return network.LOOPBACK

    @property
    def ssh_port(self) -> int:
        """Return the port to connect to."""
        return self.spec.ssh_port

    @property
    def user(self) -> str:
        """Return who logs in; may become root with sudo."""
        return guest.USER

    @property
    def known_hosts(self) -> Path:
        """Return the known_hosts file that holds this machine's host key."""
        return self.folder / "known_hosts"

    @property
    def private_address(self) -> str:
        """Return its address on the network that only the lab's machines share."""
        return network.private_address(self.spec.index)

    @property
    def running(self) -> bool:
        """Say whether its QEMU runs."""
        return qemu.pid(self.folder) is not None

    @property
    def access(self) -> ssh.Access:
        """Return how ssh reaches it."""
        return ssh.Access(self.address, self.ssh_port, self.key, self.known_hosts)

    def ssh(
        self,
        command: str | Sequence[str],
        *,
        check: bool = True,
        timeout: float | None = 600,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command over ssh with strict host key checking; see ``Access.run``."""
        return self.access.run(command, check=check, timeout=timeout, stdin=stdin)

    def start(self, *, loadvm: str | None = None) -> None:
        """Start it, from its disk or from a snapshot, on another port where its own is taken."""
        if not network.is_free(self.ssh_port):
            self.spec = dataclasses.replace(self.spec, ssh_port=network.free_port())
            self.spec.save(self.folder)
        self.trust()
        qemu.start(self.folder, self.spec, loadvm=loadvm)

    def trust(self) -> None:
        """Write the known_hosts file from the host key that was made for this machine."""
        public = (self.folder / "host_key.pub").read_text()
        self.known_hosts.write_text(ssh.known_host(self.address, self.ssh_port, public))

    def wait(self, seconds: float = BOOT_SECONDS) -> float:
        """Wait until ssh works, and return after how many seconds.

        Raises UnreachableError with the end of the serial console.
        """
        said = 0.0

        def progress(spent: float) -> None:
            nonlocal said
            if spent - said >= PROGRESS_SECONDS:
                said = spent
                log.info("%s: waiting for ssh, %.0f s", self.name, spent)

        try:
            return self.access.wait(seconds, lambda: self.running, progress)
        except UnreachableError as error:
            tail = qemu.console_tail(self.folder)
            raise UnreachableError(
                f"{self.name}: {error.message}", hint=f"Its console ends with:\n{tail}"
            ) from error

    def wait_booted(self) -> None:
        """Wait until the boot's last job is done, and say which units failed."""
        state = self.ssh("systemctl is-system-running --wait", check=False).stdout.strip()
        if state != "running":
            failed = self.ssh("systemctl --failed --plain --no-legend", check=False).stdout.split()
            log.warning("%s: the system is %s (%s)", self.name, state, " ".join(failed[:1]))

    def set_clock(self) -> None:
        """Give it the host's time: a restored snapshot still has the time it was taken at."""
        self.ssh(["sudo", "date", "--utc", f"--set=@{time.time():.3f}"])

    def snapshot(self, tag: str) -> None:
        """Keep its memory and disk as they are now under ``tag``."""
        with self.monitor() as qmp:
            qmp.monitor(f"savevm {tag}")
        tags = dict.fromkeys([*self.spec.snapshots, tag])
        self.spec = dataclasses.replace(self.spec, snapshots=tuple(tags))
        self.spec.save(self.folder)

    def reset(self, tag: str = READY) -> None:
        """Go back to a snapshot, with the time of now; starts a machine that is down."""
        if tag not in self.spec.snapshots:
            known = ", ".join(self.spec.snapshots) or "none"
            raise UsageError(f"{self.name}: no snapshot {tag!r}", hint=f"It has: {known}.")
        if self.running:
            with self.monitor() as qmp:
                qmp.monitor(f"loadvm {tag}")
        else:
            self.start(loadvm=tag)
        self.wait(120)
        self.set_clock()

    def link(self, up: bool) -> None:
        """Plug the management network in or out, as at the card's socket."""
        with self.monitor() as qmp:
            qmp.execute("set_link", name="management", up=up)

    def power_cut(self) -> None:
        """Reset it without warning; it boots again. Wait with ``wait``."""
        with self.monitor() as qmp:
            qmp.execute("system_reset")

    def shut_down(self) -> None:
        """Press its power button; does not wait."""
        with self.monitor() as qmp:
            qmp.execute("system_powerdown")

    def down(self, *, seconds: float = 90) -> None:
        """Shut it down, and pull the plug where that takes longer than ``seconds``."""
        if self.running and seconds > 0:
            self.shut_down()
            if not qemu.wait_gone(self.folder, seconds):
                log.warning("%s: did not shut down in %.0f s", self.name, seconds)
        qemu.stop(self.folder)

    def not_running(self) -> UsageError:
        """Return the error that says how to start it."""
        lab = self.folder.parent.name
        return UsageError(f"{self.name}: is not running", hint=f"Run: {spec.command('up', lab)}")

    def monitor(self) -> Qmp:
        """Return a session with its QEMU, to be used in a ``with`` statement."""
        if not self.running:
            raise self.not_running()
        return Qmp(self.folder / qemu.MONITOR)
