"""The journal: what a change touches is kept on the node before, so that it can be taken back.

Every command of an operation is a `Change` that names what it touches. The node's own program,
``/var/lib/nodeproof/bin/journal`` (its parts are in ``nodeproof/node``), keeps the state of these
items, runs the command, and keeps what it left: all in the round trip of the command itself.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from pyinfra import host
from pyinfra.api import OperationError, QuoteString, StringCommand

from nodeproof.facts.journal import PROGRAM

HOME = "/var/lib/nodeproof"
STAGED = "/run/nodeproof.{digest}"
"""Where new content waits on the node: in memory, readable by root only, gone with the power."""

GUARD_S = 180
"""Seconds after which the node takes an unconfirmed change back."""

_PARTS = (
    "common",
    "items",
    "files",
    "accounts",
    "packages",
    "dnf",
    "steps",
    "guard",
    "revert",
    "main",
)
_OPEN = "nodeproof_run"


class Kind(StrEnum):
    """Kinds of state that the journal knows; the functions of each are in ``nodeproof/node``."""

    FILE = "file"
    """A file, link or directory, or its absence, with owner, mode, ACL, attributes, label."""
    TREE = "tree"
    """A directory with all that is in it, where there was none; set aside, never deleted."""
    UNIT = "unit"
    """A systemd unit: enabled, masked, running."""
    TOLD = "told"
    """A unit that takes up restored configuration."""
    ACCOUNTS = "accounts"
    """Users and groups, merged entry by entry with what others changed since."""
    PACKAGES = "packages"
    """Packages with their versions and marks, and what their scripts did to /etc."""
    APPARMOR = "apparmor"
    """A profile in the kernel; the name is its file and itself."""
    NFT = "nft"
    """A table of nftables in the kernel; the name is its family and itself."""
    SYSCTL = "sysctl"
    MODULE = "module"
    CUSTOM = "custom"
    """A label, a command that prints the state, and one that undoes the change."""


_ACCESS = {
    Kind.FILE: (
        *("/etc/ssh/", "/etc/sudoers", "/etc/pam.d/", "/etc/security/", "/etc/login.defs"),
        *("/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"),
        *("/etc/nftables", "/etc/iptables", "/etc/firewalld/", "/etc/ufw/", "/etc/hosts."),
        *("/etc/network/", "/etc/netplan/", "/etc/systemd/network/", "/etc/NetworkManager/"),
        *("/etc/resolv.conf", "/etc/apparmor.d/", "/etc/selinux/"),
    ),
    Kind.UNIT: ("ssh", "nftables", "iptables", "firewalld", "ufw", "network", "systemd-networkd"),
    Kind.TOLD: ("ssh", "nftables", "iptables", "firewalld", "ufw", "network", "systemd-networkd"),
    Kind.ACCOUNTS: ("",),
    Kind.APPARMOR: ("",),
    Kind.NFT: ("",),
    Kind.SYSCTL: ("net.",),
}
"""What can cut access, by the beginning of its name: no layer has to remember it."""


@dataclass(frozen=True)
class Item:
    """One piece of a node's state."""

    kind: Kind
    name: str = "-"

    def __post_init__(self) -> None:
        if "\n" in self.name or (self.kind is not Kind.CUSTOM and "\t" in self.name):
            raise OperationError(f"journal: {self.name!r}: a name is one line")

    @property
    def guards(self) -> bool:
        """Whether a change of it can cut access, so that it must be confirmed."""
        ssh_keys = self.kind is Kind.FILE and "/.ssh" in self.name
        return ssh_keys or self.name.startswith(_ACCESS.get(self.kind, ()))

    def __str__(self) -> str:
        return f"{self.kind}\t{self.name}"


def file(path: str) -> Item:
    """Return the item of a file, link or directory."""
    return Item(Kind.FILE, path)


def unit(name: str) -> Item:
    """Return the item of a systemd unit."""
    return Item(Kind.UNIT, name)


ACCOUNTS = Item(Kind.ACCOUNTS)


@dataclass
class OpenRun:
    """A run that changes a node."""

    id: str
    description: str = ""
    """``key=value`` lines: who, inventory, layers, settings."""
    begun: bool = False
    """Whether the node knows of it."""
    armed_at: float | None = None
    """Monotonic time of the first change since the last confirmation that could cut access."""
    ended: bool = False
    """Whether the node took changes back, and so accepts no more of this run."""
    controller: int | None = None
    """Our process, where the node is this machine itself, so that no connection stands for us."""

    @property
    def owner(self) -> str:
        """What the node's program takes for us; nothing where it shall look for the connection."""
        return str(self.controller or "")


