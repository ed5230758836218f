"""The intel layer on a node that becomes an image for GPUs, or for Gaudi: from install to revert.

The root says it is Ubuntu 24.04; what is not real is the distribution around apt and dpkg, which is
a Debian. A container has no accelerator and no kernel of its own, and nobody pretends that it had:
`intel.image` says which machines the packages are for. They come from signed repositories with
Intel's layout. What DKMS would say of the modules, a stand-in says.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodeproof.lab import ContainerNode, containers
from nodeproof.lab.bridge import GATEWAY
from tests.breaks import break_each
from tests.nodes.test_gpu_layer_ubuntu import OS_RELEASE
from tests.repositories import intel
from tests.repositories.apt import AptFolder
from tests.repositories.pool import AptPool
from tests.repositories.server import Server
from tests.repositories.signing import make_key, stop_agent
from tests.support import Done, nodeproof, write_inventory

pytestmark = [pytest.mark.nodes, pytest.mark.xdist_group("intel-layer")]

INSTALL = "intel | Install Intel's driver and software"
BUILT_WITH = "intel | Install what Intel's driver is built with"
GUARD = "intel | Guard Intel's driver and software"
GPU, GAUDI = ("8086:0bd5", "gpu"), ("1da3:1060", "gaudi")
DKMS = f"""#!/bin/sh
for conf in /usr/src/intel-i915-dkms-*/dkms.conf /usr/src/habanalabs-*/dkms.conf; do
  [ -e "$conf" ] && [ ! -e /run/not-built ] || continue
  . "$conf"; echo "$PACKAGE_NAME/$PACKAGE_VERSION, {intel.KERNEL}, x86_64: installed"
done
"""
STATE = r"""
find /etc /usr/src /usr/lib/systemd ! -name '*.cache' ! -name 'ld.so*' -type f -exec sha256sum {} +
find /etc /usr/src -printf '%p %y %m %U %G %l\n'
dpkg-query -W -f '${Package} ${db:Status-Abbrev} ${Version}\n'
apt-mark showhold; apt-mark showmanual | sed 's/^/manual /'; getent group
systemctl list-unit-files --no-legend | grep -v transient
"""


class Scene:
    """A node, the repositories that it reaches, and what is asked of it."""

    def __init__(self, node: ContainerNode, folder: Path, server: Server, key: str) -> None:
        self.node, self.folder, self.server, self.key = node, folder, server, key

    def asked(self, kind: tuple[str, str], **more: Any) -> Path:
        """Return an inventory for machines with a kind of accelerator."""
        device, name = kind
        uri = f"{self.server.url}/{name}/"
        settings = {
            "image": {"gpus": [device], "kernel": intel.KERNEL},
            "repository_uri": uri,
            "repository_key": self.key,
            "repository_key_uri": f"{uri}vendor.pub",
            **more,
        }
        return write_inventory(self.folder, [self.node], {"intel": settings})

    def run(self, command: str, kind: tuple[str, str], **more: Any) -> Done:
        """Plan, apply or verify it."""
        yes = ["--yes"] if command == "apply" else []
        return nodeproof(command, self.asked(kind, **more), *yes, "--json")

    def changed(self, done: Done) -> list[str]:
        """Return what was changed, or would be; nothing may have gone wrong."""
        assert done.code == 0, done.out + done.err
        return done.changed(self.node.name)

    def refused(self, done: Done) -> str:
        """Return why it was refused."""
        assert done.code == 4, done.out + done.err
        reason: str = done.node(self.node.name)["reason"]
        return reason

    def failing(self, kind: tuple[str, str], **more: Any) -> set[str]:
        """Return the checks that fail."""
        done = self.run("verify", kind, **more)
        assert done.out, done.err
        assert done.json["nodes"], done.err
        return set(done.failing(self.node.name))

    def reverted(self, done: Done, kind: tuple[str, str]) -> None:
        """Take a run back."""
        back = nodeproof("revert", done.json["run"], self.asked(kind), "--yes", "--json")
        assert back.code == 0, back.out + back.err

    def sh(self, script: str) -> str:
        """Run a script as root and return what it printed."""
        done = self.node.ssh("sudo sh", stdin=script, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def write(self, path: str, content: bytes, mode: str = "644") -> None:
        """Write a file."""
        text = base64.b64encode(content).decode()
        self.sh(f"echo {text} | base64 -d >{path} && chmod {mode} {path}")

    def state(self) -> set[str]:
        """Return what the layer could change: settings, units, groups, packages."""
        return set(self.sh(STATE).splitlines())

    def version(self, package: str) -> str:
        """Return the version of a package that is installed, and of nothing that is not."""
        return self.sh(f"dpkg-query -W -f '${{Version}}' {package}")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A node beside Intel's repositories, and a distribution that has some of the packages, too."""
    folder = tmp_path_factory.mktemp("intel")
    (folder / "www").mkdir()
    key = make_key(folder, "good")
    # The bridge, and with it the address, is there when a node is.
    with containers(["u24-intel"], "debian-13") as (node,):
        server = Server(folder / "www", GATEWAY)
        suite, www = "noble/lts/2523", server.folder
        lts = AptPool(www / "gpu", key, suite=suite, component="unified", origin="Intel")
        lts.publish(intel.gpu())
        vault = AptPool(www / "gaudi", key, suite="noble", origin="Artifactory")
        vault.publish([*intel.gaudi(intel.OLD), *intel.gaudi(intel.NEW)])
        AptFolder(www / "ubuntu", key).publish(intel.of_the_distribution())
        server.start()
        (node.root / "etc/os-release").unlink()
        (node.root / "etc/os-release").write_text(OS_RELEASE)
        scene = Scene(node, folder, server, key.fingerprint)
        scene.write("/etc/apt/sources.list", f"deb [trusted=yes] {server.url}/ubuntu/ /\n".encode())
        scene.sh("rm -rf /etc/apt/sources.list.d/*; apt-get -q update")
        scene.sh("groupadd -f --system render; useradd ada; usermod -aG video,render games")
        scene.write("/usr/local/sbin/dkms", DKMS.encode(), "755")
        yield scene
        server.stop()
    stop_agent(key)


