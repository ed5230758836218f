"""The firewall, as the kernel filters with it (not as its files read)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testinfra.host import Host

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.nftables import SCRIPT, NftTable
from nodeproof.layers.network import adopted, seen
from nodeproof.layers.network.facts import SshWay, droppers
from nodeproof.layers.network.openings import Way, let_in, let_out, published, trusted
from nodeproof.layers.network.ruleset import FAMILY, NAME, PATH, TABLE
from nodeproof.layers.network.seen import DHCP, ESTABLISHED, ICMP, LOOPBACK, Chain, chain
from nodeproof.layers.network.settings import Backend, ContainerPorts, Settings
from nodeproof.settings.roles import Role

ENGINES = ("docker-proxy", "conmon", "kube-proxy")
"""They hold the ports that containers publish; the forward chain decides about these."""
CLIENTS = (("udp", 68), ("udp", 546))
"""DHCP clients, to which servers answer."""


@pytest.fixture(scope="module")
def backend(host: Host) -> Backend:
    """Return who filters."""
    found = [
        one
        for one, command in (
            (Backend.FIREWALLD, "firewall-cmd --state"),
            (Backend.UFW, "LC_ALL=C ufw status | grep -q '^Status: active'"),
        )
        if host.run(command).rc == 0
    ]
    assert len(found) < 2, "firewalld and ufw are both active"
    return found[0] if found else Backend.NFTABLES


@pytest.fixture(scope="module")
def rules(host: Host, backend: Backend) -> list[dict[str, Any]]:
    """Return all rules of the running kernel, where they are ours to judge."""
    if backend != Backend.NFTABLES:
        return []  # firewalld and ufw are asked themselves
    listed: list[dict[str, Any]] = json.loads(host.check_output("nft -j list ruleset"))["nftables"]
    return listed


@pytest.fixture(scope="module")
def table(rules: list[dict[str, Any]], backend: Backend) -> list[dict[str, Any]]:
    """Return the rules, where the table is ours."""
    if backend != Backend.NFTABLES:
        pytest.skip(f"{backend.value} filters here")
    return rules


@pytest.fixture(scope="module")
def incoming(table: list[dict[str, Any]]) -> Chain:
    """Return the chain of what comes in."""
    return chain(table, "input")


@pytest.fixture(scope="module")
def ways(host: Host, settings: Settings) -> list[Way]:
    """Return what may come in."""
    way = SshWay()
    found = way.process(host.check_output("sh -c %s", way.command()).splitlines())
    assert found.ports, "the ports of sshd cannot be read"
    return let_in(settings, found.ports)


def ours(ways: list[Way], settings: Settings) -> list[Way]:
    """Return those that firewalld and ufw are told."""
    return [way for way in ways if way.interface not in settings.container_bridges]


@pytest.mark.control("NP-NET-01")
def test_one_firewall_filters(
    host: Host, rules: list[dict[str, Any]], backend: Backend, settings: Settings
) -> None:
    """Of two firewalls each undoes the other, and nobody knows which rule counts."""
    assert settings.backend in (Backend.AUTO, backend), f"{backend.value} filters"
    others = droppers(rules)
    assert not others, f"also drops what comes in: {', '.join(others)}"
    there = host.run(f"nft list table {TABLE}").rc == 0
    assert there is (backend == Backend.NFTABLES), (
        f"{backend.value} filters, and the table {TABLE} {'too' if there else 'is gone'}"
    )


@pytest.mark.control("NP-NET-01")
def test_firewall_starts_at_boot(host: Host, backend: Backend, distribution: Distribution) -> None:
    """Rules that are gone after a reboot protect until nobody looks any more."""
    unit = distribution.units["nftables"] if backend == "nftables" else f"{backend.value}.service"
    state = host.check_output("systemctl show -p UnitFileState,ExecStart,LoadState -- %s", unit)
    assert "UnitFileState=enabled" in state, f"{unit} does not start at boot"
    assert backend != Backend.NFTABLES or PATH in state, f"{unit} does not load {PATH}"
    if backend == Backend.UFW:
        assert host.run("grep -qi '^ENABLED=yes' /etc/ufw/ufw.conf").rc == 0, "ufw is disabled"


@pytest.mark.control("NP-NET-01")
def test_running_rules_are_those_of_the_next_boot(host: Host, backend: Backend) -> None:
    """A rule that was added by hand is gone after a reboot; a file that was edited comes then."""
    if backend == Backend.FIREWALLD:
        policy = f"--policy={adopted.POLICY} --list-rich-rules"
        now, then = (
            host.check_output(f"firewall-cmd {where} {policy}") for where in ("", "--permanent")
        )
        assert now == then, "firewalld has not been reloaded"
    elif backend == Backend.UFW:
        pytest.skip("ufw keeps no rules but those of its files")
    else:
        said = host.check_output("sh -c %s sh %s %s %s", SCRIPT, FAMILY, NAME, PATH)
        found = NftTable().process(said.splitlines())
        assert found.file, f"{PATH} cannot be loaded"
        assert found.loaded, f"the kernel has other rules than {PATH}"


@pytest.mark.control("NP-NET-02")
def test_incoming_denied_by_default(host: Host, rules: list[Any], backend: Backend) -> None:
    """What nobody asked for is not reached, whatever is installed tomorrow."""
    if backend == Backend.FIREWALLD:
        zone = host.check_output("firewall-cmd --get-default-zone")
        target = host.check_output("firewall-cmd --permanent --zone=%s --get-target", zone)
        assert target in ("default", "%%REJECT%%", "DROP"), f"the zone {zone} lets all in"
    elif backend == Backend.UFW:
        said = host.check_output("LC_ALL=C ufw status verbose")
        assert "Default: deny (incoming)" in said or "Default: reject (incoming)" in said
    else:
        assert chain(rules, "input").policy == "drop", "what no rule accepts comes in"


@pytest.mark.control("NP-NET-02")
def test_loopback_cannot_be_spoofed(incoming: Chain) -> None:
    """Services on loopback trust whoever seems to be this machine."""
    kinds = [
        "lo" if seen.matches(one) == {"iif": "lo"} else str(seen.matches(one))
        for one in incoming.rules[:3]
    ]
    assert kinds[0] == "lo", "loopback is not accepted first"
    dropped = [seen.matches(one) for one in incoming.verdicts("drop")]
    four = {"prefix": {"addr": "127.0.0.0", "len": 8}}
    assert {"ip.saddr": four} in dropped, "127.0.0.0/8 from outside comes in"
    assert {"ip6.saddr": "::1"} in dropped, "::1 from outside comes in"


@pytest.mark.control("NP-NET-02")
def test_invalid_packets_dropped(incoming: Chain) -> None:
    """A packet of no connection is a probe or a mistake."""
    dropped = [seen.matches(one) for one in incoming.verdicts("drop")]
    assert any("invalid" in str(one.get("ct.state")) for one in dropped)


@pytest.mark.control("NP-NET-03")
def test_only_what_was_asked_comes_in(
    host: Host, backend: Backend, settings: Settings, ways: list[Way], rules: list[Any]
) -> None:
    """A port that was opened in a hurry stays open for years."""
    if backend == Backend.NFTABLES:
        found = set(chain(rules, "input").accepted())
        extra = found - {str(one) for one in ways} - {LOOPBACK, ESTABLISHED, ICMP, DHCP}
    elif backend == Backend.UFW:
        found = set(adopted.ours(host.check_output("LC_ALL=C ufw show added").splitlines()))
        extra = found - set(adopted.ufw_rules(ours(ways, settings)))
    else:
        policy = f"--policy={adopted.POLICY} --list-rich-rules"
        found = set(host.check_output(f"firewall-cmd {policy}").splitlines())
        extra = found - set(adopted.rich_rules(ours(ways, settings)))
    assert not extra, f"nobody asked for: {'; '.join(sorted(extra))}"


@pytest.mark.control("NP-NET-03")
def test_what_was_asked_comes_in(
    host: Host, backend: Backend, settings: Settings, ways: list[Way], rules: list[Any]
) -> None:
    """A firewall that stops the node's work is switched off by whoever needs it."""
    if backend == Backend.NFTABLES:
        missing = {str(one) for one in ways} - set(chain(rules, "input").accepted())
    elif backend == Backend.UFW:
        found = adopted.there(host.check_output("LC_ALL=C ufw show added").splitlines())
        missing = set(adopted.ufw_rules(ours(ways, settings))) - set(found)
    else:
        policy = f"--policy={adopted.POLICY} --list-rich-rules"
        listed = host.check_output(f"firewall-cmd {policy}").splitlines()
        missing = set(adopted.rich_rules(ours(ways, settings))) - set(listed)
    assert not missing, f"asked for and closed: {'; '.join(sorted(missing))}"


