"""Plain OpenSSH to a test machine: its own key, its own known host, nothing from ~/.ssh."""

from __future__ import annotations

import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nodeproof.errors import NodeproofError, UnreachableError
from nodeproof.lab import guest, requirements

KEY_TYPE = "ssh-ed25519"


@dataclass(frozen=True)
class Access:
    """How a machine is reached: the address to connect to, the user, the key and the host key."""

    address: str
    port: int
    key: Path
    known_hosts: Path
    user: str = guest.USER

    def argv(self, command: str | Sequence[str] = (), *options: str) -> list[str]:
        """Return the ssh command line; words of a sequence are quoted for the remote shell."""
        remote = command if isinstance(command, str) else shlex.join(command)
        return [
            requirements.command("ssh"),
            *("-F", "/dev/null", "-i", str(self.key), "-p", str(self.port), "-l", self.user),
            *("-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={self.known_hosts}"),
            *("-o", "GlobalKnownHostsFile=/dev/null", "-o", "UpdateHostKeys=no"),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"),
            *("-o", "LogLevel=ERROR", *options),
            self.address,
            *([remote] if remote else []),
        ]

    def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = True,
        timeout: float | None = 600,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the machine and return what it printed.

        Raises UnreachableError where ssh itself fails or does not end in ``timeout`` seconds,
        and NodeproofError where the command fails and ``check`` is true.
        """
        try:
            done = subprocess.run(  # noqa: S603
                self.argv(command),
                input=stdin or "",
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UnreachableError(f"{self.target}: no end after {timeout} s") from error
        if check and done.returncode:
            kind = UnreachableError if done.returncode == 255 else NodeproofError
            shown = command if isinstance(command, str) else shlex.join(command)
            raise kind(
                f"{self.target}: {shown}: exit status {done.returncode}",
                hint=(done.stderr or done.stdout).strip()[-2000:],
            )
        return done

    @property
    def target(self) -> str:
        """Return ``address:port``, for messages."""
        return f"{self.address}:{self.port}"

    def wait(
        self, seconds: float, alive: Callable[[], bool], progress: Callable[[float], None]
    ) -> float:
        """Wait until a command can be run, and return after how many seconds.

        ``alive`` is asked before each attempt. Raises UnreachableError.
        """
        started = time.monotonic()
        problem = "no SSH banner"
        while (spent := time.monotonic() - started) < seconds:
            if not alive():
                raise UnreachableError(f"{self.target}: the machine has ended")
            progress(spent)
            if not _banner(self.address, self.port):
                time.sleep(0.3)
                continue
            done = self.run(["true"], check=False, timeout=60)
            if done.returncode == 0:
                return time.monotonic() - started
            problem = done.stderr.strip() or f"exit status {done.returncode}"
            time.sleep(0.5)
        raise UnreachableError(f"{self.target}: no SSH after {seconds:.0f} s ({problem})")


def make_key(path: Path, comment: str) -> str:
    """Make an Ed25519 key at ``path``, unless it exists, and return the public half's line."""
    public = path.with_name(path.name + ".pub")
    if not public.exists():
        path.unlink(missing_ok=True)
        keygen = requirements.command("ssh-keygen")
        argv = [keygen, "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)  # noqa: S603
    return public.read_text().strip()


def known_host(address: str, port: int, public: str) -> str:
    """Return the line of a known_hosts file."""
    host = address if port == 22 else f"[{address}]:{port}"
    return f"{host} {' '.join(public.split()[:2])}\n"


def _banner(address: str, port: int) -> bool:
    """Say whether an SSH server answers; cheaper for a slow machine than a whole login."""
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            connection.settimeout(3)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
