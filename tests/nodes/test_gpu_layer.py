"""The gpu layer on a node that becomes an image for HGX H100: install, keep, upgrade, switch.

A container has no GPU and no kernel of its own, and nobody pretends that it had: `gpu.image` says
which machines the packages are for. They come from a signed repository with the vendor's layout.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from nodeproof.lab import containers
from nodeproof.lab.bridge import GATEWAY
from tests.breaks import break_each
from tests.repositories import gpu, gpu_scene
from tests.repositories.apt import AptFolder
from tests.repositories.server import Server
from tests.repositories.signing import make_key, stop_agent
from tests.repositories.vendor import LOCKSTEP, NEWER, NEXT, OLD

pytestmark = [pytest.mark.nodes, pytest.mark.xdist_group("gpu-layer")]

KERNEL = "6.1.0-50-amd64"
PARTS = (*LOCKSTEP, "nvidia-modprobe")
INSTALL = "gpu | Install the driver with all that belongs to it"


class Scene(gpu_scene.Scene):
    """The same with apt."""

    kernel = KERNEL

    def held(self) -> set[str]:
        """Return the names of packages that are held."""
        return set(self.sh("apt-mark showhold").split())

    def versions(self) -> set[str]:
        """Return the versions of what belongs to a driver: one, unless it drifted apart."""
        listed = self.sh("dpkg-query -W -f '${db:Status-Status}|${Package}|${Version}\\n'")
        rows = (line.split("|") for line in listed.splitlines())
        found = {name: v for state, name, v in rows if state == "installed" and name in PARTS}
        assert not found or found.keys() == {*PARTS}, found
        return {*found.values()}


OLD_ONE = OLD.removesuffix("-1")
INSECURE = {"allow_insecure": ["nvidia-5861", "nvidia-5821"]}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A node beside a vendor's repository; the distribution's headers are there already."""
    folder = tmp_path_factory.mktemp("gpu")
    (folder / "www").mkdir()
    key = make_key(folder, "good")
    # The bridge, and with it the address, is there when a node is.
    with containers(["d12-gpu"], "debian-12", preinstall=("unattended-upgrades",)) as (node,):
        server = Server(folder / "www", GATEWAY)
        served = AptFolder(server.folder / "debian12", key)
        served.publish(gpu.repository())
        server.start()
        scene = Scene(node, folder, served, f"{server.url}/debian12/")
        deb = base64.b64encode(gpu.headers(KERNEL).built()).decode()
        scene.sh(f"echo {deb} | base64 -d >/run/h.deb && dpkg -i /run/h.deb")
        scene.sh("touch /etc/apt/sources.list")  # as unattended-upgrade does
        yield scene
        server.stop()
    stop_agent(key)


def test_refused_before_the_first_change(scene: Scene) -> None:
    bare = scene.refused(scene.run("apply", "580", image=None))
    assert "on a container no driver is installed" in bare
    assert "gpu.image" in bare
    unsafe = scene.refused(scene.run("apply", OLD_ONE))
    assert f"driver {OLD_ONE} is older than 580.178.04, which mends nvidia-5861" in unsafe
    assert "nearest that works: driver = '580' gives driver 580.178.04 (open)" in unsafe
    wrong = scene.refused(scene.run("apply", "580", repository_key="A" * 40))
    assert f"is {scene.served.key.fingerprint}, pinned is {'A' * 40}" in wrong
    assert "nodeproof" not in scene.sh("ls /etc/apt/sources.list.d /etc/modprobe.d")


def test_driver_through_its_life(scene: Scene) -> None:
    """Install, again, proven, upgrade, no way back, switch the branch, and all of it back."""
    bare = scene.state()
    assert INSTALL in scene.changed(scene.run("plan", OLD_ONE, **INSECURE))
    first = scene.run("apply", OLD_ONE, **INSECURE)
    assert INSTALL in scene.changed(first)
    assert scene.versions() == {OLD}
    assert {*PARTS, f"nvidia-driver-pinning-{OLD_ONE}"} <= scene.held()
    again = scene.run("apply", OLD_ONE, **INSECURE)
    assert scene.changed(again) == []
    assert again.node(scene.node.name)["round_trips"] <= 18
    assert scene.failing(OLD_ONE, **INSECURE) == set()
    assert "driver_is_one_that_the_catalog_allows" in scene.failing(OLD_ONE)

    scene.sh("unattended-upgrade -v --debug; echo $?")
    assert scene.versions() == {OLD}

    upgrade = scene.run("apply", "580")
    assert scene.changed(upgrade) == [INSTALL]
    assert scene.versions() == {NEWER}
    assert scene.failing("580") == set()
    back = scene.refused(scene.run("apply", OLD_ONE, **INSECURE))
    assert f"driver 580.178.04 is installed, and {OLD_ONE} is older" in back

    switch = scene.run("apply", "595", dcgm=True)
    assert INSTALL in scene.changed(switch)
    assert scene.versions() == {NEXT}
    assert scene.failing("595", dcgm=True) == set()
    assert scene.changed(scene.run("apply", "595", dcgm=True)) == []

    scene.back(switch, upgrade, first)
    assert scene.state() ^ bare == set()


