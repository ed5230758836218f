"""How an attempt is made, and what is looked at before and after it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lockouts.attempts import ESTABLISHED, GUARD_S, SSH, firewall
from tests.support import Done, environment, write_inventory

ROOT = Path(__file__).parents[2]
LOOKED_AT = (
    *("/etc/ssh", "/etc/sudoers", "/etc/sudoers.d", "/etc/pam.d", "/etc/nftables.conf"),
    *("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/apparmor.d"),
    *("/etc/systemd/system", "/home/ops/.ssh"),
)
BACK_S = GUARD_S + 60
"""Within which access must be back: the guard, the node's work, sshd's penalties for our tries."""
PROGRAM = "/var/lib/nodeproof/bin/journal"


@dataclass
class Prepared:
    """A node with a firewall, and an inventory of it for both ways to run."""

    node: Any
    inventory: Path

    def picture(self) -> str:
        """Return what decides about access: files with content, mode, owner; rules in force."""
        where = " ".join(LOOKED_AT)
        script = (
            f"for p in {where}; do [ ! -e $p ] || {{ find $p -printf '%p %y %m %U:%G %l\\n'; "
            "find $p -type f -exec sha256sum {} +; }; done | sort; "
            "nft -s list ruleset; sshd -T | sort; "
            "sed 's/ (.*//' /sys/kernel/security/apparmor/profiles 2>/dev/null | sort"
        )
        return str(self.node.ssh(["sudo", "sh", "-c", script]).stdout)

    def result(self) -> str:
        """Wait until nothing is confirmed or under way any more; return how the newest run ended.

        A run is under way as long as the process of its connection is, which ends after ours. What
        is taken back may restart sshd: for that moment it answers nobody.
        """
        script = (
            f"newest() {{ {PROGRAM} runs | tail -n 1 | cut -f 2; }}; n={BACK_S}; "
            'while [ -e /var/lib/nodeproof/armed ] || [ "$(newest)" = running ]; '
            "do [ $n -gt 0 ] || break; sleep 1; n=$((n - 1)); done; newest"
        )
        until = time.monotonic() + BACK_S
        while True:
            done = self.node.ssh(["sudo", "sh", "-c", script], check=time.monotonic() > until)
            if done.returncode == 0:
                return str(done.stdout)
            time.sleep(1)

    def log(self) -> str:
        """Return the newest run's log."""
        script = "cat $(ls -d /var/lib/nodeproof/runs/* | tail -n 1)/log"
        return str(self.node.ssh(["sudo", "sh", "-c", script]).stdout)

    def logs_in(self, seconds: float = BACK_S) -> float:
        """Wait until a new connection with sudo can be made; return after how many seconds."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if self.refused() == "":
                return time.monotonic() - began
            time.sleep(1)
        raise AssertionError(f"locked out for {seconds:.0f} s: {self.refused()}")

    def refused(self, seconds: float = 60) -> str:
        """Try a new connection with sudo; return why it is not to be had in time, or nothing."""
        try:
            done = subprocess.run(
                self.node.access.argv("sudo -n true"),
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return f"no answer within {seconds:.0f} s"
        return "" if done.returncode == 0 else done.stderr.strip() or str(done.returncode)

    def wait_locked(self, process: subprocess.Popen[str], seconds: float = 90) -> None:
        """Wait until the attempt has locked us out."""
        until = time.monotonic() + seconds
        while self.refused(6) == "":
            if time.monotonic() > until:
                process.kill()
                raise AssertionError(f"it never locked us out: {process.communicate()}")

    def start(self, way: str, attempt: str, guard_s: int = GUARD_S) -> subprocess.Popen[str]:
        """Begin an attempt in its own process; `way` is cli or plain."""
        pyinfra = shutil.which("pyinfra", path=str(Path(sys.executable).parent)) or "pyinfra"
        cli = [sys.executable, "-m", "tests.lockouts.cli", "apply", "--yes", "--json"]
        plain = [pyinfra, "-y", str(self.inventory), str(ROOT / "tests/lockouts/plain.py")]
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        return subprocess.Popen(
            [*cli, str(self.inventory)] if way == "cli" else plain,
            cwd=ROOT,
            env={
                **environment(),
                "LOCKOUT": attempt,
                "LOCKOUT_GUARD_S": str(guard_s),
                "PYTHONPATH": path,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def attempt(self, way: str, attempt: str) -> Done:
        """Make an attempt to its end."""
        process = self.start(way, attempt)
        out, err = process.communicate(timeout=600)
        return Done(process.returncode, out, err)


def prepared(node: Any, folder: Path) -> Prepared:
    """Give a node a firewall that lets us in, and write its inventory."""
    inventory = write_inventory(folder, [node], {"system": {}})
    data = folder / "group_data"
    data.mkdir(exist_ok=True)
    (data / "all.py").write_text("_sudo = True\nssh_strict_host_key_checking = 'yes'\n")
    node.ssh("sudo tee /etc/nftables.conf >/dev/null", stdin=firewall(ESTABLISHED, SSH))
    node.ssh("sudo chmod 755 /etc/nftables.conf; sudo systemctl enable --now --quiet nftables")
    return Prepared(node, inventory)
