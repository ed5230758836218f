"""Host keys, shown by a real ssh server: new, known, changed, and how they become known."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import gevent
import paramiko
import pytest
from gevent import socket
from pyinfra.api import Inventory
from pyinfra.api.host import Host

from nodeproof.engine.adapter.connector import NodeLocalConnector
from nodeproof.engine.adapter.hostkeys import (
    HostKeysShown,
    Known,
    enrol,
    fingerprint,
    shown_by,
)
from nodeproof.engine.adapter.session import Session
from nodeproof.errors import UnreachableError

ED25519 = "AAAAC3NzaC1lZDI1NTE5AAAAIE1cNJQHhVbGWL5Qkz0sYvNhmIxbqkd1jkR7Rl4TgpEJ"


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    with gevent.Timeout(30, AssertionError("no end after 30 s")):
        yield


class Server:
    """Shows its keys to whoever asks, as sshd does before anybody logs in."""

    def __init__(self, *keys: paramiko.PKey) -> None:
        self.keys = list(keys)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.task = gevent.spawn(self._serve)

    def _serve(self) -> None:
        while True:
            client, _ = self.socket.accept()
            transport = paramiko.Transport(client)
            for key in self.keys:
                transport.add_server_key(key)
            try:
                transport.start_server(server=paramiko.ServerInterface())
            except (paramiko.SSHException, EOFError):
                continue

    def close(self) -> None:
        self.task.kill()
        self.socket.close()


def ed25519(folder: Path, name: str = "key") -> paramiko.PKey:
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return paramiko.Ed25519Key.from_private_key_file(str(path))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(ed25519(tmp_path), paramiko.ECDSAKey.generate())
    yield made
    made.close()


def host(server: Server | int, folder: Path, **data: object) -> Host:
    port = server if isinstance(server, int) else server.port
    known = {
        "ssh_hostname": "127.0.0.1",
        "ssh_port": port,
        "ssh_known_hosts_file": str(folder / "ssh" / "known_hosts"),
        "ssh_config_file": str(folder / "no_config"),
        **data,
    }
    (only,) = Inventory(([("node1", known)], {}))
    return only


def shown(server: Server, folder: Path) -> HostKeysShown:
    keys = shown_by(host(server, folder))
    assert keys is not None
    return keys


def test_new_then_enrolled_then_known(server: Server, tmp_path: Path) -> None:
    first = shown(server, tmp_path)
    assert first.known is Known.NEW
    assert first.entry == f"[127.0.0.1]:{server.port}"
    assert [key.get_name() for key in first.keys] == ["ssh-ed25519", "ecdsa-sha2-nistp256"]

    enrol(first)

    file = tmp_path / "ssh" / "known_hosts"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["known_hosts"]
    assert shown(server, tmp_path).known is Known.SAME


def test_fingerprints_are_those_of_ssh_keygen(server: Server, tmp_path: Path) -> None:
    said = subprocess.run(
        ["ssh-keygen", "-lf", str(tmp_path / "key.pub")], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    kind, print_ = shown(server, tmp_path).fingerprints()[0]
    assert (kind, print_) == ("ssh-ed25519", said)
    assert fingerprint(server.keys[0]) == said


def test_changed_key_is_found_and_replaced_only_when_enrolled(
    server: Server, tmp_path: Path
) -> None:
    enrol(shown(server, tmp_path))
    server.keys = [ed25519(tmp_path, "other")]
    changed = shown(server, tmp_path)
    assert changed.known is Known.CHANGED
    enrol(changed)
    assert shown(server, tmp_path).known is Known.SAME
    text = (tmp_path / "ssh" / "known_hosts").read_text()
    assert len(text.splitlines()) == 1


def test_one_of_two_keys_changed_is_a_change(server: Server, tmp_path: Path) -> None:
    enrol(shown(server, tmp_path))
    server.keys[1] = paramiko.ECDSAKey.generate()
    assert shown(server, tmp_path).known is Known.CHANGED


def test_another_kind_of_key_than_the_known_is_a_change(server: Server, tmp_path: Path) -> None:
    """Somebody in between shows a key of a kind that we do not know of this host."""
    enrol(shown(server, tmp_path))
    lines = (tmp_path / "ssh" / "known_hosts").read_text().splitlines()
    only = [line for line in lines if "ecdsa" in line]
    (tmp_path / "ssh" / "known_hosts").write_text("\n".join(only) + "\n")
    server.keys = [ed25519(tmp_path, "other")]
    assert shown(server, tmp_path).known is Known.CHANGED


def test_other_lines_stay_as_they_are(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "ssh" / "known_hosts"
    file.parent.mkdir()
    before = [
        "# a comment",
        "",
        f"other.example,192.0.2.1 ssh-ed25519 {ED25519}",
        f"@cert-authority *.example ssh-ed25519 {ED25519}",
        f"127.0.0.1 ssh-ed25519 {ED25519}",
        f"|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-ed25519 {ED25519}",
    ]
    file.write_text("\n".join(before) + "\n")
    file.chmod(0o644)
    enrol(shown(server, tmp_path))
    lines = file.read_text().splitlines()
    assert lines[: len(before)] == before
    assert all(line.startswith(f"[127.0.0.1]:{server.port} ") for line in lines[len(before) :])
    enrol(shown(server, tmp_path))
    assert file.read_text().splitlines() == lines


def test_hashed_names_are_known_and_replaced(server: Server, tmp_path: Path) -> None:
    enrol(shown(server, tmp_path))
    file = tmp_path / "ssh" / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert "127.0.0.1" not in file.read_text()
    assert shown(server, tmp_path).known is Known.SAME
    server.keys = [ed25519(tmp_path, "other")]
    changed = shown(server, tmp_path)
    assert changed.known is Known.CHANGED
    enrol(changed)
    assert len(file.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "line", ["nonsense", "host ssh-ed25519", "host ssh-ed25519 !!!!", "host ssh-rsa AAAA", "\x00"]
)
def test_lines_that_cannot_be_read_do_no_harm(server: Server, tmp_path: Path, line: str) -> None:
    file = tmp_path / "ssh" / "known_hosts"
    file.parent.mkdir()
    file.write_text(f"{line}\n")
    assert shown(server, tmp_path).known is Known.NEW
    enrol(shown(server, tmp_path))
    assert shown(server, tmp_path).known is Known.SAME
    assert file.read_text().splitlines()[0] == line


def test_hosts_below_such_a_line_are_known_when_we_connect(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """paramiko gives the file up there, and calls every host below it unknown."""
    file = tmp_path / "ssh" / "known_hosts"
    file.parent.mkdir()
    file.write_text(f"@cert-authority *.example ssh-ed25519 {ED25519}\n")
    with pytest.raises(UnreachableError, match=r"its host key is not known"):
        connect(server, tmp_path)
    enrol(shown(server, tmp_path))
    with pytest.raises(UnreachableError, match=r"there is no key to log in with"):
        connect(server, tmp_path)
    server.keys = [ed25519(tmp_path, "other")]
    with pytest.raises(UnreachableError, match=r"its host key has CHANGED"):
        connect(server, tmp_path)


def connect(server: Server, folder: Path) -> None:
    data = {"ssh_allow_agent": False, "ssh_look_for_keys": False, "ssh_user": "nobody"}
    session = Session(host(server, folder, **data), lambda name: "")
    try:
        session.connect()
    finally:
        session.disconnect()


def test_the_file_that_ssh_config_names(server: Server, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"Host *\n  UserKnownHostsFile {tmp_path}/lab {tmp_path}/more\n")
    data = {"ssh_config_file": str(config), "ssh_known_hosts_file": None}
    keys = shown_by(host(server, tmp_path, **data))
    assert keys is not None
    assert (keys.file, keys.known) == (tmp_path / "lab", Known.NEW)
    enrol(keys)
    (tmp_path / "lab").rename(tmp_path / "more")
    again = shown_by(host(server, tmp_path, **data))
    assert again is not None
    assert again.known is Known.SAME


def test_openssh_reads_what_was_enrolled(server: Server, tmp_path: Path) -> None:
    enrol(shown(server, tmp_path))
    file = str(tmp_path / "ssh" / "known_hosts")
    entry = f"[127.0.0.1]:{server.port}"
    found = subprocess.run(
        ["ssh-keygen", "-F", entry, "-f", file], capture_output=True, text=True, check=True
    ).stdout
    assert found.count(entry) >= 2


def test_many_enrolments_lose_nothing(server: Server, tmp_path: Path) -> None:
    keys = shown(server, tmp_path)
    for number in range(50):
        enrol(HostKeysShown("x", f"host{number}", keys.keys, Known.NEW, keys.file))
    assert len(keys.file.read_text().splitlines()) == 100


def test_a_link_to_the_file_stays_a_link(server: Server, tmp_path: Path) -> None:
    """Who keeps known_hosts elsewhere wants it to stay there."""
    (tmp_path / "ssh").mkdir()
    real = tmp_path / "real"
    real.touch()
    (tmp_path / "ssh" / "known_hosts").symlink_to(real)
    enrol(shown(server, tmp_path))
    assert (tmp_path / "ssh" / "known_hosts").is_symlink()
    assert len(real.read_text().splitlines()) == 2


def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port: int = closed.getsockname()[1]
    with pytest.raises(UnreachableError, match=rf"^node1: cannot connect to 127\.0\.0\.1:{port}: "):
        shown_by(host(port, tmp_path))


def test_somebody_else_there(tmp_path: Path) -> None:
    def rude() -> None:
        while True:
            client, _ = listening.accept()
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = gevent.spawn(rude)
        with pytest.raises(UnreachableError, match=r"^node1: shows no host key"):
            shown_by(host(listening.getsockname()[1], tmp_path))
        task.kill()


def test_a_port_of_the_ssh_config_counts(server: Server, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"Host gpu\n  HostName 127.0.0.1\n  Port {server.port}\n")
    data = {"ssh_hostname": "gpu", "ssh_port": None, "ssh_config_file": str(config)}
    keys = shown_by(host(server, tmp_path, **data))
    assert keys is not None
    assert keys.entry == f"[127.0.0.1]:{server.port}"


def test_this_machine_itself_has_none(tmp_path: Path) -> None:
    local = host(1, tmp_path)
    local.connector_cls = NodeLocalConnector
    assert shown_by(local) is None
