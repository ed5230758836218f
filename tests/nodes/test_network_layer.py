"""The network layer on two nodes: what comes in is tried from the other one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from nodeproof.lab import ContainerNode, containers
from nodeproof.lab.bridge import GATEWAY
from tests.lockouts.proof import Prepared
from tests.nodes.conftest import PREINSTALL, spread
from tests.support import Done, nodeproof, write_inventory

pytestmark = [pytest.mark.nodes]
LISTEN = (
    "systemd-run --quiet --collect --unit=listen-{0} -- perl -MIO::Socket::INET -e "
    "'$$s = IO::Socket::INET->new(LocalPort => {0}, Listen => 5, ReuseAddr => 1) or die; "
    'while ($$c = $$s->accept) {{ print $$c "here\\n"; close $$c }}\'; '
    "until ss -Hlnt 'sport = :{0}' | grep -q .; do sleep 0.1; done"
)
"""What answers on a port; systemd takes $$ for $."""
STATE = (
    "nft -s list ruleset; systemctl show -p UnitFileState,ActiveState,NeedDaemonReload,ExecStart "
    "nftables | sed 's/ pid=.*//; s/start_time.*//'; "
    "find /etc -path /etc/ssl -prune -o -type f -exec sha256sum {} +; find /etc | sort"
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The story has fresh nodes of both distributions, the rest shares two of one."""
    spread(metafunc, "scene", (), "network")
    spread(metafunc, "fresh", {"test_story"}, "network-story")


class Scene:
    """A node with the layer, another one that tries to reach it."""

    def __init__(self, node: ContainerNode, other: ContainerNode, folder: Any) -> None:
        self.node, self.other, self.folder = node, other, folder

    def run(self, command: str, *words: str, **asked: Any) -> Done:
        """Plan, apply or verify what is asked."""
        roles = asked.pop("roles", [])
        inventory = write_inventory(
            self.folder,
            [self.node],
            {"network": asked, "roles": roles} if roles else {"network": asked},
        )
        return nodeproof(command, inventory, "--json", *words)

    def applied(self, **asked: Any) -> Done:
        """Apply and insist on it."""
        done = self.run("apply", "--yes", **asked)
        assert done.code == 0, done.out + done.err
        return done

    def failing(self, **asked: Any) -> set[str]:
        """Return the checks that fail."""
        return set(self.run("verify", **asked).failing(self.node.name))

    def sh(self, script: str) -> str:
        """Run a script as root on the node."""
        return self.node.ssh("sudo sh", stdin=script).stdout

    def listen(self, port: int) -> None:
        """Have something answer on a port."""
        self.sh(LISTEN.format(port))

    def reached(self, port: int) -> bool:
        """Tell whether the other node gets an answer; a busy machine is asked again."""
        ask = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{self.node.address}/{port}; cat <&3'"
        said = self.other.ssh(f"for n in 1 2 3; do {ask} && break; done", check=False)
        return "here\n" in said.stdout


@contextmanager
def two(names: list[str], distribution: str, folder: Any) -> Iterator[Scene]:
    """Bring up two nodes."""
    with containers(names, distribution, preinstall=PREINSTALL) as (node, other):
        yield Scene(node, other, folder)


