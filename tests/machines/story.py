"""The whole story of one machine: applied through every interruption, proven, broken, mended."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any, ClassVar

from nodeproof.lab import Machine
from tests.manifest import Manifest, differences, manifest
from tests.support import Running, nodeproof

SITE: dict[str, Any] = {
    "system": {
        "timezone": "Europe/Berlin",
        "packages": ["rsync"],
        "ntp_servers": ["192.0.2.123"],
        "users": {"trainer": {"groups": ["ml"]}},
    },
    "containers": {"podman": True, "docker": True},
    "confinement": {},
    "ssh": {"max_sessions": 20},
}
SLOW = "containers | Install the container engines"
"""The change that takes longest: interruptions hit it while packages are unpacked."""

BREAKS = {
    "root_login_as_asked": "echo 'PermitRootLogin yes' > /etc/ssh/sshd_config.d/00-mine.conf",
    "profile_in_the_kernel_as_asked": (
        "sed -i 's/mediate_deleted/mediate_deleted,complain/' /etc/apparmor.d/nodeproof-workload; "
        "apparmor_parser -r /etc/apparmor.d/nodeproof-workload"
    ),
    "time_service_runs": "systemctl disable --now chrony",
    "files_tight": "chmod 644 /etc/ssh/sshd_config.d/10-nodeproof.conf",
    "only_named_administrators": "useradd -m mallory; usermod -aG sudo mallory",
}
"""Check that must name it, and how it is broken by hand."""


def wait_for_dpkg(machine: Machine) -> None:
    """Wait until packages are being unpacked or configured."""
    machine.ssh("until pgrep -x dpkg >/dev/null; do sleep 0.5; done; sleep 2")


class Fresh:
    """The first step. pytest runs a base class's steps before those of what derives from it."""

    distribution: ClassVar[str]
    site: ClassVar[dict[str, Any]] = SITE
    before: ClassVar[Manifest]
    """All that the machine was."""

    def test_it_is_known_as_it_was(self, machine: Machine) -> None:
        """Nothing of ours is there; what a revert restores is compared with this."""
        machine.wait_booted()
        type(self).before = manifest(machine)
        assert not any("nodeproof" in name for name in self.before)

    def test_plan_changes_nothing(self, machine: Machine, inventory: Path) -> None:
        """Before anything: a plan that finds much to do leaves the node as it is."""
        done = nodeproof("plan", inventory, "--json", "--detailed-exitcode")
        assert done.code == 5, done.err
        assert len(done.changed("node1")) > 15
        after = manifest(machine)
        left = differences(self.before, after)
        assert not left, "\n".join(left)
        assert not any("nodeproof" in name for name in after)


class Interrupted(Fresh):
    """Steps that fail, each in its way; none may keep the next apply from going on."""

    def test_power_lost_and_taken_back(self, machine: Machine, inventory: Path) -> None:
        """Power is lost while packages are unpacked; a revert leaves the machine as it was."""
        running = Running("apply", inventory, "--yes", "--json")
        running.wait_for(SLOW)
        wait_for_dpkg(machine)
        machine.power_cut()
        done = running.finish()
        assert done.code == 3, done.err
        machine.wait()
        reverted = nodeproof("revert", "last", inventory, "--yes", "--json")
        assert reverted.code == 0, reverted.out
        left = differences(self.before, manifest(machine))
        assert not left, "\n".join(left)

    def test_network_cut(self, machine: Machine, inventory: Path) -> None:
        """The network goes while packages are unpacked; the run ends by itself and says so."""
        running = Running("apply", inventory, "--yes", "--json")
        running.wait_for(SLOW)
        time.sleep(2)
        machine.link(up=False)
        try:
            done = running.finish()
        finally:
            machine.link(up=True)
        assert done.code == 3, done.err
        assert "connection lost" in done.node("node1")["reason"]
        machine.wait()


class Converged:
    """Steps in order; each builds on the one before."""

    def test_apply_converges(self, inventory: Path) -> None:
        """The next apply goes on where the others stopped."""
        done = nodeproof("apply", inventory, "--yes", "--json")
        assert done.code == 0, done.out
        surprises = [
            change["name"]
            for change in done.node("node1")["changes"]
            if not change["foreseen"] and change["commands"]
        ]
        assert not surprises, f"not foreseen: {surprises}"

    def test_second_apply_changes_nothing(self, inventory: Path) -> None:
        """Two applies, no change."""
        done = nodeproof("apply", inventory, "--yes", "--json")
        assert done.code == 0
        assert done.changed("node1") == []

    def test_verify_passes(self, inventory: Path) -> None:
        """Every check passes, or says why it does not apply."""
        done = nodeproof("verify", inventory, "--json")
        assert done.code == 0, done.failing("node1")
        verdicts = [check["verdict"] for check in done.node("node1")["checks"]]
        assert verdicts.count("passed") > 45


class Broken:
    """Five things broken by hand, and mended."""

    def test_five_breaks_are_named_planned_and_mended(
        self, machine: Machine, inventory: Path
    ) -> None:
        """Verify names each, plan shows how each is mended, apply mends them all."""
        for command in BREAKS.values():
            machine.ssh(f"sudo sh -c {shlex.quote(command)}")
        verified = nodeproof("verify", inventory, "--json")
        assert verified.code == 1
        assert set(BREAKS) <= set(verified.failing("node1"))
        planned = nodeproof("plan", inventory, "--json", "--detailed-exitcode")
        assert planned.code == 5
        assert {change.split(" | ")[0] for change in planned.changed("node1")} == {
            "system",
            "confinement",
            "ssh",
        }
        mended = nodeproof("apply", inventory, "--yes", "--json")
        assert mended.code == 0, mended.out
        assert set(mended.changed("node1")) == set(planned.changed("node1"))
        assert nodeproof("verify", inventory).code == 0


class Restarted:
    """The last step."""

    def test_all_holds_after_a_reboot(self, machine: Machine, inventory: Path) -> None:
        """What was applied is there after a restart, without another apply."""
        machine.ssh("sudo systemctl reboot", check=False)
        time.sleep(5)
        machine.wait()
        machine.ssh("systemctl is-system-running --wait", check=False)
        done = nodeproof("verify", inventory, "--json")
        assert done.code == 0, done.failing("node1")
        assert nodeproof("plan", inventory, "--detailed-exitcode").code == 0


class TakenBack:
    """After all of it: the run is taken back."""

    def test_everything_is_as_it_was(self, machine: Machine, inventory: Path) -> None:
        """Files, packages, units, accounts, kernel settings: as before the first apply."""
        done = nodeproof("revert", "last", inventory, "--yes", "--json")
        assert done.code == 0, done.out
        left = differences(self.before, manifest(machine))
        assert not left, "\n".join(left)
        (run,) = [one for one in _runs(inventory) if one["id"] == done.json["reverts"]]
        assert run["result"] == "reverted"

    def test_nothing_is_left_to_take_back(self, inventory: Path) -> None:
        """Again is nothing."""
        (run,) = [one["id"] for one in _runs(inventory) if one["result"] == "reverted"]
        done = nodeproof("revert", run, inventory, "--yes", "--json")
        assert done.code == 0, done.out
        assert done.node("node1")["status"] == "ok"


def _runs(inventory: Path) -> list[dict[str, str]]:
    runs: list[dict[str, str]] = nodeproof("runs", inventory, "--json").node("node1")["runs"]
    return runs
