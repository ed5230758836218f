"""The gpu layer with dnf, in roots that say they are Rocky Linux 9 and 10: see `rocky`.

systemd, dnf and rpm are real, repositories are signed, EL 9 has module streams; what is not real is
the distribution around them, and the kernel, as in every container. On EL 10 the vendor's key is
pinned as it is there, by the digest of its file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from nodeproof.lab import ContainerNode, containers
from nodeproof.lab.bridge import GATEWAY
from nodeproof.repositories.spec import SigningKey
from tests.breaks import break_each
from tests.repositories import cuda_rpm, gpu_rpm, gpu_scene, rpm
from tests.repositories.node import Site
from tests.repositories.rocky import PREINSTALL, becomes_rocky
from tests.repositories.rpm_folder import RpmFolder, build
from tests.repositories.server import Server
from tests.repositories.signing import make_key, stop_agent
from tests.support import Done, environment

pytestmark = pytest.mark.nodes

RELEASES = [pytest.param(one, marks=pytest.mark.xdist_group(f"gpu-el{one}")) for one in ("9", "10")]
NINE = pytest.mark.parametrize("scene", RELEASES[:1], indirect=True, scope="module")
TEN = pytest.mark.parametrize("scene", RELEASES[1:], indirect=True, scope="module")

BRANCH = "gpu | Choose the branch"
INSTALL = "gpu | Install the driver with all that belongs to it"
INSECURE = {"allow_insecure": ["nvidia-5861", "nvidia-5821"]}
OTHERS = "/etc/yum.repos.d/rocky.repo"
REPOSITORIES = """[baseos]
name=baseos
baseurl={url}
gpgkey=file://{key}
gpgcheck=1
excludepkgs=dkms
[epel]
name=epel
baseurl={url}
gpgkey=file://{key}
gpgcheck=1
includepkgs=dkms
"""
STATE = r"""
find /boot /etc /usr/local /usr/src /usr/lib/systemd ! -name '*.cache' ! -name 'ld.so*' -type f \
    -exec sha256sum {} +
find /boot /etc /usr/local /usr/src /var/lib/dpkg/alternatives -printf '%p %y %m %U %G %l\n'
rpm -qa --qf '%{name} %{epoch} %{version} %{release}\n'
dnf -q -C repoquery --userinstalled --qf 'wanted %{name}\n' 2>/dev/null | grep .
systemctl list-unit-files --no-legend | grep -v transient
"""
# A kernel to build an initramfs for, and in dracut's place a program that says it was called.
BOOT = r"""
mkdir -p /lib/modules/{kernel}
echo kernel/drivers/vendor.ko: >/lib/modules/{kernel}/modules.dep
echo a kernel >/boot/vmlinuz-{kernel}
echo as before >/boot/initramfs-{kernel}.img
cat >/usr/local/bin/dracut <<'END'
#!/bin/sh
[ "$1 $2" = '-f --' ] && [ -e "/lib/modules/$4/modules.dep" ] && echo "built for $4" >"$3"
END
chmod 755 /usr/local/bin/dracut
"""
BUNDLE = """[keys.cuda-cdf6ba43]
url = "https://vendor.example/CDF6BA43.pub"
sha256 = "{digest}"
sha256_without = "^Version"
sources = ["nvidia-driver-container"]
"""


class Scene(gpu_scene.Scene):
    """The same with dnf."""

    looks = STATE

    def __init__(
        self, node: ContainerNode, folder: Path, served: RpmFolder, url: str, release: str
    ) -> None:
        super().__init__(node, folder, served, url)
        self.served: RpmFolder = served
        self.release = release
        self.kernel = gpu_rpm.KERNELS[release]
        self.catalog = folder / "catalog"

    def run(self, command: str, driver: str, **more: Any) -> Done:
        """Do it with the key pinned as it is there, unless another one is asked for."""
        if self.release == "10" and "repository_key" not in more:
            more["repository_key"] = None
        return self.do(command, self.asked(driver, **more), self.environment)

    @property
    def environment(self) -> Mapping[str, str]:
        """Return an environment whose catalog knows the digest of the vendor's key here."""
        return {**environment(), "NODEPROOF_CATALOG_DIR": str(self.catalog)}

    def cuda(self, command: str, **asked: Any) -> Done:
        """Do what is asked of the cuda layer alone, with the vendor's repository as above."""
        settings: dict[str, Any] = {
            "repository_uri": self.url,
            "repository_key": self.served.key.fingerprint,
            "repository_key_uri": f"{self.url}{self.served.key_file}",
        }
        return self.do(command, {"cuda": settings | asked})

    def evr(self, version: str) -> str:
        """Return a driver's version as dnf writes it."""
        return f"{rpm.EPOCH}:{version}-1.el{self.release}"

    def locked(self) -> set[str]:
        """Return the names of packages that are locked in the version that they have."""
        lines = self.sh("dnf -q --disablerepo='*' versionlock list").split()
        return {line.rsplit("-", 2)[0] for line in lines}

    def versions(self) -> set[str]:
        """Return the versions of what belongs to a driver: one, unless it drifted apart."""
        listed = self.sh(r"rpm -qa --qf '%{name}|%{epoch}:%{version}-%{release}\n'")
        rows = dict(line.split("|") for line in listed.splitlines())
        found = {name: v for name, v in rows.items() if name in self.parts}
        assert not found or found.keys() == self.parts, found
        return {*found.values()}

    @property
    def parts(self) -> set[str]:
        """What belongs to a driver: on EL 10, without what only displays need."""
        displays = {"nvidia-open", "nvidia-driver"}
        return {*gpu_rpm.PARTS} - (displays if self.release == "10" else set())


