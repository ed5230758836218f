"""The updates layer with real unattended-upgrades, beside a security suite of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import dkms_module
from tests.manifest import differences, manifest
from tests.repositories import layer_scene
from tests.repositories.deb import Package
from tests.repositories.pool import AptPool
from tests.repositories.server import Server
from tests.repositories.signing import Key, make_key, stop_agent
from tests.support import Done, nodeproof, write_inventory

from nodeproof.lab import ContainerNode, containers
from nodeproof.lab.bridge import GATEWAY

pytestmark = [pytest.mark.nodes, pytest.mark.xdist_group("updates-layer")]

PREINSTALL = ("unattended-upgrades", "needrestart", "dkms", "linux-headers-cloud-amd64")
ASKED = {"window": "Sat,Sun 22:00-04:00", "exclude": ["np-excluded"], "mail": "root"}
OLD, NEW = "1.0-1", "1.0-1+deb13u1"
ORDINARY, LAST = "np-ordinary", "np-zlast"
"""One before and one after kernels, by their names."""
DRIVER = "nvidia-driver-cuda"
INSTALLED = [ORDINARY, LAST, DRIVER, "np-excluded"]
UPGRADE = "systemctl start apt-daily-upgrade.service; journalctl -q -o cat -u apt-daily-upgrade"


class Scene(layer_scene.Scene):
    """The node and the security suite."""

    def __init__(self, node: ContainerNode, folder: Path, suite: AptPool) -> None:
        super().__init__(node, folder)
        self.suite = suite

    def run(self, command: str, **asked: Any) -> Done:
        """Plan, apply or verify the layer."""
        return self.do(command, {"updates": {**ASKED, **asked}, "roles": ["slurm"]})

    def versions(self, *names: str) -> dict[str, str]:
        """Return the versions of what is installed of these."""
        listed = self.sh("dpkg-query -W -f '${db:Status-Status}|${Package}|${Version}\\n'")
        rows = (line.split("|") for line in listed.splitlines())
        return {name: v for state, name, v in rows if state == "installed" and name in names}

    def offer(self, *packages: Package) -> None:
        """Have the security suite offer these, and the node know."""
        self.suite.publish([*(Package(name, NEW) for name in INSTALLED), *packages])
        self.sh("apt-get update -q")


def sources(url: str, key: str) -> str:
    return (
        f"rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*; echo {key!r} >/dev/null\n"
        f"cat >/etc/apt/sources.list.d/security.sources <<'.'\nTypes: deb\nURIs: {url}\n"
        "Suites: trixie-security\nComponents: main\nSigned-By: /etc/apt/keyrings/test.asc\n.\n"
    )


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Key]:
    key = make_key(tmp_path_factory.mktemp("key"), "good")
    yield key
    stop_agent(key)


@pytest.fixture(scope="module")
def scene(key: Key, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("updates")
    (folder / "www").mkdir()
    with containers(["d13-updates"], "debian-13", preinstall=PREINSTALL) as (node,):
        server = Server(folder / "www", GATEWAY)
        suite = AptPool(
            server.folder, key, suite="trixie-security", origin="Debian", label="Debian-Security"
        )
        server.start()
        scene = Scene(node, folder, suite)
        scene.sh(f"install -d /etc/apt/keyrings; cat >/etc/apt/keyrings/test.asc <<'.'\n{key.public}.")
        suite.publish([Package(name, OLD) for name in INSTALLED])
        scene.sh(sources(server.url, ""))
        scene.sh(f"apt-get update -q; apt-get install -yq {' '.join(INSTALLED)}")
        scene.sh(f"apt-mark hold {DRIVER}")
        yield scene
        server.stop()
