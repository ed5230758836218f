"""Container toolkits on a node without a GPU, from signed repositories with the makers' names.

A container has no GPU. Devices that stand for some are /dev/null, bound to their names: what is
proven is who describes them, and that it is noticed when they are gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodeproof.lab import ContainerNode, containers
from nodeproof.lab.bridge import GATEWAY
from tests.nodes.conftest import PREINSTALL
from tests.repositories import layer_scene, toolkits
from tests.repositories.apt import AptFolder
from tests.repositories.pool import AptPool
from tests.repositories.server import Server
from tests.repositories.signing import make_key, stop_agent
from tests.support import Done

pytestmark = [pytest.mark.nodes, pytest.mark.xdist_group("container-toolkits")]

INSTALL = "containers | Install the container toolkit"
AMD_REFRESH = "containers | Keep AMD's CDI specification current"
REFRESH = "containers | Keep NVIDIA's CDI specification current"
LISTED = "/etc/apt/sources.list.d/nodeproof-nvidia-container-toolkit.sources"
CONF = "/etc/nvidia-container-runtime/config.toml"
STATUS = "/var/lib/dpkg/status"
STATE = r"""
find /etc ! -name '*.cache' ! -name 'ld.so*' -type f -exec sha256sum {} +
find /etc -printf '%p %y %m %U %G %l\n'
dpkg-query -W -f '${Package} ${db:Status-Abbrev} ${Version}\n'
apt-mark showhold; apt-mark showmanual | sed 's/^/manual /'
systemctl list-unit-files --no-legend | grep -v transient
"""


class Scene(layer_scene.Scene):
    """A node, the repositories that it reaches, and what is asked of it."""

    looks = STATE

    def __init__(self, node: ContainerNode, folder: Path, served: AptFolder, url: str) -> None:
        super().__init__(node, folder)
        self.served, self.url = served, url

    def run(self, command: str, **asked: Any) -> Done:
        """Plan, apply or verify it."""
        settings = {
            "podman": False,
            "toolkit": "latest",
            "repository_uri": f"{self.url}/nvidia/",
            "repository_key": self.served.key.fingerprint,
            "repository_key_uri": f"{self.url}/nvidia/{self.served.key_file}",
            **asked,
        }
        return self.do(command, {"containers": settings})

    def failing(self, **asked: Any) -> set[str]:
        """Return the checks that fail."""
        return self.failed(self.run("verify", **asked))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A node beside the makers' repositories."""
    folder = tmp_path_factory.mktemp("toolkits")
    (folder / "www").mkdir()
    key = make_key(folder, "good")
    # The bridge, and with it the address, is there when a node is.
    with containers(["d13-ctk"], "debian-13", preinstall=PREINSTALL) as (node,):
        server = Server(folder / "www", GATEWAY)
        served = AptFolder(server.folder / "nvidia", key)
        versions = (toolkits.NVIDIA_OLD, toolkits.NVIDIA_NEW)
        served.publish([one for version in versions for one in toolkits.nvidia(version)])
        AptPool(server.folder / "amd", key, suite="noble").publish(
            [toolkits.amd(version) for version in (toolkits.AMD_OLD, toolkits.AMD_NEW)]
        )
        server.start()
        yield Scene(node, folder, served, server.url)
        server.stop()
    stop_agent(key)


def test_refused_before_the_first_change(scene: Scene) -> None:
    known = scene.refused(scene.run("apply", toolkit="1.18.2"))
    assert "is open to nvidia-5850, mended in 1.19.1" in known
    assert "nearest that works: toolkit = 'latest'" in known
    assert "no NVIDIA container toolkit 99" in scene.refused(scene.run("apply", toolkit="99"))
    wrong = scene.refused(scene.run("apply", repository_key="A" * 40))
    assert f"is {scene.served.key.fingerprint}, pinned is {'A' * 40}" in wrong
    assert "nodeproof" not in scene.sh("ls /etc/apt/sources.list.d")


