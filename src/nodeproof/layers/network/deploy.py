"""Filter what reaches the node, without cutting off who is connected."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import DeployError, deploy

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.network import adopted, ruleset
from nodeproof.layers.network.facts import Firewalls, FirewallsData, SshWay, SshWayData
from nodeproof.layers.network.openings import Way, admits, let_in
from nodeproof.layers.network.operations import allowed
from nodeproof.layers.network.settings import Backend, ContainerPorts, Settings
from nodeproof.operations import files, nftables, packages, systemd


@deploy("network")
def deploy_layer(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Find out who filters; let in what is asked, sshd first."""
    firewalls: FirewallsData = host.get_fact(Firewalls)
    way: SshWayData = host.get_fact(SshWay)
    backend = _backend(settings, firewalls)
    _keep_a_way_in(settings, way)
    _keep_containers(settings, firewalls)
    ports = list(way.ports)
    if backend == Backend.NFTABLES:
        _nftables(settings, ports, distribution)
        return
    _adoptable(settings, backend)
    ways = _for_others(settings, ports, backend)
    if backend == Backend.FIREWALLD:
        _firewalld(ways)
    else:
        allowed(name="Open the ports in ufw", rules=adopted.ufw_rules(ways))


def _nftables(settings: Settings, ssh_ports: list[int], distribution: Distribution) -> None:
    unit = distribution.units["nftables"]
    packages.present(
        name="Install nftables",
        manager=distribution.package_manager,
        packages=distribution.packages["nftables"],
    )
    files.directory(name="Make the directory of the rules", path=ruleset.FOLDER, keep=True)
    written = files.template(
        name="Write the firewall",
        path=ruleset.PATH,
        source="network/nodeproof.nft.j2",
        values=ruleset.values(settings, ssh_ports),
        mode="600",
        validate=["/usr/sbin/nft", "-c", "-f", "%s"],
    )
    files.directory(name="Make the directory of the unit", path=ruleset.DROPIN_FOLDER, keep=True)
    dropin = files.template(
        name="Load the firewall at boot",
        path=ruleset.DROPIN,
        source="network/nftables.conf.j2",
        values={"path": ruleset.PATH, "table": ruleset.TABLE},
        notify=unit,
    )
    systemd.told(name="Have systemd read the unit", unit=unit, after=[dropin], how="read")
    nftables.loaded(
        name="Load the firewall",
        family=ruleset.FAMILY,
        table=ruleset.NAME,
        path=ruleset.PATH,
        after=written,
    )
    systemd.unit(name="Start the firewall at boot", unit=unit)


def _firewalld(ways: list[Way]) -> None:
    unit = "firewalld.service"
    files.directory(
        name="Make the directory of the policies", path=adopted.POLICY_FOLDER, keep=True
    )
    written = files.content(
        name="Open the ports in firewalld",
        path=adopted.POLICY_PATH,
        text=adopted.policy(ways),
        notify=unit,
    )
    systemd.told(name="Reload firewalld", unit=unit, after=[written], how="reload")


def _backend(settings: Settings, found: FirewallsData) -> Backend:
    """Return who filters; refuse to be the second one."""
    active = [
        one
        for one, is_active in ((Backend.FIREWALLD, found.firewalld), (Backend.UFW, found.ufw))
        if is_active
    ]
    asked = settings.backend
    if len(active) > 1:
        raise DeployError(
            f"{host.name}: network: firewalld and ufw are both active, and each undoes the other; "
            "stop and disable one of them"
        )
    if asked == Backend.AUTO:
        asked = active[0] if active else Backend.NFTABLES
    if active and asked != active[0]:
        raise DeployError(
            f"{host.name}: network.backend is {asked.value}, but {active[0].value} is active; set "
            f"backend to {active[0].value} or auto, or stop and disable it"
        )
    if asked != Backend.NFTABLES and not active:
        raise DeployError(
            f"{host.name}: network.backend is {asked.value}, but it is not active; start it, or "
            "set backend to auto"
        )
    if asked == Backend.NFTABLES:
        _alone(found)
    return asked


def _alone(found: FirewallsData) -> None:
    if found.own_conf:
        raise DeployError(
            f"{host.name}: network: nftables.service loads rules of the site's own from "
            "/etc/nftables.conf; say in network.open what they let in, then disable the unit and "
            "remove them (nft flush ruleset)"
        )
    if found.droppers:
        raise DeployError(
            f"{host.name}: network: {', '.join(found.droppers)} drops what comes in already, and "
            "what is opened here would stay closed; say in network.open what it lets in, and "
            "remove it"
        )


def _keep_a_way_in(settings: Settings, way: SshWayData) -> None:
    """Refuse settings under which we could not come back."""
    if way.peer and not admits(settings, way.peer):
        raise DeployError(
            f"{host.name}: network.ssh_sources leaves out {way.peer}, where we connect from; add "
            "it, or a network that it is in"
        )
    if not way.ports:
        raise DeployError(
            f"{host.name}: network: the ports of sshd cannot be read (sshd -T), and it would be "
            "shut out; mend sshd's configuration first"
        )


def _keep_containers(settings: Settings, found: FirewallsData) -> None:
    if found.engines and not settings.forwards:
        raise DeployError(
            f"{host.name}: network: {', '.join(found.engines)} forwards traffic of containers "
            "here, which would be dropped; add what the node is for: roles = ["
            f'"{"kubernetes" if "Kubernetes" in found.engines else "containers"}"]'
        )


def _adoptable(settings: Settings, backend: Backend) -> None:
    """Refuse what firewalld and ufw cannot do; they stay who filters."""
    if settings.egress_listed:
        raise DeployError(
            f"{host.name}: network.egress is listed, which only nftables does here; with "
            f"{backend.value} set egress to open"
        )
    if settings.forwards and settings.container_ports == ContainerPorts.TRUSTED:
        raise DeployError(
            f"{host.name}: network.container_ports is trusted, which {backend.value} cannot do: "
            "engines send what is for published ports past it; set container_ports to open, or "
            f"stop and disable {backend.value}"
        )


def _for_others(settings: Settings, ports: list[int], backend: Backend) -> list[Way]:
    """Leave to firewalld and ufw what is theirs: engines tell them of their bridges."""
    bridges = set(settings.container_bridges)
    ways = [way for way in let_in(settings, ports) if way.interface not in bridges]
    fabric = [way for way in ways if way.interface]
    if fabric and backend == Backend.FIREWALLD:
        raise DeployError(
            f"{host.name}: network.interfaces: a policy of firewalld knows no interfaces; put "
            f"{', '.join(settings.interfaces)} into a zone that allows {fabric[0].protocol} "
            f"{fabric[0].ports}, and leave them out here"
        )
    return ways
