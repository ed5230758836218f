"""Repositories with pinned keys, packages at exact versions: with real apt, and all broken."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from nodeproof.engine.result import Node
from nodeproof.lab import ContainerNode, containers
from nodeproof.lab.bridge import GATEWAY
from nodeproof.operations import repositories
from nodeproof.repositories.spec import AptRepository
from tests.manifest import differences, manifest
from tests.nodes.conftest import spread
from tests.repositories.node import Site, changed
from tests.repositories.scene import Vendor
from tests.repositories.server import Server
from tests.repositories.signing import make_key, stop_agent
from tests.repositories.vendor import DRIVER, LOCKSTEP, NEWER, NEXT, OLD

pytestmark = pytest.mark.nodes

FILES = "ls -A /etc/apt/keyrings /etc/apt/sources.list.d /etc/apt/preferences.d"
SWITCH = {"without": ["nvidia-driver-pinning-*", "nvidia-open-5*"]}
LEFT = """
export DEBIAN_FRONTEND=noninteractive
dpkg-query -W -f '${Package}\\n' '*nvidia*' libcuda1 | xargs -r dpkg --purge --force-all
rm -f /etc/apt/*/nodeproof-* /etc/apt/*/zz-nodeproof-* /etc/apt/sources.list.d/cuda-*
rm -f /etc/apt/apt.conf.d/99vendor
"""
TOUCHED = (
    "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log \\) "
    "-prune -o -type f -cnewer /run/stamp -print | "
    "grep -v '/var/lib/systemd/timers/\\|/var/cache/apt/[a-z]*.bin'; "
    "ls -d /run/nodeproof-*; true"
)


DEPENDS = {"test_repository_is_added", "test_a_driver_through_its_life"}
"""What is tried with the older apt, too; what is wrong with a repository is told alike by both."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try with both apts what depends on them."""
    spread(metafunc, "node", DEPENDS, "repositories")


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest) -> Iterator[ContainerNode]:
    name = f"{request.param.replace('debian-', 'd')}-repo"
    with containers([name], request.param, preinstall=("unattended-upgrades",)) as (node,):
        yield node


