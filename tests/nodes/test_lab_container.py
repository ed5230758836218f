"""Container nodes: what they promise, and that nothing of them stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeproof.errors import UnreachableError
from nodeproof.lab import ContainerNode, bridge, containers, lease, nspawn
from tests.nodes.conftest import PREINSTALL

pytestmark = [
    pytest.mark.nodes,
    pytest.mark.skipif(os.geteuid() != 0, reason="container nodes need root"),
]


def traces() -> set[str]:
    """What container nodes leave on a host while they run, by kind."""
    mounts = Path("/proc/mounts").read_text().splitlines()
    found = {line.split()[1] for line in mounts if ".containers" in line}
    found |= {path.name for path in Path("/sys/class/net").glob("*nodeproof*")}
    found |= {str(path) for root in nspawn.hierarchies() for path in root.glob("nodeproof*")}
    rules = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    found |= {line for line in rules.stdout.splitlines() if "nodeproof" in line}
    found |= {path.name for path in lease.FOLDER.glob("*.json")}
    return found


def sysctls() -> dict[str, str]:
    return {key: Path("/proc/sys", key).read_text() for key in bridge.SYSCTLS}


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[ContainerNode]]:
    # The first node takes back what earlier, killed runs left on this host: not this test's matter.
    with containers(["first"], preinstall=PREINSTALL):
        pass
    before, settings = traces(), sysctls()
    with containers(["c1", "c2"], preinstall=PREINSTALL) as running:
        assert traces() > before
        folders = [node.folder for node in running]
        yield running
    assert traces() == before
    assert before or sysctls() == settings
    assert not any(folder.exists() for folder in folders)


def test_nodes_are_different_and_see_each_other(nodes: list[ContainerNode]) -> None:
    seen = [node.ssh("hostname; cat /etc/ssh/*.pub; cat /etc/machine-id").stdout for node in nodes]
    assert [text.split()[0] for text in seen] == ["c1", "c2"]
    assert not set(seen[0].splitlines()) & set(seen[1].splitlines())
    nodes[0].ssh("ping -c 1 -W 5 c2")


def test_another_host_key_is_refused(nodes: list[ContainerNode]) -> None:
    one, two = nodes
    own = one.known_hosts.read_text()
    one.known_hosts.write_text(two.known_hosts.read_text().replace(two.address, one.address))
    try:
        with pytest.raises(UnreachableError, match="exit status 255"):
            one.ssh("true")
    finally:
        one.known_hosts.write_text(own)


def test_a_system_runs_in_it(nodes: list[ContainerNode]) -> None:
    assert nodes[0].ssh("systemctl is-system-running --wait", check=False).stdout == "running\n"
    assert nodes[0].ssh("sudo whoami").stdout == "root\n"


def test_apt_works_in_it(nodes: list[ContainerNode]) -> None:
    nodes[0].ssh("sudo apt-get update -q -o APT::Update::Error-Mode=any")


def test_stopped_and_started_it_keeps_its_files(nodes: list[ContainerNode]) -> None:
    node = nodes[1]
    node.ssh("sudo touch /kept")
    node.stop()
    assert not node.running
    with pytest.raises(UnreachableError):
        node.ssh("true", timeout=5)
    node.start()
    node.wait()
    node.ssh("test -e /kept")


def test_what_a_killed_process_left_is_taken_back(nodes: list[ContainerNode]) -> None:
    code = (
        "import os, signal\n"
        "from nodeproof.lab import containers\n"
        f"with containers(['left'], preinstall={PREINSTALL}) as (node,):\n"
        "    print(node.address, node.folder, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    address, folder = killed.stdout.split()
    assert Path(folder, "root").is_mount()
    with containers(["next"], preinstall=PREINSTALL) as (node,):
        assert node.address == address
        assert not Path(folder).parent.exists()
    nodes[0].ssh("true")
