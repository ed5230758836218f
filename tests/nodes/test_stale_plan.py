"""A saved plan of nodes that moved is refused with what moved; of nodes that did not, applied."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nodeproof.lab import ContainerNode
from tests.support import Done, nodeproof, write_inventory

pytestmark = [pytest.mark.nodes, pytest.mark.xdist_group("faults")]

SITE = {"system": {"packages": ["rsync"], "users": {"alice": {}}}, "ssh": {"max_sessions": 7}}
PACKAGE = (
    "mkdir -p /tmp/moved/DEBIAN && printf 'Package: moved\\nVersion: 1\\nArchitecture: all\\n"
    "Maintainer: nobody <nobody@example.org>\\nDescription: moves\\n' >/tmp/moved/DEBIAN/control"
    " && dpkg-deb -b /tmp/moved /tmp/moved.deb && dpkg -i /tmp/moved.deb"
)
NODE_MOVED = "the node moved since the plan was made: "
SETTINGS_CHANGED = "the settings changed since the plan was made: "


@dataclass(frozen=True)
class Saved:
    """A plan with a package to install and a file to mend, and the nodes that it is about."""

    path: Path
    inventory: Path
    nodes: list[ContainerNode]
    planned: Done
    made: float


@pytest.fixture(scope="module")
def saved(trixie: list[ContainerNode], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """Nodes that are right but for two things, with fresh package lists, and their plan."""
    folder = tmp_path_factory.mktemp("stale")
    inventory = write_inventory(folder, trixie, SITE)
    assert nodeproof("apply", inventory, "--yes").code == 0
    for node in trixie:
        root(node, "dpkg --purge rsync; chmod 640 /etc/ssh/sshd_config.d/10-nodeproof.conf")
        root(node, "find /var/lib/apt/lists -type f -exec touch {} +")
    planned = nodeproof("plan", inventory, "--json", "--out", folder / "plan.json")
    assert planned.code == 0, planned.err
    assert not [command for command in commands(planned, trixie[0]) if " update" in command]
    yield Saved(folder / "plan.json", inventory, trixie, planned, time.monotonic())
    write_inventory(folder, trixie, SITE)
    assert nodeproof("apply", inventory, "--yes").code == 0


def root(node: ContainerNode, command: str) -> None:
    node.ssh(f"sudo sh -c {shlex.quote(command)}")


def commands(done: Done, node: ContainerNode) -> list[str]:
    return [one for change in done.node(node.name)["changes"] for one in change["commands"]]


MOVES = {
    "a file edited": (
        "echo '# mine' >>/etc/ssh/sshd_config",
        "sed -i '$d' /etc/ssh/sshd_config; systemctl reload ssh",
        "/etc/ssh/sshd_config changed (content)",
    ),
    "a file made": (
        "echo '# mine' >/etc/ssh/sshd_config.d/98-moved.conf",
        "rm /etc/ssh/sshd_config.d/98-moved.conf; systemctl reload ssh",
        "/etc/ssh/sshd_config.d/98-moved.conf appeared",
    ),
    "a mode changed": (
        "chmod 600 /etc/ssh/sshd_config.d/10-nodeproof.conf",
        "chmod 640 /etc/ssh/sshd_config.d/10-nodeproof.conf",
        "/etc/ssh/sshd_config.d/10-nodeproof.conf changed (mode); the changes differ: "
        '"ssh | Write the sshd drop-in" is no longer needed, '
        '"ssh | Reload the OpenSSH server" is no longer needed',
    ),
    "a package installed": (
        PACKAGE,
        "dpkg --purge moved; rm -r /tmp/moved /tmp/moved.deb",
        "package moved appeared",
    ),
    "a user added": ("useradd bob", "userdel bob", "account bob appeared"),
    "a user in a group": (
        "usermod -aG users alice",
        "gpasswd -d alice users",
        "account alice changed, group users changed",
    ),
    "a rule of sudo": (
        "echo 'root ALL=(ALL) ALL' >/etc/sudoers.d/mine",
        "rm /etc/sudoers.d/mine",
        "/etc/sudoers.d/mine appeared",
    ),
    "a unit": (
        "install -D /dev/null /run/nodeproof/pending/ssh.service",
        "rm /run/nodeproof/pending/ssh.service",
        "unit ssh.service changed (pending)",
    ),
}


@pytest.mark.parametrize("what", MOVES)
def test_a_node_that_moved_is_refused_with_what_moved(what: str, saved: Saved) -> None:
    moved, undo, said = MOVES[what]
    for node in saved.nodes:
        root(node, moved)
    done = nodeproof("apply", saved.path, "--json")
    for node in saved.nodes:
        root(node, undo)
    assert done.code == 4
    for node in saved.nodes:
        refused = done.node(node.name)
        assert (refused["status"], refused["reason"]) == ("refused", NODE_MOVED + said)
        assert refused["changes"] == []
        assert refused["round_trips"] == saved.planned.node(node.name)["round_trips"]


@pytest.mark.parametrize(
    ("site", "said"),
    [
        ({**SITE, "ssh": {"max_sessions": 8}}, "ssh.max_sessions; "),
        ({"ssh": SITE["ssh"]}, "system is no longer asked for; "),
        ({**SITE, "containers": {}}, "containers is asked for; "),
    ],
    ids=["a setting", "a layer less", "a layer more"],
)
def test_other_settings_are_refused(site: dict[str, object], said: str, saved: Saved) -> None:
    folder = saved.inventory.parent
    write_inventory(folder, saved.nodes, site)
    done = nodeproof("apply", saved.path, "--json")
    write_inventory(folder, saved.nodes, SITE)
    assert done.code == 4, done.out
    for node in saved.nodes:
        refused = done.node(node.name)
        assert refused["status"] == "refused"
        assert refused["reason"].startswith(SETTINGS_CHANGED + said), refused["reason"]
        assert "the node moved" not in refused["reason"]


def test_a_node_that_did_not_move_is_applied_once(saved: Saved) -> None:
    """A minute passed, package lists have grown old, only one node moved: the other is applied."""
    first, second = saved.nodes
    for node in saved.nodes:
        root(node, "find /var/lib/apt/lists -type f -exec touch -d '2 days ago' {} +")
        root(node, "dd if=/dev/zero of=/var/tmp/filler bs=1M count=8 status=none")
    root(first, "useradd bob")
    time.sleep(max(0.0, saved.made + 61 - time.monotonic()))
    done = nodeproof("apply", saved.path, "--json")
    root(first, "userdel bob")
    assert done.code == 4
    assert done.node(first.name)["reason"] == f"{NODE_MOVED}account bob appeared"
    assert done.changed(second.name) == saved.planned.changed(second.name)
    assert [command for command in commands(done, second) if " update" in command]
    again = nodeproof("apply", saved.path, "--json")
    assert again.code == 4
    assert again.node(first.name)["status"] == "changed"
    assert "package rsync appeared" in again.node(second.name)["reason"]
