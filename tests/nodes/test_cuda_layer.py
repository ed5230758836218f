"""The cuda layer on a node without a GPU, alone and with the gpu layer that makes an image.

The packages come from a signed repository with the vendor's names; what the driver supports is said
by a program in nvidia-smi's place, because a container has no driver.
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
from tests.repositories import cuda, gpu, layer_scene
from tests.repositories.apt import AptFolder
from tests.repositories.server import Server
from tests.repositories.signing import make_key, stop_agent
from tests.support import Done

pytestmark = [pytest.mark.nodes, pytest.mark.xdist_group("cuda-layer")]

KERNEL = "6.1.0-50-amd64"
MODULES = "/usr/share/modules/modulefiles"
INSTALL = "cuda | Install the toolkits"
DEFAULT = "cuda | Choose the default toolkit"
ALL = {
    "toolkits": ["12.9", "13.1"], "default": "13.1", "cudnn": True, "nccl": True,
    "modulefiles": MODULES, "profile": True,
}  # fmt: skip

STATE = rf"""
find /etc /usr/local {MODULES} ! -name '*.cache' ! -name 'ld.so*' -type f -exec sha256sum {{}} +
find /etc /usr/local {MODULES} /var/lib/dpkg/alternatives -printf '%p %y %m %U %G %l\n'
dpkg-query -W -f '${{Package}} ${{db:Status-Abbrev}} ${{Version}}\n'
apt-mark showhold; apt-mark showmanual | sed 's/^/manual /'
"""
SMI = """cat >/usr/local/bin/nvidia-smi <<'END'
#!/bin/sh
echo '<?xml version="1.0" ?>'
echo '<nvidia_smi_log><driver_version>590.48.01</driver_version>'
echo '<cuda_version>13.1</cuda_version><attached_gpus>0</attached_gpus></nvidia_smi_log>'
END
chmod 755 /usr/local/bin/nvidia-smi
"""


class Scene(layer_scene.Scene):
    """A node, the repository that it reaches, and what is asked of it."""

    looks = STATE

    def __init__(self, node: ContainerNode, folder: Path, served: AptFolder, url: str) -> None:
        super().__init__(node, folder)
        self.served, self.url = served, url

    def run(self, command: str, gpu: dict[str, Any] | None = None, **asked: Any) -> Done:
        """Plan, apply or verify what is asked of both layers."""
        mirror = {
            "repository_uri": self.url,
            "repository_key": self.served.key.fingerprint,
            "repository_key_uri": f"{self.url}{self.served.key_file}",
        }
        layers: dict[str, Any] = {"cuda": mirror | asked}
        if gpu is not None:
            layers["gpu"] = gpu  # the mirror is said to one layer, and serves both
        return self.do(command, layers)

    def failing(self, **asked: Any) -> set[str]:
        """Return the checks that fail."""
        return self.failed(self.run("verify", **asked))

    def installed(self) -> dict[str, str]:
        """Return the versions of what is CUDA's."""
        listed = self.sh("dpkg-query -W -f '${db:Status-Status}|${Package}|${Version}\\n'")
        rows = (line.split("|") for line in listed.splitlines())
        ours = ("cuda-", "libcudnn", "libnccl")
        return {
            name: v for state, name, v in rows if state == "installed" and name.startswith(ours)
        }


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A node with Environment Modules beside a vendor's repository."""
    folder = tmp_path_factory.mktemp("cuda")
    (folder / "www").mkdir()
    key = make_key(folder, "good")
    # The bridge, and with it the address, is there when a node is.
    with containers(["d12-cuda"], "debian-12", preinstall=("environment-modules",)) as (node,):
        server = Server(folder / "www", GATEWAY)
        served = AptFolder(server.folder / "debian12", key)
        served.publish([*gpu.repository(), *cuda.repository()])
        server.start()
        scene = Scene(node, folder, served, f"{server.url}/debian12/")
        deb = base64.b64encode(gpu.headers(KERNEL).built()).decode()
        scene.sh(f"echo {deb} | base64 -d >/run/h.deb && dpkg -i /run/h.deb")
        yield scene
        server.stop()
    stop_agent(key)


