"""The rocm layer on a node that becomes an image for MI300X: install, keep, add, switch, take back.

A container has no GPU and no kernel of its own, and nobody pretends that it had: `rocm.image` says
which machines the packages are for. They come from signed repositories with AMD's layout, a driver
a repository and a release a repository. What DKMS would say of the module, a stand-in says.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodeproof.catalog.overlay import VARIABLE
from nodeproof.lab import ContainerNode, containers
from nodeproof.lab.bridge import GATEWAY
from tests.breaks import break_each
from tests.repositories import amd, layer_scene
from tests.repositories.pool import AptPool
from tests.repositories.server import Server
from tests.repositories.signing import make_key, stop_agent
from tests.support import Done

pytestmark = [pytest.mark.nodes, pytest.mark.xdist_group("rocm-layer")]

KERNEL = "6.1.0-50-amd64"
DRIVER, ROCM = "rocm | Install AMD's driver", "rocm | Install ROCm"
DEFAULT = "rocm | Make the first release the default"
MATRIX = """
["rocm_releases"."10.0"]
layout = "core"
driver = "31.50"
targets = ["gfx942"]
packages = ["amdrocm10.0"]
sources = ["rocm-install"]
systems = { debian-12 = { kernels = ["6.1"] } }
repositories = { debian-12 = "rocm-10_0-debian12" }
driver_repositories = { debian-12 = "amdgpu-31_50-jammy" }
"""
"""The shipped catalog has no matrix of 10.0, so that nothing could stand beside 7.14."""
DKMS = f"""#!/bin/sh
for conf in /usr/src/amdgpu-*/dkms.conf; do
  [ -e "$conf" ] && [ ! -e /run/not-built ] || continue
  version=${{conf#/usr/src/amdgpu-}}; echo "amdgpu/${{version%/*}}, {KERNEL}, x86_64: installed"
done
"""
STATE = r"""
find /etc /usr/src /usr/lib/systemd ! -name '*.cache' ! -name 'ld.so*' -type f -exec sha256sum {} +
find /etc /usr/src -printf '%p %y %m %U %G %l\n'
find /opt -mindepth 1 2>/dev/null
dpkg-query -W -f '${Package} ${db:Status-Abbrev} ${Version}\n'
apt-mark showhold; apt-mark showmanual | sed 's/^/manual /'; getent group
systemctl list-unit-files --no-legend | grep -v transient
"""


class Scene(layer_scene.Scene):
    """A node, the repositories that it reaches, and what is asked of it."""

    looks = STATE

    def __init__(self, node: ContainerNode, folder: Path, server: Server, key: str) -> None:
        super().__init__(node, folder)
        self.server, self.key = server, key

    def source(self, name: str) -> dict[str, str]:
        """Return where a repository is, and its key."""
        uri = f"{self.server.url}/{name}"
        return {"uri": uri, "key": self.key, "key_uri": f"{uri}/vendor.pub"}

    def run(self, command: str, *releases: str, **more: Any) -> Done:
        """Plan, apply or verify releases; the driver is that of the first."""
        driver = {"10.0": "31.50", "6.4": "6.4.4"}.get(releases[0], "31.40")
        settings = {
            "releases": [*releases],
            "image": {"gpus": ["1002:74a1"], "kernel": KERNEL},
            "sources": {
                "driver": self.source(f"amdgpu-{driver}"),
                **{name: self.source(f"rocm-{name}") for name in ("6.4", "7.14", "10.0")},
            },
            **more,
        }
        return self.do(command, {"rocm": settings})

    def failing(self, *releases: str, **more: Any) -> set[str]:
        """Return the checks that fail."""
        return self.failed(self.run("verify", *releases, **more))

    def write(self, path: str, content: bytes, mode: str = "644") -> None:
        """Write a file."""
        text = base64.b64encode(content).decode()
        self.sh(f"echo {text} | base64 -d >{path} && chmod {mode} {path}")

    def version(self, package: str) -> str:
        """Return the version of a package that is installed, and of nothing that is not."""
        return self.sh(f"dpkg-query -W -f '${{Version}}' {package}")

    def default(self) -> str:
        """Return the release to which /opt/rocm leads."""
        return self.sh("readlink -e /opt/rocm/bin /opt/rocm/lib /opt/rocm/core")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A node beside AMD's repositories; the distribution's headers are there already."""
    folder = tmp_path_factory.mktemp("rocm")
    (folder / "www").mkdir()
    (folder / "catalog").mkdir()
    (folder / "catalog" / "rocm.toml").write_text(MATRIX)
    key = make_key(folder, "good")
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(folder / "catalog")
    # The bridge, and with it the address, is there when a node is.
    with containers(["d12-rocm"], "debian-12", preinstall=("unattended-upgrades",)) as (node,):
        server = Server(folder / "www", GATEWAY)
        for name, suite, packages in (
            ("amdgpu-31.40", "jammy", amd.driver(amd.OLD)),
            ("amdgpu-31.50", "jammy", amd.driver(amd.NEWER)),
            ("amdgpu-6.4.4", "jammy", amd.old_driver()),
            ("rocm-6.4", "jammy", amd.old_rocm("6.4.4")),
            ("rocm-7.14", "stable", amd.rocm("7.14", "12")),
            ("rocm-10.0", "stable", amd.rocm("10.0", "3")),
        ):
            AptPool(server.folder / name, key, suite=suite).publish(packages)
        server.start()
        scene = Scene(node, folder, server, key.fingerprint)
        scene.write("/run/h.deb", amd.headers(KERNEL).built())
        scene.sh("dpkg -i /run/h.deb; touch /etc/apt/sources.list")  # as unattended-upgrade does
        scene.sh("groupadd -f --system render; useradd ada; usermod -aG video,render games")
        scene.write("/usr/local/sbin/dkms", DKMS.encode(), "755")
        yield scene
        server.stop()
    os.environ.pop(VARIABLE) if before is None else os.environ.update({VARIABLE: before})
    stop_agent(key)


def test_refused_before_the_first_change(scene: Scene) -> None:
    bare = scene.refused(scene.run("apply", "7.14", image=None))
    assert "on a container no driver is installed" in bare
    assert "rocm.image" in bare
    unknown = scene.refused(scene.run("apply", "7.14", sources={}))
    assert "the key of rocm-7_14-debian12 is not in the catalog" in unknown
    secure = {"gpus": ["1002:74a1"], "kernel": KERNEL, "secure_boot": True}
    assert "Secure Boot is on" in scene.refused(scene.run("apply", "7.14", image=secure))
    layouts = scene.refused(scene.run("apply", "7.14", "6.4"))
    assert "ROCm 7.14 and 6.4 cannot be side by side" in layouts
    other = {**scene.source("rocm-7.14"), "key": "A" * 40}
    sources = {"driver": scene.source("amdgpu-31.40"), "7.14": other}
    wrong = scene.refused(scene.run("apply", "7.14", sources=sources))
    assert f"is {scene.key}, pinned is {'A' * 40}" in wrong
    scene.sh("echo blacklist amdgpu >/etc/modprobe.d/no.conf")
    assert "blacklist amdgpu" in scene.refused(scene.run("apply", "7.14"))
    scene.sh("rm /etc/modprobe.d/no.conf")
    assert "nodeproof" not in scene.sh("ls /etc/apt/sources.list.d /etc/modprobe.d")


def test_releases_through_their_life(scene: Scene) -> None:
    """Install, again, proven, another driver, a release beside it, its turn, and all of it back."""
    bare = scene.state()
    assert {DRIVER, ROCM} <= {*scene.changed(scene.run("plan", "7.14"))}
    first = scene.run("apply", "7.14")
    assert {DRIVER, ROCM} <= {*scene.changed(first)}
    assert scene.version("amdgpu-dkms") == amd.OLD
    assert "/core-10.0/" not in scene.default()
    again = scene.run("apply", "7.14")
    assert scene.changed(again) == []
    assert again.node(scene.node.name)["round_trips"] <= 26
    assert scene.failing("7.14") == set()

    scene.sh("unattended-upgrade -v --debug; echo $?")
    beside = scene.run("apply", "7.14", "10.0")
    assert {ROCM, DEFAULT} <= {*scene.changed(beside)}
    assert DRIVER not in scene.changed(beside)
    assert scene.version("amdgpu-dkms") == amd.OLD
    assert scene.default().count("/opt/rocm/core-7.14") == 3
    assert scene.failing("7.14", "10.0") == set()
    assert scene.changed(scene.run("apply", "7.14", "10.0")) == []
    turned = scene.run("apply", "10.0", "7.14")
    assert {DRIVER, DEFAULT} <= {*scene.changed(turned)}
    assert ROCM not in scene.changed(turned)
    assert scene.version("amdgpu-dkms") == amd.NEWER
    assert scene.default().count("/opt/rocm/core-10.0") == 3
    assert scene.failing("10.0", "7.14") == set()
    assert scene.changed(scene.run("apply", "10.0", "7.14")) == []
    back = scene.refused(scene.run("apply", "7.14", "10.0"))
    assert "driver 31.50.0 is installed, and 31.40.1 is older" in back

    scene.back(turned, beside, first)
    assert scene.state() ^ bare == set()


def test_release_of_the_old_layout(scene: Scene) -> None:
    """Its number is in the names of all its packages, and libraries of the driver belong to it."""
    bare = scene.state()
    done = scene.run("apply", "6.4")
    assert {DRIVER, ROCM} <= {*scene.changed(done)}
    assert scene.sh("readlink -e /opt/rocm").split() == ["/opt/rocm-6.4.4"]
    assert scene.version("rocm6.4.4") == "6.4.4.60404-129~22.04"
    assert "rocm\n" not in scene.sh("dpkg-query -W -f '${Package}\\n'")
    assert scene.failing("6.4") == set()
    assert scene.changed(scene.run("apply", "6.4")) == []
    assert "has to go first: rocm-core6.4.4" in scene.refused(scene.run("apply", "7.14"))
    scene.back(done)
    assert scene.state() ^ bare == set()


SOURCES = "/etc/apt/sources.list.d/nodeproof"
BREAKS = {
    "hold taken off": (
        "apt-mark unhold amdgpu-dkms",
        "apt-mark hold amdgpu-dkms",
        {"packages_held"},
    ),
    "driver that did not compile": (
        "touch /run/not-built",
        "rm /run/not-built",
        {"driver_is_built_for_the_kernel", "updates_leave_it_whole"},
    ),
    "driver of another release": (
        "sed -i '/^Package: amdgpu-dkms-firmware$/,/^$/s/^Version: .*/Version: 31.50.0.0.1-1/' "
        "/var/lib/dpkg/status",
        "sed -i '/^Package: amdgpu-dkms-firmware$/,/^$/s/^Version: .*/Version: "
        f"{amd.firmware(amd.OLD)}/' /var/lib/dpkg/status",
        {"driver_is_the_first_releases", "updates_leave_it_whole"},
    ),
    "release removed": (
        "apt-mark unhold amdrocm7.14 && dpkg -r amdrocm7.14",
        "apt-get -q -y install amdrocm7.14 && apt-mark hold amdrocm7.14",
        {"releases_are_installed", "packages_held", "updates_leave_it_whole"},
    ),
    "another default": (
        "ln -sfn /opt/rocm/core-6.9/bin /etc/alternatives/rocm-bin",
        "update-alternatives --auto rocm-bin",
        {"default_release_is_the_first"},
    ),
    "driver kept away": (
        "echo blacklist amdgpu >/etc/modprobe.d/no.conf",
        "rm /etc/modprobe.d/no.conf",
        {"driver_is_not_kept_away"},
    ),
    "another file sets an option": (
        "echo options amdgpu noretry=1 >/etc/modprobe.d/zz.conf",
        "rm /etc/modprobe.d/zz.conf",
        {"module_options_configured"},
    ),
    "unit not started": (
        "systemctl disable nodeproof-rocm",
        "systemctl enable nodeproof-rocm",
        {"gpus_divided_at_boot"},
    ),
    "guard switched off": (
        """echo 'Nodeproof::UpdateGuard "off";' >/etc/apt/apt.conf.d/99off""",
        "rm /etc/apt/apt.conf.d/99off",
        {"updates_leave_it_whole"},
    ),
    "repository trusted without a key": (
        f"sed -i.old 's/^Signed-By:.*/Trusted: yes/' {SOURCES}-amdgpu.sources",
        f"mv {SOURCES}-amdgpu.sources.old {SOURCES}-amdgpu.sources",
        {"repositories_trust_the_pinned_keys_only"},
    ),
    "somebody else let in": (
        "gpasswd -a games render",
        "gpasswd -d games render",
        {"only_these_users_use_gpus[render]"},
    ),
    "GPUs open to all": (
        "mkdir -p /etc/udev/rules.d; cd /etc/udev/rules.d; "
        """echo 'KERNEL=="kfd", GROUP="render", MODE="0666"' >70-amdgpu.rules""",
        "rm /etc/udev/rules.d/70-amdgpu.rules",
        {"no_rule_opens_gpus_to_all"},
    ),
}


def test_every_check_can_fail(scene: Scene) -> None:
    """Each thing that a check is about, broken and mended; then all of it taken back."""
    more = {
        "users": ["ada"],
        "xnack": True,
        "compute_partition": "cpx",
        "memory_partition": "nps4",
    }
    done = scene.run("apply", "7.14", **more)
    assert scene.changed(done)
    assert scene.sh("getent group render video | cut -d: -f4").split() == ["ada", "ada"]
    assert scene.failing("7.14", **more) == set()
    break_each(BREAKS, scene.sh, lambda: scene.failing("7.14", **more))
    assert {"releases_are_installed", "driver_is_the_first_releases"} <= scene.failing(
        "10.0", **more
    )
    assert scene.failing("7.14", **{**more, "sources": {}}) >= {
        "releases_are_ones_that_the_catalog_allows"
    }
    own = scene.failing("7.14", **more, driver="kernel")
    assert own == {"driver_is_the_kernels_own", "updates_leave_it_whole"}
    assert ROCM in scene.changed(scene.run("apply", "7.14", **more, driver="kernel"))
    assert scene.failing("7.14", **more, driver="kernel") == set()
    left = scene.changed(scene.run("apply", "7.14", driver="kernel"))
    assert "rocm | Remove what divided the GPUs at boot" in left
    assert "rocm | Leave the module's options alone" in left
    assert scene.changed(scene.run("apply", "7.14", driver="kernel")) == []