BREAKS = {
    "hold taken off": (
        "apt-mark unhold nvidia-persistenced",
        "apt-mark hold nvidia-persistenced",
        {"packages_held"},
    ),
    "fabric manager of another driver": (
        f"cd /var/cache/apt/archives; apt-get download nvidia-fabricmanager={NEXT}; "
        "dpkg --force-all -i nvidia-fabricmanager_595*.deb; apt-mark hold nvidia-fabricmanager",
        f"cd /var/cache/apt/archives; apt-get download nvidia-fabricmanager={NEWER}; "
        "dpkg --force-all -i nvidia-fabricmanager_580*.deb; apt-mark hold nvidia-fabricmanager",
        {"packages_belong_to_one_driver"},
    ),
    "another file sets an option": (
        "echo 'options nvidia NVreg_RestrictProfilingToAdminUsers=0' >/etc/modprobe.d/zz.conf",
        "rm /etc/modprobe.d/zz.conf",
        {"module_options_configured"},
    ),
    "nouveau let in": (
        "sed -i.old /blacklist/d /etc/modprobe.d/nodeproof-gpu.conf",
        "mv /etc/modprobe.d/nodeproof-gpu.conf.old /etc/modprobe.d/nodeproof-gpu.conf",
        {"nouveau_stays_away"},
    ),
    "units not started": (
        "systemctl disable nvidia-persistenced nvidia-fabricmanager nodeproof-gpu",
        "systemctl enable nvidia-persistenced nvidia-fabricmanager nodeproof-gpu",
        {"persistence_daemon_as_asked", "fabric_manager_runs", "gpus_set_at_boot"},
    ),
    "repository trusted without a key": (
        "sed -i.old 's/^Signed-By:.*/Trusted: yes/' /etc/apt/sources.list.d/nodeproof-cuda.sources",
        "cd /etc/apt/sources.list.d; mv nodeproof-cuda.sources.old nodeproof-cuda.sources",
        {"repository_trusts_the_pinned_key_only"},
    ),
}


def test_every_check_can_fail(scene: Scene) -> None:
    """Each thing that a check is about, broken and mended; then all of it taken back."""
    more = {"compute_mode": "exclusive-process", "module_options": {"NVreg_EnableMSI": "1"}}
    done = scene.run("apply", "580", **more)
    assert scene.changed(done)
    assert scene.failing("580", **more) == set()
    break_each(BREAKS, scene.sh, lambda: scene.failing("580", **more))
    assert scene.failing("595", **more) == {"driver_is_what_was_asked_for"}
    left = scene.run("apply", "580")
    assert "gpu | Remove what set the GPUs at boot" in scene.changed(left)
    assert scene.changed(scene.run("apply", "580")) == []


def test_node_of_a_rack(scene: Scene) -> None:
    """IMEX comes with the driver, is told its nodes, and starts at boot; all of it goes back."""
    rack = {"image": {"gpus": ["10de:2941"], "kernel": KERNEL}}
    asked = rack | {"imex": {"nodes": ["10.0.0.11", "10.0.0.12"]}}
    scene.run("apply", "580", **rack)
    nobody = scene.refused(scene.run("apply", "580", imex=asked["imex"]))
    assert "imex: no GPU here is part of a rack" in nobody
    done = scene.run("apply", "580", **asked)
    assert {"gpu | Write the nodes of the IMEX domain", "gpu | Run IMEX"} <= {*scene.changed(done)}
    assert scene.sh(f"cat {gpu.IMEX_NODES}") == "10.0.0.11\n10.0.0.12\n"
    assert "nvidia-imex" in scene.held()
    assert scene.changed(scene.run("apply", "580", **asked)) == []
    assert scene.failing("580", **asked) == set()
    scene.sh("systemctl disable nvidia-imex")
    assert scene.failing("580", **asked) == {"imex_runs"}
    scene.back(done)
    assert scene.sh(f"cat {gpu.IMEX_NODES}") == ""


ATTEST = """[Unit]
Description=Stand in for what attests GPUs
[Service]
Type=oneshot
ExecStart=/bin/true
"""
CONFIDENTIAL_BREAKS = {
    "crypto not before the driver": (
        "sed -i.old /softdep/d /etc/modprobe.d/nodeproof-gpu.conf",
        "mv /etc/modprobe.d/nodeproof-gpu.conf.old /etc/modprobe.d/nodeproof-gpu.conf",
        {"crypto_comes_before_the_driver"},
    ),
    "ready without attestation": (
        "cd /etc/systemd/system; sed -i.old /^Requires/d nodeproof-gpu-ready.service; "
        "systemctl daemon-reload",
        "cd /etc/systemd/system; mv nodeproof-gpu-ready.service.old nodeproof-gpu-ready.service; "
        "systemctl daemon-reload",
        {"gpus_wait_for_attestation_at_boot"},
    ),
}


def test_confidential_guest(scene: Scene) -> None:
    """Its units wait for attestation, and systemd reads them; it goes when it is not asked."""
    asked = {"confidential": {"attested_by": "attest.service"}}
    nobody = scene.refused(scene.run("apply", "580", **asked))
    assert "there is no attest.service; install what attests the GPUs first" in nobody
    scene.sh(f"cat >/etc/systemd/system/attest.service <<'.'\n{ATTEST}.\nsystemctl daemon-reload")
    done = scene.run("apply", "580", **asked)
    assert "gpu | Have the persistence daemon keep its session" in scene.changed(done)
    assert scene.changed(scene.run("apply", "580", **asked)) == []
    runs = scene.sh("systemctl show -P ExecStart nvidia-persistenced")
    assert "--uvm-persistence-mode" in runs
    assert "/bin/false" not in runs
    assert scene.failing("580", **asked) == set()
    break_each(CONFIDENTIAL_BREAKS, scene.sh, lambda: scene.failing("580", **asked))
    left = scene.changed(scene.run("apply", "580"))
    assert "gpu | Let the persistence daemon run as usual" in left
    assert scene.changed(scene.run("apply", "580")) == []
    assert "uvm" not in scene.sh("systemctl show -P ExecStart nvidia-persistenced")
