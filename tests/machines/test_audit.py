"""What the kernel records: strangers at accelerators, broken rules, a log that was edited."""

from __future__ import annotations

import shlex
import subprocess
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from nodeproof.lab import Machine
from tests.manifest import Manifest, differences, manifest
from tests.support import Done, nodeproof

pytestmark = pytest.mark.hardened

CERTIFICATE = Path("/tmp/nodeproof-audit-story.pem")
BEFORE = r"""
mknod -m 666 /dev/nvidia0 c 1 7
mkdir -p /dev/dri && mknod -m 666 /dev/dri/renderD128 c 1 7
useradd stranger; useradd -G render member; useradd --system service
mkdir -p /srv/models/one && echo weights >/srv/models/one/w && chmod -R a+rwX /srv/models
"""
OPEN = "exec 3<>/dev/nvidia0 4<>/dev/dri/renderD128"
BREAKS = {
    "rules_loaded[identity]": "auditctl -W /etc/shadow -p wa -k identity",
    "nothing_loaded_by_hand": "auditctl -a never,exit -F path=/etc/passwd -F perm=wa",
    "backlog_as_asked": "auditctl -b 64",
    "events_kept_as_asked": "sed -i 's/^disk_full_action.*/disk_full_action = halt/' "
    "/etc/audit/auditd.conf",
    "log_and_tools_only_for_root": "chmod 644 /var/log/audit/audit.log",
}
KERNEL = "kernel_records_from_its_start"
"""Its arguments are another layer's."""


def sh(machine: Machine, script: str) -> str:
    done = machine.ssh(f"sudo sh -c {shlex.quote(script)}", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def found(machine: Machine, key: str, *more: str) -> str:
    """Return what is recorded under a key, once auditd has written it."""
    time.sleep(2)
    return sh(machine, f"ausearch --input-logs -i -k {key} {' '.join(more)} 2>&1 || true")


class TestAudit:
    distribution = "debian-13"
    site: ClassVar[dict[str, Any]] = {
        "audit": {
            "level": 2,
            "roles": ["slurm"],
            "device_users": ["service"],
            "model_folders": ["/srv/models"],
            "seal_for": str(CERTIFICATE),
        }
    }
    before: ClassVar[Manifest]

    def verify(self, inventory: Path) -> set[str]:
        done: Done = nodeproof("verify", inventory, "--json")
        return {*done.failing("node1")}

    def test_applied_twice_and_proven(self, machine: Machine, inventory: Path) -> None:
        subprocess.run(
            [*("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=a"),
             *("-keyout", "/dev/null", "-out", CERTIFICATE)],
            capture_output=True, check=True,
        )  # fmt: skip
        sh(machine, BEFORE)
        type(self).before = manifest(machine)
        first = nodeproof("apply", inventory, "--yes", "--json")
        assert first.code == 0, first.out + first.err
        again = nodeproof("apply", inventory, "--yes", "--json")
        assert again.changed("node1") == [], again.out
        assert self.verify(inventory) == {KERNEL}

    def test_strangers_are_recorded_and_who_is_expected_is_not(self, machine: Machine) -> None:
        for user in ("stranger", "member", "service"):
            sh(machine, f"runuser -u {user} -- bash -c {shlex.quote(OPEN)}")
        said = found(machine, "accelerator-open")
        assert "uid=stranger" in said, said
        assert "/dev/nvidia0" in said, said
        assert "/dev/dri" in said, said
        assert "uid=member" not in said, said
        assert " uid=service" not in said, said
        assert " uid=root" not in said, said

    def test_models_and_configuration_are_recorded(self, machine: Machine) -> None:
        sh(
            machine,
            "runuser -u stranger -- sh -c 'cat /srv/models/one/w; echo x >/srv/models/one/w'",
        )
        sh(machine, "touch /etc/modprobe.d/mine.conf && rm /etc/modprobe.d/mine.conf")
        said = found(machine, "model-weights")
        assert "O_WRONLY" in said, said
        assert "O_RDONLY" in said, said
        assert "mine.conf" in found(machine, "accelerator-configuration")

    def test_breaks_are_named_and_mended(self, machine: Machine, inventory: Path) -> None:
        for broken in BREAKS.values():
            sh(machine, broken)
        assert set(BREAKS) <= self.verify(inventory)
        sh(machine, "chmod 640 /var/log/audit/audit.log; systemctl disable --now auditd")
        assert "auditd_runs" in self.verify(inventory)
        mended = nodeproof("apply", inventory, "--yes", "--json")
        assert mended.code == 0, mended.out
        assert self.verify(inventory) == {KERNEL}

    def test_an_edited_log_is_noticed(self, machine: Machine, inventory: Path) -> None:
        sh(machine, "touch /etc/sudoers.d; sleep 12")
        sh(machine, "sed -i '/key=\"scope\"/d; /sudoers.d/d' /var/log/audit/audit.log")
        assert "log_has_what_its_copy_has" in self.verify(inventory)
        sh(machine, "rm -f /var/log/audit/audit.log*; systemctl restart auditd")

    def test_all_holds_after_a_reboot(self, machine: Machine, inventory: Path) -> None:
        machine.ssh("sudo systemctl reboot", check=False)
        time.sleep(5)
        machine.wait()
        machine.ssh("systemctl is-system-running --wait", check=False)
        # what was at hand is gone with /dev, and comes with the driver
        sh(machine, "mknod -m 666 /dev/nvidia0 c 1 7; mknod -m 666 /dev/dri/renderD128 c 1 7")
        assert self.verify(inventory) == {KERNEL}
        sh(machine, f"runuser -u stranger -- bash -c {shlex.quote(OPEN)}")
        assert "/dev/dri" in found(machine, "accelerator-open", "--start", "boot")

    def test_everything_is_as_it_was(self, machine: Machine, inventory: Path) -> None:
        done = nodeproof("revert", "last", inventory, "--yes", "--json")
        assert done.code == 0, done.out
        left = differences(self.before, manifest(machine))
        assert not left, "\n".join(left)
