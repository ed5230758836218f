"""The same with dnf and rpm, in a root that says it is Rocky Linux 9 or 10."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nodeproof.lab import containers
from nodeproof.lab.bridge import GATEWAY
from nodeproof.operations import packages, repositories
from nodeproof.repositories.spec import DnfRepository, SigningKey
from tests.repositories import rpm
from tests.repositories.node import Site, changed
from tests.repositories.rocky import PREINSTALL, becomes_rocky
from tests.repositories.rpm_folder import RpmFolder, build
from tests.repositories.server import Server
from tests.repositories.signing import Key, make_key, stop_agent

pytestmark = pytest.mark.nodes

RELEASES = [
    pytest.param(release, marks=pytest.mark.xdist_group("rocky")) for release in ("9", "10")
]
ROOM_KB = 100
"""What is left for rpm's database: too little for what a driver's packages say of themselves."""
EXPIRED = "2024-01-31"

# What a node has: packages, who wanted them, keys that rpm trusts, and all of /etc.
STATE = r"""
rpm -qa --qf '%{name}-%|epoch?{%{epoch}:}|%{version}-%{release}\n' | sort
dnf -q -C repoquery --userinstalled --qf 'wanted %{name}\n' 2>/dev/null | grep . | sort -u
find /etc /usr/share/vendor -xdev -type f ! -path '/etc/pki/ca-trust/*' -exec sha256sum -- {} + |
    sort
"""
TOUCHED = (
    "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log "
    "-o -path /var/cache/dnf \\) -prune -o -type f -cnewer /run/stamp -print | "
    "grep -v '/var/lib/systemd/timers/\\|/var/lib/rpm/rpmdb.sqlite-\\|/var/lib/dnf/history'; "
    "ls -d /run/nodeproof-*; true"
)


class Rocky:
    """A node with dnf, and a vendor's repository for it."""

    def __init__(self, site: Site, server: Server, folder: RpmFolder, release: str) -> None:
        self.site = site
        self.server = server
        self.folder = folder
        self.release = release
        self.url = f"{server.url}/rhel{release}/x86_64/"

    def evr(self, version: str) -> str:
        """Return a driver's version as dnf writes it."""
        return f"{rpm.EPOCH}:{version}-1.el{self.release}"

    def repository(self, **other: Any) -> DnfRepository:
        """Return it as it is asked for."""
        key = SigningKey((self.folder.key.fingerprint,), url=f"{self.url}vendor.pub")
        asked: dict[str, Any] = {
            "name": "cuda",
            "uris": (self.url,),
            "supplies": rpm.SUPPLIES,
            "key": key,
        }
        return DnfRepository(**{**asked, **other})

    def added(self, **other: Any) -> Callable[[], object]:
        """Return operations that add it."""
        repository = self.repository(**other)
        return lambda: repositories.dnf(name="Add the repository", repository=repository)

    def driver(
        self, version: str, names: tuple[str, ...] = rpm.DRIVER, **other: Any
    ) -> Callable[[], object]:
        """Return operations that add it, choose the branch on EL 9, and install a driver."""

        def operations() -> None:
            added = [repositories.dnf(name="Add the repository", repository=self.repository())]
            if self.release == "9":
                stream = f"{version.partition('.')[0]}-open"
                chosen = repositories.module(
                    name="Choose the branch", module="nvidia-driver", stream=stream
                )
                added.append(chosen)
            packages.versions(
                name="Install the driver",
                manager="dnf",
                versions=dict.fromkeys(names, self.evr(version)),
                after=added,
                **other,
            )

        return operations

    def state(self) -> list[str]:
        """Return what the node has."""
        return self.site.sh(STATE).splitlines()

    def versions(self) -> set[str]:
        """Return the versions of what belongs to a driver: one, unless it drifted apart."""
        listed = self.site.sh(r"rpm -qa --qf '%{name}|%{epoch}:%{version}-%{release}\n'")
        rows = dict(line.split("|") for line in listed.splitlines())
        found = {name: version for name, version in rows.items() if name in rpm.LOCKSTEP}
        assert not found or found.keys() == {*rpm.LOCKSTEP}, found
        return {*found.values()}

    def back(self, run: str) -> None:
        """Take a run back at the console: there is no row of such a distribution yet."""
        self.site.sh(f"/var/lib/nodeproof/bin/journal back {run}")

    def refused(self, operations: Callable[[], object]) -> str:
        """Plan and apply, both of which must refuse and leave no trace; return what they said."""
        self.site.sh("touch /run/stamp; sleep 0.02")
        planned, applied = self.site.plan(operations), self.site.apply(operations)
        assert (planned.status, applied.status) == ("refused", "refused"), planned
        assert planned.reason == applied.reason
        assert self.site.sh(TOUCHED).split() == []
        return planned.reason

    def failed(self, operations: Callable[[], object]) -> str:
        """Apply what only turns out to be broken on the way; nothing may be changed."""
        before = self.state()
        applied = self.site.apply(operations)
        assert applied.status == "failed", applied
        assert self.state() == before
        return applied.reason