MIG = """
for node in nvidia0 nvidiactl; do touch /dev/$node; mount --bind /dev/null /dev/$node; done
cat >/usr/bin/nvidia-smi <<'END'
#!/bin/sh
echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-9f3e2d1c-0000-4000-8000-000000000000)'
for n in $(cat /run/instances); do
  echo "  MIG 1g.10gb     Device  $n: (UUID: MIG-0a1b2c3d-0000-5000-8000-00000000000$n)"
done
END
chmod 755 /usr/bin/nvidia-smi
echo 0 1 >/run/instances
printf '[Unit]\nBefore=nvidia-cdi-refresh.service\n[Service]\nExecStart=/bin/true\n[Install]\n' \
  >/etc/systemd/system/nodeproof-gpu.service
echo WantedBy=multi-user.target >>/etc/systemd/system/nodeproof-gpu.service
systemctl daemon-reload
systemctl -q enable nodeproof-gpu
"""
"""A GPU that the gpu layer has divided."""
NOT_MIG = """
systemctl -q disable nodeproof-gpu
rm -f /usr/bin/nvidia-smi /run/instances /var/run/cdi/nvidia.yaml \
  /etc/systemd/system/nodeproof-gpu.service*
systemctl daemon-reload
for node in nvidia0 nvidiactl; do umount /dev/$node; rm /dev/$node; done
"""
NVIDIA_BREAKS = (
    (
        "apt-mark unhold libnvidia-container1; "
        f"sed -i.old 's/^Signed-By:.*/Trusted: yes/' {LISTED}; "
        "sed -i.old 's/version 1.20.0/version 1.17.0/' /usr/bin/nvidia-ctk; "
        "systemctl disable --now nvidia-cdi-refresh.path",
        "apt-mark hold libnvidia-container1; "
        f"mv {LISTED}.old {LISTED}; mv /usr/bin/nvidia-ctk.old /usr/bin/nvidia-ctk; "
        "systemctl enable --now nvidia-cdi-refresh.path",
        {
            *("toolkit_held", "toolkit_repository_trusts_the_pinned_key_only"),
            *("toolkit_that_runs_is_the_one_installed", "nvidia_specification_is_kept_current"),
        },
    ),
    (
        "sed -i.old '/^Package: libnvidia-container1$/,/^$/s/^Version: .*/Version: 1.19.0-1/' "
        f"{STATUS}; "
        "touch /dev/nvidia0; mount --bind /dev/null /dev/nvidia0; rm -f /dev/char/1:3; "
        "mkdir -p /var/run/cdi; echo 'path: /dev/nvidia7' >/var/run/cdi/nvidia.yaml",
        f"mv {STATUS}.old {STATUS}; umount /dev/nvidia0; "
        "rm /dev/nvidia0 /var/run/cdi/nvidia.yaml; "
        "ln -s ../null /dev/char/1:3",
        {
            *("toolkit_is_the_one_that_was_chosen", "devices_survive_a_reload"),
            "nvidia_specification_names_devices_that_exist",
        },
    ),
)


def test_nvidias_through_its_life(scene: Scene) -> None:
    """Install, again, proven, a newer version, its runtime, each check failing, all of it back."""
    bare = scene.state()
    whole = scene.run("apply", nvidia_runtime="cdi")
    scene.back(whole)
    assert scene.state() ^ bare == set()
    planned = scene.changed(scene.run("plan", toolkit="1.19"))
    first = scene.run("apply", toolkit="1.19")
    assert scene.changed(first) == planned
    assert {INSTALL, REFRESH} <= {*planned}
    assert scene.changed(scene.run("apply", toolkit="1.19")) == []
    assert scene.failing(toolkit="1.19") == set()

    newer = scene.run("apply", nvidia_runtime="cdi")
    assert INSTALL in scene.changed(newer)
    assert scene.sh(f"grep ^mode {CONF}") == 'mode = "cdi"\n'
    assert "/etc/systemd/system/nvidia-cdi" not in scene.sh("ls -d /etc/systemd/system/nvidia-*||:")
    again = scene.run("apply", nvidia_runtime="cdi")
    assert scene.changed(again) == []
    assert again.node(scene.node.name)["round_trips"] <= 18
    assert scene.failing(nvidia_runtime="cdi") == set()
    for break_it, mend, checks in NVIDIA_BREAKS:
        scene.sh(break_it)
        assert scene.failing(nvidia_runtime="cdi") == checks
        scene.sh(mend)
    scene.sh(MIG)
    assert scene.changed(scene.run("apply", nvidia_runtime="cdi")) == [REFRESH]
    assert scene.changed(scene.run("apply", nvidia_runtime="cdi")) == []
    assert scene.failing(nvidia_runtime="cdi") == set()
    scene.sh("echo 0 2 >/run/instances; sed -i.old /Before/d /etc/systemd/system/nodeproof-gpu*")
    scene.sh("systemctl daemon-reload")
    assert scene.failing(nvidia_runtime="cdi") == {
        *("nvidia_specification_names_instances_that_exist", "nvidia_specification_is_kept_current")
    }
    assert scene.changed(scene.run("apply", nvidia_runtime="cdi")) == [REFRESH]
    assert scene.failing(nvidia_runtime="cdi") == {"nvidia_specification_is_kept_current"}
    scene.sh(NOT_MIG)
    known = scene.failing(toolkit="1.18.2", nvidia_runtime="cdi")
    assert "toolkit_is_one_that_the_catalog_allows" in known
    older = scene.refused(scene.run("apply", toolkit="1.19", nvidia_runtime="cdi"))
    assert "1.19.1-1" in older

    scene.back(newer, first)
    assert scene.state() ^ bare == set()


