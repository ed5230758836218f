"""Security updates: what comes by itself, what does not, and when."""

from __future__ import annotations

import re

import pytest
from testinfra.host import Host

from nodeproof.catalog.distributions import Distribution
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.packages import PackagesData
from nodeproof.layers.updates import policy
from nodeproof.layers.updates.looks import (
    DKMS_OWNERS,
    GUARDED,
    RESTARTS,
    Dump,
    after_upgrades,
    dump,
    unattended,
)
from nodeproof.layers.updates.services import kept_running
from nodeproof.layers.updates.settings import Automatic, Settings
from nodeproof.updates.guard import KERNELS, PROGRAM
from nodeproof.updates.proof import look, problems


@pytest.fixture(scope="module")
def config(host: Host) -> Dump:
    """Return apt's configuration, as apt has it."""
    return dump(host.check_output("apt-config dump"))


@pytest.fixture(scope="module")
def would(host: Host) -> dict[str, list[str]]:
    """Return what unattended-upgrade would do now, by its own words."""
    return unattended(host)


def _fails(config: Dump, key: str) -> bool:
    return config.last(f"APT::Periodic::{key}") in ("", "0")


@pytest.mark.control("NP-UPD-01")
def test_updates_come_by_themselves(config: Dump, settings: Settings) -> None:
    """An update that waits for somebody to think of it comes after who attacks."""
    assert config.last("APT::Periodic::Enable") != "0", "all of it is switched off"
    assert not _fails(config, "Update-Package-Lists"), "package lists are not fetched"
    installs = not _fails(config, "Unattended-Upgrade")
    downloads = not _fails(config, "Download-Upgradeable-Packages")
    found = (installs, downloads or installs)
    wanted = settings.automatic
    assert found == (wanted is Automatic.INSTALL, wanted is not Automatic.OFF)


@pytest.mark.control("NP-UPD-01")
def test_security_updates_alone(
    would: dict[str, list[str]], node: NodeFacts, distribution: Distribution
) -> None:
    """What changes more than it must breaks what nobody looks at."""
    origins = distribution.features["security_origins"]
    wanted = {one.replace("${distro_codename}", node.os_codename) for one in origins}
    assert set(would["origin"]) == wanted


@pytest.mark.control("NP-UPD-01")
@pytest.mark.parametrize("name", [policy.LISTS, policy.UPGRADES])
def test_timer_as_asked(host: Host, settings: Settings, name: str) -> None:
    """A timer that does not run, or never elapses, installs nothing, and says nothing."""
    unit = f"{name}.timer"
    state = host.check_output(
        "systemctl show -p ActiveState,UnitFileState,NextElapseUSecRealtime -- %s", unit
    )
    wanted = name == policy.LISTS or policy.runs(settings)
    assert ("ActiveState=active" in state) is wanted, f"{unit}: {state}"
    assert ("UnitFileState=enabled" in state) is wanted, f"{unit}: {state}"
    if wanted:
        elapses = re.search(r"NextElapseUSecRealtime=(.+)", state)
        assert elapses, f"{unit} never elapses"
        left = host.check_output("echo $(($(date -d %s +%%s) - $(date +%%s)))", elapses[1])
        assert int(left) < 8 * 86400, f"{unit} elapses in {int(left) // 86400} days"


@pytest.mark.control("NP-UPD-01")
def test_window_as_asked(host: Host, settings: Settings) -> None:
    """Outside the window, somebody counts on the node being left alone."""
    if not settings.window or not policy.runs(settings):
        pytest.skip("no window is asked for")
    begins, _ = policy.calendar(settings.window)
    normal = host.check_output("systemd-analyze calendar %s | sed -n 's/.*zed form: //p'", begins)
    timer = host.check_output(
        "systemctl show -p TimersCalendar,Persistent -- %s", f"{policy.UPGRADES}.timer"
    )
    assert re.findall(r"OnCalendar=(.*?) ;", timer) == [normal.strip()]
    assert "Persistent=no" in timer, "a node that was off makes up for it outside the window"


@pytest.mark.control("NP-UPD-02")
def test_held_packages_left_alone(
    host: Host, would: dict[str, list[str]], settings: Settings, packages: PackagesData
) -> None:
    """A driver that moves away from its fabric manager takes the GPUs from under the jobs."""
    guarded = {*packages.held, *settings.exclude}
    guarded |= set(host.check_output(GUARDED).split()) | set(host.check_output(DKMS_OWNERS).split())
    wrong = sorted(guarded & set(would["would"]))
    assert not wrong, f"an unattended upgrade would change {', '.join(wrong)}"
    named = {*packages.held, *settings.exclude}
    loose = [one for one in sorted(named) if not _alone(would, one)]
    assert not loose, f"nothing but a hold keeps unattended upgrades away from {', '.join(loose)}"


@pytest.mark.control("NP-UPD-03")
def test_kernels_proven_first(host: Host, would: dict[str, list[str]], settings: Settings) -> None:
    """A kernel for which the driver does not build boots without GPUs."""
    loose = [one for one in KERNELS if not _alone(would, f"{one}6.1.0-1-amd64")]
    assert not loose, f"kernels come with the rest: {', '.join(loose)}"
    asked = f"{PROGRAM} kernels" in policy.afterwards(settings)
    assert (f"{PROGRAM} kernels" in after_upgrades(host)) is asked
    assert problems(policy.GUARD, host.run(look(policy.GUARD)).stdout) == []


@pytest.mark.control("NP-UPD-06")
def test_services_restarted(host: Host, config: Dump, settings: Settings) -> None:
    """Old code runs on after its update; but whoever restarts a job's service ends the job."""
    assert any("needrestart" in value for value in config.all("DPkg::Post-Invoke"))
    names = kept_running(settings.roles, settings.keep_running)
    units = [f"{name}1000.service" if name[-1] in "@-" else f"{name}.service" for name in names]
    said = host.check_output(RESTARTS + " %s" * len(units), *units).splitlines()
    assert said[0] == "mode a", "services are not restarted by themselves"
    assert not said[1:], f"would be restarted under running work: {', '.join(said[1:])}"


@pytest.mark.control("NP-UPD-07")
def test_reboots_as_asked(host: Host, config: Dump, settings: Settings) -> None:
    """A node that reboots by itself kills what runs on it, unless somebody looked first."""
    assert config.last("Unattended-Upgrade::Automatic-Reboot") in ("", "false")
    found = [line for line in after_upgrades(host) if " reboot " in line]
    wanted = [one.replace('"', "") for one in policy.afterwards(settings) if " reboot " in one]
    assert found == wanted
    if wanted and settings.drain_hook:
        hook = host.check_output("find %s -user root -perm -100 ! -perm /022", settings.drain_hook)
        assert hook, f"{settings.drain_hook} is no program that root alone may write"


def _alone(would: dict[str, list[str]], package: str) -> bool:
    return any(re.match(pattern, package) for pattern in would["alone"])
