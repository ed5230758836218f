"""Reboots of a real machine: said, refused, done once, and missed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeproof.lab import Lab, Machine, qemu
from tests.support import Done, Running, nodeproof, write_inventory

pytestmark = pytest.mark.machines
NOTE = "the kernel's arguments changed"
LEAVE_NOTE = f'sudo mkdir -p /run/nodeproof/reboot; echo "{NOTE}" | sudo tee {{}}'.format(
    "/run/nodeproof/reboot/kernel-arguments"
)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    lab = Lab("reboot")
    if lab.machines():
        lab.down(purge=True)
    yield lab.up(["node1"])[0]
    lab.down(purge=True)


@pytest.fixture(scope="module")
def inventory(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inventory(tmp_path_factory.mktemp("reboot"), [machine], {"ssh": {}})


def boot_id(machine: Machine) -> str:
    return machine.ssh("cat /proc/sys/kernel/random/boot_id").stdout.strip()


def applied(inventory: Path, *options: object) -> Done:
    return nodeproof("apply", inventory, "--yes", "--json", *options)


def refused(done: Done, *words: str) -> None:
    assert done.code == 4, done.out + done.err
    node = done.node("node1")
    assert node["reboot"]["done"] is False
    for word in words:
        assert word in node["reason"]


class TestReboot:
    def test_never_says_that_it_is_needed(self, machine: Machine, inventory: Path) -> None:
        machine.ssh(LEAVE_NOTE)
        before = boot_id(machine)
        planned = nodeproof("plan", inventory, "--json").node("node1")
        assert planned["reboot"]["needed"] == [NOTE]
        done = nodeproof("apply", inventory, "--yes")
        assert done.code == 0, done.err
        assert f"node1: reboot needed: {NOTE}" in done.out
        assert "--reboot if-needed" in " ".join(done.out.split())
        assert boot_id(machine) == before

    def test_refused_while_a_job_runs(self, machine: Machine, inventory: Path) -> None:
        machine.ssh("cp /bin/sleep /tmp/slurmstepd; nohup /tmp/slurmstepd 600 >/dev/null 2>&1 &")
        before = boot_id(machine)
        try:
            refused(applied(inventory, "--reboot", "always"), "work is running: Slurm step")
        finally:
            machine.ssh("pkill -x slurmstepd")
        assert boot_id(machine) == before

    def test_refused_where_it_would_not_boot(self, machine: Machine, inventory: Path) -> None:
        """Nothing overrides that."""
        before = boot_id(machine)
        machine.ssh("sudo mv /boot/initrd.img-$(uname -r) /root/initrd")
        done = applied(inventory, "--reboot", "always", "--reboot-despite-work")
        refused(done, "its initramfs is missing")
        machine.ssh(
            "sudo head -c 4000000 /root/initrd | sudo tee /boot/initrd.img-$(uname -r) >/dev/null"
        )
        refused(applied(inventory, "--reboot", "if-needed"), "its initramfs cannot be read")
        machine.ssh("sudo mv /root/initrd /boot/initrd.img-$(uname -r)")
        assert boot_id(machine) == before

    def test_once_where_it_is_needed(self, machine: Machine, inventory: Path) -> None:
        before = boot_id(machine)
        done = applied(inventory, "--reboot", "if-needed")
        assert done.code == 0, done.out + done.err
        node = done.node("node1")
        assert node["status"] == "changed"
        assert node["reboot"]["done"]
        assert node["reboot"]["needed"] == [NOTE]
        assert node["reboot"]["boot_id_before"] == before
        assert node["reboot"]["boot_id_after"] == boot_id(machine) != before
        uptime = float(machine.ssh("cat /proc/uptime").stdout.split()[0])
        assert uptime < node["reboot"]["duration_s"] + 60
        assert "waiting for it" in done.err
        assert machine.ssh("systemctl is-system-running").stdout.strip() == "running"
        verified = nodeproof("verify", inventory, "--json")
        assert verified.code == 0, verified.failing("node1")

    def test_not_where_nothing_needs_it(self, machine: Machine, inventory: Path) -> None:
        before = boot_id(machine)
        done = applied(inventory, "--reboot", "if-needed")
        assert done.code == 0, done.out
        assert done.node("node1")["reboot"] is None
        assert boot_id(machine) == before

    def test_a_machine_that_stays_away(self, machine: Machine, inventory: Path) -> None:
        options = ("--reboot", "always", "--reboot-timeout", 30)
        running = Running("apply", inventory, "--yes", "--json", *options)
        running.wait_for("rebooting: waiting for it")
        qemu.stop(machine.folder)
        done = running.finish()
        assert done.code == 3, done.out
        node = done.node("node1")
        assert node["status"] == "unreachable"
        assert "did not come back within 30 s" in node["reason"]
        assert node["reboot"]["boot_id_after"] == ""