def open_run() -> OpenRun:
    """Return the run of the host at hand; raises OperationError where none was opened."""
    run: OpenRun | None = host.connector_data.get(_OPEN)
    if run is None:
        raise OperationError(
            "journal: nothing is changed outside a run; call nodeproof.engine.site.run() first"
        )
    return run


def set_run(data: dict[str, Any], run: OpenRun) -> None:
    """Make this the run of the host with this connector data."""
    data[_OPEN] = run


class Change(StringCommand):
    """A command with the items that it touches; shown as it is, sent with the journal around it."""

    def __init__(
        self,
        *bits: Any,
        touches: Sequence[Item],
        lasting: Sequence[str] = (),
        counts: bool = True,
        explain: Callable[[Sequence[str]], str] | None = None,
        **arguments: Any,
    ) -> None:
        if not touches:
            raise OperationError("journal: a change touches something")
        super().__init__(*bits, **arguments)
        self.touches = tuple(touches)
        self.lasting = tuple(lasting)
        """What of it cannot be taken back, a sentence each."""
        self.counts = counts
        """Whether a plan without it is another plan; else it only prepares, as it is needed."""
        self.explain = explain
        """Turns what it said when it failed into a sentence; nothing where it knows none."""

    @property
    def guarded(self) -> bool:
        """Whether it can cut access."""
        return any(item.guards for item in self.touches)

    @property
    def slow(self) -> bool:
        """Whether it may take minutes."""
        return any(item.kind is Kind.PACKAGES for item in self.touches)

    def get_raw_value(self) -> str:
        """Return the command as the node gets it."""
        run = open_run()
        layer, _, name = _current_name().partition(" | ")
        step = StringCommand(
            _opened(run),
            ">&2 &&",
            QuoteString(PROGRAM),
            "step",
            QuoteString(run.id),
            QuoteString(str(GUARD_S if self.guarded else 0)),
            QuoteString(layer),
            QuoteString(name or layer),
            *(QuoteString(str(item)) for item in self.touches),
            "--",
            QuoteString(super().get_raw_value()),
        ).get_raw_value()
        run.begun = True
        if self.guarded and run.armed_at is None:
            run.armed_at = time.monotonic()
        return step


def _opened(run: OpenRun) -> StringCommand:
    return StringCommand("true") if run.begun else begin(run)


def begin(run: OpenRun) -> StringCommand:
    """Return the command that opens a run on the node; installs the program where it is not."""
    packed = base64.b64encode(gzip.compress(program(), mtime=0)).decode()
    told = f"{hashlib.sha256(program()).hexdigest()}  {PROGRAM}"
    return StringCommand(
        "{ printf '%s\\n'",
        QuoteString(told),
        "| sha256sum -c --status 2>/dev/null || {",
        f"(umask 077; mkdir -p {HOME}/bin && printf %s",
        QuoteString(packed),
        f"| base64 -d | gzip -d >{PROGRAM}.$$ && chmod 700 {PROGRAM}.$$ &&",
        f"sync {PROGRAM}.$$ && mv -f {PROGRAM}.$$ {PROGRAM}); }}; }} &&",
        "printf '%s\\n'",
        QuoteString(run.description),
        "| env",
        QuoteString(f"NODEPROOF_OWNER={run.owner}"),
        f"{PROGRAM} begin",
        QuoteString(run.id),
    )


@cache
def program() -> bytes:
    """Return the node's program: its parts, one after another."""
    folder = files("nodeproof") / "node"
    parts = [folder.joinpath(f"{part}.sh").read_text(encoding="utf-8") for part in _PARTS]
    return ("#!/bin/sh\n" + "\n".join(part.partition("\n")[2] for part in parts)).encode()


def staged(path: str) -> str:
    """Return where the new content of a file waits."""
    return STAGED.format(digest=hashlib.sha256(path.encode()).hexdigest()[:16])


def _current_name() -> str:
    """Return ``layer | name`` of the operation that is being run."""
    operation = host.executing_op_hash
    return next(iter(host.state.op_meta[operation].names)) if operation else "change"
