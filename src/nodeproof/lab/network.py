"""Ports, hardware addresses and addresses of the machines of a lab."""

from __future__ import annotations

import hashlib
import secrets
import socket
from collections.abc import Collection

from nodeproof.errors import RefusedError

LOOPBACK = "127.0.0.1"
# Below the kernel's own range (32768 upwards), so that no outgoing connection takes a kept port.
PORTS = range(22000, 30000)
# QEMU's user networking: the guest's address, its way out and its resolver are always these.
MANAGEMENT_ADDRESS = "10.0.2.15"
MANAGEMENT_GATEWAY = "10.0.2.2"
MANAGEMENT_RESOLVER = "10.0.2.3"
MAX_MACHINES = 250


def free_port(taken: Collection[int] = ()) -> int:
    """Return a TCP port on 127.0.0.1 that nothing listens on and that is not in ``taken``."""
    start = secrets.randbelow(len(PORTS))
    for offset in range(len(PORTS)):
        port = PORTS[(start + offset) % len(PORTS)]
        if port not in taken and is_free(port):
            return port
    raise RefusedError(
        f"lab: no free port between {PORTS.start} and {PORTS.stop - 1} on {LOOPBACK}",
        hint="Take down labs that are not needed.",
    )


def is_free(port: int) -> bool:
    """Say whether nothing listens on ``port`` of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_index(taken: Collection[int]) -> int:
    """Return the lowest machine number that is not in ``taken``; numbers start at 1."""
    for index in range(1, MAX_MACHINES + 1):
        if index not in taken:
            return index
    raise RefusedError(f"lab: it holds {MAX_MACHINES} machines, which is the most it can")


def management_mac(index: int) -> str:
    """Return the hardware address of a machine's management interface."""
    return f"52:54:00:4c:00:{index:02x}"


def private_mac(index: int) -> str:
    """Return the hardware address of a machine's interface on the lab's own network."""
    return f"52:54:00:4c:01:{index:02x}"


def private_address(index: int) -> str:
    """Return a machine's address on the lab's own network."""
    return f"192.168.77.{index}"


def multicast_group(lab: str) -> str:
    """Return the group and port on the loopback that join the machines of one lab."""
    digest = hashlib.sha256(lab.encode()).digest()
    port = 30000 + int.from_bytes(digest[:2], "big") % 2000
    return f"239.192.{digest[2]}.{digest[3]}:{port}"
