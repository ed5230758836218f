"""Take runs back: all of one, a part, one that was cut off; refused, locked out, at the console."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodeproof.lab import ContainerNode, containers
from tests.manifest import differences, manifest
from tests.nodes.conftest import PREINSTALL, spread
from tests.support import Done, Running, nodeproof, write_inventory

pytestmark = pytest.mark.nodes

KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8h3i1aQ0m0m3Zl0b5W1m2Vg0cJzC7l7p1pQm3rXk2T alice@example"
)
ALICE: dict[str, Any] = {"sudo": "passwordless", "keys": [KEY], "groups": ["ml"]}
LIGHT: dict[str, Any] = {
    "system": {"timezone": "Europe/Berlin", "users": {"alice": ALICE}},
    "ssh": {"max_sessions": 7},
}
FULL: dict[str, Any] = {
    "system": {
        "timezone": "Asia/Tokyo",
        "hostname": "reverted.example",
        "packages": ["rsync", "acl"],
        "users": {
            "alice": ALICE,
            "carol": {"groups": ["ml", "audio"]},
            "mallory": {"present": False},
        },
    },
    "ssh": {"max_sessions": 7},
}
DROPIN = "/etc/ssh/sshd_config.d/10-nodeproof.conf"
JOURNAL = "sudo /var/lib/nodeproof/bin/journal"


DEPENDS = {
    "test_a_full_site_is_taken_back",
    "test_an_install_that_was_cut_off_is_taken_back",
    "test_at_the_console",
}
"""What depends on the distribution's own tools; the rest is tried on the newest."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Take back on both distributions what depends on them."""
    spread(metafunc, "nodes", DEPENDS, "revert")


@pytest.fixture(scope="module")
def nodes(request: pytest.FixtureRequest) -> Iterator[list[ContainerNode]]:
    """Two nodes."""
    short = request.param.replace("debian-", "d")
    names = [f"{short}-back", f"{short}-else"]
    with containers(names, request.param, preinstall=PREINSTALL) as two:
        for node in two:
            node.ssh("sudo dpkg --purge rsync")
            node.ssh("sudo sh -c 'useradd -m mallory; echo kept >/home/mallory/file'")
        yield two


@pytest.fixture
def node(nodes: list[ContainerNode]) -> ContainerNode:
    return nodes[0]


@pytest.fixture
def light(nodes: list[ContainerNode], tmp_path: Path) -> Path:
    """An inventory of the first node, on nodes that have the packages already."""
    base = {"system": {"packages": []}}
    done = nodeproof("apply", write_inventory(tmp_path, nodes, base), "--yes")
    assert done.code == 0, done.out
    return write_inventory(tmp_path, nodes[:1], LIGHT)


def applied(inventory: Path) -> str:
    """Apply, and return the run."""
    done = nodeproof("apply", inventory, "--yes", "--json")
    assert done.code == 0, done.out + done.err
    assert {node["status"] for node in done.json["nodes"]} == {"changed"}
    run: str = done.json["run"]
    return run


def taken_back(run: str, *arguments: object) -> Done:
    """Take a run back, or a part of it, and return what came of it."""
    done = nodeproof("revert", run, *arguments, "--yes", "--json")
    assert done.code == 0, done.out + done.err
    return done


def known(inventory: Path, node: ContainerNode) -> dict[str, str]:
    """Return the results of the node's runs by id."""
    done = nodeproof("runs", inventory, "--json")
    assert done.code == 0, done.err
    return {run["id"]: run["result"] for run in done.node(node.name)["runs"]}


def test_a_full_site_is_taken_back(node: ContainerNode, tmp_path: Path) -> None:
    """Everything is as it was; again is nothing; taken back in its turn, the site is proven."""
    inventory = write_inventory(tmp_path, [node], FULL)
    before = manifest(node)
    run = applied(inventory)
    assert any(" rsync" in name for name in manifest(node))
    done = taken_back(run)  # the inventory is known from the run
    assert differences(before, manifest(node)) == []
    assert done.node(node.name)["status"] == "changed"
    assert done.json["reverts"] == run
    assert any("/home/alice was not deleted" in note for note in done.node(node.name)["notes"])
    assert node.ssh("sudo cat /home/mallory/file").stdout == "kept\n"
    assert known(inventory, node)[run] == "reverted"

    again = taken_back(run)
    assert again.node(node.name)["status"] == "ok"
    assert "nothing is left to take back" in again.node(node.name)["notes"][0]

    taken_back(done.json["run"])
    assert known(inventory, node)[run] == "ok"
    planned = nodeproof("plan", inventory, "--json")
    assert planned.changed(node.name) == []
    verified = nodeproof("verify", inventory, "--json")
    assert verified.code == 0, verified.failing(node.name)

    taken_back(run)
    assert differences(before, manifest(node)) == []


def test_an_install_that_was_cut_off_is_taken_back(node: ContainerNode, tmp_path: Path) -> None:
    """The controller dies while packages are installed; the node ends what it was at."""
    inventory = write_inventory(tmp_path, [node], FULL)
    before = manifest(node)
    work = Running("apply", inventory, "--yes")
    work.wait_for("system | Install packages")
    until = "until [ -e /run/nodeproof/packages.log ]; do sleep 0.1; done; sleep 2"
    node.ssh(f"sudo sh -c '{until}'")
    work.process.send_signal(signal.SIGKILL)
    work.process.wait()
    taken_back("last", inventory)
    assert differences(before, manifest(node)) == []
    assert "reverted" in known(inventory, node).values()


