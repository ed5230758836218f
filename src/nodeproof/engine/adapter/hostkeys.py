"""Host keys: what a node shows, what we know, and how a key becomes known."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from paramiko import HostKeys, PKey, SSHException, Transport
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey
from pyinfra.api.host import Host
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient.client import get_ssh_config

from nodeproof.errors import UnreachableError

KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512")
TIMEOUT_S = 10


class Known(StrEnum):
    """What is known about a host's keys."""

    NEW = "new"
    SAME = "known"
    CHANGED = "CHANGED"


@dataclass(frozen=True)
class HostKeysShown:
    """The keys that one host shows, and what is known of it."""

    host: str
    entry: str
    """As known_hosts names it: host, or [host]:port."""
    keys: tuple[PKey, ...]
    known: Known
    file: Path

    def fingerprints(self) -> list[tuple[str, str]]:
        """Return (type, fingerprint) as ssh-keygen -l prints them."""
        return [(key.get_name(), fingerprint(key)) for key in self.keys]


def fingerprint(key: PKey) -> str:
    """Return a key's fingerprint: SHA256:… (RFC 4648 base64 without padding, as OpenSSH)."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def shown_by(host: Host) -> HostKeysShown | None:
    """Ask a host for its keys; None where the connection is not ssh.

    Raises UnreachableError.
    """
    if not issubclass(host.connector_cls, SSHConnector):
        return None
    config = get_ssh_config(host.data.get("ssh_config_file")) or None
    name = host.data.get("ssh_hostname") or host.name
    options = config.lookup(name) if config else {}
    address = options.get("hostname", name)
    port = int(host.data.get("ssh_port") or options.get("port", 22))
    keys = [key for kind in KEY_TYPES if (key := _key(host.name, address, port, kind))]
    if not keys:
        raise UnreachableError(f"{host.name}: shows no host key of a type that we accept")
    entry = address if port == 22 else f"[{address}]:{port}"
    # As pyinfra looks for them: the inventory's file, else ssh_config's, else OpenSSH's own.
    named = host.data.get("ssh_known_hosts_file")
    files = [named] if named else options.get("userknownhostsfile", "~/.ssh/known_hosts").split()
    paths = [Path(file).expanduser() for file in files]
    return HostKeysShown(host.name, entry, tuple(keys), _known(paths, entry, keys), paths[0])


def read(files: Iterable[str | Path]) -> HostKeys:
    """Read known_hosts files; lines that are no host's keys are left out, one by one.

    paramiko gives a file up at the first line that it cannot read, such as @cert-authority, and
    then does not know the hosts below it.
    """
    there = [Path(file) for file in files if Path(file).exists()]
    return _read(tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in there))


@cache
def _read(files: tuple[tuple[Path, int, int], ...]) -> HostKeys:
    """Read files once for all hosts, and again when they have changed."""
    known = HostKeys()
    lines = (line for file, *_ in files for line in _lines(file))
    entries = [entry for line in lines if (entry := _parsed(line)) is not None]
    known._entries = entries  # type: ignore[attr-defined] # add() goes through all, each time
    return known


def enrol(shown: HostKeysShown) -> None:
    """Write a host's keys into its known_hosts file, in place of what it showed before."""
    path = shown.file.resolve()  # what it links to, not the link
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = [line for line in _lines(path) if not _names(line, shown.entry)]
    for key in shown.keys:
        kept.append(f"{shown.entry} {key.get_name()} {key.get_base64()}")
    beside = path.with_name(f".{path.name}.nodeproof")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(("\n".join(kept) + "\n").encode(errors="surrogateescape"))
    beside.replace(path)


def _key(host: str, address: str, port: int, kind: str) -> PKey | None:
    try:
        sock = socket.create_connection((address, port), timeout=TIMEOUT_S)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreachableError(f"{host}: cannot connect to {address}:{port}: {reason}") from error
    transport = Transport(sock)
    try:
        transport.get_security_options().key_types = (kind,)
        transport.start_client(timeout=TIMEOUT_S)
        return transport.get_remote_server_key()
    except (SSHException, EOFError):
        return None  # the host has no key of this type
    finally:
        transport.close()


def _known(files: Iterable[Path], entry: str, keys: Iterable[PKey]) -> Known:
    known = read(files).lookup(entry)
    if not known:
        return Known.NEW
    shown = {key.get_name(): key for key in keys}
    same = [known[kind] == shown[kind] for kind in known if kind in shown]
    return Known.SAME if same and all(same) else Known.CHANGED


def _lines(file: Path) -> list[str]:
    if not file.exists():
        return []
    text = file.read_text(encoding="utf-8", errors="surrogateescape")
    return text.removesuffix("\n").split("\n") if text else []


def _parsed(line: str) -> HostKeyEntry | None:
    if line.startswith(("#", "@")):  # a comment, or @revoked and @cert-authority
        return None
    try:
        return HostKeyEntry.from_line(line)
    except (SSHException, InvalidHostKey, ValueError):
        return None


def _names(line: str, entry: str) -> bool:
    """Tell whether a known_hosts line is about a host, hashed names included."""
    parsed = _parsed(line)
    if parsed is None or parsed.hostnames is None:
        return False
    return any(
        name == entry or (name.startswith("|1|") and HostKeys.hash_host(entry, name) == name)
        for name in parsed.hostnames
    )