def test_refused_before_the_first_change(scene: Scene) -> None:
    bare = scene.refused(scene.run("apply", GPU, image=None))
    assert "on a container no driver is installed" in bare
    assert "intel.image" in bare
    arc = {"gpus": ["8086:e211"], "kernel": intel.KERNEL}
    assert "is not for Arc Pro B60" in scene.refused(scene.run("apply", GPU, image=arc))
    newer = {"gpus": ["8086:0bd5"], "kernel": "6.17.0-14-generic"}
    assert "is for Linux 6.8" in scene.refused(scene.run("apply", GPU, image=newer))
    unknown = scene.refused(scene.run("apply", GAUDI, repository_key=None, repository_uri=None))
    assert "the key of gaudi-noble is not in the catalog" in unknown
    beyond = scene.refused(scene.run("apply", GAUDI, release="1.25"))
    assert "no release of Intel's 1.25 is in the catalog" in beyond
    wrong = scene.refused(scene.run("apply", GPU, repository_key="A" * 40))
    assert f"is {scene.key}, pinned is {'A' * 40}" in wrong
    scene.sh("echo blacklist i915 >/etc/modprobe.d/no.conf")
    assert "blacklist i915" in scene.refused(scene.run("apply", GPU))
    scene.sh("rm /etc/modprobe.d/no.conf")
    assert "nodeproof" not in scene.sh("ls /etc/apt/sources.list.d /etc/modprobe.d")


def test_gpus_software_through_its_life(scene: Scene) -> None:
    """Install, again, proven, without the driver, and all of it back."""
    bare = scene.state()
    assert {BUILT_WITH, INSTALL} <= {*scene.changed(scene.run("plan", GPU))}
    first = scene.run("apply", GPU, users=["ada"])
    assert {BUILT_WITH, INSTALL} <= {*scene.changed(first)}
    # Not the distribution's, whose number is higher, and nothing that nobody asked for.
    assert scene.version("libze1") == "1.21.9-1~24.04"
    assert not scene.version("hostname").startswith("99")
    assert scene.sh("getent group render video | cut -d: -f4").split() == ["ada", "ada"]
    again = scene.run("apply", GPU, users=["ada"])
    assert scene.changed(again) == []
    assert scene.failing(GPU, users=["ada"]) == set()
    assert scene.failing(GPU, users=["ada"], driver="kernel") == {
        "driver_is_the_kernels_own",
        "updates_leave_it_whole",
    }
    own = scene.run("apply", GPU, users=["ada"], driver="kernel")
    assert scene.changed(own) == [INSTALL, GUARD]
    assert "intel-i915-dkms" not in scene.sh("dpkg-query -W -f '${Package}\\n'")
    assert scene.failing(GPU, users=["ada"], driver="kernel") == set()
    for done in (own, first):
        scene.reverted(done, GPU)
    assert scene.state() ^ bare == set()