def test_one_layer(node: ContainerNode, light: Path) -> None:
    before = manifest(node)
    run = applied(light)
    done = taken_back(run, "--layer", "ssh")
    assert {change["layer"] for change in done.node(node.name)["changes"]} == {"ssh"}
    assert node.ssh(f"sudo test -e {DROPIN}", check=False).returncode == 1
    assert node.ssh("id alice").returncode == 0
    assert known(light, node)[run] == "ok, partly reverted"
    taken_back(run)
    assert known(light, node)[run] == "reverted"
    assert differences(before, manifest(node)) == []


def test_one_control(node: ContainerNode, light: Path) -> None:
    """Only the changes that meet it; the other controls that go with them are named before."""
    run = applied(light)
    dry = nodeproof("revert", run, "--control", "NP-SSH-01", "--dry", "--json")
    assert dry.code == 0, dry.err
    assert dry.node(node.name)["status"] == "pending"
    (note,) = dry.node(node.name)["notes"]
    assert note.startswith("with NP-SSH-01 go NP-SSH-02, ")
    assert node.ssh(f"sudo test -e {DROPIN}").returncode == 0
    done = taken_back(run, "--control", "NP-SYS-02")
    assert done.changed(node.name) == ["system | Take back: Set the time zone"]
    verified = nodeproof("verify", light, "--json")
    assert verified.failing(node.name) == ["time_zone"]
    taken_back(run)


def test_what_somebody_changed_is_left_alone(node: ContainerNode, light: Path) -> None:
    run = applied(light)
    node.ssh(f"echo '# mine' | sudo tee -a {DROPIN}")
    before = manifest(node)
    for arguments in (("--dry",), ("--yes",)):
        done = nodeproof("revert", run, light, *arguments, "--json")
        assert done.code == 4
        assert done.node(node.name)["status"] == "refused"
        assert f"{DROPIN}: changed since, not by nodeproof" in done.node(node.name)["reason"]
    assert differences(before, manifest(node)) == []
    assert known(light, node) == {run: "ok", **known(light, node)}
    taken_back(run, "--layer", "system")  # the rest of it is in nobody's way
    node.ssh(f"sudo sed -i '$d' {DROPIN}")
    taken_back(run)


def test_a_later_run_comes_first(node: ContainerNode, light: Path, tmp_path: Path) -> None:
    before = manifest(node)
    first = applied(light)
    (tmp_path / "more").mkdir()
    more = {**LIGHT, "ssh": {"max_sessions": 9}}
    second = applied(write_inventory(tmp_path / "more", [node], more))
    done = nodeproof("revert", first, "--yes", "--json")
    assert done.code == 4
    assert f"changed by run {second} since; take that back first" in done.node(node.name)["reason"]
    taken_back(second)
    taken_back(first)
    assert differences(before, manifest(node)) == []


def test_taking_back_never_locks_out(node: ContainerNode, tmp_path: Path) -> None:
    """The run gave the connecting user root; without it no new connection has it."""
    own = {"system": {"users": {"ops": {"sudo": "passwordless"}}, "timezone": "Europe/Berlin"}}
    inventory = write_inventory(tmp_path, [node], own)
    run = applied(inventory)
    node.ssh("sudo mv /etc/sudoers.d/90-lab /root/90-lab")
    try:
        before = manifest(node)
        done = nodeproof("revert", run, "--yes", "--json")
        assert done.code == 1
        assert done.node(node.name)["status"] == "failed"
        assert (
            "taken back, because a new connection was not possible"
            in done.node(node.name)["reason"]
        )
        assert differences(before, manifest(node)) == []
        assert known(inventory, node)[run] == "ok"
        assert known(inventory, node)[done.json["run"]] == "taken-back"
    finally:
        node.ssh("sudo mv /root/90-lab /etc/sudoers.d/90-lab")
    taken_back(run)


def test_at_the_console(node: ContainerNode, light: Path) -> None:
    """Without a controller: what stands against it is said, then it is done, once."""
    before = manifest(node)
    run = applied(light)
    assert run in node.ssh(f"{JOURNAL} runs").stdout
    node.ssh(f"echo '# mine' | sudo tee -a {DROPIN}")
    refused = node.ssh(f"{JOURNAL} back last", check=False)
    assert refused.returncode == 1
    assert DROPIN in refused.stdout
    assert "nothing was changed" in refused.stderr
    node.ssh(f"sudo sed -i '$d' {DROPIN}")
    assert "undone\tssh\tWrite the sshd drop-in" in node.ssh(f"{JOURNAL} back {run[:20]}").stdout
    assert differences(before, manifest(node)) == []
    assert "nothing of run" in node.ssh(f"{JOURNAL} back last").stdout
    assert node.ssh(f"{JOURNAL} back 1999", check=False).returncode == 1


def test_which_run_is_meant(nodes: list[ContainerNode], light: Path, tmp_path: Path) -> None:
    """A run is one row for all nodes that have it; a node without it stays as it is."""
    (tmp_path / "both").mkdir()
    both = write_inventory(tmp_path / "both", nodes, {"system": {"timezone": "Europe/Paris"}})
    run = applied(both)
    listed = nodeproof("runs", both)
    assert f"{run}  ok" in listed.out
    assert "all 2" in listed.out
    alone = applied(light)
    nobody = nodeproof("revert", "last", both, "--dry")
    assert nobody.code == 4
    assert "not the same run on all nodes" in nobody.err
    partly = nodeproof("revert", alone, both, "--dry", "--json")
    assert [node["status"] for node in partly.json["nodes"]] == ["pending", "ok"]
    assert "has no run" in partly.node(nodes[1].name)["notes"][0]
    taken_back("last", both, "--limit", nodes[0].name)
    taken_back(run[:19], both)
    unknown = nodeproof("revert", "20200101T000000Z-000000", both, "--yes")
    assert unknown.code == 2
    assert "no node has that run" in unknown.err
    assert run in unknown.err or alone in unknown.err
