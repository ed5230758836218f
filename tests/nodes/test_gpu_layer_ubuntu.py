"""The gpu layer on a root that says it is Ubuntu 24.04: its names, its kernel, real apt and dpkg.

What is not real is the distribution around them, which is a Debian.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from nodeproof.lab import containers
from nodeproof.lab.bridge import GATEWAY
from tests.repositories import gpu, gpu_scene
from tests.repositories.apt import AptFolder
from tests.repositories.server import Server
from tests.repositories.signing import make_key, stop_agent

pytestmark = pytest.mark.nodes

OS_RELEASE = """NAME="Ubuntu"
ID=ubuntu
ID_LIKE=debian
VERSION_ID="24.04"
PRETTY_NAME="Ubuntu 24.04.4 LTS"
"""
INSTALL = "gpu | Install the driver with all that belongs to it"


class Scene(gpu_scene.Scene):
    """A machine with a kernel of Ubuntu's."""

    kernel = "6.8.0-90-generic"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("ubuntu")
    (folder / "www").mkdir()
    key = make_key(folder, "good")
    with containers(["u24-gpu"], "debian-13") as (node,):
        server = Server(folder / "www", GATEWAY)
        served = AptFolder(server.folder / "ubuntu2404", key)
        served.publish([*gpu.repository(), gpu.headers(Scene.kernel)])
        server.start()
        (node.root / "etc/os-release").unlink()
        (node.root / "etc/os-release").write_text(OS_RELEASE)
        scene = Scene(node, folder, served, f"{server.url}/ubuntu2404/")
        deb = base64.b64encode(gpu.headers(Scene.kernel).built()).decode()
        scene.sh(f"echo {deb} | base64 -d >/run/h.deb && dpkg -i /run/h.deb")
        yield scene
        server.stop()
    stop_agent(key)


def test_other_layers_are_refused_by_name(scene: Scene) -> None:
    """Before anything is looked at, and with what to leave out."""
    said = scene.refused(scene.do("plan", {"gpu": {"driver": "580"}, "ssh": {}}))
    assert (
        "on Ubuntu 24.04 (Noble Numbat) there are only the layers gpu and cuda and rocm and intel"
        in said
    )
    assert "not ssh; leave the rest out: --skip-layer ssh" in said


def test_goes_on_where_it_was_cut_off(scene: Scene) -> None:
    """The controller is killed, then apt with dpkg; the newest driver would mend that, too."""
    bare = scene.state()
    with scene.inside(scene.asked("580")) as running:
        running.process.kill()
        running.finish()
        (said,) = scene.run("plan", "580").node(scene.node.name)["notes"]
        assert "is at work there" in said
        scene.sh("kill -9 $(pgrep -x apt-get) $(pgrep -x dpkg)")
    assert "iU" in scene.sh("dpkg -l")
    cut = scene.last_run()
    done = scene.run("apply", "580")
    assert scene.changed(done)
    assert done.node(scene.node.name)["notes"] == [f"run {cut} was interrupted; this one goes on"]
    assert scene.changed(scene.run("apply", "580")) == []
    assert scene.failing("580") == set()
    scene.back(done, cut)
    assert scene.state() ^ bare == set()


def test_driver_comes_stays_and_goes(scene: Scene) -> None:
    """Chosen for Ubuntu's kernel, installed, held, proven, switched, and all of it taken back."""
    first = scene.run("apply", "580")
    assert INSTALL in scene.changed(first)
    assert "nvidia-fabricmanager" in scene.sh("apt-mark showhold")
    assert scene.changed(scene.run("apply", "580")) == []
    assert scene.failing("580") == set()
    scene.sh("apt-mark unhold nvidia-fabricmanager")
    assert scene.failing("580") == {"packages_held"}
    switch = scene.run("apply", "595")
    assert INSTALL in scene.changed(switch)
    assert scene.failing("595") == set()
    scene.back(switch, first)
    assert "nvidia" not in scene.sh("dpkg-query -W; ls /etc/apt/sources.list.d")