def test_refused_before_the_first_change(scene: Scene) -> None:
    unknown = scene.refused(scene.run("apply", toolkits=["99"]))
    assert "no CUDA toolkit 99 is in the catalog" in unknown
    other = scene.refused(scene.run("apply", toolkits=["13.1"], default="12.9"))
    assert "default is 12.9, and the toolkits are 13.1" in other
    scene.sh("mkdir /usr/local/cuda")
    there = scene.refused(scene.run("apply"))
    assert "/usr/local/cuda is a directory that another installer made" in there
    scene.sh("rmdir /usr/local/cuda")
    wrong = scene.refused(scene.run("apply", repository_key="A" * 40))
    assert f"is {scene.served.key.fingerprint}, pinned is {'A' * 40}" in wrong
    assert "nodeproof" not in scene.sh("ls /etc/apt/sources.list.d")


def test_toolkits_through_their_life(scene: Scene) -> None:
    """Install, again, proven, another default, more of them, and all of it back."""
    bare = scene.state()
    older = ALL | {"default": "12.9"}
    planned = scene.changed(scene.run("plan", **older))
    first = scene.run("apply", **older)
    assert scene.changed(first) == planned
    assert {INSTALL, DEFAULT} <= {*planned}
    has = scene.installed()
    assert has["cuda-toolkit-12-9"] == "12.9.1-1"
    assert has["cuda-toolkit-13-1"] == "13.1.1-1"
    assert has["libnccl2"] == "2.28.9-1+cuda12.9"
    assert "libcudnn9-cuda-12" in has
    assert scene.sh("readlink -f /usr/local/cuda").strip() == "/usr/local/cuda-12.9"
    again = scene.run("apply", **older)
    assert scene.changed(again) == []
    assert again.node(scene.node.name)["round_trips"] <= 18
    assert scene.failing(**older) == set()

    scene.sh("apt-get -qq install cuda-cudart-13-4 >/dev/null 2>&1")
    assert scene.failing(**older) == set(), "alternatives moved with a package"
    scene.sh("apt-get -qq autoremove --purge cuda-cudart-13-4 >/dev/null 2>&1")

    switch = scene.run("apply", **ALL)
    assert scene.changed(switch) == [
        INSTALL,
        DEFAULT,
        "cuda | Write which modulefile is the default",
    ]
    has = scene.installed()
    assert has["libnccl2"] == has["libnccl-dev"] == "2.28.9-1+cuda13.0"
    assert {name for name in has if "cudnn" in name} == {
        *("libcudnn9-cuda-13", "libcudnn9-dev-cuda-13", "libcudnn9-headers-cuda-13"),
    }
    assert scene.failing(**ALL) == set()
    assert scene.changed(scene.run("apply", **ALL)) == []

    scene.back(switch, first)
    assert scene.state() ^ bare == set()


def test_both_layers_share_one_repository(scene: Scene) -> None:
    """In whichever order they come, the file is the same, and the second apply changes nothing."""
    image = {"gpus": ["10de:2330"], "nvswitches": 4, "kernel": KERNEL}
    driver = {"driver": "580", "image": image}
    asked = {"toolkits": ["12"], "parts": "build"}
    alone = scene.run("apply", **asked)
    assert INSTALL in scene.changed(alone)
    together = scene.changed(scene.run("apply", gpu=driver, **asked))
    assert "gpu | Install the driver with all that belongs to it" in together
    assert not {one for one in together if "repository" in one or one.startswith("cuda |")}
    assert scene.changed(scene.run("apply", gpu=driver, **asked)) == []
    assert scene.failing(gpu=driver, **asked) == set()
    assert scene.changed(scene.run("apply", **asked)) == []
    newer = scene.refused(
        scene.run("apply", gpu=driver, toolkits=["13.1"], minor_version_compat=False)
    )
    assert "CUDA 13.1" in newer
    assert "minor_version_compat" in newer


