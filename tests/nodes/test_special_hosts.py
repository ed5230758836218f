"""Hosts whose driver is somebody else's, on a root that says it is one of them.

Its kernel and bus are those of a container; what shows a Jetson, WSL 2 or an image is put there,
and programs of NVIDIA's are scripts that say what theirs say. apt, dpkg and systemd are real.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodeproof.lab import ContainerNode, containers
from nodeproof.lab.bridge import GATEWAY
from tests.repositories import cuda, gpu, jetson
from tests.repositories.apt import AptFolder
from tests.repositories.pool import AptPool
from tests.repositories.server import Server
from tests.repositories.signing import Key, make_key, stop_agent
from tests.support import Done, nodeproof, write_inventory

pytestmark = [pytest.mark.nodes, pytest.mark.xdist_group("special-hosts")]

UBUNTU = 'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="{0}"\nPRETTY_NAME="Ubuntu {0}"\n'
VIRT = "#!/bin/sh\ncat /run/virt\n"
SMI = """#!/bin/sh
[ "$1" != -L ] || { echo 'GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-0)'; exit; }
echo '<?xml version="1.0" ?>'
echo '<nvidia_smi_log><driver_version>591.44</driver_version>'
echo '<cuda_version>13.1</cuda_version><attached_gpus>0</attached_gpus></nvidia_smi_log>'
"""
DRIVER = "/usr/src/nvidia-580.178.04/dkms.conf"
UNIT = "nodeproof-jetson-clocks.service"
STATE = r"""
find /etc/apt /etc/systemd/system /var/lib/nvpmodel -type f -exec sha256sum {} +
dpkg-query -W -f '${Package} ${db:Status-Abbrev} ${Version}\n'; apt-mark showhold; nvpmodel -q
cat /run/jetson-clocks
"""


class Scene:
    """A node, the repositories that it reaches, and what is asked of it."""

    def __init__(self, node: ContainerNode, folder: Path, server: Server, key: Key) -> None:
        self.node, self.folder, self.server, self.key = node, folder, server, key

    def run(self, command: str, **layers: dict[str, Any]) -> Done:
        """Plan, apply or verify what is asked of the layers."""
        for asked in layers.values():
            asked.setdefault("repository_key", self.key.fingerprint)
            asked.setdefault("repository_key_uri", f"{self.server.url}/jetson/common/vendor.pub")
        yes = ["--yes"] if command == "apply" else []
        return nodeproof(command, self.inventory(layers), *yes, "--json")

    def inventory(self, layers: dict[str, Any]) -> Path:
        """Return an inventory that asks for layers."""
        return write_inventory(self.folder, [self.node], layers)

    def changed(self, done: Done) -> list[str]:
        """Return what was changed; nothing may have gone wrong."""
        assert done.code == 0, done.out + done.err
        return done.changed(self.node.name)

    def refused(self, done: Done) -> str:
        """Return why it was refused."""
        assert done.code == 4, done.out + done.err
        reason: str = done.node(self.node.name)["reason"]
        return reason

    def failing(self, **layers: dict[str, Any]) -> set[str]:
        """Return the checks that fail."""
        done = self.run("verify", **layers)
        assert done.json["nodes"], done.err
        return set(done.failing(self.node.name))

    def sh(self, script: str) -> str:
        """Run a script as root and return what it printed."""
        done = self.node.ssh("sudo sh", stdin=script, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """Write a file."""
        packed = base64.b64encode(text.encode()).decode()
        folder = path.rpartition("/")[0]
        self.sh(f"mkdir -p {folder}; echo {packed} | base64 -d >{path} && chmod {mode} {path}")

    def is_one(self, version: str, virt: str) -> None:
        """Make the node say that it is Ubuntu in a version, on such a host."""
        self.write("/run/os-release", UBUNTU.format(version))
        self.sh(f"cp --remove-destination /run/os-release /etc/os-release; echo {virt} >/run/virt")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("hosts")
    (folder / "www").mkdir()
    key = make_key(folder, "good")
    with containers(["hosts"], "debian-13") as (node,):
        server = Server(folder / "www", GATEWAY)
        for name, packages in (("common", jetson.common()), ("t234", [])):
            AptPool(server.folder / "jetson" / name, key, suite="r36.4").publish(packages)
        AptFolder(server.folder / "wsl-ubuntu", key).publish(
            [*gpu.repository(), *cuda.repository()]
        )
        server.start()
        scene = Scene(node, folder, server, key)
        scene.write("/usr/local/bin/systemd-detect-virt", VIRT, "755")
        yield scene
        server.stop()
    stop_agent(key)


@pytest.fixture
def orin(scene: Scene) -> Iterator[Scene]:
    """A Jetson as it comes: its list has no key of its own, its clocks go up and down."""
    scene.is_one("22.04", "none")
    scene.write("/etc/nv_tegra_release", jetson.RELEASE)
    scene.write("/etc/nvpmodel.conf", jetson.CONF)
    scene.write("/usr/local/sbin/nvpmodel", jetson.NVPMODEL, "755")
    scene.write("/usr/bin/jetson_clocks", jetson.CLOCKS, "755")
    scene.sh(
        "echo 1 >/run/jetson-mode; echo 729600 >/run/jetson-clocks; mkdir -p /var/lib/nvpmodel"
    )
    scene.write(jetson.LIST, listed(scene, "r36.4"))
    yield scene
    scene.sh(f"rm -f /etc/nv_tegra_release {jetson.LIST}")


def listed(scene: Scene, suite: str) -> str:
    return "".join(
        f"deb {scene.server.url}/jetson/{one} {suite} main\n" for one in ("common", "t234")
    )


def asked(mode: str = "MAXN_SUPER", **more: Any) -> dict[str, Any]:
    wanted = {"packages": "all", "power_mode": mode, "highest_clocks": True, **more}
    return {"driver": "none", "jetson": wanted}


def test_jetson_is_refused_before_the_first_change(orin: Scene) -> None:
    before = orin.sh(STATE)
    for said, gpu_asked in (
        ("on Jetson no driver is installed", {"driver": "580"}),
        ("there is no 30W in /etc/nvpmodel.conf, but 15W, 25W", asked("30W")),
        ("36.4.3 runs, and JetPack 6.2.1 is that of 36.4.4", asked(jetpack="6.2.1")),
    ):
        assert said in orin.refused(orin.run("apply", gpu=gpu_asked))
    orin.write(jetson.LIST, listed(orin, "r36.3"))
    assert "the repositories of r36.3" in orin.refused(orin.run("apply", gpu=asked()))
    orin.write(jetson.LIST, listed(orin, "r36.4"))
    wrong = {**asked(), "repository_key": "A" * 40}
    assert "pinned is AAAA" in orin.refused(orin.run("apply", gpu=wrong))
    assert orin.sh(STATE) == before


def test_jetson_is_made_as_asked_and_taken_back(orin: Scene) -> None:
    before = orin.sh(STATE)
    first = orin.run("apply", gpu=asked())
    assert {"gpu | Install JetPack", "gpu | Set the power mode", "gpu | Hold the clocks up"} < {
        *orin.changed(first)
    }
    assert orin.changed(orin.run("apply", gpu=asked())) == []
    assert orin.failing(gpu=asked()) == set()
    installed = orin.sh(
        "dpkg-query -W -f '${Package} ${Version}\\n' nvidia-jetpack nvidia-cuda-dev"
    )
    assert installed.split() == ["nvidia-cuda-dev", "6.2+b77", "nvidia-jetpack", "6.2+b77"]
    assert "nvidia-jetpack" in orin.sh("apt-mark showhold")
    assert "nvidia-l4t" not in orin.sh("ls /etc/apt/sources.list.d")

    asked_for = orin.inventory({"gpu": asked()})
    back = nodeproof("revert", first.json["run"], asked_for, "--yes", "--json")
    assert back.code == 0, back.node(orin.node.name)["reason"]
    assert orin.sh(STATE) == before


def test_jetson_that_somebody_changed_is_found_and_mended(orin: Scene) -> None:
    orin.changed(orin.run("apply", gpu=asked()))
    orin.sh("jetson_clocks --restore /run/nodeproof-jetson/clocks; nvpmodel -m 0")
    orin.sh("apt-mark unhold nvidia-jetpack; sed -i /^Signed-By/d /etc/apt/sources.list.d/node*")
    orin.sh(f"systemctl disable {UNIT}")
    assert orin.failing(gpu=asked()) == {
        *("clocks_at_their_highest", "clocks_held_at_boot", "power_mode_as_asked"),
        *("packages_of_jetpack", "jetson_repository_trusts_the_pinned_key_only"),
    }
    assert orin.changed(orin.run("apply", gpu=asked()))
    assert orin.failing(gpu=asked()) == set()
    free = {"driver": "none", "jetson": {"power_mode": "25W"}}
    assert "gpu | Let the clocks go up and down" in orin.changed(orin.run("apply", gpu=free))
    assert orin.sh("cat /run/jetson-clocks").strip() == "729600"


def test_mode_that_only_a_boot_brings(orin: Scene) -> None:
    """Nobody says yes to nvpmodel; the boot is noted, and a second apply changes nothing."""
    seven = {"driver": "none", "jetson": {"power_mode": "7W"}}
    first = orin.run("apply", gpu=seven)
    assert orin.changed(first) == ["gpu | Set the power mode"]
    assert "power mode 7W comes with a boot" in orin.sh("cat /run/nodeproof/reboot/*")
    assert orin.sh("cat /var/lib/nvpmodel/status; ls /run").startswith("pmode:0003")
    assert "jetson-rebooted" not in orin.sh("ls /run")
    assert orin.changed(orin.run("apply", gpu=seven)) == []
    assert orin.failing(gpu=seven) == {"power_mode_as_asked"}
    orin.sh("echo 3 >/run/jetson-mode; rm -r /run/nodeproof/reboot")  # as nvpmodel.service does
    assert orin.failing(gpu=seven) == set()
    assert orin.changed(orin.run("apply", gpu=seven)) == []


@pytest.fixture
def wsl(scene: Scene) -> Iterator[Scene]:
    scene.is_one("24.04", "wsl")
    scene.write("/usr/lib/wsl/lib/nvidia-smi", SMI, "755")
    yield scene
    scene.sh("rm -rf /usr/lib/wsl")


def test_wsl_gets_toolkits_and_never_a_driver(wsl: Scene) -> None:
    def toolkit() -> dict[str, Any]:
        uri = f"{wsl.server.url}/wsl-ubuntu/"
        return {"toolkits": ["13.1"], "repository_uri": uri}

    wsl.write(DRIVER, 'PACKAGE_NAME="nvidia"\n')
    there = wsl.refused(wsl.run("apply", cuda=toolkit()))
    assert "driver 580.178.04 for Linux is installed in WSL 2" in there
    wsl.sh(f"rm {DRIVER}")
    assert "no driver is installed" in wsl.refused(wsl.run("apply", gpu={"driver": "580"}))

    first = wsl.run("apply", cuda=toolkit())
    assert {"cuda | Keep drivers for Linux away", "cuda | Install the toolkits"} < {
        *wsl.changed(first)
    }
    assert wsl.changed(wsl.run("apply", cuda=toolkit())) == []
    assert wsl.failing(cuda=toolkit()) == set()
    said = wsl.sh("apt-cache policy nvidia-open cuda-drivers cuda-toolkit-13-1 | grep Candidate")
    assert said.count("Candidate: (none)") == said.count("Candidate") - 1
    wsl.sh("rm /etc/apt/preferences.d/*nodeproof*")
    assert wsl.failing(cuda=toolkit()) == {"no_driver_can_be_installed"}
    assert "cuda | Keep drivers for Linux away" in wsl.changed(wsl.run("apply", cuda=toolkit()))
    assert wsl.failing(cuda=toolkit()) == set()


def test_stack_of_an_image_is_refused_by_name(scene: Scene) -> None:
    scene.is_one("24.04", "kvm")
    scene.write("/opt/azurehpc/component_versions.txt", "{}\n")
    scene.write(DRIVER, 'PACKAGE_NAME="nvidia"\n')
    image = {"gpus": ["10de:2330"], "kernel": "6.8.0-90-generic"}
    said = scene.refused(scene.run("plan", gpu={"driver": "580", "image": image}))
    assert "the node is an Azure HPC image, and driver 580.178.04 belongs to it" in said
    assert "set installed to keep" in said
    scene.sh(f"rm -r /opt/azurehpc {DRIVER}")


@pytest.mark.parametrize("layers", [{"gpu": {"driver": "none"}}, {"gpu": {"driver": "580"}}])
def test_image_based_system_is_only_looked_at(scene: Scene, layers: dict[str, Any]) -> None:
    scene.is_one("24.04", "none")
    scene.sh("touch /run/ostree-booted")
    before = scene.sh("find /etc /var/lib/nodeproof -type f -exec sha256sum {} + | sort")
    for command in ("plan", "apply"):
        said = scene.refused(scene.run(command, **layers))
        assert "Ubuntu 24.04 is an image (ostree): nothing is installed or changed on it" in said
    done = scene.run("verify", **layers)
    failing = done.failing(scene.node.name)
    assert done.json["nodes"][0]["checks"]
    assert bool(failing) is (layers["gpu"]["driver"] == "580"), failing
    assert scene.sh("find /etc /var/lib/nodeproof -type f -exec sha256sum {} + | sort") == before
    scene.sh("rm /run/ostree-booted")