@pytest.fixture(scope="module")
def scene(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """Two nodes for all but the story."""
    with two(["net-a", "net-b"], request.param, tmp_path_factory.mktemp("network")) as made:
        yield made


@pytest.fixture(scope="module")
def fresh(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """Two nodes that nothing was done to, wherever the story comes in the order of tests."""
    names = [f"net-{end}{request.param[-2:]}" for end in "cd"]
    with two(names, request.param, tmp_path_factory.mktemp("story")) as made:
        yield made


ASKED: dict[str, Any] = {"open": [{"port": 8080, "source": "any"}], "closed": [{"port": 8081}]}


def test_story(fresh: Scene) -> None:
    """Apply, try, apply again, restart, revert."""
    before = fresh.sh(STATE)
    fresh.listen(8080)
    fresh.listen(8081)
    assert fresh.reached(8080)
    assert fresh.reached(8081)
    asked = {
        "trusted": {"lab": [f"{fresh.other.address}/32"]},
        "open": [{"port": 8080, "source": "lab"}],
        "closed": [{"port": 8081}],
    }
    run = fresh.applied(**asked).json["run"]
    assert fresh.reached(8080)
    assert not fresh.reached(8081)
    assert fresh.applied(**asked).changed(fresh.node.name) == []
    assert fresh.failing(**asked) == set()
    dropped = fresh.sh("nft list chain inet nodeproof input | grep 'everything else'")
    assert "packets 0 " not in dropped
    fresh.node.stop()
    fresh.node.start()
    fresh.node.wait()
    assert fresh.failing(**asked) == set()
    reverted = nodeproof("revert", run, "--yes", "--json")
    assert reverted.code == 0, reverted.out + reverted.err
    assert fresh.sh(STATE) == before


RULE = "nft insert rule inet nodeproof"
BREAKS: dict[str, tuple[str, set[str]]] = {
    "table gone": (
        "nft delete table inet nodeproof",
        {
            *("one_firewall_filters", "incoming_denied_by_default", "invalid_packets_dropped"),
            *("what_was_asked_comes_in", "forwarding_as_the_roles_need_it"),
            *("dropped_packets_counted_and_logged", "outgoing_as_asked"),
            *("running_rules_are_those_of_the_next_boot", "loopback_cannot_be_spoofed"),
        },
    ),
    "opened by hand": (
        f"{RULE} input tcp dport 9999 accept; {RULE} output tcp dport 25 accept; "
        "nft chain inet nodeproof input '{ policy accept; }'; "
        "nft chain inet nodeproof forward '{ policy accept; }'; "
        "systemctl disable --quiet nftables",
        {
            *("only_what_was_asked_comes_in", "incoming_denied_by_default", "outgoing_as_asked"),
            *("forwarding_as_the_roles_need_it", "firewall_starts_at_boot"),
            "running_rules_are_those_of_the_next_boot",
        },
    ),
    "drop-in gone, file edited": (
        "rm -r /etc/systemd/system/nftables.service.d; systemctl daemon-reload; "
        "sed -i 's/dport 8080/dport 8082/' /etc/nftables.d/nodeproof.nft",
        {"firewall_starts_at_boot", "running_rules_are_those_of_the_next_boot"},
    ),
    "file broken, all opened": (
        f"echo '}}' >>/etc/nftables.d/nodeproof.nft; {RULE} input accept",
        {"running_rules_are_those_of_the_next_boot", "only_what_was_asked_comes_in"},
    ),
}


def test_breaks_are_named_and_mended(scene: Scene) -> None:
    """Verify names each break, and one apply mends it."""
    scene.listen(8081)
    scene.applied(**ASKED)
    for what, (command, checks) in BREAKS.items():
        scene.sh(command)
        found = scene.failing(**ASKED)
        assert checks <= found, f"{what}: {found}"
        scene.applied(**ASKED)
    assert scene.failing(**ASKED) == set()


def test_what_apply_cannot_mend_is_named(scene: Scene) -> None:
    """Somebody listens; somebody else filters, too."""
    scene.applied(**ASKED)
    scene.listen(8082)
    assert scene.failing(**ASKED) == {"every_listener_is_asked_for"}
    scene.sh("systemctl stop listen-8082")
    other = "table inet other { chain in { type filter hook input priority 0; policy drop; "
    scene.sh(f"echo '{other} accept; }}; }}' | nft -f -")
    assert "one_firewall_filters" in scene.failing(**ASKED)
    done = scene.run("apply", "--yes", **ASKED)
    assert done.code == 4, done.out
    assert "inet other in drops what comes in already" in done.node(scene.node.name)["reason"]
    scene.sh("nft delete table inet other")


def test_we_are_never_left_out(scene: Scene) -> None:
    done = scene.run("apply", "--yes", ssh_sources=["192.0.2.0/24"])
    assert done.code == 4, done.out
    reason = done.node(scene.node.name)["reason"]
    assert "network.ssh_sources leaves out" in reason
    scene.applied(ssh_sources=[f"{GATEWAY}/32"], **ASKED)
    said = scene.other.ssh(
        f"timeout 3 bash -c 'exec 3<>/dev/tcp/{scene.node.address}/{scene.node.ssh_port}'",
        check=False,
    )
    assert said.returncode != 0
    scene.applied(**ASKED)


def test_table_that_drops_us_is_taken_back_live(scene: Scene) -> None:
    """Every checker says yes; the running table comes back, not the file alone."""
    scene.applied(**ASKED)
    prepared = Prepared(scene.node, scene.folder / "inventory.py")
    before = prepared.picture()
    assert "table inet nodeproof" in before
    done = prepared.attempt("cli", "table_drops_us")
    assert done.code == 1, done.out + done.err
    assert "a new connection was not possible" in done.node(scene.node.name)["reason"]
    prepared.logs_in()
    assert prepared.result() == "taken-back\n", prepared.log()
    assert prepared.picture() == before


CONTAINER = r"""
ip link add podman9 type bridge && ip addr add 10.99.0.1/24 dev podman9 && ip link set podman9 up
systemd-run --quiet --collect --unit=box --property=PrivateNetwork=yes -- perl -MIO::Socket::INET \
  -e '$$s = IO::Socket::INET->new(LocalPort => 80, Listen => 5) or die;' \
  -e 'while ($$c = $$s->accept) { print $$c "here\n"; close $$c }'
sleep 1
pid=$(systemctl show -P MainPID box)
ip link add v0 type veth peer name v1 && ip link set v0 master podman9 up
ip link set v1 netns $pid
nsenter -t $pid -n sh -ec 'ip link set lo up; ip addr add 10.99.0.2/24 dev v1; ip link set v1 up
  ip route add default via 10.99.0.1'
nft -f - <<'END'
table ip engine {
  chain pre {
    type nat hook prerouting priority dstnat;
    tcp dport { 9080, 9081 } dnat to 10.99.0.2:80
  }
  chain post { type nat hook postrouting priority srcnat; ip saddr 10.99.0.0/24 masquerade; }
}
END
echo 1 >/proc/sys/net/ipv4/ip_forward
"""
"""What an engine makes of a published port: a bridge, a network namespace, and NAT."""


def test_containers_reach_out_and_are_reached_as_asked(scene: Scene) -> None:
    scene.sh(f"nft delete table inet nodeproof 2>/dev/null; {CONTAINER}")
    assert scene.reached(9080), "engines are asked by nobody"
    asked = {**ASKED, "roles": ["containers"]}
    scene.applied(**asked)
    assert not scene.reached(9080)
    inside = "nsenter -t $(systemctl show -P MainPID box) -n"
    out = f"bash -c 'exec 3<>/dev/tcp/{scene.other.address}/{scene.other.ssh_port}' && echo out"
    assert scene.sh(f"{inside} timeout 5 {out}") == "out\n"
    opened = {**asked, "open": [{"port": 9081, "source": "any"}]}
    scene.applied(**opened)
    assert (scene.reached(9080), scene.reached(9081)) == (False, True)
    scene.applied(**asked, trusted={"lab": [scene.other.address]})
    assert scene.reached(9080)
    scene.applied(**asked, container_ports="open")
    assert scene.reached(9080)
    assert scene.failing(**asked, container_ports="open") == set()
    assert "published_ports_reached_as_asked" in scene.failing(**asked)
    scene.sh("systemctl stop box; nft delete table ip engine; ip link del podman9")
    scene.applied(**ASKED)


def test_listed_egress(scene: Scene) -> None:
    """What is not on the list does not go out; who is connected stays."""
    asked = {**ASKED, "level": 2}
    out = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{scene.other.address}/{scene.other.ssh_port}' 2>&1"
    assert scene.sh(f"{out} && echo out") == "out\n"
    scene.applied(**asked)
    assert "out" not in scene.sh(f"{out} && echo out || true").split()
    assert scene.failing(**asked) == set()
    scene.applied(**asked, egress_open=[{"port": scene.other.ssh_port}])
    assert scene.sh(f"{out} && echo out") == "out\n"
    scene.sh("nft chain inet nodeproof output '{ policy accept; }'")
    assert "outgoing_as_asked" in scene.failing(**asked)
    scene.applied(**ASKED)


def adopted(scene: Scene, backend: str, install: str, opened: str) -> None:
    """Adopt a firewall that is active: ours beside theirs, both kept, ours taken back."""
    scene.listen(8080)
    scene.listen(8081)
    # A firewall that starts may cut the connection that starts it.
    scene.sh(f"cat >/run/adopt.sh <<'END'\nexport DEBIAN_FRONTEND=noninteractive; {install}\nEND")
    scene.sh("systemd-run --quiet --remain-after-exit --unit=adopt sh /run/adopt.sh")
    until = time.monotonic() + 300
    while "exited" not in scene.sh("systemctl show -P SubState adopt"):
        assert time.monotonic() < until, scene.sh("systemctl status adopt || true")
        time.sleep(1)
    before = scene.sh(f"{STATE}; {opened}")
    assert not scene.reached(8080)
    assert scene.reached(8081), "the site's own rule"
    asked = {**ASKED, "open": [{"port": 8080, "source": "lab"}]}
    asked["trusted"] = {"lab": [scene.other.address], "six": ["2001:db8::/32"]}
    refused = scene.run("apply", "--yes", **asked, backend="nftables")
    assert refused.code == 4, refused.out
    assert f"but {backend} is active" in refused.node(scene.node.name)["reason"]
    refused = scene.run("apply", "--yes", **asked, level=2)
    assert "egress is listed" in refused.node(scene.node.name)["reason"]
    run = scene.applied(**asked).json["run"]
    assert scene.reached(8080)
    assert scene.reached(8081), "the site's own rule stays"
    assert scene.applied(**asked).changed(scene.node.name) == []
    assert scene.failing(**asked) == set()
    other = {**ASKED, "open": [{"port": 8082, "source": "any"}]}
    found = scene.failing(**other)
    assert {"only_what_was_asked_comes_in", "what_was_asked_comes_in"} <= found
    reverted = nodeproof("revert", run, "--yes", "--json")
    assert reverted.code == 0, reverted.out + reverted.err
    assert not scene.reached(8080)
    assert scene.reached(8081)
    assert scene.sh(f"{STATE}; {opened}").splitlines() == before.splitlines()
    scene.sh("systemctl stop adopt")


@pytest.mark.adopted
def test_ufw_is_adopted(scene: Scene) -> None:
    install = (
        "apt-get update -qq && apt-get install -qq -y ufw >/dev/null; "
        "ufw allow 22/tcp; ufw allow 8081/tcp; "
        "ufw --force enable; systemctl enable -q ufw"
    )
    adopted(scene, "ufw", install, "ufw status verbose")
    scene.sh("ufw --force disable; systemctl disable -q --now ufw; nft flush ruleset")


@pytest.mark.adopted
def test_firewalld_is_adopted(scene: Scene) -> None:
    install = (
        "apt-get update -qq && apt-get install -qq -y firewalld >/dev/null; "
        "systemctl enable -q --now firewalld; "
        "firewall-cmd -q --permanent --add-port=8081/tcp; firewall-cmd -q --reload"
    )
    adopted(scene, "firewalld", install, "firewall-cmd --list-all; firewall-cmd --get-policies")
    scene.sh("systemctl disable -q --now firewalld")