@pytest.mark.control("NP-NET-04")
def test_every_listener_is_asked_for(host: Host, settings: Settings, ways: list[Way]) -> None:
    """What listens and nobody asked for is one mistake in the firewall away from the world."""
    low, high = map(int, host.check_output("cat /proc/sys/net/ipv4/ip_local_port_range").split())
    shut = [Way(one.protocol.value, one.port) for one in settings.closed]
    unknown = [
        one
        for one in seen.listening(host.check_output("ss -lntupH").splitlines(), (low, high))
        if not any(way.holds(one.protocol, one.port) for way in (*ways, *shut))
        and (one.protocol, one.port) not in CLIENTS
        and not (settings.forwards and one.program in ENGINES)
    ]
    assert not unknown, f"listens beyond loopback: {'; '.join(map(str, unknown))}"


@pytest.mark.control("NP-NET-05")
def test_forwarding_as_the_roles_need_it(table: list[Any], settings: Settings) -> None:
    """A node that forwards for everybody is a router that nobody watches."""
    wanted = "accept" if Role.KUBERNETES in settings.roles else "drop"
    forward = chain(table, "forward")
    assert forward.policy == wanted, f"the policy of forwarding is {forward.policy}"
    bridges = settings.container_bridges if settings.forwards else []
    found = {one for one in forward.accepted() if one.startswith("all for any on ")}
    assert found == {f"all for any on {name}" for name in bridges}