DEPENDS = {"test_repository_is_added", "test_a_driver_through_its_life"}
"""What modules make different; the dnf of this root is one for both."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try both releases where they differ."""
    if "made" in metafunc.fixturenames:
        releases = RELEASES if metafunc.function.__name__ in DEPENDS else RELEASES[:1]
        metafunc.parametrize("made", releases, indirect=True, scope="module")


@pytest.fixture(scope="module")
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rocky]:
    release: str = request.param
    folder = tmp_path_factory.mktemp(f"rocky{release}")
    (folder / "www" / f"rhel{release}").mkdir(parents=True)
    keys = {name: make_key(folder, name, expired=name == "old") for name in ("good", "other")}
    with containers([f"rocky{release}"], "debian-13", preinstall=PREINSTALL) as (node,):
        becomes_rocky(node, release)
        site = Site(node, folder)
        sources = [rpm.driver(one, f"1.el{release}") for one in (rpm.OLD, rpm.NEWER, rpm.NEXT)]
        path = folder / "www" / f"rhel{release}" / "x86_64"
        built = build(site, path, [*sources, *rpm.others()], **keys, streams=release == "9")
        server = Server(folder / "www", GATEWAY)
        yield Rocky(site, server, built, release)
        server.stop()
    for key in keys.values():
        stop_agent(key)


@pytest.fixture
def rocky(made: Rocky, tmp_path: Path) -> Rocky:
    made.folder.publish()
    made.server.start()
    return made


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Key]:
    key = make_key(tmp_path_factory.mktemp("old"), "old", expired=True)
    yield key
    stop_agent(key)


BROKEN: dict[str, tuple[Callable[[Rocky], object], str]] = {
    "another key is served": (
        lambda rocky: _key_file(rocky).write_text(rocky.folder.other.public),
        "it is not the vendor's key, or the vendor has a new one",
    ),
    "no key is served": (lambda rocky: _key_file(rocky).unlink(), "is not there, or not all of it"),
    "signed by another": (
        lambda rocky: rocky.folder.publish(signed_by=rocky.folder.other),
        "or somebody else signed it; do not use it",
    ),
    "lists changed": (lambda rocky: rocky.folder.change_lists(), "or somebody else signed it"),
    "index changed": (lambda rocky: rocky.folder.change_index(), "serves is not what it signed"),
    "not signed": (lambda rocky: rocky.folder.unsign(), "is not signed"),
    "nobody answers": (lambda rocky: rocky.server.stop(), "cannot be reached from the node"),
}


def _key_file(rocky: Rocky) -> Path:
    return rocky.folder.path / rocky.folder.key_file


@pytest.mark.parametrize("what", BROKEN)
def test_repository_that_is_broken(what: str, rocky: Rocky) -> None:
    break_it, sentence = BROKEN[what]
    break_it(rocky)
    said = rocky.refused(rocky.added())
    assert sentence in said, said


def test_repository_that_is_elsewhere(rocky: Rocky, old: Key) -> None:
    shipped = SigningKey((rocky.folder.key.fingerprint,), content=rocky.folder.key.public)
    elsewhere = rocky.added(uris=(f"{rocky.server.url}/nowhere/",), key=shipped)
    assert "/nowhere/ is not there, or not all of it" in rocky.refused(elsewhere)
    expired = SigningKey((old.fingerprint,), content=old.public)
    assert f"expired on {EXPIRED}" in rocky.refused(rocky.added(key=expired))