LISTED = "/etc/apt/sources.list.d/nodeproof-cuda.sources"
STATUS = "/var/lib/dpkg/status"
BREAKS = {
    "toolkit gone": (
        "dpkg --force-all -r cuda-toolkit-12-9",
        "apt-get -qq install cuda-toolkit-12-9 >/dev/null 2>&1; apt-mark hold cuda-toolkit-12-9",
        {"toolkits_that_were_asked_for_are_there"},
    ),
    "compiler of another release": (
        "sed -i.old 's/release 12.9/release 11.8/' /usr/local/cuda-12.9/bin/nvcc",
        "cd /usr/local/cuda-12.9/bin; mv nvcc.old nvcc",
        {"compilers_are_of_their_toolkit"},
    ),
    "compiler gone": (
        "mv /usr/local/cuda-13.1/bin/nvcc /root/nvcc",
        "mv /root/nvcc /usr/local/cuda-13.1/bin/nvcc",
        {"compilers_are_of_their_toolkit", "login_shells_have_the_default_toolkit"},
    ),
    "another default": (
        "update-alternatives --set cuda /usr/local/cuda-12.9",
        "update-alternatives --set cuda /usr/local/cuda-13.1",
        {"default_toolkit_is_the_one_asked_for"},
    ),
    "default that moves": (
        "update-alternatives --auto cuda",
        "update-alternatives --set cuda /usr/local/cuda-13.1",
        {"default_toolkit_is_the_one_asked_for"},
    ),
    "driver of an older major release": (
        "sed -i.old 's/13[.]1</12.8</' /usr/local/bin/nvidia-smi",
        "mv /usr/local/bin/nvidia-smi.old /usr/local/bin/nvidia-smi",
        {"toolkits_are_not_newer_than_the_driver"},
    ),
    "driver that does not answer": (
        "mv /usr/local/bin/nvidia-smi /root/smi; ln -s /bin/false /usr/local/bin/nvidia-smi",
        "mv -f /root/smi /usr/local/bin/nvidia-smi",
        {"toolkits_are_not_newer_than_the_driver"},
    ),
    "version that the catalog has not": (
        f"cp {STATUS} /root/status; sed -i '/^Package: cuda-toolkit-12-9$/,/^$/"
        f"s/^Version: .*/Version: 12.9.9-1/' {STATUS}",
        f"cp /root/status {STATUS}",
        {"toolkits_are_ones_that_the_catalog_allows"},
    ),
    "hold taken off": (
        "apt-mark unhold libnccl2",
        "apt-mark hold libnccl2",
        {"packages_held"},
    ),
    "repository trusted without a key": (
        f"sed -i.old 's/^Signed-By:.*/Trusted: yes/' {LISTED}",
        f"mv {LISTED}.old {LISTED}",
        {"repository_trusts_the_pinned_key_only"},
    ),
    "compatibility package": (
        "apt-get -qq install cuda-compat-13-1 >/dev/null 2>&1; apt-mark hold cuda-compat-13-1",
        "apt-mark unhold cuda-compat-13-1; apt-get -qq purge cuda-compat-13-1 >/dev/null 2>&1",
        {"no_compatibility_library_is_in_the_way"},
    ),
    "compatibility library before the driver's": (
        "mkdir /opt/compat; echo /opt/compat >/etc/ld.so.conf.d/00-compat.conf",
        "rm -r /opt/compat /etc/ld.so.conf.d/00-compat.conf",
        {"no_compatibility_library_is_in_the_way"},
    ),
    "compatibility library of login shells": (
        "echo 'export LD_LIBRARY_PATH=/usr/local/cuda/compat' >/etc/profile.d/zz.sh",
        "rm /etc/profile.d/zz.sh",
        {"no_compatibility_library_is_in_the_way"},
    ),
    "library gone": (
        f"mv {cuda.LIB}/libcudnn.so.9 /root",
        f"mv /root/libcudnn.so.9 {cuda.LIB}",
        {"libraries_are_found"},
    ),
    "library for another CUDA": (
        f"sed -i.old '/^Package: libnccl2$/,/^$/s/+cuda13.0/+cuda13.4/' {STATUS}",
        f"mv {STATUS}.old {STATUS}",
        {"libraries_are_found"},
    ),
    "another nvcc comes first": (
        "mkdir /opt/x; ln -s /bin/true /opt/x/nvcc; echo 'PATH=/opt/x:$PATH' >/etc/profile.d/zz.sh",
        "rm -r /opt/x /etc/profile.d/zz.sh",
        {"login_shells_have_the_default_toolkit"},
    ),
    "modulefile gone": (
        f"mv {MODULES}/cuda/12.9 /root/12.9",
        f"mv /root/12.9 {MODULES}/cuda/12.9",
        {"modulefiles_load"},
    ),
}


def test_every_check_can_fail(scene: Scene) -> None:
    """Each thing that a check is about, broken and mended; what is not allowed is taken away."""
    scene.sh(SMI)
    assert scene.changed(scene.run("apply", **ALL))
    assert scene.failing(**ALL) == set()
    break_each(BREAKS, scene.sh, lambda: scene.failing(**ALL), alone=["toolkit gone"])
    assert scene.failing(**ALL) == set()
    scene.sh("apt-get -qq install cuda-compat-13-1 >/dev/null 2>&1")
    assert scene.changed(scene.run("apply", **ALL)) == [INSTALL]
    assert "cuda-compat-13-1" not in scene.installed()
    assert scene.changed(scene.run("apply", **ALL)) == []
