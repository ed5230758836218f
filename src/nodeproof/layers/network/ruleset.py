"""The rules of nftables for what is let in and out."""

from __future__ import annotations

from typing import Any

from nodeproof.layers.network.openings import Way, let_in, let_out, published, trusted
from nodeproof.layers.network.settings import ContainerPorts, Settings
from nodeproof.settings.roles import Role

FAMILY, NAME = "inet", "nodeproof"
TABLE = f"{FAMILY} {NAME}"
FOLDER = "/etc/nftables.d"
PATH = f"{FOLDER}/nodeproof.nft"
DROPIN_FOLDER = "/etc/systemd/system/nftables.service.d"
DROPIN = f"{DROPIN_FOLDER}/10-nodeproof.conf"


def values(settings: Settings, ssh_ports: list[int]) -> dict[str, Any]:
    """Return what the template of the table is rendered with."""
    routed = Role.KUBERNETES in settings.roles
    return {
        "pings": _pings(settings),
        "let_in": [rule(way) for way in let_in(settings, ssh_ports)],
        "log": settings.log_per_minute if settings.log else 0,
        "routed": routed,
        "bridges": settings.container_bridges if settings.forwards else [],
        "published": _published(settings),
        "let_out": _let_out(settings) if settings.egress_listed else [],
    }


def rule(way: Way) -> str:
    """Return the rule that lets a way in."""
    where = f'iifname "{way.interface}" ' if way.interface else ""
    return f"{where}{_match(way, 'saddr')}{way.protocol} dport {way.ports} accept"


def _match(way: Way, field: str) -> str:
    return f"{way.family} {field} {_set(way.networks)} " if way.networks else ""


def _set(networks: tuple[str, ...]) -> str:
    return networks[0] if len(networks) == 1 else f"{{ {', '.join(networks)} }}"


def _pings(settings: Settings) -> list[str]:
    if settings.level == 1:
        return ["icmp type echo-request", "icmpv6 type echo-request"]
    echo = {False: "icmp type echo-request", True: "icmpv6 type echo-request"}
    return [
        f"{'ip6' if ':' in networks[0] else 'ip'} saddr {_set(networks)} {echo[':' in networks[0]]}"
        for networks in trusted(settings)
    ]


def _published(settings: Settings) -> list[str]:
    """Engines send what is for a published port on to the container before the input chain."""
    if not settings.forwards:
        return []
    if settings.container_ports == ContainerPorts.OPEN:
        return ["ct status dnat accept"]
    networks = [
        f"ct status dnat {'ip6' if ':' in one[0] else 'ip'} saddr {_set(one)} accept"
        for one in trusted(settings)
    ]
    return networks + [
        f"ct status dnat {_match(way, 'saddr')}meta l4proto {way.protocol} "
        f"ct original proto-dst {way.ports} accept"
        for way in published(settings)
    ]


def _let_out(settings: Settings) -> list[str]:
    rules = [
        f"{'ip6' if ':' in one[0] else 'ip'} daddr {_set(one)} accept" for one in trusted(settings)
    ]
    return rules + [
        f"{_match(way, 'daddr')}{way.protocol} dport {way.ports} accept"
        for way in let_out(settings)
    ]