def test_repository_is_added(rocky: Rocky) -> None:
    before = rocky.state()
    run = rocky.site.applied(rocky.added()).run
    asked = rocky.server.requests()
    again = rocky.site.apply(rocky.added())
    assert (changed(again), again.status) == ([], "ok")
    assert again.round_trips <= 5
    assert rocky.server.requests() == asked
    keys = rocky.site.sh("rpm -qa gpg-pubkey")
    assert keys.startswith(f"gpg-pubkey-{rocky.folder.key.fingerprint[-8:].lower()}-")
    listed = rocky.site.sh("dnf -q repoquery vendor-telemetry datacenter-gpu-manager-4-core")
    assert listed.split() == ["datacenter-gpu-manager-4-core-1:4.6.0-1.noarch"]
    rocky.site.sh("rpm -e --allmatches gpg-pubkey")
    mended = rocky.site.applied(rocky.added())
    assert changed(mended.nodes[0]) == ["Add the repository"]
    rocky.back(mended.run)
    assert rocky.site.sh("rpm -qa gpg-pubkey") == ""
    rocky.back(run)
    assert rocky.state() == before


def test_a_driver_through_its_life(rocky: Rocky) -> None:
    """Install, again, upgrade inside the branch, switch the branch, and all of it back."""
    bare = rocky.state()
    planned = rocky.site.plan(rocky.driver(rpm.OLD))
    assert changed(planned)[-1] == "Install the driver"
    assert rocky.state() == bare
    first = rocky.site.applied(rocky.driver(rpm.OLD)).run
    assert rocky.versions() == {rocky.evr(rpm.OLD)}
    locks = rocky.site.sh("cat /etc/dnf/plugins/versionlock.list").split()
    assert {line.partition("-3:")[0] for line in locks} == {*rpm.LOCKSTEP}
    again = rocky.site.apply(rocky.driver(rpm.OLD))
    assert (changed(again), again.status) == ([], "ok")
    assert again.round_trips <= 6
    rocky.site.sh("dnf -q -y upgrade")
    assert rocky.versions() == {rocky.evr(rpm.OLD)}
    installed = rocky.state()

    upgrade = rocky.site.applied(rocky.driver(rpm.NEWER))
    assert changed(upgrade.nodes[0]) == ["Install the driver"]
    assert rocky.versions() == {rocky.evr(rpm.NEWER)}
    upgraded = rocky.state()
    back = f"would go back from {rocky.evr(rpm.NEWER)} to {rocky.evr(rpm.OLD)}; allow downgrades"
    assert back in rocky.refused(rocky.driver(rpm.OLD))
    allowed = rocky.site.applied(rocky.driver(rpm.OLD, allow_downgrade=True))
    assert rocky.versions() == {rocky.evr(rpm.OLD)}
    rocky.back(allowed.run)
    assert rocky.state() == upgraded

    switch = rocky.site.applied(rocky.driver(rpm.NEXT))
    branch = ["Choose the branch"] if rocky.release == "9" else []
    assert changed(switch.nodes[0]) == [*branch, "Install the driver"]
    assert rocky.versions() == {rocky.evr(rpm.NEXT)}
    assert changed(rocky.site.apply(rocky.driver(rpm.NEXT))) == []
    for run, before in ((switch.run, upgraded), (upgrade.run, installed), (first, bare)):
        rocky.back(run)
        assert rocky.state() == before


def test_what_is_not_named_stays(rocky: Rocky) -> None:
    run = rocky.site.applied(rocky.driver(rpm.OLD)).run
    newer = rocky.driver(rpm.NEWER, ("nvidia-open",))
    said = rocky.refused(newer)
    assert f"nvidia-fabricmanager is held at {rocky.evr(rpm.OLD)}" in said
    said = rocky.refused(rocky.driver("580.1"))
    assert "no repository offers libnvidia-nscq 3:580.1-1.el" in said
    rocky.back(run)


def test_a_build_beside_another_is_taken_back(rocky: Rocky) -> None:
    """dnf keeps builds for several kernels; the one that was there before stays."""
    added = rocky.site.applied(rocky.added()).run
    rocky.site.sh("dnf -q -y install kmod-nvidia-beside-5.14.0-611.el9")
    before = rocky.state()
    newer = "kmod-nvidia-beside-5.14.0-687.el9"
    run = rocky.site.applied(
        lambda: packages.present(name="Install the build", manager="dnf", packages=[newer])
    )
    assert changed(run.nodes[0]) == ["Install the build"]
    assert len(rocky.site.sh("rpm -q kmod-nvidia-beside").split()) == 2
    rocky.back(run.run)
    assert rocky.state() == before
    rocky.site.sh("dnf -q -y remove kmod-nvidia-beside")
    rocky.back(added)