@pytest.fixture(scope="module")
def scene(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """A node of that release beside a vendor's repository, and its own."""
    release: str = request.param
    folder = tmp_path_factory.mktemp(f"gpu-el{release}")
    keys = {name: make_key(folder, name) for name in ("vendor", "distribution")}
    with containers([f"rocky{release}-gpu"], "debian-13", preinstall=PREINSTALL) as (node,):
        becomes_rocky(node, release)
        site, www = Site(node, folder), folder / "www"
        www.mkdir()
        vendor, own = keys["vendor"], keys["distribution"]
        served = build(
            site,
            www / "vendor",
            [*gpu_rpm.repository(release), *(cuda_rpm.repository() if release == "9" else [])],
            vendor,
            own,
            streams=release == "9",
        )
        others = build(site, www / "own", gpu_rpm.distribution(release), own, vendor, streams=False)
        for one in (served, others):
            one.publish()
        server = Server(www, GATEWAY)
        server.start()
        path = "/etc/pki/rpm-gpg/RPM-GPG-KEY-Rocky"
        (node.root / path[1:]).write_text(own.public)
        url = f"{server.url}/own/"
        (node.root / OTHERS[1:]).write_text(REPOSITORIES.format(url=url, key=path))
        scene = Scene(node, folder, served, f"{server.url}/vendor/", release)
        scene.sh(BOOT.format(kernel=scene.kernel) + f"rpm --import {path}\n")
        scene.catalog.mkdir()
        digest = hashlib.sha256(
            SigningKey(sha256="0" * 64, sha256_without="^Version", url="file:///").proven(
                vendor.public.encode()
            )
        ).hexdigest()
        (scene.catalog / "key.toml").write_text(BUNDLE.format(digest=digest))
        yield scene
        server.stop()
    for key in keys.values():
        stop_agent(key)


@NINE
def test_refused_before_the_first_change(scene: Scene) -> None:
    bare = scene.state()
    wrong = scene.refused(scene.run("apply", "580", repository_key="A" * 40))
    assert f"is {scene.served.key.fingerprint}, pinned is {'A' * 40}" in wrong
    scene.sh(f"sed -i.old 's/^includepkgs=dkms/enabled=0/' {OTHERS}")
    for command in ("plan", "apply"):
        said = scene.refused(scene.run(command, "580"))
        assert (
            "no repository of the node's offers dkms; enable the distribution's own and EPEL"
            in said
        )
    scene.sh(f"mv {OTHERS}.old {OTHERS}")
    for command in ("plan", "apply", "verify"):
        said = scene.refused(scene.do(command, {"gpu": {}, "system": {}, "ssh": {}}))
        assert "there are only the layers gpu and cuda, not system, ssh; leave the rest out" in said
    assert scene.state() == bare


@TEN
def test_key_file_of_another_digest(scene: Scene) -> None:
    served = scene.served
    (served.path / served.key_file).write_text(served.other.public)
    said = scene.refused(scene.run("apply", "580"))
    assert "has the digest" in said
    assert "it is not the vendor's key, or the vendor has a new one" in said
    served.publish()


@NINE
def test_driver_through_its_life(scene: Scene) -> None:
    """Install, again, proven, upgrade, no way back, switch the branch, and all of it back."""
    bare = scene.state()
    planned = scene.changed(scene.run("plan", rpm.OLD, **INSECURE))
    assert {BRANCH, INSTALL} <= {*planned}
    assert scene.state() == bare
    first = scene.run("apply", rpm.OLD, **INSECURE)
    assert scene.changed(first) == planned
    assert scene.versions() == {scene.evr(rpm.OLD)}
    assert scene.parts <= scene.locked()
    again = scene.run("apply", rpm.OLD, **INSECURE)
    assert scene.changed(again) == []
    assert again.node(scene.node.name)["round_trips"] <= 20
    assert "driver_is_one_that_the_catalog_allows" in scene.failing(rpm.OLD)

    scene.sh("dnf -q -y upgrade")
    assert scene.versions() == {scene.evr(rpm.OLD)}

    upgrade = scene.run("apply", "580")
    assert scene.changed(upgrade) == [INSTALL]
    assert scene.versions() == {scene.evr(rpm.NEWER)}
    back = scene.refused(scene.run("apply", rpm.OLD, **INSECURE))
    assert f"driver {rpm.NEWER} is installed, and {rpm.OLD} is older" in back
    missing = scene.refused(scene.run("apply", "580", gds=True))
    assert "no repository offers nvidia-gds" in missing

    switch = scene.run("apply", "595", dcgm=True)
    assert {BRANCH, INSTALL} <= {*scene.changed(switch)}
    assert scene.versions() == {scene.evr(rpm.NEXT)}
    assert scene.failing("595", dcgm=True) == set()
    assert scene.changed(scene.run("apply", "595", dcgm=True)) == []
    scene.back(switch, upgrade, first)
    assert scene.state() ^ bare == set()


@TEN
def test_driver_without_streams(scene: Scene) -> None:
    """EL 10: other packages, a key that is pinned by its digest, and only locks keep the branch."""
    bare = scene.state()
    planned = scene.changed(scene.run("plan", "580"))
    assert INSTALL in planned
    assert BRANCH not in planned
    first = scene.run("apply", "580")
    assert scene.changed(first) == planned
    assert scene.versions() == {scene.evr(rpm.NEWER)}
    assert scene.parts <= scene.locked()
    assert f"-{scene.kernel}" in scene.sh("rpm -q kernel-devel-matched")
    assert scene.sh("cat /boot/initramfs-*.img") == f"built for {scene.kernel}\n"
    assert scene.changed(scene.run("apply", "580")) == []
    assert scene.failing("580") == set()
    scene.sh("dnf -q -y upgrade")
    assert scene.versions() == {scene.evr(rpm.NEWER)}
    switch = scene.run("apply", "595")
    assert scene.changed(switch) == [INSTALL]
    assert scene.versions() == {scene.evr(rpm.NEXT)}
    scene.back(switch, first)
    assert scene.state() ^ bare == set()


@TEN
def test_goes_on_where_it_was_cut_off(scene: Scene) -> None:
    """dnf is killed in the middle of an upgrade: rpm then has both versions of a package."""
    bare = scene.state()
    first = scene.run("apply", rpm.OLD, **INSECURE)
    assert INSTALL in scene.changed(first)
    with scene.inside(scene.asked("580", repository_key=None), scene.environment) as running:
        scene.sh("kill -9 $(pgrep -f '^/usr/bin/python3 /usr/bin/dnf -y')")
    assert "dnf was ended by signal 9" in running.finish().node(scene.node.name)["reason"]
    cut = scene.last_run()
    assert len(scene.sh("rpm -q nvidia-persistenced").split()) == 2
    assert scene.changed(scene.run("plan", "580")) == [INSTALL]
    assert "packages_belong_to_one_driver" in scene.failing("580")
    done = scene.run("apply", "580")
    assert scene.changed(done) == [INSTALL]
    assert len(scene.sh("rpm -q nvidia-persistenced").split()) == 1
    assert scene.versions() == {scene.evr(rpm.NEWER)}
    assert scene.changed(scene.run("apply", "580")) == []
    assert scene.failing("580") == set()
    scene.back(done, cut, first)
    assert scene.state() ^ bare == set()


BREAKS = {
    "lock taken off": (
        "sed -i.old /nvidia-fabricmanager/d /etc/dnf/plugins/versionlock.list",
        "mv /etc/dnf/plugins/versionlock.list.old /etc/dnf/plugins/versionlock.list",
        {"packages_held"},
    ),
    "lock of another version": (
        "sed -i.old '/nvidia-fabricmanager/s/3:580.178.04/3:580.126.09/' "
        "/etc/dnf/plugins/versionlock.list",
        "mv /etc/dnf/plugins/versionlock.list.old /etc/dnf/plugins/versionlock.list",
        {"packages_held"},
    ),
    "locks not heeded": (
        "sed -i.old 's/^enabled.*/enabled = 0/' /etc/dnf/plugins/versionlock.conf",
        "mv /etc/dnf/plugins/versionlock.conf.old /etc/dnf/plugins/versionlock.conf",
        {"packages_held"},
    ),
    "fabric manager of another driver": (
        "cd /run; dnf -q download --disableplugin=versionlock --setopt=*.module_hotfixes=1 "
        "nvidia-fabricmanager-3:595.91.07; rpm -U --nodeps nvidia-fabricmanager-595*.rpm",
        "cd /run; dnf -q download --disableplugin=versionlock nvidia-fabricmanager-3:580.178.04; "
        "rpm -U --nodeps --oldpackage nvidia-fabricmanager-580*.rpm",
        {"packages_belong_to_one_driver", "packages_held"},
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
    "packages not proven": (
        "sed -i.old s/^gpgcheck=1/gpgcheck=0/ /etc/yum.repos.d/nodeproof-cuda.repo",
        "cd /etc/yum.repos.d; mv nodeproof-cuda.repo.old nodeproof-cuda.repo",
        {"repository_trusts_the_pinned_key_only"},
    ),
    "lists not proven": (
        "sed -i.old s/^repo_gpgcheck=1/repo_gpgcheck=0/ /etc/yum.repos.d/nodeproof-cuda.repo",
        "cd /etc/yum.repos.d; mv nodeproof-cuda.repo.old nodeproof-cuda.repo",
        {"repository_trusts_the_pinned_key_only"},
    ),
    "somebody else's key beside it": (
        "cat /etc/pki/rpm-gpg/RPM-GPG-KEY-Rocky >>/etc/pki/rpm-gpg/nodeproof-cuda.asc",
        "cp /run/cuda.asc /etc/pki/rpm-gpg/nodeproof-cuda.asc",
        {"repository_trusts_the_pinned_key_only"},
    ),
}


@NINE
def test_every_check_can_fail(scene: Scene) -> None:
    """Each thing that a check is about and that dnf makes another one, broken and mended."""
    scene.changed(scene.run("apply", "580"))
    assert scene.failing("580") == set()
    scene.sh("cp /etc/pki/rpm-gpg/nodeproof-cuda.asc /run/cuda.asc")
    break_each(BREAKS, scene.sh, lambda: scene.failing("580"))
    assert scene.failing("595") == {"driver_is_what_was_asked_for"}


@NINE
def test_toolkits_through_their_life(scene: Scene) -> None:
    """CUDA from the same repository; alternatives are dpkg's here, whose words differ from EL's."""
    bare = scene.state()
    asked: dict[str, Any] = {
        "toolkits": ["12.9", "13.1"], "default": "13.1", "cudnn": True, "nccl": True,
    }  # fmt: skip
    first = scene.cuda("apply", **asked)
    assert "cuda | Install the toolkits" in scene.changed(first)
    assert scene.sh("readlink -f /usr/local/cuda").strip() == "/usr/local/cuda-13.1"
    assert scene.changed(scene.cuda("apply", **asked)) == []
    assert scene.cuda("verify", **asked).failing(scene.node.name) == []
    has = scene.sh("dnf -q -y upgrade; rpm -q libnccl libcudnn9-devel-cuda-13").split()
    assert has[0].startswith("libnccl-2.28.9-1+cuda13.0")

    other = {**asked, "default": "12.9"}
    second = scene.cuda("apply", **other)
    assert scene.sh("readlink -f /usr/local/cuda").strip() == "/usr/local/cuda-12.9"
    assert "cuda13" not in scene.sh("rpm -q libnccl libnccl-devel")
    assert scene.cuda("verify", **other).failing(scene.node.name) == []
    scene.sh("sed -i.old /libnccl/d /etc/dnf/plugins/versionlock.list")
    assert scene.cuda("verify", **other).failing(scene.node.name) == ["packages_held"]
    scene.sh("cd /etc/dnf/plugins && mv versionlock.list.old versionlock.list")
    scene.back(second, first)
    assert scene.state() ^ bare == set()
