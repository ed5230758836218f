"""What the host needs for a lab, and how to get it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nodeproof.errors import UsageError

SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


@dataclass(frozen=True)
class Tool:
    """A command or a file that the host must have, and the package that has it."""

    name: str
    apt: str
    dnf: str

    @property
    def present(self) -> bool:
        """Whether the host has it."""
        if self.name.startswith("/"):
            return Path(self.name).exists()
        return find(self.name) is not None


QEMU_X86 = Tool("qemu-system-x86_64", "qemu-system-x86", "qemu-system-x86-core")
QEMU_ARM = Tool("qemu-system-aarch64", "qemu-system-arm", "qemu-system-aarch64-core")
QEMU_IMG = Tool("qemu-img", "qemu-utils", "qemu-img")
MMDEBSTRAP = Tool("mmdebstrap", "mmdebstrap", "mmdebstrap")
MKE2FS = Tool("mke2fs", "e2fsprogs", "e2fsprogs")
SSH = Tool("ssh", "openssh-client", "openssh-clients")
SSH_KEYGEN = Tool("ssh-keygen", "openssh-client", "openssh-clients")
KEYRING = Tool(
    "/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring", "debian-keyring"
)
NEWUIDMAP = Tool("newuidmap", "uidmap", "shadow-utils")
NSPAWN = Tool("systemd-nspawn", "systemd-container", "systemd-container")
IP = Tool("ip", "iproute2", "iproute")
NFT = Tool("nft", "nftables", "nftables")


def find(command: str) -> str | None:
    """Return where ``command`` is, looking also where a user's PATH does not."""
    return shutil.which(command, path=os.pathsep.join([os.environ.get("PATH", ""), *SBIN]))


def command(name: str) -> str:
    """Return the path of a command that ``require`` has found."""
    path = find(name)
    if path is None:
        raise UsageError(f"{name}: not found on this host", hint="Install it and run this again.")
    return path


def require(tools: Iterable[Tool], *, what: str) -> None:
    """Raise one UsageError that names everything missing and the command that installs it."""
    missing = [tool for tool in tools if not tool.present]
    if missing:
        names = ", ".join(tool.name for tool in missing)
        raise UsageError(f"{what}: this host lacks {names}", hint=_install_hint(missing))


def _install_hint(missing: list[Tool]) -> str:
    if find("apt-get"):
        packages = sorted({tool.apt for tool in missing})
        return f"Run: {_sudo()}apt-get install {' '.join(packages)}"
    if find("dnf"):
        packages = sorted({tool.dnf for tool in missing})
        return f"Run: {_sudo()}dnf install {' '.join(packages)}"
    return f"Install the packages that Debian calls {' '.join(sorted({t.apt for t in missing}))}."


def _sudo() -> str:
    return "" if os.geteuid() == 0 else "sudo "
