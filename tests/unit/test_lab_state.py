"""What a lab keeps, the ports it takes, and what it refuses before it does anything."""

from __future__ import annotations

import dataclasses
import os
import socket
from pathlib import Path

import pytest

from nodeproof.errors import NodeproofError, RefusedError, UsageError
from nodeproof.lab import Lab, inventory_hosts, network, qemu, requirements, spec, ssh, store
from nodeproof.lab.machine import Machine

SPEC = spec.Spec(
    *("node1", 1, 22001, "debian-13", ("auditd",), 2, 2048, "/images/x", "239.192.0.1:30000"),
    ("ready",),
)


def test_state_is_read_back(tmp_path: Path) -> None:
    SPEC.save(tmp_path)
    assert spec.load(tmp_path) == SPEC
    assert (tmp_path / spec.FILE).stat().st_mode & 0o077 == 0


def test_machine_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "lab" / "node1").mkdir(parents=True)
    assert Lab("lab", tmp_path).machines() == []


def test_state_of_another_version_is_refused(tmp_path: Path) -> None:
    store.write_json(tmp_path / spec.FILE, {"format": 99})
    with pytest.raises(UsageError, match="another version"):
        spec.load(tmp_path)


def test_failed_write_keeps_the_old_state(tmp_path: Path) -> None:
    store.write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError):
        store.write_json(tmp_path / "a.json", {"new": object()})
    assert store.read_json(tmp_path / "a.json") == {"old": 1}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["", "Node", "a_b", "-a", "a-", "a/b", "..", "a" * 64])
def test_names_that_are_no_hostnames_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a name"):
        spec.check_name(name, what="machine")


def test_folders_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (store.LAB_VARIABLE, store.CACHE_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/someone")
    assert store.labs_dir() == Path("/state/nodeproof/lab")
    assert store.cache_dir() == Path("/home/someone/.cache/nodeproof")
    monkeypatch.setenv(store.LAB_VARIABLE, "/labs")
    monkeypatch.setenv(store.CACHE_VARIABLE, "/cache")
    assert (store.labs_dir(), store.cache_dir()) == (Path("/labs"), Path("/cache"))


def test_port_in_use_is_not_free() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        assert not network.is_free(busy.getsockname()[1])


def test_taken_ports_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "PORTS", range(22000, 22002))
    monkeypatch.setattr(network, "is_free", lambda port: True)
    assert network.free_port({22000}) == 22001
    with pytest.raises(RefusedError, match="no free port"):
        network.free_port({22000, 22001})


def test_port_taken_meanwhile_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "host_key.pub").write_text("ssh-ed25519 AAAA node1\n")
    monkeypatch.setattr(qemu, "start", lambda *_, **__: None)
    monkeypatch.setattr(network, "is_free", lambda port: port != SPEC.ssh_port)
    machine = Machine(tmp_path, tmp_path / "key", SPEC)
    machine.start()
    kept = spec.load(tmp_path)
    assert kept is not None
    assert machine.ssh_port == kept.ssh_port != SPEC.ssh_port
    expected = f"[127.0.0.1]:{machine.ssh_port} ssh-ed25519 AAAA\n"
    assert machine.known_hosts.read_text() == expected


def test_lowest_number_is_used_again() -> None:
    assert network.free_index({1, 3}) == 2
    with pytest.raises(RefusedError, match="250 machines"):
        network.free_index(range(1, 251))


def test_two_labs_have_different_networks() -> None:
    groups = {network.multicast_group(f"/labs/{name}") for name in "abcdefgh"}
    assert len(groups) == 8
    assert all(group.startswith("239.192.") for group in groups)


def test_pid_of_another_process_is_not_the_machine(tmp_path: Path) -> None:
    (tmp_path / qemu.PIDFILE).write_text(f"{os.getpid()}\n")
    assert qemu.pid(tmp_path) is None


def test_known_host_of_the_usual_port_has_no_brackets() -> None:
    assert ssh.known_host("10.0.0.1", 22, "ssh-ed25519 AAAA me") == "10.0.0.1 ssh-ed25519 AAAA\n"


def test_ssh_is_strict_and_quotes_words(tmp_path: Path) -> None:
    access = ssh.Access("127.0.0.1", 22001, tmp_path / "key", tmp_path / "known")
    argv = access.argv(["touch", "a b"])
    assert "StrictHostKeyChecking=yes" in argv
    assert f"UserKnownHostsFile={tmp_path}/known" in argv
    assert argv[-2:] == ["127.0.0.1", "touch 'a b'"]
    assert access.argv("a | b")[-1] == "a | b"
    assert access.argv()[-1] == "127.0.0.1"


def test_missing_commands_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    present = {"apt-get": "/usr/bin/apt-get"}
    monkeypatch.setattr(requirements, "find", present.get)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    tools = [requirements.QEMU_X86, requirements.SSH, requirements.SSH_KEYGEN]
    with pytest.raises(UsageError) as refused:
        requirements.require(tools, what="lab")
    assert refused.value.message == "lab: this host lacks qemu-system-x86_64, ssh, ssh-keygen"
    assert refused.value.hint == "Run: sudo apt-get install openssh-client qemu-system-x86"


def test_missing_commands_on_fedora(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find", {"dnf": "/usr/bin/dnf"}.get)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(UsageError) as refused:
        requirements.require([requirements.QEMU_X86, requirements.NFT], what="lab")
    assert refused.value.hint == "Run: dnf install nftables qemu-system-x86-core"


def test_nothing_missing_is_no_error() -> None:
    requirements.require([requirements.Tool("sh", "dash", "dash")], what="lab")


def test_inventory_of_no_lab_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.LAB_VARIABLE, str(tmp_path))
    with pytest.raises(UsageError, match="lab other: no machine runs") as refused:
        inventory_hosts("other")
    assert refused.value.hint == "Run: nodeproof lab up --name other"


def test_unknown_machine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lab" / "node1").mkdir(parents=True)
    SPEC.save(tmp_path / "lab" / "node1")
    with pytest.raises(UsageError, match="has no machine 'node2'") as refused:
        Lab("lab", tmp_path).machine("node2")
    assert refused.value.hint == "Its machines: node1."


def test_machine_that_is_down_has_no_monitor(tmp_path: Path) -> None:
    machine = Machine(tmp_path, tmp_path / "key", dataclasses.replace(SPEC))
    with pytest.raises(NodeproofError, match="node1: is not running"):
        machine.link(up=False)


def test_console_shows_its_last_lines_only(tmp_path: Path) -> None:
    lines = [f"line {number}\x1b[0m\r" for number in range(100)]
    (tmp_path / qemu.CONSOLE).write_text("\n".join(lines))
    shown = qemu.console_tail(tmp_path).splitlines()
    assert len(shown) == 20
    assert shown[-1] == "line 99[0m"
