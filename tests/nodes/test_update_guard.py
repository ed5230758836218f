"""The update guard with real apt and unattended-upgrades: what it refuses, and what not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nodeproof.lab import ContainerNode, containers
from nodeproof.lab.bridge import GATEWAY
from nodeproof.operations import packages, update_guard
from nodeproof.updates.guard import Guard
from nodeproof.updates.proof import look, problems
from tests.manifest import differences, manifest
from tests.repositories.node import Site, changed
from tests.repositories.scene import Vendor
from tests.repositories.server import Server
from tests.repositories.signing import make_key, stop_agent
from tests.repositories.vendor import DRIVER, LOCKSTEP, NEWER, OLD

pytestmark = [pytest.mark.nodes, pytest.mark.xdist_group("update-guard")]

PREINSTALL = ("unattended-upgrades",)
APT = "DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends"
GUARD = Guard("gpu", packages=dict.fromkeys(LOCKSTEP, OLD))
ANY_VENDOR = (
    "printf 'Unattended-Upgrade::Origins-Pattern:: \"origin=NVIDIA\";\\n' "
    ">/etc/apt/apt.conf.d/99vendor"
)
FINISHED = "nodeproof: this would pull apart what belongs together, so nothing is done:"


@pytest.fixture(scope="module")
def node() -> Iterator[ContainerNode]:
    with containers(["d13-guard"], "debian-13", preinstall=PREINSTALL) as (node,):
        yield node


@pytest.fixture(scope="module")
def vendor(node: ContainerNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    folder = tmp_path_factory.mktemp("vendor")
    (folder / "www").mkdir()
    key = make_key(folder, "good")
    vendor = Vendor(Server(folder / "www", GATEWAY), key, key, key)
    vendor.mend()
    yield vendor
    vendor.server.stop()
    stop_agent(key)


@pytest.fixture(scope="module")
def site(node: ContainerNode, vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(node, tmp_path_factory.mktemp("site"))


def guarded(guard: Guard) -> None:
    update_guard.guarded(name="Guard the driver", manager="apt", guard=guard)


def tried(site: Site, command: str) -> str:
    """Return all that a command said, and its exit code at the end."""
    return site.sh(f"{command} 2>&1; echo code $?", check=False)


def test_it_goes_without_a_trace(site: Site, node: ContainerNode) -> None:
    before = manifest(node)
    guard = Guard("other", packages={"sed": "0-1"})
    run = site.applied(lambda: guarded(guard))
    assert run.nodes[0].status == "changed", run.nodes[0].reason
    (problem,) = wrong(site, guard)
    assert problem.endswith(", 0-1 is guarded (other): run nodeproof apply")
    site.revert(run.run)
    assert differences(before, manifest(node)) == []


@pytest.fixture(scope="module")
def driver(site: Site, vendor: Vendor) -> Iterator[Site]:
    """A node with a guarded driver; holds are off, so that nothing but the guard is in the way."""
    installed = site.applied(vendor.driver(OLD, hold=False))
    assert installed.nodes[0].status == "changed", installed.nodes[0].reason
    run = site.applied(lambda: guarded(GUARD))
    assert changed(run.nodes[0]) == ["Guard the driver"], run.nodes[0].reason
    assert changed(site.apply(lambda: guarded(GUARD))) == []
    yield site
    site.revert(run.run)
    site.revert(installed.run)


def versions(site: Site) -> set[str]:
    return {*site.installed(*LOCKSTEP).values()}


REFUSED = {
    f"install nvidia-fabricmanager={NEWER} nvidia-driver-cuda={NEWER}": f"would become {NEWER}",
    "upgrade": f"would become {NEWER}; {OLD} is guarded (gpu)",
    "dist-upgrade": f"libcuda1 would become {NEWER}; {OLD} is guarded (gpu)",
    "remove libnvidia-nscq": f"libnvidia-nscq would be removed; {OLD} is guarded (gpu)",
    "purge libcuda1": f"libcuda1 would be removed; {OLD} is guarded (gpu)",
}


@pytest.mark.parametrize("words", REFUSED)
def test_refused(driver: Site, words: str) -> None:
    """Nothing at all is done, and it is said what is in the way and how to go on."""
    said = tried(driver, f"{APT} {words}")
    assert FINISHED in said
    assert REFUSED[words] in said
    assert "-o Nodeproof::UpdateGuard=off" in said
    assert "code 100" in said
    assert versions(driver) == {OLD}


def test_what_does_not_touch_it_goes_through(driver: Site) -> None:
    for words in (
        "install datacenter-gpu-manager-4-core cuda-toolkit-12-9",
        f"install --reinstall libcuda1={OLD}",
        "purge datacenter-gpu-manager-4-core cuda-toolkit-12-9",
    ):
        said = tried(driver, f"{APT} {words}")
        assert "code 0" in said, said
        assert "nodeproof" not in said
    assert versions(driver) == {OLD}


def test_unattended_upgrades(driver: Site) -> None:
    """They leave it alone by their list, and apt refuses them where somebody empties that."""
    driver.sh(ANY_VENDOR)
    listed = "/etc/apt/apt.conf.d/60nodeproof-update-guard-gpu"
    try:
        said = tried(driver, "unattended-upgrade -v")
        assert FINISHED not in said
        assert versions(driver) == {OLD}
        driver.sh(f"mv {listed} /run/listed")
        said = tried(driver, "unattended-upgrade -v")
        assert "code 1" in said, said
        assert versions(driver) == {OLD}
    finally:
        driver.sh(
            f"rm -f /etc/apt/apt.conf.d/99vendor; [ ! -e /run/listed ] || mv /run/listed {listed}"
        )


def test_switched_off_once(driver: Site) -> None:
    """Whoever insists may, and the next transaction is guarded again."""
    off = f"{APT} -o Nodeproof::UpdateGuard=off --allow-downgrades install libnvidia-nscq="
    said = tried(driver, f"{off}{NEWER}")
    assert "the update guard is switched off" in said
    assert versions(driver) == {OLD, NEWER}
    assert any("libnvidia-nscq" in one for one in wrong(driver, GUARD))
    said = tried(driver, f"{APT} --allow-downgrades install libnvidia-nscq={OLD}")
    assert "code 0" in said, "what is guarded may come back"
    assert wrong(driver, GUARD) == []


def wrong(site: Site, guard: Guard) -> list[str]:
    return problems(guard, site.sh(look(guard)))


GUARDS = "etc/apt/apt.conf.d etc/nodeproof etc/systemd/system usr/local/lib/nodeproof"
BROKEN = {
    "rm /etc/apt/apt.conf.d/59nodeproof-update-guard": "apt does not ask the update guard",
    "rm /etc/apt/apt.conf.d/60nodeproof-update-guard-gpu": "unattended upgrades may change",
    "sed -i /libcuda1/d /etc/nodeproof/update-guard.d/gpu.conf": "does not name what is asked for",
    "chmod 666 /etc/nodeproof/update-guard.d/gpu.conf": "somebody but root may write",
    "systemctl disable nodeproof-update-guard.service": "does not look after a boot",
    "rm /usr/local/lib/nodeproof/update-guard": "not found",
    "echo nonsense >>/etc/nodeproof/update-guard.d/gpu.conf": "is not understood",
}


@pytest.mark.parametrize("break_it", BROKEN)
def test_a_guard_that_is_broken_is_seen(driver: Site, break_it: str) -> None:
    assert wrong(driver, GUARD) == []
    driver.sh(f"tar -C / -cpf /run/guards.tar {GUARDS}")
    driver.sh(break_it)
    try:
        found = wrong(driver, GUARD)
        assert any(BROKEN[break_it] in one for one in found), found
        assert changed(driver.plan(lambda: guarded(GUARD))) == ["Guard the driver"]
    finally:
        driver.sh("tar -C / -xpf /run/guards.tar; systemctl daemon-reload")
    assert wrong(driver, GUARD) == []


def test_switched_off_for_good_is_seen(driver: Site) -> None:
    path = "/etc/apt/apt.conf.d/99vendor"
    driver.sh(f"echo 'Nodeproof::UpdateGuard \"off\";' >{path}")
    try:
        assert "the update guard is switched off in apt's configuration" in wrong(driver, GUARD)
    finally:
        driver.sh(f"rm {path}")


def test_after_a_boot_it_says_what_is_wrong(driver: Site) -> None:
    driver.sh("systemctl start nodeproof-update-guard.service")
    assert driver.sh("ls /run/motd.d 2>/dev/null; true") == ""
    driver.sh(f"{APT} -o Nodeproof::UpdateGuard=off install libnvidia-nscq={NEWER}")
    driver.sh("systemctl start nodeproof-update-guard.service", check=False)
    sentence = f"libnvidia-nscq is {NEWER}, {OLD} is guarded (gpu): run nodeproof apply"
    assert sentence in driver.sh("cat /run/motd.d/nodeproof-update-guard")
    assert sentence in driver.sh("journalctl -q -o cat -u nodeproof-update-guard.service")
    driver.sh(f"{APT} --allow-downgrades install libnvidia-nscq={OLD}")
    driver.sh("systemctl start nodeproof-update-guard.service")
    assert driver.sh("ls /run/motd.d") == ""


def test_our_own_change_of_version_is_allowed(driver: Site) -> None:
    """The guard is moved first; then packages follow, and a revert goes back past it."""

    def newer() -> None:
        guarded(Guard("gpu", packages=dict.fromkeys(LOCKSTEP, NEWER)))
        packages.versions(
            name="Install the driver", manager="apt", versions=dict.fromkeys(DRIVER, NEWER)
        )

    moved = driver.applied(newer)
    assert changed(moved.nodes[0]) == ["Guard the driver", "Install the driver"]
    assert versions(driver) == {NEWER}
    driver.revert(moved.run)
    assert versions(driver) == {OLD}
    assert wrong(driver, GUARD) == []
