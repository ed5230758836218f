"""The updates layer with real unattended-upgrades, beside a security suite of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nodeproof.catalog.distributions import PackageManager
from nodeproof.lab import ContainerNode, containers
from nodeproof.lab.bridge import GATEWAY
from nodeproof.operations import packages
from tests.manifest import differences, manifest
from tests.repositories import layer_scene
from tests.repositories.deb import Package
from tests.repositories.node import Site
from tests.repositories.pool import AptPool
from tests.repositories.server import Server
from tests.repositories.signing import Key, make_key, stop_agent
from tests.support import Done

pytestmark = [pytest.mark.nodes, pytest.mark.xdist_group("updates-layer")]

PREINSTALL = ("unattended-upgrades",)
ASKED = {"window": "Sat,Sun 22:00-04:00", "exclude": ["np-excluded"], "mail": "root"}
OLD, NEW = "1.0-1", "1.0-1+deb13u1"
ORDINARY, LAST = "np-ordinary", "np-zlast"
"""One before and one behind kernels, by their names."""
DRIVER = "nvidia-driver-cuda"
METAS = ["linux-image-np", "linux-headers-np"]
INSTALLED = [ORDINARY, LAST, DRIVER, "np-excluded", *METAS]
GOOD, BAD = "6.99.1-np", "6.99.2-np"
DKMS = f"""#!/bin/sh
# Says what DKMS would: builds fail for one kernel. Real builds: test_update_guard_kernels.
case "$1 $*" in
    'status '*' -k '*) ;;
    'status '*) echo 'npgpu/1.0, 6.1.0-1-np, x86_64: installed' ;;
    'build '*' {BAD} '*)
        echo 'npgpu.c:1:1: error: too few arguments'
        exit 10
        ;;
esac
"""


class Scene(layer_scene.Scene):
    """The node and the security suite."""

    def __init__(self, node: ContainerNode, folder: Path, suite: AptPool, server: Server) -> None:
        super().__init__(node, folder)
        self.suite, self.server = suite, server

    def run(self, command: str, **asked: Any) -> Done:
        """Plan, apply or verify the layer."""
        return self.do(command, {"updates": {**ASKED, **asked}, "roles": ["slurm"]})

    def versions(self, *names: str) -> set[str]:
        """Return the versions of what is installed of these."""
        listed = self.sh("dpkg-query -W -f '${db:Status-Status}|${Package}|${Version}\\n'")
        rows = (line.split("|") for line in listed.splitlines())
        return {v for state, name, v in rows if state == "installed" and name in names}

    def offer(self, kernel: str) -> None:
        """Have the security suite offer newer packages and a kernel, and the node know."""
        metas = [
            Package("linux-image-np", f"{kernel}-1", depends=f"linux-image-{kernel}"),
            Package("linux-headers-np", f"{kernel}-1", depends=f"linux-headers-{kernel}"),
        ]
        source = {"/usr/src/npgpu-1.0/dkms.conf": "PACKAGE_NAME=npgpu\n"}
        self.suite.publish(
            [
                *(Package(name, NEW) for name in INSTALLED if name not in METAS),
                *metas,
                Package(f"linux-image-{kernel}", "1"),
                Package(f"linux-headers-{kernel}", "1", files=source),
            ]
        )
        self.sh("apt-get update -q")

    def upgraded(self) -> str:
        """Let the timer's service run, and return what it said."""
        since = self.sh("date '+%F %T'").strip()
        self.sh("systemctl start apt-daily-upgrade.service")
        return self.sh(f"sleep 1; journalctl -q -o cat --since '{since}'")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Key]:
    key = make_key(tmp_path_factory.mktemp("key"), "good")
    yield key
    stop_agent(key)


@contextmanager
def beside(key: Key, folder: Path, distribution: str, codename: str) -> Iterator[Scene]:
    """A node, and in the place of its distribution's security suite one of ours."""
    (folder / "www").mkdir()
    name = distribution.replace("debian-", "d")
    with containers([f"{name}-updates"], distribution, preinstall=PREINSTALL) as (node,):
        server = Server(folder / "www", GATEWAY)
        suite = AptPool(
            server.folder,
            key,
            suite=f"{codename}-security",
            origin="Debian",
            label="Debian-Security",
        )
        server.start()
        suite.publish([Package(name, OLD) for name in INSTALLED])
        scene = Scene(node, folder, suite, server)
        scene.sh(WITHOUT_SECURITY)
        scene.sh(f"install -d /etc/apt/keyrings; cat >{KEYRING} <<'.'\n{key.public}.")
        text = source(server.url, suite.suite)
        scene.sh(f"cat >/etc/apt/sources.list.d/test.sources <<'.'\n{text}.")
        scene.sh(f"apt-get update -q; apt-get install -yq {' '.join(INSTALLED)}")
        scene.sh(f"apt-mark hold {DRIVER}; cat >/usr/sbin/dkms <<'.'\n{DKMS}.")
        scene.sh("chmod 755 /usr/sbin/dkms")
        yield scene
        server.stop()


