"""What goes wrong with nodes: each trouble is one clear error, and stays where it is."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from nodeproof.lab import ContainerNode
from tests.support import Running, command, connection, environment, nodeproof, write_inventory

pytestmark = [pytest.mark.nodes, pytest.mark.xdist_group("faults")]

SITE = {"system": {"packages": ["rsync"], "users": {"alice": {}}}, "ssh": {}}


@pytest.fixture(scope="module")
def inventory(trixie: list[ContainerNode], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both nodes, applied."""
    path = write_inventory(tmp_path_factory.mktemp("faults"), trixie, SITE)
    done = nodeproof("apply", path, "--yes")
    assert done.code == 0, done.out + done.err
    return path


def test_one_unreachable_node_stops_nobody(trixie: list[ContainerNode], tmp_path: Path) -> None:
    dead = {"ssh_port": 9}
    path = write_inventory(tmp_path, trixie, SITE, **{trixie[0].name: dead})
    done = nodeproof("apply", path, "--yes", "--json")
    assert done.code == 3
    assert done.node(trixie[0].name)["status"] == "unreachable"
    assert "connection refused" in done.node(trixie[0].name)["reason"]
    assert done.node(trixie[1].name)["status"] in ("ok", "changed")


def test_unknown_host_key_is_refused_until_trusted(
    trixie: list[ContainerNode], tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    path = write_inventory(
        tmp_path, trixie[:1], SITE, **{trixie[0].name: {"ssh_known_hosts_file": str(known)}}
    )
    done = nodeproof("plan", path, "--json")
    assert done.code == 3
    assert done.node(trixie[0].name)["reason"] == "its host key is not known"
    assert "nodeproof trust" in done.node(trixie[0].name)["hint"]
    assert not known.exists()
    asked = nodeproof("trust", path)
    assert asked.code == 2
    assert "SHA256:" in asked.out
    assert nodeproof("trust", path, "--yes").code == 0
    assert known.stat().st_mode & 0o077 == 0
    assert nodeproof("plan", path).code == 0
    assert "0 enrolled" in nodeproof("trust", path, "--yes").err


def test_changed_host_key_is_an_error_that_says_so(
    trixie: list[ContainerNode], tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    other = trixie[1].known_hosts.read_text().split()[1:3]
    known.write_text(f"{trixie[0].address} {' '.join(other)}\n")
    data = {"ssh_known_hosts_file": str(known)}
    path = write_inventory(tmp_path, trixie[:1], SITE, **{trixie[0].name: data})
    done = nodeproof("plan", path, "--json")
    assert done.code == 3
    assert "CHANGED" in done.node(trixie[0].name)["reason"]
    assert nodeproof("trust", path, "--yes").code == 3
    assert nodeproof("plan", path).code == 3
    assert nodeproof("trust", path, "--yes", "--replace").code == 0
    assert nodeproof("plan", path).code == 0


def test_wrong_key_is_refused(trixie: list[ContainerNode], tmp_path: Path) -> None:
    key = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    path = write_inventory(tmp_path, trixie[:1], SITE, **{trixie[0].name: {"ssh_key": str(key)}})
    done = nodeproof("plan", path, "--json")
    assert done.code == 3
    assert "refuses our key" in done.node(trixie[0].name)["reason"]


def test_user_without_sudo_is_refused(
    inventory: Path, trixie: list[ContainerNode], tmp_path: Path
) -> None:
    node = trixie[0]
    node.ssh(
        "sudo useradd -m plain; sudo install -d -o plain -m 700 ~plain/.ssh; "
        "sudo install -o plain -m 600 ~/.ssh/authorized_keys ~plain/.ssh/"
    )
    path = write_inventory(tmp_path, [node], SITE, **{node.name: {"ssh_user": "plain"}})
    done = nodeproof("plan", path, "--json")
    assert done.code == 3
    assert "sudo" in done.node(node.name)["reason"]


def test_sudo_password_is_asked_for_once_and_never_in_arguments(
    inventory: Path, trixie: list[ContainerNode], tmp_path: Path
) -> None:
    """Both nodes want it; it is asked for once, and no process ever shows it."""
    password = "correct horse 'battery'"  # noqa: S105
    for node in trixie:
        node.ssh(
            "id secret >/dev/null 2>&1 || sudo useradd -m -G sudo secret; "
            "sudo install -d -o secret -m 700 ~secret/.ssh; "
            "sudo install -o secret -m 600 ~/.ssh/authorized_keys ~secret/.ssh/; "
            "sudo chpasswd",
            stdin=f"secret:{password}\n",
        )
    site = {"system": {"users": {"secret": {"sudo": "password", "keys": _keys(trixie[0])}}}}
    both = {node.name: {"ssh_user": "secret"} for node in trixie}
    path = write_inventory(tmp_path, trixie, site, **both)
    assert "no terminal to ask on" in nodeproof("plan", path, "--json").out
    for wrong in (True, False):
        screen, code, seen = _on_terminal(
            command("plan", path), "x" if wrong else password, spy=trixie[0]
        )
        assert screen.count("sudo password:") == 1, screen
        assert code == (3 if wrong else 0), screen
        assert password not in seen
        assert password not in screen
        if wrong:
            assert "the password is wrong" in screen


def test_unsupported_distribution_is_refused(inventory: Path, trixie: list[ContainerNode]) -> None:
    node = trixie[0]
    node.ssh("sudo sed -i.bak 's/^VERSION_ID=.*/VERSION_ID=\"99\"/' /usr/lib/os-release")
    done = nodeproof("apply", inventory, "--yes", "--json")
    node.ssh("sudo mv /usr/lib/os-release.bak /usr/lib/os-release")
    assert done.code == 4
    assert "debian 99 is not supported" in done.node(node.name)["reason"]
    assert "Debian 13" in done.node(node.name)["reason"]
    assert done.node(node.name)["changes"] == []
    assert done.node(trixie[1].name)["status"] in ("ok", "changed")


def test_full_disk_is_refused_before_the_first_change(
    inventory: Path, trixie: list[ContainerNode]
) -> None:
    node = trixie[0]
    node.ssh("sudo mkdir -p /boot; sudo mount -t tmpfs -o size=1m none /boot")
    done = nodeproof("apply", inventory, "--yes", "--json")
    node.ssh("sudo umount /boot")
    assert done.code == 4
    assert "/boot has" in done.node(node.name)["reason"]


def test_settings_that_would_lock_us_out_are_refused(
    trixie: list[ContainerNode], tmp_path: Path
) -> None:
    for ssh in ({"allow_users": ["alice"]}, {"allow_groups": ["nobody-is-in-it"]}):
        path = write_inventory(tmp_path, trixie[:1], {"ssh": ssh})
        done = nodeproof("apply", path, "--yes", "--json")
        assert done.code == 4
        assert "leaves out ops, who connects" in done.node(trixie[0].name)["reason"]
        assert done.changed(trixie[0].name) == []


@pytest.mark.parametrize(
    ("ops", "said"),
    [
        ({"keys": []}, "keys has none of the keys that let this user in now"),
        ({"present": False}, "present is false"),
        ({"shell": "/usr/sbin/nologin"}, "shell is /usr/sbin/nologin"),
    ],
)
def test_who_connects_is_not_locked_out(
    trixie: list[ContainerNode], tmp_path: Path, ops: dict[str, object], said: str
) -> None:
    path = write_inventory(tmp_path, trixie[:1], {"system": {"users": {"ops": ops}}})
    done = nodeproof("apply", path, "--yes", "--json")
    assert done.code == 4
    assert said in done.node(trixie[0].name)["reason"]


def test_a_failed_change_stops_that_node_and_says_why(
    inventory: Path, trixie: list[ContainerNode], tmp_path: Path
) -> None:
    site = {**SITE, "system": {"packages": ["no-such-package-anywhere"]}}
    path = write_inventory(tmp_path, trixie, SITE)
    path.write_text(path.read_text() + f"\nbad = (['{trixie[0].name}'], {site!r})\n")
    done = nodeproof("apply", path, "--yes", "--json")
    assert done.code == 1
    node = done.node(trixie[0].name)
    assert node["status"] == "failed"
    assert "no-such-package-anywhere" in node["reason"]
    assert {c["status"] for c in node["changes"][1:]} == {"skipped"}
    assert done.node(trixie[1].name)["status"] in ("ok", "changed")


def test_killed_controller_converges(inventory: Path, trixie: list[ContainerNode]) -> None:
    """Killed while a package is being unpacked; the next apply goes on and finds all well."""
    node = trixie[0]
    node.ssh("sudo dpkg --purge rsync; sudo rm -f /etc/ssh/sshd_config.d/10-nodeproof.conf")
    running = Running("apply", inventory, "--yes")
    running.wait_for(f"{node.name}: system | Install packages")
    time.sleep(0.4)
    running.process.send_signal(signal.SIGKILL)
    running.finish()
    done = nodeproof("apply", inventory, "--yes", "--json")
    assert done.code == 0, done.out
    assert nodeproof("apply", inventory, "--yes", "--json").changed(node.name) == []
    assert nodeproof("verify", inventory).code == 0


def test_interrupt_ends_with_130_and_the_node_converges(
    inventory: Path, trixie: list[ContainerNode]
) -> None:
    node = trixie[0]
    node.ssh("sudo dpkg --purge rsync")
    running = Running("apply", inventory, "--yes", "--json")
    running.wait_for(f"{node.name}: system | Install packages")
    running.process.send_signal(signal.SIGINT)
    done = running.finish()
    assert done.code == 130, done.err
    assert done.json["interrupted"] is True
    assert nodeproof("apply", inventory, "--yes").code == 0
    assert nodeproof("verify", inventory).code == 0


def test_half_configured_packages_are_mended(inventory: Path, trixie: list[ContainerNode]) -> None:
    node = trixie[0]
    node.ssh("sudo sh -c 'cd /tmp && apt-get -q download rsync && dpkg --unpack rsync_*.deb'")
    verified = nodeproof("verify", inventory, "--json")
    assert "packages_whole" in verified.failing(node.name)
    assert nodeproof("apply", inventory, "--yes").code == 0
    assert nodeproof("verify", inventory).code == 0


def test_killed_between_file_and_reload_is_made_good(
    inventory: Path, trixie: list[ContainerNode]
) -> None:
    """A note on the node says that sshd has not been told; the next apply tells it."""
    node = trixie[0]
    node.ssh("sudo install -D -m 600 /dev/null /run/nodeproof/pending/ssh.service")
    assert nodeproof("plan", inventory, "--json").changed(node.name) == [
        "ssh | Reload the OpenSSH server"
    ]
    assert nodeproof("apply", inventory, "--yes").code == 0
    assert nodeproof("plan", inventory, "--detailed-exitcode").code == 0


HANGS_UP = """#!/bin/sh
n=$(cat /run/asked 2>/dev/null || echo 0)
case $1 in
    show | enable | start | restart | reload | reload-or-restart) echo $((n + 1)) >/run/asked ;;
    *) n=2 ;;
esac
[ $((n % 3)) = 2 ] || { echo "Failed to $1: Transport endpoint is not connected" >&2; exit 1; }
exec /usr/bin/systemctl "$@"
"""


def test_systemd_is_asked_again_while_it_answers_nobody(
    inventory: Path, trixie: list[ContainerNode]
) -> None:
    """As while it re-executes itself: that is no unit's state, and no reason to give up."""
    node = trixie[0]
    node.ssh("sudo tee /usr/local/sbin/systemctl >/dev/null", stdin=HANGS_UP)
    node.ssh("sudo chmod 755 /usr/local/sbin/systemctl")
    node.ssh("sudo sed -i 's/^MaxSessions .*/MaxSessions 3/' /etc/ssh/sshd_config.d/*nodeproof*")
    try:
        done = nodeproof("apply", inventory, "--yes", "--json")
        reverted = nodeproof("revert", done.json["run"], inventory, "--yes")
    finally:
        node.ssh("sudo rm /usr/local/sbin/systemctl")
    assert done.node(node.name)["status"] == "changed", done.out
    assert reverted.code == 0, reverted.out
    assert "maxsessions 3\n" in node.ssh("sudo sshd -T").stdout
    run = f"/var/lib/nodeproof/runs/{done.json['run']}"
    kept = node.ssh(
        f"sudo sh -c 'grep -l told {run}/*/items | while read -r f; do cat ${{f%/*}}/*.was; done'"
    )
    assert "enabled running" in kept.stdout
    assert nodeproof("apply", inventory, "--yes").code == 0


def test_apply_asks_on_a_terminal(inventory: Path, trixie: list[ContainerNode]) -> None:
    """It shows the plan and asks; no leaves the node alone, yes applies what was shown."""
    node = trixie[0]
    node.ssh("sudo chmod 640 /etc/ssh/sshd_config.d/10-nodeproof.conf")
    for answer, code in (("n", 0), ("y", 0)):
        pid, terminal = pty.fork()
        argv = command("apply", inventory)
        if pid == 0:
            os.execve(argv[0], argv, environment())  # noqa: S606
        screen = b""
        while True:
            try:
                data = os.read(terminal, 4096)
            except OSError:
                break
            screen += data
            if b"Apply?" in data:
                os.write(terminal, f"{answer}\n".encode())
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code, screen.decode()
        assert b"would write the sshd drop-in" in screen, screen.decode()
        pending = nodeproof("plan", inventory, "--detailed-exitcode").code
        assert pending == (5 if answer == "n" else 0)


def _keys(node: ContainerNode) -> list[str]:
    return node.ssh("cat ~/.ssh/authorized_keys").stdout.splitlines()


def _command_lines() -> str:
    """Return the arguments of every process here."""
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended since
            lines.append(process.read_text(errors="replace"))
    return "\n".join(lines)


def _on_terminal(argv: list[str], answer: str, spy: ContainerNode) -> tuple[str, int, str]:
    """Run a command on a terminal and answer its question; return screen, code, processes seen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(argv[0], argv, environment())  # noqa: S606
    screen, seen, answered = b"", "", False
    while True:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, screen
        try:
            data = os.read(terminal, 4096)
        except OSError:
            break
        if not data:
            break
        screen += data
        if b"sudo password:" in screen and not answered:
            answered = True
            os.write(terminal, f"{answer}\n".encode())
            script = "for p in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $p; echo; done"
            for _ in range(5):
                seen += spy.ssh(f"sudo sh -c {script!r} 2>/dev/null", check=False).stdout
                seen += _command_lines()
    return screen.decode(errors="replace"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


def test_connection_data_is_complete(trixie: list[ContainerNode]) -> None:
    """The inventories of these tests hold strict host keys of their own."""
    assert Path(str(connection(trixie[0])["ssh_known_hosts_file"])).exists()
