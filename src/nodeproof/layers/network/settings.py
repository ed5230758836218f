"""What may be asked of the network layer."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from nodeproof.layers.network.services import chosen
from nodeproof.settings import LayerSettings, setting
from nodeproof.settings.roles import OfRoles, Role
from nodeproof.settings.types import grammar

ANY, TRUSTED = "any", "trusted"
BRIDGES = (
    *("docker*", "br-*", "podman*", "cni*", "nerdctl*"),
    *("flannel*", "cali*", "cilium*", "lxc*", "kube-*"),
)
"""Interfaces of Docker, Podman, CNI, nerdctl, flannel, Calico, Cilium and kube-proxy."""
FORWARDS = frozenset({Role.CONTAINERS, Role.ROOTLESS, Role.KUBERNETES})
"""Roles of nodes that forward containers' traffic."""


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _ports(text: str) -> str:
    """Refuse what is no port, or a range that runs backwards; write 80-80 as 80."""
    first, _, last = text.partition("-")
    low, high = int(first), int(last or first)
    if not 1 <= low <= high <= 65535:
        raise ValueError("is no port or range of ports from 1 to 65535, the lower one first")
    return str(low) if low == high else f"{low}-{high}"


def _network(text: str) -> str:
    """Return the network as it is usually written; refuse one with bits beyond its prefix."""
    network = ip_network(text)
    whole = network.prefixlen == network.max_prefixlen
    return str(network.network_address if whole else network)


def _source(text: str) -> str:
    return _network(text) if text[0].isdigit() or ":" in text else text


Ports = Annotated[
    str,
    BeforeValidator(_text),
    grammar(r"^[0-9]{1,5}(-[0-9]{1,5})?$", "a port or a range of ports, such as 8000-8100", 11),
    AfterValidator(_ports),
]
Cidr = Annotated[
    str,
    grammar(r"^[0-9A-Fa-f:][0-9A-Fa-f.:]*(/[0-9]{1,3})?$", "a network such as 10.0.0.0/24", 49),
    AfterValidator(_network),
]
NetworkName = Annotated[
    str, grammar(r"^[a-z][a-z0-9_]{0,31}$", "a name for a network: a-z, 0-9 and _", longest=32)
]
Source = Annotated[
    str,
    grammar(
        r"^([a-z][a-z0-9_]*|[0-9A-Fa-f:][0-9A-Fa-f.:]*(/[0-9]{1,3})?)$",
        "any, trusted, the name of a network of network.trusted, or a network such as 10.0.0.0/24",
        49,
    ),
    AfterValidator(_source),
]
Interface = Annotated[
    str, grammar(r"^[A-Za-z0-9][A-Za-z0-9._-]*$", "a network interface, such as eth1", longest=15)
]
Bridge = Annotated[
    str,
    grammar(
        r"^[A-Za-z0-9][A-Za-z0-9._-]*[*]?$",
        "a network interface, or how the names of several begin, with * at the end",
        longest=15,
    ),
]


class Backend(StrEnum):
    """Who filters."""

    AUTO = "auto"
    NFTABLES = "nftables"
    FIREWALLD = "firewalld"
    UFW = "ufw"


class Protocol(StrEnum):
    """What has ports."""

    TCP = "tcp"
    UDP = "udp"


class ContainerPorts(StrEnum):
    """Who reaches ports that containers publish."""

    OPEN = "open"
    TRUSTED = "trusted"


class Egress(StrEnum):
    """What the node may connect to."""

    OPEN = "open"
    LISTED = "listed"


class ServiceName(StrEnum):
    """What can be named instead of its ports; services.toml has them."""

    KUBERNETES = "kubernetes"
    CONTROL_PLANE = "kubernetes-control-plane"
    SLURM = "slurm"
    SLURM_CONTROLLER = "slurm-controller"
    OPENPBS = "openpbs"
    PARALLEL = "parallel"
    RDMA = "rdma"
    NOTEBOOK = "notebook"
    MONITORING = "monitoring"
    NFS = "nfs"


