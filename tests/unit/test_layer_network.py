"""The network layer: what may be asked, what is let in for it, and who is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from pydantic import ValidationError
from pyinfra.api import DeployError
from pyinfra.context import ctx_host

from nodeproof.layers.network import adopted, deploy, ruleset, seen
from nodeproof.layers.network.facts import Firewalls, FirewallsData, SshWay, SshWayData
from nodeproof.layers.network.openings import (
    Way,
    admits,
    let_in,
    let_out,
    published,
    trusted,
)
from nodeproof.layers.network.operations import UfwAdded, allowed
from nodeproof.layers.network.services import services
from nodeproof.layers.network.settings import Backend, ServiceName, Settings
from nodeproof.operations import journal
from nodeproof.operations.files import render
from nodeproof.operations.journal import Item, Kind
from nodeproof.settings.roles import Role

FABRIC = {"trusted": {"fabric": ["10.0.0.0/24", "2001:db8::/32"]}}


def asked(**values: Any) -> Settings:
    return Settings.model_validate(values)


def said(settings: Settings, *ports: int) -> list[str]:
    return [str(way) for way in let_in(settings, ports or (22,))]


# What may be asked


def test_the_table_of_services_is_the_list_of_their_names() -> None:
    assert [*services()] == [name.value for name in ServiceName]


@pytest.mark.parametrize("name", [*services()])
def test_a_service_has_ports_that_are_ports(name: str) -> None:
    for one in services()[name].ports:
        value = getattr(Settings(), one.port, one.port)
        low, _, high = value.partition("-")
        assert 1 <= int(low) <= int(high or low) <= 65535
        assert one.what
    assert all(source.startswith("https://") for source in services()[name].source)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"roles": ["slurm"]}, "slurm is reached from trusted networks, and there is none; add"),
        ({"roles": ["mpi"]}, "parallel is reached from trusted networks"),
        ({"services": ["monitoring"]}, "monitoring is reached from trusted"),
        ({"services": ["rdma"]}, "rdma needs the interfaces of the fabric"),
        ({"services": ["nsf"]}, "Input should be"),
        ({"trusted": {"any": ["10.0.0.0/24"]}}, "any in trusted means something else"),
        ({"trusted": {"fabric": ["10.0.0.1/24"]}}, "has host bits set"),
        ({"trusted": {"fabric": ["10.0.0.300"]}}, "not appear to be"),
        ({"trusted": {"fabric": ["2001:db8::/129"]}}, "not appear to be"),
        ({"trusted": {"my-net": ["10.0.0.0/8"]}}, "pattern"),
        (
            {"trusted": {"fabric": ["10.0.0.0/8", "10.0.0.0/8"]}, "ssh_sources": ["fabrik"]},
            "fabrik",
        ),
        ({"open": [{"port": 0}]}, "is no port"),
        ({"open": [{"port": 65536}]}, "is no port"),
        ({"open": [{"port": "90-80"}]}, "is no port"),
        ({"open": [{"port": True}]}, "valid string"),
        ({"open": [{"port": "http"}]}, "pattern"),
        ({"open": [{"port": 80, "protocol": "icmp"}]}, "Input should be"),
        ({"open": [{"port": 80, "source": "fabric"}]}, "fabric is not one of the networks"),
        ({"open": [{"port": 80, "source": "trusted"}]}, "trusted is empty"),
        ({"open": [{"port": 80}, {"port": 80}]}, "twice"),
        ({"open": [{"port": 80, "from": "any"}]}, "Extra inputs"),
        ({"ssh_sources": []}, "at least 1 item"),
        ({"interfaces": ["eth*"]}, "pattern"),
        ({"level": 3}, "less than or equal to 2"),
    ],
)
def test_what_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        asked(**values)


def test_values_are_written_in_one_way() -> None:
    settings = asked(
        trusted={"a": ["2001:DB8::/32", "192.0.2.7/32"]}, open=[{"port": 80}, {"port": "90-90"}]
    )
    assert settings.trusted == {"a": ["2001:db8::/32", "192.0.2.7"]}
    assert [one.port for one in settings.open] == ["80", "90"]


# What is let in


def test_sshd_comes_first_and_is_open_by_default() -> None:
    assert said(asked(), 22, 2222) == ["tcp 22 for any", "tcp 2222 for any"]


@pytest.mark.parametrize(
    ("role", "ways"),
    [
        ("slurm", ["tcp 6818", "tcp 60001-63000"]),
        ("openpbs", ["tcp 15001-15007", "tcp 17001"]),
        ("mpi", ["tcp 32768-60999"]),
        ("training", ["tcp 32768-60999"]),
        ("notebook", []),
        ("inference", []),
        ("edge", []),
    ],
)
def test_a_role_opens_its_ports_to_trusted_networks(role: str, ways: list[str]) -> None:
    wanted = [f"{way} for {network}" for way in ways for network in FABRIC["trusted"]["fabric"]]
    assert said(asked(**FABRIC, roles=[role])) == ["tcp 22 for any", *wanted]


def test_rdma_is_for_the_fabric_alone() -> None:
    found = said(asked(roles=["rdma"], interfaces=["eth1", "eth2"]))
    assert found[1:] == ["udp 4791 for any on eth1", "udp 4791 for any on eth2"]
    assert said(asked(roles=["rdma"])) == ["tcp 22 for any"], "InfiniBand needs no port"


def test_containers_ask_the_engine_for_names() -> None:
    settings = asked(roles=["rootless"], container_bridges=["podman*"])
    assert said(settings)[1:] == ["udp 53 for any on podman*", "tcp 53 for any on podman*"]


def test_pods_reach_their_node_as_others_do() -> None:
    settings = asked(
        **FABRIC, roles=["kubernetes"], services=["kubernetes-control-plane", "nfs"],
        container_bridges=["cali*"],
    )  # fmt: skip
    pods = [one for one in said(settings) if one.endswith("on cali*")]
    assert "tcp 6443 for any on cali*" in pods
    assert "tcp 10250 for any on cali*" in pods
    assert not [one for one in pods if "2049" in one]


def test_networks_that_overlap_are_joined() -> None:
    settings = asked(
        trusted={"a": ["10.0.0.0/24", "10.0.1.0/24"], "b": ["10.0.0.7"]},
        open=[{"port": 80, "source": "trusted"}],
    )
    assert said(settings)[1:] == ["tcp 80 for 10.0.0.0/23"]


@pytest.mark.parametrize(
    ("sources", "address", "is_let_in"),
    [
        (["any"], "203.0.113.9", True),
        (["fabric"], "10.0.0.7", True),
        (["fabric"], "10.0.1.7", False),
        (["fabric"], "2001:db8::7", True),
        (["fabric"], "::ffff:10.0.0.7", True),
        (["fabric"], "fe80::1%eth0", False),
        (["trusted", "192.0.2.7"], "192.0.2.7", True),
        (["192.0.2.7"], "192.0.2.8", False),
    ],
)
def test_who_reaches_sshd(sources: list[str], address: str, is_let_in: bool) -> None:
    assert admits(asked(**FABRIC, ssh_sources=sources), address) is is_let_in


# The rules, as the kernel has them

NFT = shutil.which("nft") or shutil.which("nft", path="/usr/sbin")
KERNEL = pytest.mark.skipif(NFT is None or os.geteuid() != 0, reason="needs nft, and root")
ALL: dict[str, Any] = {
    "trusted": {"fabric": ["10.0.0.0/24", "10.2.0.0/16", "2001:db8::/32"], "one": ["192.0.2.7"]},
    "interfaces": ["eth1"],
    "open": [{"port": 443}, {"port": "9000-9100", "protocol": "udp", "source": "one"}],
    "services": ["nfs", "monitoring"],
    "ssh_sources": ["trusted", "198.51.100.0/24"],
    "egress_open": [{"port": 25, "destination": "2001:db8:1::1"}],
    "level": 2,
}
CASES = {
    "defaults": {},
    "slurm": {**FABRIC, "roles": ["slurm", "mpi", "rdma"], "interfaces": ["eth1"]},
    "containers": {**FABRIC, "roles": ["containers"], "open": [{"port": 8080}]},
    "published to all": {"roles": ["rootless"], "container_ports": "open", "log": False},
    "all": {**ALL, "roles": [role.value for role in Role]},
}


def kernel(text: str, folder: Path) -> list[dict[str, Any]]:
    """Return what the kernel has of a file, twice loaded, in a network namespace of its own."""
    path = folder / "x.nft"
    path.write_text(text)
    script = f"{NFT} -f {path} && {NFT} -f {path} && {NFT} -j list ruleset"
    told = ["unshare", "--net", "sh", "-c", script]
    done = subprocess.run(told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["nftables"]
    return found


@KERNEL
@pytest.mark.parametrize("case", CASES)
def test_the_kernel_lets_in_and_out_what_was_asked(case: str, tmp_path: Path) -> None:
    settings = asked(**CASES[case])
    text = render("network/nodeproof.nft.j2", **ruleset.values(settings, [22]))
    rules = kernel(text, tmp_path)
    base = {seen.LOOPBACK, seen.ESTABLISHED, seen.ICMP}
    incoming, forward, output = (seen.chain(rules, name) for name in ("input", "forward", "output"))
    assert incoming.policy == "drop"
    assert set(incoming.accepted()) == {*said(settings), *base, seen.DHCP}
    assert incoming.counted_drop_last()
    assert incoming.limited_log() is settings.log
    assert forward.policy == ("accept" if Role.KUBERNETES in settings.roles else "drop")
    bridges = settings.container_bridges if settings.forwards else []
    wanted = {seen.ESTABLISHED, *(f"all for any on {name}" for name in bridges)}
    if settings.container_ports == "open":
        wanted.add("published all for any")
    elif settings.forwards:
        wanted |= {f"published all for {', '.join(one)}" for one in trusted(settings)}
        wanted |= {f"published {way}" for way in published(settings)}
    assert set(forward.accepted()) == wanted
    assert output.policy == ("drop" if settings.egress_listed else "accept")
    out = {*base, *map(str, let_out(settings))}
    out |= {f"all for {', '.join(one)}" for one in trusted(settings)}
    assert set(output.accepted()) == (out if settings.egress_listed else set())


@KERNEL
@pytest.mark.parametrize(
    "rule",
    [
        "accept", "ip saddr 0.0.0.0/0 accept", "tcp dport 22 ip daddr 10.0.0.1 accept",
        'iifname "eth0" accept', "ct state new accept", "tcp dport != 22 accept",
        "ct mark 1 accept", "tcp dport { 22, 23 } accept", "meta mark 1 tcp dport 22 accept",
        'iifname != "eth0" accept', "ip protocol udp accept", "jump elsewhere",
        "tcp dport vmap { 25 : accept }",
    ],
)  # fmt: skip
def test_a_rule_of_somebody_else_is_not_taken_for_one_of_ours(rule: str, tmp_path: Path) -> None:
    settings = asked(open=[{"port": 443}])
    text = render("network/nodeproof.nft.j2", **ruleset.values(settings, [22]))
    rules = kernel(
        f"{text}\nadd chain inet nodeproof elsewhere\nadd rule inet nodeproof input {rule}\n",
        tmp_path,
    )
    known = {*said(settings), seen.LOOPBACK, seen.ESTABLISHED, seen.ICMP, seen.DHCP}
    assert set(seen.chain(rules, "input").accepted()) - known


def test_only_the_own_table_is_touched() -> None:
    for values in CASES.values():
        text = render("network/nodeproof.nft.j2", **ruleset.values(asked(**values), [22]))
        rules = [line for line in text.splitlines() if not line.startswith("#")]
        assert "flush" not in "\n".join(rules)
        assert {line for line in rules if "table" in line} == {
            "table inet nodeproof", "delete table inet nodeproof", "table inet nodeproof {",
        }  # fmt: skip


def test_a_table_that_is_not_there_lets_nothing_be_said() -> None:
    assert seen.chain([], "input").policy == "none"
    assert not seen.chain([], "input").counted_drop_last()
    regular = {"chain": {"family": "inet", "table": "nodeproof", "name": "input"}}
    assert seen.chain([regular], "input").policy == "none", "it is no base chain"


def test_who_listens() -> None:
    lines = [
        'tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=67,fd=6))',
        'tcp LISTEN 0 128 [::]:22 [::]:* users:(("sshd",pid=67,fd=7))',
        "tcp LISTEN 0 128 *:9100 *:*",
        'tcp LISTEN 0 5 127.0.0.1:631 0.0.0.0:* users:(("cupsd",pid=9,fd=7))',
        "udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*",
        "udp UNCONN 0 0 [::1]:323 [::]:*",
        "tcp LISTEN 0 5 [::ffff:127.0.0.1]:99 *:*",
        'udp UNCONN 0 0 0.0.0.0:40000 0.0.0.0:* users:(("ntp client",pid=9,fd=7))',
        "udp UNCONN 0 0 [fe80::1]%eth0:546 [::]:*",
    ]
    found = [str(one) for one in seen.listening(lines, (32768, 60999))]
    assert found == [
        "sshd on tcp 22", "the kernel on tcp 9100", "the kernel on udp 546",
    ]  # fmt: skip


# firewalld and ufw

WAYS = [
    Way("tcp", "22"),
    Way("tcp", "80-90", ("10.0.0.0/24", "192.0.2.7")),
    Way("udp", "4791", (), "eth1"),
    Way("tcp", "443", ("2001:db8::/32",)),
]


def test_firewalld_is_told_in_a_policy_of_our_own() -> None:
    root = ElementTree.fromstring(adopted.policy(WAYS[:2] + WAYS[3:]))  # noqa: S314 - our own
    assert root.attrib == {"target": "CONTINUE", "priority": "-1"}
    assert [one.attrib["name"] for one in root if one.tag.endswith("-zone")] == ["ANY", "HOST"]
    rules = [one for one in root if one.tag == "rule"]
    assert [one.get("family") for one in rules] == [None, "ipv4", "ipv4", "ipv6"]
    assert len(adopted.rich_rules(WAYS[:2] + WAYS[3:])) == 4
    assert len(adopted.POLICY) <= 17, "firewalld takes no longer names"


def test_ufw_is_told_rule_by_rule() -> None:
    assert adopted.ufw_rules(WAYS) == [
        "allow 22/tcp",
        "allow from 10.0.0.0/24 to any port 80:90 proto tcp",
        "allow from 192.0.2.7 to any port 80:90 proto tcp",
        "allow in on eth1 to any port 4791 proto udp",
        "allow from 2001:db8::/32 to any port 443 proto tcp",
    ]


class Ufw:
    """A node with rules of ufw."""

    name = "node1"

    def __init__(self, *added: str) -> None:
        self.added = [*added]
        self.said: list[str] = []

    def get_fact(self, fact: type, **arguments: Any) -> Any:
        assert fact is UfwAdded
        return self.added

    def noop(self, why: str) -> None:
        self.said.append(why)


def test_rules_of_the_site_are_left_alone() -> None:
    ours = "ufw allow 443/tcp comment 'nodeproof'"
    node = Ufw("ufw allow 8081/tcp", ours, "ufw allow 23/tcp comment 'nodeproof'")
    with ctx_host.use(node):
        commands = [str(one) for one in allowed._inner(rules=["allow 443/tcp", "allow 22/tcp"])]
    assert commands == [
        "ufw allow 22/tcp comment nodeproof >&2", "ufw --force delete allow 23/tcp >&2",
    ]  # fmt: skip
    node = Ufw("ufw allow 8081/tcp", "ufw allow 22/tcp", ours, "ufw allow 80 comment 'the web'")
    with ctx_host.use(node):
        assert [*allowed._inner(rules=["allow 443/tcp", "allow 22/tcp", "allow 80"])] == []
    assert node.said == ["ufw has the rules as asked"]


# What is there already

UNITS = "firewalld inactive\nufw inactive\nnftables active enabled\n"


def rules_of(*chains: dict[str, Any]) -> str:
    return "rules\n" + json.dumps({"nftables": [{"chain": one} for one in chains]})


def hooked(table: str, policy: str, family: str = "ip", name: str = "INPUT") -> dict[str, Any]:
    return {"family": family, "table": table, "name": name, "hook": "input", "policy": policy}


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ("firewalld active enabled\nufw inactive\nnftables inactive", {"firewalld": True}),
        ("ufw-status active", {"ufw": True}),
        ("ufw-status inactive", {}),
        (f"{UNITS}own-conf", {"own_conf": True}),
        (f"{UNITS}own-conf\ndropin", {}),
        ("nftables inactive disabled\nown-conf", {}),
        (f"{UNITS}{rules_of(hooked('filter', 'drop'))}", {"droppers": ("ip filter INPUT",)}),
        (f"{UNITS}{rules_of(hooked('filter', 'accept'))}", {}),
        (f"{UNITS}{rules_of(hooked('nodeproof', 'drop', 'inet', 'input'))}", {}),
        (
            f"{UNITS}{rules_of({'family': 'ip', 'table': 'filter', 'name': 'DOCKER-USER'})}",
            {"engines": ("Docker",)},
        ),
        (
            f"{UNITS}{rules_of({'family': 'inet', 'table': 'n', 'name': 'NETAVARK-HOSTPORT'})}",
            {"engines": ("Podman",)},
        ),
        (f"{UNITS}rules\n", {}),
        ("", {}),
    ],
)
def test_who_filters_is_read(output: str, found: dict[str, Any]) -> None:
    assert Firewalls().process(output.splitlines()) == FirewallsData(**found)


def test_our_way_in_is_read() -> None:
    lines = ["port 22", "port 2222", "peer 192.0.2.1", "port 22"]
    assert SshWay().process(lines) == SshWayData(ports=(22, 2222), peer="192.0.2.1")
    assert SshWay().process([]) == SshWayData()


@pytest.mark.parametrize(
    "item",
    [
        Item(Kind.NFT, "inet nodeproof"), Item(Kind.UNIT, "nftables.service"),
        Item(Kind.TOLD, "firewalld.service"), journal.file(ruleset.PATH),
        journal.file(adopted.POLICY_PATH), journal.file("/etc/ufw/user6.rules"),
    ],
    ids=str,
)  # fmt: skip
def test_what_can_cut_access_is_guarded(item: Item) -> None:
    assert item.guards


class Node:
    """A node that is refused before anything else is asked."""

    name = "node1"


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "both active": ({}, {"firewalld": True, "ufw": True}, "both active"),
    "another is active": ({"backend": "nftables"}, {"ufw": True}, "but ufw is active; set"),
    "other of the two": ({"backend": "firewalld"}, {"ufw": True}, "but ufw is active; set"),
    "not active": ({"backend": "ufw"}, {}, "not active; start it"),
    "rules of the site": ({}, {"own_conf": True}, "rules of the site's own"),
    "chain that drops": ({}, {"droppers": ("ip filter INPUT",)}, "ip filter INPUT drops what"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_second_firewall_is_refused(case: str) -> None:
    settings, found, message = REFUSED[case]
    with ctx_host.use(Node()), pytest.raises(DeployError, match=message):
        deploy._backend(asked(**settings), FirewallsData(**found))


@pytest.mark.parametrize(
    ("found", "backend"),
    [({}, "nftables"), ({"ufw": True}, "ufw"), ({"firewalld": True}, "firewalld")],
)
def test_who_is_active_is_adopted(found: dict[str, Any], backend: str) -> None:
    with ctx_host.use(Node()):
        assert deploy._backend(asked(), FirewallsData(**found)) == backend


def test_others_are_refused_what_they_cannot_do() -> None:
    with ctx_host.use(Node()):
        with pytest.raises(DeployError, match="egress is listed"):
            deploy._adoptable(asked(level=2), Backend.UFW)
        with pytest.raises(DeployError, match="container_ports is trusted"):
            deploy._adoptable(asked(roles=["containers"]), Backend.FIREWALLD)
        with pytest.raises(DeployError, match="knows no interfaces"):
            deploy._for_others(asked(roles=["rdma"], interfaces=["eth1"]), [22], Backend.FIREWALLD)
        deploy._adoptable(asked(roles=["containers"], container_ports="open"), Backend.UFW)


def test_nobody_is_shut_out() -> None:
    with ctx_host.use(Node()):
        with pytest.raises(DeployError, match=r"leaves out 192\.0\.2\.1"):
            deploy._keep_a_way_in(
                asked(**FABRIC, ssh_sources=["fabric"]), SshWayData(ports=(22,), peer="192.0.2.1")
            )
        with pytest.raises(DeployError, match="ports of sshd cannot be read"):
            deploy._keep_a_way_in(asked(), SshWayData(peer="192.0.2.1"))
        with pytest.raises(DeployError, match="Docker forwards"):
            deploy._keep_containers(asked(), FirewallsData(engines=("Docker",)))
        deploy._keep_containers(asked(roles=["rootless"]), FirewallsData(engines=("Podman",)))
