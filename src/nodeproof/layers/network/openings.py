"""From what is asked to what is let in and out, whoever filters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses, ip_address, ip_network

from nodeproof.layers.network.services import chosen
from nodeproof.layers.network.settings import ANY, TRUSTED, Settings
from nodeproof.settings.roles import Role

NAMES = ("udp", "53"), ("tcp", "53")
"""Containers ask the engine's name server on the bridge (aardvark-dns, NodeLocal DNSCache)."""
GOES_OUT = (
    *(("udp", "53", "names"), ("tcp", "53", "names"), ("tcp", "853", "names")),
    *(("udp", "123", "time"), ("tcp", "4460", "time")),
    *(("udp", "67", "DHCP"), ("udp", "547", "DHCP")),
    *(("tcp", "80", "the web"), ("tcp", "443", "the web"), ("udp", "443", "the web")),
)
"""What any node needs: RFC 1035, 7858, 5905, 8915, 2131, 8415, 9110."""


@dataclass(frozen=True, order=True)
class Way:
    """Ports of one protocol, for networks of one family or for all, on one interface or all."""

    protocol: str
    ports: str
    networks: tuple[str, ...] = ()
    interface: str = ""

    @property
    def family(self) -> str:
        """``ip`` or ``ip6``; nothing where it is for both."""
        return "" if not self.networks else "ip6" if ":" in self.networks[0] else "ip"

    def holds(self, protocol: str, port: int) -> bool:
        """Tell whether a port is one of these."""
        first, _, last = self.ports.partition("-")
        return protocol == self.protocol and int(first) <= port <= int(last or first)

    def __str__(self) -> str:
        where = f" on {self.interface}" if self.interface else ""
        return f"{self.protocol} {self.ports} for {', '.join(self.networks) or ANY}{where}"


def let_in(settings: Settings, ssh_ports: Iterable[int]) -> list[Way]:
    """Return what is let in, sshd first."""
    ways = []
    for port in sorted(set(ssh_ports)):
        for source in settings.ssh_sources:
            ways += _ways(settings, "tcp", str(port), source)
    for one in settings.open:
        ways += _ways(settings, one.protocol.value, one.port, one.source)
    for service in chosen(settings.roles, settings.services).values():
        for listener in service.ports:
            ports = getattr(settings, listener.port, listener.port)
            if service.reached == TRUSTED:
                ways += _ways(settings, listener.protocol, ports, TRUSTED)
            else:
                ways += [Way(listener.protocol, ports, (), name) for name in settings.interfaces]
    return list(dict.fromkeys([*ways, *_of_containers(settings)]))


def _of_containers(settings: Settings) -> list[Way]:
    """Return what containers reach of the node itself."""
    if not settings.forwards:
        return []
    reached = list(NAMES)
    if Role.KUBERNETES in settings.roles:
        for name, service in chosen(settings.roles, settings.services).items():
            if name.startswith(Role.KUBERNETES):
                reached += [(one.protocol, one.port) for one in service.ports]
    return [Way(*one, (), bridge) for one in reached for bridge in settings.container_bridges]


def let_out(settings: Settings) -> list[Way]:
    """Return what may go out where that is listed; trusted networks get everything."""
    ways = [Way(protocol, ports) for protocol, ports, _ in GOES_OUT]
    for one in settings.egress_open:
        ways += _ways(settings, one.protocol.value, one.port, one.destination)
    return list(dict.fromkeys(ways))


def published(settings: Settings) -> list[Way]:
    """Return which of the ports that containers publish are reached from outside."""
    return [
        way
        for one in settings.open
        for way in _ways(settings, one.protocol.value, one.port, one.source)
    ]


def trusted(settings: Settings) -> list[tuple[str, ...]]:
    """Return the trusted networks, those of each family together."""
    return [way.networks for way in _ways(settings, "tcp", "1", TRUSTED)]


def admits(settings: Settings, address: str) -> bool:
    """Tell whether sshd is reached from an address."""
    one = ip_address(address.partition("%")[0])
    mapped = getattr(one, "ipv4_mapped", None)
    networks = [_networks(settings, source) for source in settings.ssh_sources]
    if ANY in settings.ssh_sources:
        return True
    return any((mapped or one) in ip_network(text) for texts in networks for text in texts)


def _ways(settings: Settings, protocol: str, ports: str, source: str) -> list[Way]:
    if source == ANY:
        return [Way(protocol, ports)]
    families = _families(_networks(settings, source))
    return [Way(protocol, ports, networks) for networks in families]


def _networks(settings: Settings, source: str) -> Sequence[str]:
    if source == ANY:
        return []
    if source == TRUSTED:
        return [text for texts in settings.trusted.values() for text in texts]
    return settings.trusted.get(source) or ([] if source in settings.trusted else [source])


def _families(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Return networks by family, none within another: nft refuses those that overlap."""
    networks = [ip_network(text) for text in texts]
    four = collapse_addresses(one for one in networks if isinstance(one, IPv4Network))
    six = collapse_addresses(one for one in networks if not isinstance(one, IPv4Network))
    found = (tuple(_short(str(one)) for one in family) for family in (four, six))
    return [family for family in found if family]


def _short(network: str) -> str:
    return network.removesuffix("/32") if "." in network else network.removesuffix("/128")
