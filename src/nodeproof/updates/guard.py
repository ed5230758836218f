"""What no update may pull apart, as it is written on a node, and the program that sees to it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from nodeproof.errors import UsageError
from nodeproof.scripts import text

SETS = "/etc/nodeproof/update-guard.d"
"""A file for each guarded set; only root writes there."""
PROGRAM = "/usr/local/lib/nodeproof/update-guard"
UNIT = "nodeproof-update-guard.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
HOOK = "/etc/apt/apt.conf.d/59nodeproof-update-guard"
KERNEL = "{kernel}"
"""Stands for a kernel's version in the name of a package."""

_HEADER = "Managed by nodeproof (update_guard). Local changes are overwritten.\n"
_STACK = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
_BESIDE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*\{kernel\}[A-Za-z0-9+._-]*")
_MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+:~_-]*")
_PARTS = (
    *("dkms", "guard-common", "guard-transaction", "guard-boot", "guard-kernels", "guard-pending"),
    *("guard-reboot", "guard-main"),
)
KERNELS = ("linux-image-", "linux-headers-", "linux-modules-")
"""How the names of packages of a kernel begin."""


@dataclass(frozen=True)
class Guard:
    """What belongs together; every value keeps to a grammar, because it lands in files."""

    stack: str
    """Its name, e.g. gpu: a-z, 0-9 and -."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Packages that stay, each in this version, as the package manager writes it."""
    modules: Mapping[str, str] = field(default_factory=dict)
    """Names that DKMS knows, to the version that each kernel must have."""
    loaded: Mapping[str, str] = field(default_factory=dict)
    """Kernel modules that must be loaded, as /sys/module calls them, to their versions."""
    beside: tuple[str, ...] = ()
    """Packages without which no kernel comes, such as linux-modules-nvidia-580-open-{kernel}."""
    built: bool = False
    """Whether each kernel must have whatever modules DKMS has built for some kernel."""
    unattended_kernels: bool = False
    """Whether unattended upgrades may bring kernels, though there are modules to build."""

    def __post_init__(self) -> None:
        where = f"update guard {self.stack!r}"
        _match(where, _STACK, self.stack)
        _match(where, _PACKAGE, *self.packages)
        _match(where, _MODULE, *self.modules, *self.loaded)
        _match(where, _BESIDE, *self.beside)
        for named in (self.packages, self.modules, self.loaded):
            _match(where, _VERSION, *named.values())
        if not (self.packages or self.modules or self.loaded or self.beside or self.built):
            raise UsageError(f"{where}: it names nothing to guard")

    @property
    def path(self) -> str:
        """Where it is on the node."""
        return f"{SETS}/{self.stack}.conf"

    @property
    def exclusions(self) -> str:
        """Where apt's configuration keeps unattended upgrades away from it."""
        return f"/etc/apt/apt.conf.d/60nodeproof-update-guard-{self.stack}"

    @property
    def needed(self) -> tuple[str, ...]:
        """What comes with each kernel: without its headers, DKMS builds nothing for it."""
        headers = (f"linux-headers-{KERNEL}",) if self.modules else ()
        return tuple(dict.fromkeys((*headers, *self.beside)))

    def text(self) -> str:
        """Return the file on the node."""
        lines = [
            *(f"package {name} {version}" for name, version in sorted(self.packages.items())),
            *(f"module {name} {version}" for name, version in sorted(self.modules.items())),
            *(["module * *"] if self.built else []),
            *(f"loaded {name} {version}" for name, version in sorted(self.loaded.items())),
            *(f"beside {name}" for name in self.needed),
        ]
        return f"# {_HEADER}" + "".join(f"{line}\n" for line in lines)

    def patterns(self) -> tuple[str, ...]:
        """Return what unattended upgrades leave alone: regular expressions, as they match them.

        apt's configuration knows no escapes; a class of one character is the same.
        """
        kernels = KERNELS if self.needed and not self.unattended_kernels else ()
        names = (re.sub(r"[.+]", r"[\g<0>]", f"{name}$") for name in sorted(self.packages))
        return (*names, *kernels)

    def exclusions_text(self) -> str:
        """Return the drop-in for unattended upgrades."""
        lines = (
            f'Unattended-Upgrade::Package-Blacklist:: "{pattern}";\n' for pattern in self.patterns()
        )
        return f"// {_HEADER}" + "".join(lines)


def built(told: Iterable[tuple[str, str, str]], names: Collection[str]) -> dict[str, str]:
    """Return which version of each of these modules counts: the one that is installed, if any.

    + told: name, version and state, as DKMS says them
    """
    ours = [one for one in told if one[0] in names]
    return {
        name: version for name, version, _ in sorted(ours, key=lambda one: one[2] == "installed")
    }


def hook_text() -> str:
    """Return the drop-in that makes apt ask before it changes anything."""
    return (
        f"// {_HEADER}"
        f'DPkg::Pre-Install-Pkgs:: "{PROGRAM} transaction";\n'
        f'DPkg::Tools::Options::{PROGRAM}::Version "3";\n'
    )


def unit_text() -> str:
    """Return the unit that looks after a boot; nothing waits for it."""
    return (
        f"# {_HEADER}"
        "[Unit]\nDescription=Look whether what belongs together on this machine matches\n"
        "After=multi-user.target\n\n"
        f"[Service]\nType=oneshot\nExecStart={PROGRAM} boot\nTimeoutStartSec=120\n"
        "ProtectHome=yes\nPrivateNetwork=yes\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


@cache
def program() -> str:
    """Return the node's program: its parts, one after another."""
    parts = (text(f"{part}.sh").partition("\n")[2] for part in _PARTS)
    return f"#!/bin/sh\n# {_HEADER}" + "".join(parts)


def _match(where: str, pattern: re.Pattern[str], *values: str) -> None:
    for value in values:
        if not pattern.fullmatch(value):
            raise UsageError(f"{where}: {value!r} is not allowed there")


def parse(written: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return what a set on a node says, by the first word of its lines; names to versions."""
    found: dict[str, dict[str, str]] = {}
    for line in written:
        kind, *words = line.split()[:3] or ("#",)
        if not kind.startswith("#") and words:
            found.setdefault(kind, {})[words[0]] = words[1] if len(words) > 1 else ""
    return found