@pytest.fixture(scope="module")
def served(node: ContainerNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    """A vendor's repository that the node reaches."""
    folder = tmp_path_factory.mktemp("vendor")
    (folder / "www").mkdir()
    keys = [make_key(folder, name, expired=name == "old") for name in ("good", "other", "old")]
    vendor = Vendor(Server(folder / "www", GATEWAY), *keys)
    yield vendor
    vendor.server.stop()
    for key in keys:
        stop_agent(key)


@pytest.fixture
def vendor(served: Vendor) -> Vendor:
    served.mend()
    return served


@pytest.fixture
def site(node: ContainerNode, tmp_path: Path) -> Site:
    site = Site(node, tmp_path)
    if "nodeproof" in site.sh(FILES):  # a test has failed; its failure is enough
        site.sh(LEFT)
    return site


def refused(site: Site, operations: Callable[[], object]) -> str:
    """Plan and apply, both of which must refuse and leave no trace; return what they said."""
    site.sh("touch /run/stamp; sleep 0.02")
    planned, applied = site.plan(operations), site.apply(operations)
    assert (planned.status, applied.status) == ("refused", "refused"), planned
    assert _timeless(planned.reason) == _timeless(applied.reason)
    assert site.sh(TOUCHED).split() == []
    return planned.reason


def _timeless(said: str) -> str:
    return re.sub(r"\d+(?= ?(?:d|h|min|s)\b)", "", said)


def failed(site: Site, operations: Callable[[], object]) -> str:
    """Apply what only turns out to be broken on the way; nothing but the journal may be changed."""
    before = manifest(site.node)
    applied = site.apply(operations)
    assert applied.status == "failed", applied
    assert differences(before, manifest(site.node)) == []
    return applied.reason


# Keys


BAD_KEYS: dict[str, tuple[Callable[[Vendor], object], str]] = {
    "another key is served": (
        lambda vendor: vendor.key_file.write_text(vendor.other.public),
        "is {other}, pinned is {good}: it is not the vendor's key, or the vendor has a new one",
    ),
    "another key besides": (
        lambda vendor: vendor.key_file.write_text(vendor.good.public + vendor.other.public),
        "holds {other} besides the pinned key",
    ),
    "a web page is served": (
        lambda vendor: vendor.key_file.write_text("<html>Sign in</html>"),
        "is no OpenPGP key file; look at what is served there",
    ),
    "cut off": (
        lambda vendor: vendor.key_file.write_text(vendor.good.public.replace("\n=", "\nAAAA\n=")),
        "is cut off, or was changed on its way",
    ),
    "too large": (
        lambda vendor: vendor.key_file.write_text("\n" * 70000 + vendor.good.public),
        "is larger than 65536 octets, so it is no key",
    ),
    "no key is served": (
        lambda vendor: vendor.key_file.unlink(),
        "is not there, or not all of it (404",
    ),
    "nobody answers": (lambda vendor: vendor.server.stop(), "cannot be reached from the node"),
}


@pytest.mark.parametrize("what", BAD_KEYS)
def test_key_that_is_not_the_pinned_one(what: str, site: Site, vendor: Vendor) -> None:
    break_it, sentence = BAD_KEYS[what]
    break_it(vendor)
    said = refused(site, vendor.added())
    wanted = sentence.format(good=vendor.good.fingerprint, other=vendor.other.fingerprint)
    assert wanted in said, said


def test_pinned_key_that_has_expired(site: Site, vendor: Vendor) -> None:
    vendor.key_file.write_text(vendor.old.public)
    said = refused(site, vendor.added(key=vendor.key(vendor.old)))
    assert f"{vendor.old.fingerprint}, expired on 2024-01-31; fetch it again" in said


def test_rotated_key(site: Site, vendor: Vendor) -> None:
    """The vendor signs with a new key: refused until it is pinned, then taken without a word."""
    run = site.applied(vendor.added()).run
    vendor.key_file.write_text(vendor.other.public)
    vendor.folder.publish(signed_by=vendor.other)
    vendor.key_file.write_text(vendor.other.public)
    assert changed(site.apply(vendor.added())) == []  # what is there is not asked for again
    moved = vendor.added(supplies=("nvidia-*",))
    assert f"is signed with the key {_id(site, vendor)}, which is not the pinned one" in refused(
        site, moved
    )
    both = vendor.key(vendor.good, vendor.other)
    again = site.applied(vendor.added(key=both))
    assert changed(again.nodes[0]) == ["Add the repository"]
    assert changed(site.apply(vendor.added(key=both))) == []
    site.revert(again.run)
    site.revert(run)


def _id(site: Site, vendor: Vendor) -> str:
    """Return how this node's apt names the new key."""
    whole = "sqv" in site.sh("ls /usr/bin")
    return vendor.other.fingerprint if whole else vendor.other.fingerprint[-16:]


# Repositories

BROKEN: dict[str, tuple[Callable[[Vendor], object], str]] = {
    "signed by another": (
        lambda vendor: vendor.folder.publish(signed_by=vendor.other),
        "which is not the pinned one: the vendor has changed its key",
    ),
    "list changed": (
        lambda vendor: vendor.folder.change_index(),
        "serves is not what it signed",
    ),
    "release changed": (lambda vendor: vendor.folder.change_release(), "the signature of the"),
    "not signed": (lambda vendor: vendor.folder.unsign(), "is not signed"),
    "out of date": (
        lambda vendor: vendor.folder.publish(made=timedelta(days=9)),
        "says that it is out of date",
    ),
    "of tomorrow": (
        lambda vendor: vendor.folder.publish(made=timedelta(days=-1)),
        "was signed in the future",
    ),
    "list missing": (
        lambda vendor: (vendor.folder.path / "Packages").unlink(),
        "is not there, or not all of it (404",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_repository_that_is_broken(what: str, site: Site, vendor: Vendor) -> None:
    break_it, sentence = BROKEN[what]
    break_it(vendor)
    assert sentence in refused(site, vendor.added())


def test_repository_that_is_elsewhere(site: Site, vendor: Vendor) -> None:
    key = vendor.good.public
    shipped = type(vendor.key())(vendor.key().fingerprints, content=key)
    said = refused(site, vendor.added(uris=(f"{vendor.server.url}/nowhere/",), key=shipped))
    assert "/nowhere/ is not there, or not all of it (404" in said
    vendor.server.stop()
    assert "cannot be reached from the node" in refused(site, vendor.added(key=shipped))


def test_repository_is_added(site: Site, vendor: Vendor, node: ContainerNode) -> None:
    before = manifest(node)
    planned = site.plan(vendor.added())
    assert changed(planned) == ["Add the repository"]
    assert "+-----BEGIN PGP PUBLIC KEY BLOCK-----" in planned.changes[0].diff
    assert "+Signed-By: /etc/apt/keyrings/nodeproof-cuda.asc" in planned.changes[0].diff
    assert "nodeproof" not in site.sh(FILES)
    run = site.applied(vendor.added()).run
    asked = vendor.server.requests()
    again = site.apply(vendor.added())
    assert (changed(again), again.status) == ([], "ok")
    assert again.round_trips <= 5
    assert vendor.server.requests() == asked, "what is there was fetched again"
    policy = site.sh("apt-cache policy hostname vendor-telemetry nvidia-open")
    hostname, telemetry, driver = policy.split("Installed:")[1:]
    assert "99:1.0-1 -1" in hostname
    assert "Candidate: 99" not in hostname
    assert "Candidate: (none)" in telemetry
    assert f"Candidate: {NEXT}" in driver
    site.revert(run)
    assert differences(before, manifest(node)) == []


@pytest.mark.parametrize(
    "path",
    [
        "/etc/apt/keyrings/nodeproof-cuda.asc",
        "/etc/apt/sources.list.d/nodeproof-cuda.sources",
        "/etc/apt/preferences.d/zz-nodeproof-cuda.pref",
    ],
)
def test_what_somebody_changed_is_mended(path: str, site: Site, vendor: Vendor) -> None:
    """A key of theirs, another address, another priority: all of it goes."""
    run = site.applied(vendor.added()).run
    before = site.sh(f"cat {path}")
    site.sh(f"cp -p {path} /run/before; cat >>{path} <<'END'\n{vendor.other.public}END\n")
    mended = site.applied(vendor.added())
    assert changed(mended.nodes[0]) == ["Add the repository"]
    assert site.sh(f"cat {path}") == before
    assert changed(site.apply(vendor.added())) == []
    site.revert(mended.run)
    site.sh(f"cp -p /run/before {path}")
    site.revert(run)


def test_somebody_else_names_it(site: Site, vendor: Vendor, node: ContainerNode) -> None:
    """apt takes no repository with two keys: refused, adopted, or taken away again."""
    other = "/etc/apt/sources.list.d/cuda-debian.list"
    site.sh(f"echo 'deb [signed-by=/usr/share/keyrings/x.gpg] {vendor.url} /' >{other}")
    before = manifest(node)
    assert f"{other} on the node name" in refused(site, vendor.added())
    adopted = site.applied(lambda: _adopt(vendor.repository()))
    assert changed(adopted.nodes[0]) == ["Add the repository"]
    assert other not in site.sh("ls /etc/apt/sources.list.d/*")
    site.revert(adopted.run)
    assert differences(before, manifest(node)) == []
    # A name that only apt resolves.
    (vendor.server.folder / "amd64").symlink_to(vendor.folder.path)
    try:
        hidden = f"{vendor.server.url}/$(ARCH)/"
        site.sh(f"echo 'deb [signed-by=/usr/share/keyrings/x.gpg] {hidden} /' >{other}")
        said = failed(site, vendor.added(uris=(f"{vendor.server.url}/amd64/",)))
        assert "is also named in another file on the node, with other options" in said
    finally:
        (vendor.server.folder / "amd64").unlink()
        site.sh(f"rm {other}")


def _adopt(repository: AptRepository) -> None:
    repositories.apt(name="Add the repository", repository=repository, adopt=True)


# Packages


def versions(site: Site) -> set[str]:
    """Return the versions of what belongs to a driver: one, unless it drifted apart."""
    found = site.installed(*LOCKSTEP)
    assert not found or found.keys() == {*LOCKSTEP}, found
    return {*found.values()}


def test_a_driver_through_its_life(site: Site, vendor: Vendor, node: ContainerNode) -> None:
    """Install, again, upgrade inside the branch, switch the branch, and all of it back."""
    bare = manifest(node)
    planned = site.plan(vendor.driver(OLD))
    assert changed(planned) == ["Add the repository", "Install the driver"]
    assert "not known yet" in planned.changes[1].lasting[0]
    assert differences(bare, manifest(node)) == []
    first = site.applied(vendor.driver(OLD)).run
    assert versions(site) == {OLD}
    assert site.held() == {*LOCKSTEP, "nvidia-driver-pinning-580"}
    manual = site.sh("apt-mark showmanual").split()
    assert {*manual} & {*LOCKSTEP} == {*DRIVER}
    again = site.apply(vendor.driver(OLD))
    assert (changed(again), again.status) == ([], "ok")
    assert again.round_trips <= 6
    installed = manifest(node)

    upgrade = site.applied(vendor.driver(NEWER))
    assert changed(upgrade.nodes[0]) == ["Install the driver"]
    assert upgrade.nodes[0].changes[1].lasting == []
    assert versions(site) == {NEWER}
    upgraded = manifest(node)

    back = f"firmware-nvidia-gsp would go back from {NEWER} to {OLD}; allow downgrades"
    assert back in refused(site, vendor.driver(OLD))
    allowed = site.applied(vendor.driver(OLD, allow_downgrade=True))
    assert versions(site) == {OLD}
    site.revert(allowed.run)
    assert differences(upgraded, manifest(node)) == []

    together = (
        "nvidia-driver-pinning-580 and nvidia-driver-pinning-595 cannot be installed together"
    )
    assert together in refused(site, vendor.driver(NEXT))
    switch = site.applied(vendor.driver(NEXT, **SWITCH))
    assert changed(switch.nodes[0]) == ["Install the driver"]
    assert versions(site) == {NEXT}
    assert site.held() == {*LOCKSTEP, "nvidia-driver-pinning-595"}
    assert "version 595.*" in site.sh("cat /etc/apt/preferences.d/nvidia-driver-pin")
    assert changed(site.apply(vendor.driver(NEXT, **SWITCH))) == []

    for run, before in ((switch.run, upgraded), (upgrade.run, installed), (first, bare)):
        site.revert(run)
        assert differences(before, manifest(node)) == []


def test_a_transaction_that_takes_something_along(
    site: Site, vendor: Vendor, node: ContainerNode
) -> None:
    """What is not named is neither removed nor left without what it needs; it is said why."""
    bare = manifest(node)
    names = ("nvidia-open", "nvidia-open-580")
    loose = site.applied(vendor.driver(OLD, names, hold=False)).run
    assert site.held() == set()
    said = refused(site, vendor.driver(NEXT, ("nvidia-open",), without=["*-pinning-*"]))
    assert f"nvidia-open-580 {OLD} would be removed, because it needs nvidia-open (= {OLD})" in said
    assert f"which would become {NEXT}; name it to be removed" in said
    held = site.applied(vendor.driver(OLD, names)).run
    assert site.held() >= {"nvidia-open-580", "libcuda1"}
    said = refused(site, vendor.driver(NEXT, ("nvidia-open",), without=["*-pinning-*"]))
    assert f"nvidia-open-580, which is held, needs nvidia-open (= {OLD})" in said
    for run in (held, loose):
        site.revert(run)
    assert differences(bare, manifest(node)) == []


def test_a_version_that_nobody_offers(site: Site, vendor: Vendor) -> None:
    run = site.applied(vendor.added()).run
    said = refused(site, vendor.exactly({"nvidia-open": "580.1-1"}))
    offered = f"no repository offers nvidia-open 580.1-1: there are {NEXT}, {NEWER}, {OLD};"
    assert offered in said
    said = refused(site, vendor.exactly({"nvidia-opem": NEXT}))
    assert f"no repository offers nvidia-opem {NEXT}: there is none at all" in said
    site.revert(run)


def _gone(vendor: Vendor) -> object:
    return (vendor.folder.path / f"libcuda1_{OLD}_amd64.deb").unlink()


DOWNLOADS: dict[str, tuple[Callable[[Vendor], object], str]] = {
    "a package was changed": (
        lambda vendor: vendor.folder.change_package("libcuda1", OLD),
        "serves is not what it signed",
    ),
    "a package is missing": (_gone, "is not there, or not all of it"),
    "off-line": (lambda vendor: vendor.server.stop(), "cannot be reached from the node"),
}


@pytest.mark.parametrize("what", DOWNLOADS)
def test_download_that_fails(what: str, site: Site, vendor: Vendor) -> None:
    """Nothing is installed at all; once it is mended, the same apply goes on."""
    run = site.applied(vendor.added()).run
    site.sh("apt-get clean")
    break_it, sentence = DOWNLOADS[what]
    break_it(vendor)
    assert sentence in failed(site, vendor.driver(OLD))
    assert versions(site) == set()
    vendor.mend()
    done = site.applied(vendor.driver(OLD))
    assert versions(site) == {OLD}
    site.revert(done.run)
    site.revert(run)


def test_hold_that_was_taken_off(site: Site, vendor: Vendor) -> None:
    run = site.applied(vendor.driver(OLD)).run
    site.sh("apt-mark unhold nvidia-fabricmanager")
    assert changed(site.plan(vendor.driver(OLD))) == ["Install the driver"]
    mended = site.applied(vendor.driver(OLD)).run
    assert "nvidia-fabricmanager" in site.held()
    site.revert(mended)
    assert "nvidia-fabricmanager" not in site.held()
    site.revert(run)


def test_unattended_upgrades_leave_it_alone(site: Site, vendor: Vendor) -> None:
    """They may take all that the vendor has, and do so as soon as the hold is off."""
    run = site.applied(vendor.driver(OLD)).run
    conf = "/etc/apt/apt.conf.d/99vendor"
    site.sh(
        'printf \'Unattended-Upgrade::Origins-Pattern:: "origin=NVIDIA";\\n'
        'Unattended-Upgrade::Allow-downgrade "true";\\n\' '
        f">{conf}"
    )
    # The pinning package allows the newer one of the same branch.
    policy = site.sh("apt-cache policy nvidia-open")
    assert f"Candidate: {NEWER}" in policy
    try:
        site.sh("unattended-upgrade -v")
        assert versions(site) == {OLD}
        site.sh(f"apt-mark unhold {' '.join(LOCKSTEP)}; unattended-upgrade -v")
        assert NEWER in versions(site), "nothing was there to be kept from"
    finally:
        site.sh(f"rm {conf}")
    mended = site.applied(vendor.driver(OLD, allow_downgrade=True)).run
    assert versions(site) == {OLD}
    site.revert(mended)
    site.sh(
        f"apt-get -y -q install --allow-downgrades {' '.join(f'{one}={OLD}' for one in LOCKSTEP)}"
        f"; apt-mark hold {' '.join(LOCKSTEP)}"
    )
    site.revert(run)


def test_nodes_result_is_one_sentence(site: Site, vendor: Vendor) -> None:
    vendor.folder.publish(signed_by=vendor.other)
    node: Node = site.plan(vendor.added())
    assert "\n" not in node.reason
    assert len(node.reason) < 600