@pytest.mark.control("NP-NET-05")
def test_published_ports_reached_as_asked(table: list[Any], settings: Settings) -> None:
    """Engines send what is for a published port past the rules for what comes in."""
    if not settings.forwards:
        pytest.skip("no role of the node runs containers")
    forward = chain(table, "forward")
    found = {one for one in forward.accepted() if one.startswith("published ")}
    if settings.container_ports == ContainerPorts.OPEN:
        wanted = {"published all for any"}
    else:
        wanted = {f"published all for {', '.join(one)}" for one in trusted(settings)}
        wanted |= {f"published {way}" for way in published(settings)}
    assert found == wanted
    assert forward.counted_drop_last(), "published ports are reached by all"


@pytest.mark.control("NP-NET-06")
def test_dropped_packets_counted_and_logged(incoming: Chain, settings: Settings) -> None:
    """Without a trace nobody sees a scan, nor why a job cannot reach its neighbour."""
    assert incoming.counted_drop_last(), "what is dropped is not counted"
    assert incoming.limited_log() is settings.log, "what is dropped is not logged as asked"


@pytest.mark.control("NP-NET-07")
def test_outgoing_as_asked(table: list[Any], settings: Settings) -> None:
    """What may connect to anywhere can send models and data to anywhere."""
    output = chain(table, "output")
    assert output.policy == ("drop" if settings.egress_listed else "accept")
    wanted = {f"all for {', '.join(one)}" for one in trusted(settings)}
    wanted |= {LOOPBACK, ESTABLISHED, ICMP, *map(str, let_out(settings))}
    assert set(output.accepted()) == (wanted if settings.egress_listed else set())