NARROW = """
cp -a /var/lib/rpm /run/rpm-before
mount -t tmpfs -o size=64m,mode=755 rpm /var/lib/rpm
cp -a /run/rpm-before/. /var/lib/rpm/
rm -rf /run/rpm-before
dd if=/dev/zero of=/var/lib/rpm/filler bs=4k 2>/dev/null
truncate -s -{room}k /var/lib/rpm/filler
"""
WIDE = """
cp -a /var/lib/rpm /run/rpm-now
umount /var/lib/rpm
cp -a /run/rpm-now/. /var/lib/rpm/
rm -rf /run/rpm-now
"""


def test_disk_that_fills_up_in_a_transaction(rocky: Rocky) -> None:
    """rpm cannot write down what it did: it is said, and goes on when there is room."""
    bare = rocky.state()
    first = rocky.site.applied(rocky.driver(rpm.OLD)).run
    rocky.site.sh(NARROW.format(room=ROOM_KB))
    try:
        full = rocky.site.applied(rocky.driver(rpm.NEWER))
        node = full.nodes[0]
        assert (node.status, "not enough room" in node.reason) == ("failed", True), node.reason
    finally:
        rocky.site.sh("rm -f /var/lib/rpm/filler")
    done = rocky.site.applied(rocky.driver(rpm.NEWER))
    assert changed(done.nodes[0]) == ["Install the driver"]
    assert rocky.versions() == {rocky.evr(rpm.NEWER)}
    assert changed(rocky.site.apply(rocky.driver(rpm.NEWER))) == []
    rocky.site.sh(WIDE)
    for run in (done.run, full.run, first):
        rocky.back(run)
    assert rocky.state() == bare


DOWNLOADS: dict[str, tuple[Callable[[Rocky], object], str]] = {
    "a package was changed": (
        lambda rocky: rocky.folder.change_package("libnvidia-nscq", rocky.evr(rpm.OLD)),
        "serves is not what it signed",
    ),
    "a package is missing": (
        lambda rocky: rocky.folder.package("libnvidia-nscq", rocky.evr(rpm.OLD)).unlink(),
        "is not there, or not all of it",
    ),
    "off-line": (lambda rocky: rocky.server.stop(), "cannot be reached from the node"),
}


@pytest.mark.parametrize("what", DOWNLOADS)
def test_download_that_fails(what: str, rocky: Rocky) -> None:
    run = rocky.site.applied(_until_packages(rocky)).run
    rocky.site.sh("rm -rf /var/cache/dnf/*/packages")
    break_it, sentence = DOWNLOADS[what]
    break_it(rocky)
    said = rocky.failed(rocky.driver(rpm.OLD))
    assert sentence in said, said
    assert rocky.versions() == set()
    rocky.back(run)


def test_package_that_somebody_else_signed(rocky: Rocky) -> None:
    rocky.folder.publish(alien=True)
    run = rocky.site.applied(_until_packages(rocky)).run
    said = rocky.failed(rocky.driver(rpm.OLD))
    assert "is signed with a key that is not the pinned one" in said, said
    rocky.back(run)


def _until_packages(rocky: Rocky) -> Callable[[], object]:
    """Return operations that add the repository and choose the branch."""

    def operations() -> None:
        repositories.dnf(name="Add the repository", repository=rocky.repository())
        if rocky.release == "9":
            repositories.module(name="Choose the branch", module="nvidia-driver", stream="580-open")

    return operations


def test_streams_are_of_one_branch(rocky: Rocky) -> None:
    """On EL 9 a branch's packages are seen only where its stream is enabled."""
    if rocky.release == "10":
        pytest.skip("there are no module streams since EL 10")
    run = rocky.site.applied(_until_packages(rocky)).run
    seen = rocky.site.sh("dnf -q repoquery nvidia-open")
    assert set(re.findall(r"3:(\d+)\.", seen)) == {"580"}
    rocky.back(run)
    seen = rocky.site.sh("ls /etc/dnf/modules.d")
    assert seen == ""
