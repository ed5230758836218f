"""IMEX, which lets the nodes of a rack use each other's GPU memory: what it says of its domain.

Sources: NVIDIA's IMEX guide, docs.nvidia.com/multi-node-nvlink-systems/imex-guide, for the service,
its file and `nvidia-imex-ctl`; NVIDIA's open-gpu-kernel-modules, kernel-open/nvidia/nv-reg.h, for
channel 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from pyinfra.api import FactBase
from typing_extensions import override

NODES = "/etc/nvidia-imex/nodes_config.cfg"
"""An address a line; every node of the domain must have the same lines."""
UNIT = "nvidia-imex.service"
ASK = "timeout -k 5 60 nvidia-imex-ctl -N -j"
CHANNEL = "/dev/nvidia-caps-imex-channels/channel0"


class Addresses(FactBase[tuple[str, ...]]):
    """
    The node's addresses, without those that it alone can reach.

    .. code:: python

        ("10.0.0.11", "fd00::11")
    """

    called = "the addresses"
    uncounted = "containers and their bridges come and go"

    @override
    def command(self) -> str:
        """Return the command that prints them, one after another."""
        return "hostname -I"

    @staticmethod
    @override
    def default() -> tuple[str, ...]:
        """Return that it has none."""
        return ()

    @override
    def process(self, output: list[str]) -> tuple[str, ...]:
        """Split them."""
        return tuple(str(ip_address(one)) for line in output for one in line.split())


@dataclass(frozen=True)
class Member:
    """One node of the domain, as nvidia-imex-ctl sees it."""

    address: str
    status: str
    """READY, UNAVAILABLE..."""


@dataclass(frozen=True)
class Domain:
    """The nodes that share memory."""

    status: str
    """UP, DEGRADED or DOWN."""
    members: tuple[Member, ...]


def parse_domain(text: str) -> Domain:
    """Return what ``nvidia-imex-ctl -N -j`` says; raises ValueError where it is nothing of it."""
    try:
        said = json.loads(text)
        nodes = sorted(said["nodes"].items(), key=lambda one: int(one[0]))
        members = [Member(str(ip_address(one["host"])), str(one["status"])) for _, one in nodes]
        return Domain(str(said["status"]), tuple(members))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        first = text.strip().splitlines()[0][:200] if text.strip() else "nothing"
        raise ValueError(f"nvidia-imex-ctl: said {first!r}") from error


def troubles(domain: Domain, asked: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with a domain: other nodes than were asked for, or some that are away."""
    has = [one.address for one in domain.members]
    if has != list(asked):
        yield f"its nodes are {' '.join(has) or 'none'}, not {' '.join(asked)}"
    away = [f"{one.address} is {one.status}" for one in domain.members if one.status != "READY"]
    yield from away
    if domain.status != "UP":
        yield f"the domain is {domain.status}"
