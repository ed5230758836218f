"""What makes one machine: name, host key, addresses, and who may log in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nodeproof.lab import guest, network
from nodeproof.lab.guest import GuestFile


@dataclass(frozen=True)
class Interface:
    """A static interface, matched by hardware address or by name (``match`` is networkd's)."""

    match: str
    address: str
    gateway: str = ""
    mtu: int = 1500

    def network_file(self) -> str:
        """Return the ``.network`` file of systemd-networkd."""
        way_out = f"Gateway={self.gateway}\n" if self.gateway else ""
        return (
            f"[Match]\n{self.match}\n\n[Network]\nAddress={self.address}\n{way_out}"
            f"LinkLocalAddressing=no\nIPv6AcceptRA=no\n\n[Link]\nMTUBytes={self.mtu}\n"
        )


@dataclass(frozen=True)
class Identity:
    """One machine's own files. ``peers`` are the other machines, by name."""

    name: str
    host_key: Path
    authorized: str
    interfaces: tuple[Interface, ...]
    resolver: str
    peers: Mapping[str, str]

    def files(self) -> dict[str, GuestFile]:
        """Return the files, by path relative to the root."""
        hosts = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"
        hosts += "".join(f"{address} {name}\n" for name, address in sorted(self.peers.items()))
        public = self.host_key.with_name(self.host_key.name + ".pub")
        texts = {
            "etc/hostname": self.name + "\n",
            "etc/hosts": hosts,
            "etc/resolv.conf": self.resolver,
            guest.ARRIVED.lstrip("/"): "",
            **{
                f"etc/systemd/network/10-lab{number}.network": interface.network_file()
                for number, interface in enumerate(self.interfaces)
            },
        }
        keys = f"home/{guest.USER}/.ssh/authorized_keys"
        return {
            **{path: GuestFile(text.encode()) for path, text in texts.items()},
            "etc/ssh/ssh_host_ed25519_key": GuestFile(self.host_key.read_bytes(), 0o600),
            "etc/ssh/ssh_host_ed25519_key.pub": GuestFile(public.read_bytes()),
            keys: GuestFile(f"{self.authorized}\n".encode(), 0o600, guest.UID),
        }

    def archive(self, also: Mapping[str, GuestFile] | None = None) -> bytes:
        """Return the files, and ``also``, as a tar archive to unpack over the root."""
        folder = GuestFile(b"", 0o700, guest.UID)
        return guest.pack({**self.files(), **(also or {})}, {f"home/{guest.USER}/.ssh": folder})


def virtual_interfaces(index: int) -> tuple[Interface, ...]:
    """Return the two interfaces of virtual machine number ``index``."""
    return (
        Interface(
            f"MACAddress={network.management_mac(index)}",
            f"{network.MANAGEMENT_ADDRESS}/24",
            network.MANAGEMENT_GATEWAY,
        ),
        Interface(
            f"MACAddress={network.private_mac(index)}", f"{network.private_address(index)}/24"
        ),
    )