def test_gaudis_release_through_its_life(scene: Scene) -> None:
    """Install the older, the newer in its place, refuse to go back unless that is meant."""
    bare = scene.state()
    first = scene.run("apply", GAUDI, release="1.23")
    assert {BUILT_WITH, INSTALL} <= {*scene.changed(first)}
    assert scene.version("habanalabs-dkms") == intel.OLD
    assert scene.failing(GAUDI, release="1.23") == set()
    assert scene.failing(GAUDI) == {"packages_are_the_releases"}
    newer = scene.run("apply", GAUDI, extras=["tools", "containers"])
    assert scene.changed(newer) == [INSTALL, GUARD]
    held = scene.sh("apt-mark showhold").split()
    assert {scene.version(one) for one in held} == {intel.NEW}
    assert "habanalabs-container-runtime" in held
    assert scene.changed(scene.run("apply", GAUDI, extras=["tools", "containers"])) == []
    assert scene.failing(GAUDI, extras=["tools", "containers"]) == set()
    back = scene.run("apply", GAUDI, release="1.23")
    assert back.code != 0
    assert "habanalabs-dkms" in back.out
    assert scene.version("habanalabs-dkms") == intel.NEW
    for done in (newer, first):
        scene.reverted(done, GAUDI)
    assert scene.state() ^ bare == set()


SOURCES = "/etc/apt/sources.list.d/nodeproof-gaudi.sources"
STATUS = "/var/lib/dpkg/status"
BREAKS = {
    "hold taken off": (
        "apt-mark unhold habanalabs-thunk",
        "apt-mark hold habanalabs-thunk",
        {"packages_held"},
    ),
    "one package of another release": (
        f"sed -i '/^Package: habanalabs-thunk$/,/^$/s/^Version: .*/Version: {intel.OLD}/' {STATUS}",
        f"sed -i '/^Package: habanalabs-thunk$/,/^$/s/^Version: .*/Version: {intel.NEW}/' {STATUS}",
        {"packages_are_the_releases", "updates_leave_it_whole"},
    ),
    "package removed": (
        "apt-mark unhold habanalabs-rdma-core && dpkg -r habanalabs-rdma-core",
        "apt-get -q -y install habanalabs-rdma-core && apt-mark hold habanalabs-rdma-core",
        {"packages_are_the_releases", "packages_held", "updates_leave_it_whole"},
    ),
    "driver that did not compile": (
        "touch /run/not-built",
        "rm /run/not-built",
        {"driver_is_built_for_the_kernel", "updates_leave_it_whole"},
    ),
    "driver kept away": (
        "echo blacklist habanalabs >/etc/modprobe.d/no.conf",
        "rm /etc/modprobe.d/no.conf",
        {"driver_is_not_kept_away"},
    ),
    "guard taken away": (
        "mv /etc/nodeproof/update-guard.d/intel.conf /run",
        "mv /run/intel.conf /etc/nodeproof/update-guard.d",
        {"updates_leave_it_whole"},
    ),
    "repository trusted without a key": (
        f"sed -i.old 's/^Signed-By:.*/Trusted: yes/' {SOURCES}",
        f"mv {SOURCES}.old {SOURCES}",
        {"repository_trusts_the_pinned_key_only"},
    ),
}


def test_every_check_can_fail(scene: Scene) -> None:
    """Each thing that a check is about, broken and mended; then another kernel, and all back."""
    done = scene.run("apply", GAUDI)
    assert scene.changed(done)
    assert scene.failing(GAUDI) == set()
    break_each(BREAKS, scene.sh, lambda: scene.failing(GAUDI))
    kernel = {"gpus": ["1da3:1060"], "kernel": "6.17.0-14-generic"}
    assert scene.failing(GAUDI, image=kernel) == {
        "release_is_one_that_the_catalog_allows",
        "driver_is_built_for_the_kernel",
    }
    scene.reverted(done, GAUDI)
    gpus = scene.run("apply", GPU, users=["ada"])
    scene.sh("gpasswd -a games render")
    assert scene.failing(GPU, users=["ada"]) == {"only_these_users_use_gpus[render]"}
    scene.reverted(gpus, GPU)
