"""The how-to of Vagrant, from `vagrant up` to `vagrant destroy`, on a box made here."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator

import pytest

from nodeproof.lab.requirements import find
from tests.machines.vagrant import box, libvirt, project
from tests.machines.vagrant.project import Project

pytestmark = pytest.mark.vagrant
NODE = "@vagrant/node1"
TOOLS = ("vagrant", "virsh", "libvirtd", "virtlogd", "mmdebstrap", "grub-mkimage", "sfdisk")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose libvirt is as it was once the tests are over."""
    missing = [tool for tool in TOOLS if find(tool) is None]
    assert not missing, f"not found: {', '.join(missing)}"
    copied = project.copy(tmp_path_factory.mktemp("vagrant"))
    with libvirt.running(copied.scratch):
        before = libvirt.holdings()
        try:
            yield copied
        finally:
            copied.vagrant("destroy", "--force", check=False)
            libvirt.tidy(before, project.NAME)
            assert libvirt.holdings() == before


@pytest.fixture(scope="module")
def node1(copied: Project) -> Project:
    """The project with node1 running."""
    copied.vagrant("box", "list")  # makes the insecure key, which the box must accept
    started = time.monotonic()
    made = box.build(copied.scratch / "home" / "vagrant" / "insecure_private_key")
    project.say("box", started)
    copied.vagrant("box", "add", "--name", box.NAME, str(made / "test.box"))
    copied.vagrant("up", "node1", NODE_BOX=box.NAME, NODE_DRIVER=box.driver(made))
    return copied


def with_another_key(known_hosts: str) -> str:
    """Return known_hosts as a machine that is gone would have left it."""
    key = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + os.urandom(32)  # RFC 8709
    return f"{known_hosts.split()[0]} ssh-ed25519 {base64.b64encode(key).decode()}\n"


def test_node_is_refused_until_its_key_is_trusted(node1: Project) -> None:
    refused = node1.nodeproof("inspect")
    assert refused.code == 3
    assert "its host key is not known" in refused.out + refused.err
    assert "1 enrolled" in node1.nodeproof("trust", "--yes").err
    assert "0 enrolled" in node1.nodeproof("trust", "--yes").err
    assert node1.nodeproof("inspect", "--json").node(NODE)["status"] == "ok"


def test_new_machine_on_an_old_address_needs_replace(node1: Project) -> None:
    known_hosts = node1.folder / ".vagrant" / "known_hosts"
    known_hosts.write_text(with_another_key(known_hosts.read_text()))
    refused = node1.nodeproof("inspect")
    assert refused.code == 3
    assert "its host key has CHANGED" in refused.out + refused.err
    refused = node1.nodeproof("trust", "--yes")
    assert (refused.code, "0 enrolled" in refused.err) == (3, True)
    assert "1 enrolled" in node1.nodeproof("trust", "--yes", "--replace").err
    assert node1.nodeproof("inspect", "--json").node(NODE)["status"] == "ok"


def test_known_hosts_of_the_user_are_left_alone(node1: Project) -> None:
    assert (node1.folder / ".vagrant" / "known_hosts").exists()
    assert not (node1.scratch / "home" / ".ssh").exists()


def test_second_apply_changes_nothing(node1: Project) -> None:
    first = node1.nodeproof("apply", "--yes", "--json")
    assert (first.code, first.node(NODE)["status"]) == (0, "changed"), first.err
    second = node1.nodeproof("apply", "--yes", "--json")
    assert (second.code, second.changed(NODE)) == (0, [])


def test_node_is_proven(node1: Project) -> None:
    proven = node1.nodeproof("verify", "--json")
    assert (proven.code, proven.failing(NODE)) == (0, [])
    assert any(check["verdict"] == "passed" for check in proven.node(NODE)["checks"])


def test_vagrant_still_gets_in(node1: Project) -> None:
    assert "vagrant" in node1.vagrant("ssh", "node1", "--command", "id -un")