GPU = """
apparmor=$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null) || :
mkdir /run/sys && mount -t tmpfs tmpfs /run/sys
for at in /sys/*; do
  mkdir /run/sys/${at##*/}
  [ $at = /sys/module ] || mount --rbind $at /run/sys/${at##*/}
done
mkdir -p /run/sys/module/apparmor/parameters
echo "$apparmor" >/run/sys/module/apparmor/parameters/enabled
mount --rbind /run/sys /sys
mount -t tmpfs tmpfs /sys/bus/pci
at=/sys/bus/pci/devices/0000:c1:00.0
mkdir -p $at /sys/bus/pci/drivers/amdgpu
echo 0x1002 >$at/vendor; echo 0x74a1 >$at/device; echo 0x120000 >$at/class
echo 0x1002 >$at/subsystem_vendor; echo 0x74a1 >$at/subsystem_device
"""
"""A /sys whose PCI bus has an MI300X, and which knows of no module."""
DRIVEN = """
mkdir -p /sys/module/amdgpu/drivers /dev/dri /dev/char
ln -s ../../drivers/amdgpu /sys/bus/pci/devices/0000:c1:00.0/driver
for node in kfd dri/renderD128; do touch /dev/$node; mount --bind /dev/null /dev/$node; done
ln -sfn /dev/null /dev/char/1:3
"""
OTHERS = """
mkdir -p /etc/cdi /etc/docker
echo '{"cdiVersion": "0.6.0", "kind": "other.example/card", "devices": []}' >/etc/cdi/other.json
echo '{"features": {"cdi": true, "buildkit": true}}' >/etc/docker/daemon.json
"""
"""What somebody set up for a device of another maker."""
OLD_DOCKER = """#!/bin/sh
[ "$(id -u) $1" != "0 version" ] || { echo 24.0.9; exit 0; }
exec /usr/bin/docker "$@"
"""
AMD_BREAKS = (
    (
        "systemctl disable nodeproof-amd-cdi; touch /dev/dri/renderD129; "
        "mv /usr/local/bin/amd-container-runtime /root; rm /dev/char/1:3; "
        f"cat >/usr/local/bin/docker <<'END'\n{OLD_DOCKER}END\nchmod 755 /usr/local/bin/docker",
        "systemctl enable nodeproof-amd-cdi; rm /dev/dri/renderD129 /usr/local/bin/docker; "
        "mv /root/amd-container-runtime /usr/local/bin; ln -s /dev/null /dev/char/1:3",
        {
            *("amd_specification_is_kept_current", "amd_specification_is_what_there_is"),
            *("docker_amd_runtime_ready", "devices_survive_a_reload"),
            "engine_is_new_enough[docker]",
        },
    ),
    (
        "rm /var/run/cdi/amd.json; sed -i.old s/v1.3.0/v1.0.0/ /usr/local/bin/amd-ctk",
        "mv /usr/local/bin/amd-ctk.old /usr/local/bin/amd-ctk; systemctl start nodeproof-amd-cdi",
        {"amd_specification_is_what_there_is", "toolkit_that_runs_is_the_one_installed"},
    ),
)
RUN_CONTAINERS = {
    *("container_runs[docker]", "cdi_device_reaches_the_container[docker]"),
    *("unknown_cdi_device_refused[docker]", "container_confined_by_apparmor[docker]"),
    *("container_confined_by_seccomp[docker]", "container_gains_no_privileges[docker]"),
}
"""No container runs in a container node."""


def test_amds_through_its_life(scene: Scene) -> None:
    """Refused without a driver, installed, upgraded over what others wrote, and all of it back."""
    mirror = {
        "repository_uri": f"{scene.url}/amd/",
        "repository_key_uri": f"{scene.url}/amd/{scene.served.key_file}",
        **{"docker": True, "compose": False, "amd_runtime": True},
    }
    scene.sh(GPU)
    assert "amdgpu drives no GPU" in scene.refused(scene.run("apply", **mirror))
    scene.sh(DRIVEN + OTHERS)
    bare = scene.state()
    first = scene.run("apply", toolkit="1.2", **mirror)
    assert {INSTALL, AMD_REFRESH} <= {*scene.changed(first)}
    assert scene.sh("jq -c .runtimes.amd,.features /etc/docker/daemon.json").splitlines() == [
        '{"path":"amd-container-runtime","args":[]}',
        '{"cdi":true,"buildkit":true}',
    ]
    planned = scene.changed(scene.run("plan", **mirror))
    newer = scene.run("apply", **mirror)
    assert scene.changed(newer) == planned
    assert INSTALL in planned
    assert scene.sh("ls /etc/cdi").split() == ["nodeproof-probe.json", "other.json"]
    assert scene.changed(scene.run("apply", **mirror)) == []
    assert scene.failing(**mirror) - RUN_CONTAINERS == set()
    for break_it, mend, checks in AMD_BREAKS:
        scene.sh(break_it)
        assert scene.failing(**mirror) - RUN_CONTAINERS == checks
        scene.sh(mend)
    scene.back(newer, first)
    assert scene.state() ^ bare == set()