class Closed(LayerSettings):
    """A port that something listens on and nobody reaches."""

    port: Ports = setting(..., "a port or a range of ports")
    protocol: Protocol = setting(Protocol.TCP, "tcp or udp", strict=False)


class Opening(Closed):
    """A port that others reach."""

    source: Source = setting(ANY, "who may connect: any, trusted, one of the networks, a network")


class Destination(Closed):
    """A port of others that the node may connect to."""

    destination: Source = setting(ANY, "where: any, trusted, one of the networks, a network")


class Settings(OfRoles):
    """Settings of the network layer: the host firewall."""

    backend: Backend = setting(
        Backend.AUTO,
        "who filters; auto: firewalld or ufw where one of them is active, else nftables",
        strict=False,
    )
    trusted: dict[NetworkName, list[Cidr]] = setting(
        {}, "networks by name, from which the services of the node's roles are reached"
    )
    interfaces: list[Interface] = setting([], "interfaces of the fabric, which carry RoCE")
    open: list[Opening] = setting([], "ports that others reach")
    ssh_sources: list[Source] = setting(
        [ANY], "who reaches sshd, on the ports it listens on", min_length=1
    )
    services: list[Annotated[ServiceName, Field(strict=False)]] = setting(
        [], "services that are reached from trusted networks, besides those of the node's roles"
    )
    closed: list[Closed] = setting(
        [], "ports that something listens on and nobody needs to reach; others are found fault with"
    )
    parallel_ports: Ports = setting(
        "32768-60999", "where ranks of parallel jobs listen; the kernel's choice by default"
    )
    srun_ports: Ports = setting("60001-63000", "SrunPortRange of slurm.conf")
    container_ports: ContainerPorts = setting(
        ContainerPorts.TRUSTED,
        "who reaches ports that containers publish; trusted: trusted networks, and others as "
        "`open` says",
        strict=False,
    )
    container_bridges: list[Bridge] = setting(list(BRIDGES), "interfaces of containers")
    egress: Annotated[Egress, Field(strict=False)] | None = setting(
        None, "what the node may connect to; none: all at level 1, what is listed at level 2"
    )
    egress_open: list[Destination] = setting(
        [], "what it may connect to besides names, time, DHCP, the web, and trusted networks"
    )
    log: bool = setting(True, "whether what is dropped is logged")
    log_per_minute: int = setting(10, "lines of log a minute, at the most", ge=1, le=600)
    level: int = setting(
        1, "2: what goes out is listed, too, and only trusted networks may ping", ge=1, le=2
    )

    @property
    def forwards(self) -> bool:
        """Whether the node forwards traffic of containers."""
        return any(role in FORWARDS for role in self.roles)

    @property
    def egress_listed(self) -> bool:
        """Whether only what is listed may go out."""
        return (self.egress or (Egress.LISTED if self.level > 1 else Egress.OPEN)) == Egress.LISTED

    @model_validator(mode="after")
    def _names_are_known(self) -> Settings:
        for name in self.trusted:
            if name in (ANY, TRUSTED):
                raise ValueError(f"{name} in trusted means something else; take another name")
        named = [*self.ssh_sources, *(one.source for one in self.open)]
        named += [one.destination for one in self.egress_open]
        for name in named:
            known = name in self.trusted or name == ANY or name[0].isdigit() or ":" in name
            if name == TRUSTED and not self.trusted:
                raise ValueError('trusted is empty; name a network: trusted = {"fabric": ["…"]}')
            if not known and name != TRUSTED:
                raise ValueError(f"{name} is not one of the networks of trusted")
        return self

    @model_validator(mode="after")
    def _roles_have_their_networks(self) -> Settings:
        needing = [
            name
            for name, one in chosen(self.roles, self.services).items()
            if one.reached == TRUSTED
        ]
        if needing and not any(self.trusted.values()):
            raise ValueError(
                f"{', '.join(needing)} is reached from trusted networks, and there is none; add "
                'them: trusted = {"fabric": ["10.0.0.0/24"]}'
            )
        if ServiceName.RDMA in self.services and not self.interfaces:
            raise ValueError('rdma needs the interfaces of the fabric: interfaces = ["eth1"]')
        return self
