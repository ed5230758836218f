"""The lab itself, on two real machines: what it promises about them, with timings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodeproof.errors import NodeproofError, RefusedError, UnreachableError
from nodeproof.lab import Lab, Machine, inventory_hosts, qemu

pytestmark = [pytest.mark.machines, pytest.mark.xdist_group("lab")]
NAMES = ["node1", "node2"]


@contextmanager
def timed(what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    print(f"\n{what}: {time.monotonic() - started:.1f} s")  # noqa: T201


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    # Deeper than a socket's address can be long.
    lab = Lab("proof", tmp_path_factory.mktemp("a" * 60) / ("b" * 60))
    try:
        with timed("up, two machines"):
            lab.up(NAMES, cpus=1, memory_mb=1024)
        yield lab
    finally:
        with timed("down --purge"):
            lab.down(purge=True)
        assert not lab.folder.exists()


@pytest.fixture
def node(lab: Lab) -> Machine:
    return lab.machine("node1")


def test_ssh_refuses_another_host_key(lab: Lab, node: Machine) -> None:
    assert node.ssh("whoami; sudo whoami").stdout.split() == ["ops", "root"]
    own = node.known_hosts.read_text()
    other = lab.machine("node2").known_hosts.read_text()
    node.known_hosts.write_text(" ".join([own.split()[0], *other.split()[1:]]) + "\n")
    try:
        with pytest.raises(UnreachableError, match="exit status 255") as refused:
            node.ssh("true")
    finally:
        node.known_hosts.write_text(own)
    assert "Host key verification failed" in (refused.value.hint or "")


def test_machines_are_different_and_see_each_other(lab: Lab) -> None:
    one, two = (lab.machine(name) for name in NAMES)
    seen = [node.ssh("hostname; cat /etc/machine-id").stdout.split() for node in (one, two)]
    assert [hostname for hostname, _ in seen] == NAMES
    assert seen[0][1] != seen[1][1]
    keys = [node.ssh("cat /etc/ssh/ssh_host_*_key.pub").stdout for node in (one, two)]
    assert keys[0] != keys[1]
    assert all(len(key.splitlines()) == 1 for key in keys)
    one.ssh("ping -c 2 -W 5 node2")
    two.ssh(["ping", "-c", "2", "-W", "5", one.private_address])


def test_what_a_machine_is(node: Machine) -> None:
    assert node.ssh("cat /sys/module/apparmor/parameters/enabled").stdout.strip() == "Y"
    assert node.ssh("command -v auditd python3", check=False).stdout == ""
    shadow = node.ssh("sudo grep -E '^(root|ops):' /etc/shadow").stdout
    assert {line.split(":")[1] for line in shadow.splitlines()} == {"*"}
    assert node.ssh("sudo sshd -T | grep -c ^hostkey").returncode == 0
    assert node.ssh("systemctl is-system-running", check=False).stdout.strip() == "running"


def test_secrets_are_not_on_the_command_line(node: Machine) -> None:
    pid = qemu.pid(node.folder)
    words = Path(f"/proc/{pid}/cmdline").read_text()
    secret = (node.folder / "host_key").read_text().splitlines()[1]
    assert secret not in words
    assert node.folder.stat().st_mode & 0o077 == 0


def test_apt_works_and_checks_signatures(node: Machine) -> None:
    with timed("apt-get update in the guest"):
        node.ssh("sudo apt-get update -q -o APT::Update::Error-Mode=any")
    dump = node.ssh("apt-config dump").stdout
    assert 'Acquire::AllowInsecureRepositories "0"' in dump
    listed = node.ssh("cat /etc/apt/sources.list.d/*.sources").stdout
    assert "trusted" not in listed.lower()
    assert "Suites: trixie-security" in listed


def test_reset_reverts_a_file_and_keeps_the_time(node: Machine) -> None:
    node.ssh("echo changed | sudo tee /etc/motd; sudo sync")
    assert node.ssh("cat /etc/motd").stdout == "changed\n"
    with timed("reset"):
        node.reset()
    assert "changed" not in node.ssh("cat /etc/motd").stdout
    began = time.time()
    told = float(node.ssh("date +%s").stdout)
    assert began - 5 < told < time.time() + 5


def test_own_snapshot(node: Machine) -> None:
    node.ssh("sudo touch /root/mark")
    with timed("snapshot"):
        node.snapshot("marked")
    node.ssh("sudo rm /root/mark")
    node.reset("marked")
    node.ssh("sudo test -e /root/mark")
    node.reset()
    assert node.ssh("sudo test -e /root/mark", check=False).returncode == 1


def test_unknown_snapshot_is_refused(node: Machine) -> None:
    with pytest.raises(NodeproofError, match="no snapshot 'nothing'"):
        node.reset("nothing")


def test_link_cut_and_restored(node: Machine) -> None:
    node.link(up=False)
    with pytest.raises(UnreachableError):
        node.ssh("true", timeout=5)
    node.link(up=True)
    with timed("ssh after the link came back"):
        node.wait(60)


def test_power_cut(node: Machine) -> None:
    before = node.ssh("cat /proc/sys/kernel/random/boot_id").stdout
    node.ssh("echo kept | sudo tee /root/kept; sudo sync")
    key = node.ssh("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout
    node.power_cut()
    with pytest.raises(UnreachableError, match="no SSH after 2 s") as early:
        node.wait(2)
    console = (early.value.hint or "").removeprefix("Its console ends with:\n").splitlines()
    assert 0 < len(console) <= 20
    with timed("ssh after a power cut"):
        node.wait()
    assert node.ssh("cat /proc/sys/kernel/random/boot_id").stdout != before
    assert node.ssh("sudo cat /root/kept").stdout == "kept\n"
    assert node.ssh("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout == key


def test_second_up_does_nothing(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    before = [qemu.pid(machine.folder) for machine in lab.machines()]
    with caplog.at_level("INFO", "nodeproof.lab"), timed("second up"):
        lab.up(NAMES, cpus=1, memory_mb=1024)
    assert [qemu.pid(machine.folder) for machine in lab.machines()] == before
    assert "all of its machines run already" in caplog.text


def test_other_distribution_is_refused(lab: Lab) -> None:
    with pytest.raises(RefusedError, match="its distribution is debian-13"):
        lab.up(NAMES, distribution="debian-12")


def test_dead_qemu_is_noticed(lab: Lab, node: Machine) -> None:
    node.ssh("echo kept | sudo tee /root/kept; sudo sync")
    qemu.stop(node.folder)
    assert not node.running
    with timed("up after QEMU died"):
        lab.up(NAMES, cpus=1, memory_mb=1024)
    assert lab.machine("node1").ssh("sudo cat /root/kept").stdout == "kept\n"


def test_reset_starts_a_machine_that_is_down(lab: Lab) -> None:
    node = lab.machine("node2")
    node.ssh("sudo touch /root/mark")
    with timed("down"):
        lab.down(["node2"])
    assert not node.running
    with timed("reset of a machine that was down"):
        node.reset()
    assert node.ssh("sudo test -e /root/mark", check=False).returncode == 1


def test_inventory(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODEPROOF_LAB_DIR", str(lab.folder.parent))
    hosts = dict(inventory_hosts("proof"))
    assert list(hosts) == NAMES
    assert hosts["node1"]["ssh_port"] == lab.machine("node1").ssh_port
