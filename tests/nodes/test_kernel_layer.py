"""The kernel layer where the kernel is a host's: files, limits, a network of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodeproof.lab import ContainerNode, containers
from tests.manifest import differences, manifest
from tests.nodes.conftest import PREINSTALL, spread
from tests.support import nodeproof, write_inventory

pytestmark = pytest.mark.nodes

ASKED: dict[str, Any] = {
    "roles": ["slurm", "rdma"],
    "kernel": {
        "level": 2,
        "sysctl": {"net.ipv4.tcp_syncookies": 2, "net.ipv4.tcp_fin_timeout": 30},
        "deny_until": {"algif-aead": {"reason": "CVE-2026-31431", "until": "2099-01-01"}},
    },
}
SYSCTL = "/etc/sysctl.d/zz-nodeproof.conf"
NETWORK = (
    "sudo sh -c 'cd /proc/sys/net; find ipv4 ipv6 -type f -perm -200 | sort | xargs grep -s . || :'"
)
SEEN = {
    "network_believes_no_stranger",
    "node_forwards_as_its_role_says",
    "own_parameters_run",
    "rare_file_systems_cannot_be_loaded",
    "rare_networks_cannot_be_loaded",
    "devices_of_passers_by_cannot_be_loaded",
    "own_denials_hold",
    "no_mitigation_is_forgotten",
    "nothing_leaves_a_core[session]",
    "nothing_leaves_a_core[service]",
    "systemd_keeps_no_core",
}
BREAKS = {
    "network_believes_no_stranger": "echo 1 >/proc/sys/net/ipv4/conf/host0/send_redirects",
    "node_forwards_as_its_role_says": "echo 1 >/proc/sys/net/ipv4/ip_forward",
    "own_parameters_run": "echo 99 >/proc/sys/net/ipv4/tcp_fin_timeout",
    "rare_file_systems_cannot_be_loaded": "sed -i /cramfs/d /etc/modprobe.d/nodeproof-kernel.conf",
    "own_denials_hold": "sed -i s,algif-aead.*,,  /etc/modprobe.d/nodeproof-kernel.conf",
    # Sessions take what sshd had when it was started, so their file alone does not show here.
    "nothing_leaves_a_core[service]": (
        "sed -i /CORE/d /etc/systemd/system.conf.d/zz-nodeproof.conf; systemctl daemon-reload"
    ),
    "systemd_keeps_no_core": "sed -i /Storage/d /etc/systemd/coredump.conf.d/zz-nodeproof.conf",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both distributions are hardened; the rest is tried on the newest."""
    spread(metafunc, "node", {"test_it_is_made_so_and_taken_back"}, "kernel")


LIMIT = "systemctl show -P DefaultLimitMEMLOCK"


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest) -> Iterator[ContainerNode]:
    name = request.param.replace("debian-", "d") + "-kernel"
    with containers([name], request.param, preinstall=(*PREINSTALL, "kmod")) as (one,):
        yield one


@pytest.fixture(scope="module")
def inventory(node: ContainerNode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inventory(tmp_path_factory.mktemp("kernel"), [node], ASKED)


def checks(inventory: Path) -> dict[str, str]:
    done = nodeproof("verify", inventory, "--json")
    (found,) = [one["checks"] for one in done.json["nodes"]]
    return {check["name"]: check["verdict"] for check in found}


def test_it_is_made_so_and_taken_back(node: ContainerNode, inventory: Path) -> None:
    before, network = manifest(node), node.ssh(NETWORK).stdout
    limit = node.ssh(LIMIT).stdout
    done = nodeproof("apply", inventory, "--yes", "--json")
    assert done.code == 0, done.out + done.err
    again = nodeproof("apply", inventory, "--yes", "--json")
    assert again.code == 0, again.out + again.err
    assert again.changed(node.name) == []
    found = checks(inventory)
    assert {name: found.get(name) for name in SEEN} == dict.fromkeys(SEEN, "passed")
    assert found["kernel_keeps_its_addresses"] == "skipped", "that is its host's"
    assert "failed" not in found.values()
    back = nodeproof("revert", done.json["run"], "--yes", "--json")
    assert back.code == 0, back.out + back.err
    assert differences(before, manifest(node)) == []
    assert node.ssh(NETWORK).stdout == network
    assert node.ssh(LIMIT).stdout == limit, "systemd has read its settings again"


def test_what_is_broken_is_named_and_mended(node: ContainerNode, inventory: Path) -> None:
    assert nodeproof("apply", inventory, "--yes").code == 0
    for command in BREAKS.values():
        node.ssh("sudo sh", stdin=command)
    found = checks(inventory)
    assert {name: found[name] for name in BREAKS} == dict.fromkeys(BREAKS, "failed")
    assert nodeproof("apply", inventory, "--yes").code == 0
    assert "failed" not in checks(inventory).values()


def test_a_later_file_is_named_not_lost(node: ContainerNode, inventory: Path) -> None:
    other = "/etc/sysctl.d/zzz-tool.conf"
    node.ssh(f"sudo sh -c 'echo net.ipv4.conf.all.log_martians=0 >{other}'")
    assert checks(inventory)["network_believes_no_stranger"] == "failed"
    done = nodeproof("apply", inventory, "--yes", "--json")
    assert done.code == 4, done.out
    reason = done.node(node.name)["reason"]
    assert f"{other}, line 1, sets net.ipv4.conf.all.log_martians = 0 and wins" in reason
    node.ssh(f"sudo rm {other}")


def test_a_bridge_is_not_cut_off(node: ContainerNode, inventory: Path) -> None:
    node.ssh("sudo sh", stdin="ip link add cni0 type bridge; echo 1 >/proc/sys/net/ipv4/ip_forward")
    done = nodeproof("apply", inventory, "--yes", "--json")
    assert done.code == 4, done.out
    assert "cni0 would be cut off" in done.node(node.name)["reason"]
    assert "roles = ['containers']" in done.node(node.name)["reason"]
    assert node.ssh("cat /proc/sys/net/ipv4/ip_forward").stdout.strip() == "1"
    node.ssh("sudo ip link del cni0")


def test_an_old_mitigation_is_a_finding(
    node: ContainerNode, inventory: Path, tmp_path: Path
) -> None:
    old = {"algif-aead": {"reason": "CVE-2026-31431", "until": "2026-01-01"}}
    asked = {**ASKED, "kernel": {**ASKED["kernel"], "deny_until": old}}
    found = checks(write_inventory(tmp_path, [node], asked))
    assert found["no_mitigation_is_forgotten"] == "failed"
    assert found["own_denials_hold"] == "passed", "it stays denied"