@pytest.fixture(scope="module")
def scene(key: Key, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with beside(key, tmp_path_factory.mktemp("updates"), "debian-13", "trixie") as scene:
        yield scene


KEYRING = "/etc/apt/keyrings/test.asc"
WITHOUT_SECURITY = r"""
for at in /etc/apt/sources.list.d/*.sources; do
    awk 'BEGIN { RS = ""; ORS = "\n\n" } !/-security/' "$at" >/run/s && cat /run/s >"$at"
done
"""


def source(url: str, suite: str) -> str:
    return f"Types: deb\nURIs: {url}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n"


def test_it_comes_and_goes_without_a_trace(scene: Scene) -> None:
    before = manifest(scene.node)
    timer = scene.sh("systemctl show -P TimersCalendar apt-daily-upgrade.timer")
    done = scene.run("apply")
    assert "updates | Say what comes unattended" in scene.changed(done)
    assert "22:00" in scene.sh("systemctl show -P TimersCalendar apt-daily-upgrade.timer")
    assert scene.changed(scene.run("apply")) == []
    assert scene.failed(scene.run("verify")) == set()
    scene.back(done)
    assert differences(before, manifest(scene.node)) == []
    again = scene.sh("systemctl show -P TimersCalendar apt-daily-upgrade.timer")
    assert again.split(";")[0] == timer.split(";")[0]


@pytest.fixture(scope="module")
def applied(scene: Scene) -> Scene:
    """All of it, and no repository but the security suite: opening lists is what takes time."""
    scene.changed(scene.run("apply"))
    scene.sh("rm /etc/apt/sources.list.d/*lab.sources; apt-get update -q")
    return scene


def test_security_updates_come_and_the_driver_stays(applied: Scene) -> None:
    """With a kernel that is refused, which keeps nothing else back; the next one is taken."""
    applied.offer(BAD)
    said = applied.upgraded()
    assert applied.versions(ORDINARY, LAST) == {NEW}, said
    assert applied.versions(DRIVER, "np-excluded", *METAS) == {OLD}
    assert f"kernel {BAD}: npgpu 1.0 does not build for it (updates)" in said
    done = applied.run("verify")
    assert applied.failed(done) == set()
    told = [c["reason"] for c in done.node(applied.node.name)["checks"] if "open_for" in c["name"]]
    assert f"{DRIVER} (0 d, held)" in told[0]
    assert "linux-image-np (0 d)" in told[0]
    applied.offer(GOOD)
    said = applied.upgraded()
    assert applied.versions(*METAS) == {f"{GOOD}-1"}, said
    assert applied.versions(f"linux-image-{GOOD}", f"linux-headers-{GOOD}") == {"1"}
    assert applied.versions(DRIVER, "np-excluded") == {OLD}


MENDED = {
    "sed -i '/Periodic::Unattended/s/always/0/' /etc/apt/apt.conf.d/90nodeproof-updates": {
        "updates_come_by_themselves"
    },
    "systemctl disable --now apt-daily.timer": {"timer_as_asked[apt-daily]"},
    "systemctl stop apt-daily-upgrade.timer": {"timer_as_asked[apt-daily-upgrade]"},
    "rm -r /etc/systemd/system/apt-daily-upgrade.timer.d; systemctl daemon-reload": {
        "window_as_asked"
    },
    f"apt-mark hold {ORDINARY}": {"held_packages_left_alone"},
    "rm /etc/apt/apt.conf.d/91nodeproof-updates-kernels": {"kernels_proven_first"},
    "rm /etc/needrestart/conf.d/90-nodeproof.conf": {"services_restarted"},
    "rm /var/lib/nodeproof/open-updates": {"no_security_update_open_for_long"},
}
OTHERS = "/etc/apt/apt.conf.d/99others"
NAMED = {
    f"echo 'Unattended-Upgrade::Origins-Pattern:: \"origin=NVIDIA\";' >>{OTHERS}": {
        "security_updates_alone"
    },
    f"echo 'Unattended-Upgrade::Automatic-Reboot \"true\";' >>{OTHERS}": {"reboots_as_asked"},
    f"echo 'APT::Get::AllowUnauthenticated \"yes\";' >>{OTHERS}": {
        "signatures_enforced[APT::Get::AllowUnauthenticated]"
    },
    f"echo 'Acquire::AllowInsecureRepositories \"1\";' >>{OTHERS}": {
        "signatures_enforced[Acquire::AllowInsecureRepositories]"
    },
    "echo 'deb [ arch=amd64 trusted=yes ] file:/none ./' >/etc/apt/sources.list.d/others.list": {
        "no_source_trusted_blindly"
    },
    "printf 'Types: deb\nURIs: file:/none\nSuites: ./\nEnabled: no\n' "
    ">/etc/apt/sources.list.d/nodeproof-others.sources": {"our_sources_have_their_keys"},
    "echo linux-image-np >/run/reboot-required.pkgs; touch -d '20 days ago' /run/reboot-required": {
        "no_reboot_pending_for_long"
    },
    "awk '{ $3 -= 86400 * 20; print }' /var/lib/nodeproof/open-updates >/run/o; "
    "cat /run/o >/var/lib/nodeproof/open-updates": {"no_security_update_open_for_long"},
}
AGAIN = (
    f"rm -f {OTHERS} /etc/apt/sources.list.d/others.list /run/reboot-required* "
    "/etc/apt/sources.list.d/nodeproof-others.sources /var/lib/nodeproof/open-updates; "
    "/usr/local/lib/nodeproof/update-guard pending"
)


def test_every_check_can_fail(applied: Scene) -> None:
    """What apply mends, and what is somebody else's, which is named."""
    for break_it in MENDED:
        applied.sh(break_it)
    assert applied.failed(applied.run("verify")) == set().union(*MENDED.values())
    assert applied.changed(applied.run("apply"))
    applied.sh(f"apt-mark unhold {ORDINARY}")
    assert applied.failed(applied.run("verify")) == set()
    applied.suite.publish(made=timedelta(days=20), valid_for=timedelta(days=40))
    # apt takes no list for an older one.
    applied.sh("rm /var/lib/apt/lists/*trixie-security*; apt-get update -q")
    for break_it in NAMED:
        applied.sh(break_it)
    wanted = set().union({"package_lists_recent"}, *NAMED.values())
    assert applied.failed(applied.run("verify")) == wanted
    applied.suite.publish()
    applied.sh(f"{AGAIN}; apt-get update -q")
    assert applied.failed(applied.run("verify")) == set()


def test_a_guarded_package_that_would_change_is_named(applied: Scene) -> None:
    applied.sh(f"apt-mark unhold {DRIVER}; sed -i /{DRIVER}/d {OURS}; {GUARDED}")
    done = applied.run("verify")
    assert applied.failed(done) == {"held_packages_left_alone"}
    assert f"an unattended upgrade would change {DRIVER}" in done.out
    applied.sh(f"apt-mark hold {DRIVER}; rm /etc/nodeproof/update-guard.d/others.conf")
    assert applied.changed(applied.run("apply")) == ["updates | Say what comes unattended"]


OURS = "/etc/apt/apt.conf.d/90nodeproof-updates"
GUARDED = f"echo 'package {DRIVER} {OLD}' >/etc/nodeproof/update-guard.d/others.conf"


def stays_at_work(scene: Scene, version: str, *more: Package) -> None:
    """Have an unattended upgrade begin, and stay inside a package's script."""
    waits = {"postinst": layer_scene.WAITS}
    scene.suite.publish([Package(ORDINARY, version, scripts=waits), *more])
    scene.sh(f"apt-get update -q; touch {layer_scene.STAY}; rm -f {layer_scene.INSIDE}")
    scene.sh("systemctl start --no-block apt-daily-upgrade.service")
    scene.sh(f"timeout 300 sh -c 'until [ -e {layer_scene.INSIDE} ]; do sleep 0.1; done'")


def installed(name: str) -> None:
    packages.present(name="Install it", manager=PackageManager.APT, packages=[name])


def test_without_a_network_it_is_said(applied: Scene, tmp_path: Path) -> None:
    applied.suite.publish([Package("np-away", OLD)])
    applied.sh("apt-get update -q")
    applied.server.stop()
    node = Site(applied.node, tmp_path).apply(lambda: installed("np-away"))
    applied.server.start()
    assert node.status == "failed"
    assert "Failed to fetch" in node.reason


def test_an_upgrade_that_was_killed_is_made_good(applied: Scene) -> None:
    stays_at_work(applied, f"{NEW}.2")
    applied.sh(
        "systemctl kill -s KILL --kill-whom=all apt-daily-upgrade.service; "
        f"rm {layer_scene.STAY}; sleep 1; ! dpkg --audit | grep -q . || true"
    )
    assert ORDINARY in applied.sh("dpkg --audit")
    done = applied.run("apply")
    assert "updates | Install unattended-upgrades and needrestart" in applied.changed(done)
    assert applied.sh("dpkg --audit") == ""
    assert applied.versions(ORDINARY) == {f"{NEW}.2"}
    assert applied.changed(applied.run("apply")) == []


def test_debian_12(key: Key, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same, in short, with its older apt, unattended-upgrades and needrestart."""
    folder = tmp_path_factory.mktemp("updates-12")
    with beside(key, folder, "debian-12", "bookworm") as scene:
        scene.changed(scene.run("apply"))
        assert scene.changed(scene.run("apply")) == []
        scene.sh("rm /etc/apt/sources.list.d/*lab.sources")
        scene.offer(BAD)
        said = scene.upgraded()
        assert scene.versions(ORDINARY, LAST) == {NEW}, said
        assert scene.versions(DRIVER, "np-excluded", *METAS) == {OLD}
        assert f"kernel {BAD}: npgpu 1.0 does not build for it (updates)" in said
        assert scene.failed(scene.run("verify")) == set()
