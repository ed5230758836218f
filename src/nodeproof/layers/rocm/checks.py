"""AMD's driver and ROCm, as the node runs them; an image is looked at as far as it can be."""

from __future__ import annotations

from datetime import date

import pytest
from testinfra.host import Host

from nodeproof.catalog.overlay import current
from nodeproof.catalog.resolve.choice import Refusal, StackChoice
from nodeproof.catalog.resolve.release import machine_for
from nodeproof.catalog.versions import is_in_series
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.packages import PackagesData
from nodeproof.facts.users import Accounts
from nodeproof.health.ask import ask, why_failed, why_skipped
from nodeproof.health.finding import Finding, Topic
from nodeproof.health.units import why_down
from nodeproof.layers.rocm.choice import answered, refusal
from nodeproof.layers.rocm.facts import Live, LiveDriver, option_is
from nodeproof.layers.rocm.settings import GROUPS, UNIT, Settings
from nodeproof.layers.rocm.stack import (
    DRIVER_PACKAGES,
    FIRMWARE,
    Release,
    driver_of,
    driver_repository,
    needs_driver_repository,
    release,
)
from nodeproof.repositories.proof import trusted_wrongly
from nodeproof.updates.guard import Guard, built
from nodeproof.updates.proof import look, problems

HEALTH = (Topic.PRESENT, Topic.LOG, Topic.ECC, Topic.CLOCKS, Topic.TEMPERATURE)
OPEN_TO_ALL = r'^[^#]*(kfd|renderD).*MODE:?="0?[0-7]{2}[1-7]"'
FIND_RULES = (
    "for d in /etc/udev/rules.d /run/udev/rules.d /usr/lib/udev/rules.d; do "
    '[ ! -d "$d" ] || grep -rE -- "$1" "$d" || [ $? = 1 ] || exit 2; done'
)


@pytest.fixture(scope="module")
def dkms(settings: Settings) -> Settings:
    """Return what is asked where the driver is AMD's."""
    if settings.driver != "dkms":
        pytest.skip("the kernel's own driver is asked for")
    return settings


@pytest.fixture(scope="module")
def chosen(
    settings: Settings, node: NodeFacts, accelerators: Accelerators
) -> tuple[StackChoice, ...]:
    """Return what belongs to what is asked, whether it may be used today or not."""
    answer = answered(settings, node, accelerators, current(), date.today())
    if isinstance(answer, Refusal):
        answer = answered(settings, node, accelerators, current(), date.today(), whatever=True)
    assert not isinstance(answer, Refusal), refusal(answer)
    return answer


@pytest.fixture(scope="module")
def releases(settings: Settings, chosen: tuple[StackChoice, ...]) -> tuple[Release, ...]:
    """Return the releases, the default one first."""
    return tuple(release(settings, one, current()) for one in chosen)


@pytest.fixture(scope="module")
def live(host: Host, settings: Settings) -> LiveDriver:
    """Return the driver that runs, and the one that would be loaded."""
    done = host.run("sh -c %s", str(Live().command(",".join(settings.options))))
    assert done.rc == 0, f"could not look: {done.stderr.strip()}"
    return Live().process(done.stdout.splitlines())


@pytest.fixture(scope="module")
def loaded(running: Settings, live: LiveDriver) -> LiveDriver:
    """Return the driver that runs; fails where none does, or where it drives nothing."""
    assert live.loaded, "amdgpu is not loaded"
    assert live.partitions, "amdgpu drives no GPU"
    return live


@pytest.fixture(scope="module")
def findings(host: Host, running: Settings) -> tuple[Finding, ...]:
    """Return what is judged of the GPUs."""
    return ask(host)


@pytest.mark.control("NP-ROC-01")
def test_releases_are_installed(packages: PackagesData, releases: tuple[Release, ...]) -> None:
    """A program that was built with one release does not find the libraries of another."""
    names = [name for one in releases for name in one.packages]
    missing = [name for name in names if name not in packages.installed]
    assert not missing, f"not installed: {', '.join(missing)}"


@pytest.mark.control("NP-ROC-01")
def test_releases_are_ones_that_the_catalog_allows(
    settings: Settings, node: NodeFacts, accelerators: Accelerators
) -> None:
    """An advisory, or another kernel, may have come since they were installed."""
    answer = answered(settings, node, accelerators, current(), date.today())
    assert not isinstance(answer, Refusal), refusal(answer)


@pytest.mark.control("NP-ROC-01")
def test_default_release_is_the_first(host: Host, releases: tuple[Release, ...]) -> None:
    """Programs look in /opt/rocm, wherever that leads since the last package came."""
    wanted = f"{releases[0].prefix}/bin"
    found = host.run("readlink -e /opt/rocm/bin").stdout.strip()
    assert found == wanted, f"/opt/rocm/bin leads to {found or 'nothing'}, not to {wanted}"


@pytest.mark.control("NP-ROC-02")
def test_driver_is_built_for_the_kernel(
    dkms: Settings, node: NodeFacts, accelerators: Accelerators, packages: PackagesData
) -> None:
    """DKMS tells nobody who does not ask that a module did not compile."""
    missing = [name for name in DRIVER_PACKAGES if name not in packages.installed]
    assert not missing, f"not installed: {', '.join(missing)}"
    kernel = machine_for(dkms.image, node, accelerators).accelerators.kernel
    states = {
        one.state for one in accelerators.dkms if (one.name, one.kernel) == ("amdgpu", kernel)
    }
    said = ", ".join(sorted(states)) or "unknown to DKMS"
    assert states == {"installed"}, f"amdgpu for Linux {kernel} is {said}"


@pytest.mark.control("NP-ROC-02")
def test_driver_is_the_first_releases(
    dkms: Settings, packages: PackagesData, chosen: tuple[StackChoice, ...]
) -> None:
    """AMD supports a release on some drivers only; a mirror may have another one."""
    wanted, has = chosen[0].driver, packages.installed.get(FIRMWARE, "")
    if not wanted:
        pytest.skip(f"the catalog names no driver of ROCm {chosen[0].version}")
    assert is_in_series(driver_of(has), wanted), f"{has or 'none'} is installed, not {wanted}"


@pytest.mark.control("NP-ROC-02")
def test_driver_is_the_kernels_own(settings: Settings, packages: PackagesData) -> None:
    """Where both are there, the kernel loads the one that DKMS built."""
    if settings.driver != "kernel":
        pytest.skip("AMD's driver is asked for")
    there = [name for name in DRIVER_PACKAGES if name in packages.installed]
    assert not there, f"installed beside it: {', '.join(there)}"


@pytest.mark.control("NP-ROC-02")
def test_driver_that_runs_is_the_one_on_the_disk(running: Settings, loaded: LiveDriver) -> None:
    """After an update the old module goes on until a reboot, and new programs do not fit it."""
    assert loaded.file_srcversion, "there is no amdgpu module on the disk"
    assert not loaded.stale, "another amdgpu module is loaded than the one on the disk"
    whose = "AMD's" if loaded.built_here else "the kernel's own"
    assert loaded.built_here == (running.driver == "dkms"), f"{whose} driver is loaded"


@pytest.mark.control("NP-ROC-02")
def test_driver_is_not_kept_away(live: LiveDriver) -> None:
    """A line that once kept a display driver away leaves all GPUs without one."""
    assert not live.blacklisted, "modprobe is told to blacklist amdgpu"


@pytest.mark.control("NP-ROC-03")
def test_packages_held(
    settings: Settings, packages: PackagesData, releases: tuple[Release, ...]
) -> None:
    """An unattended upgrade of one package takes the libraries away from under the jobs."""
    names = {name for one in releases for name in one.packages}
    names |= {*DRIVER_PACKAGES} if settings.driver == "dkms" else set()
    loose = sorted(names - {*packages.held})
    assert not loose, f"not on hold: {', '.join(loose)}"


@pytest.mark.control("NP-ROC-03")
def test_updates_leave_it_whole(
    host: Host,
    settings: Settings,
    packages: PackagesData,
    accelerators: Accelerators,
    releases: tuple[Release, ...],
) -> None:
    """What is held can still be pulled apart: by a kernel that its driver does not compile for."""
    dkms = settings.driver == "dkms"
    every = [*(name for one in releases for name in one.packages)]
    every += DRIVER_PACKAGES if dkms else ()
    told = [(one.name, one.version, one.state) for one in accelerators.dkms]
    modules = ["amdgpu"] if dkms else []
    guard = Guard(
        "rocm",
        {name: packages.installed.get(name, "none") for name in every},
        built(told, modules),
    )
    wrong = problems(guard, host.run(look(guard)).stdout, runs=settings.image is None)
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-ROC-03")
def test_repositories_trust_the_pinned_keys_only(
    host: Host, settings: Settings, chosen: tuple[StackChoice, ...], releases: tuple[Release, ...]
) -> None:
    """Whoever may sign packages is root on every node that installs them."""
    asked = [one.repository for one in releases]
    if needs_driver_repository(settings, chosen, current()):
        asked.append(driver_repository(settings, chosen[0], current()))
    assert None not in asked, "no fingerprint, or no address, of a repository's key is known"
    wrong = [text for one in asked if one and (text := trusted_wrongly(host, one))]
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-ROC-04")
@pytest.mark.parametrize("group", GROUPS)
def test_only_these_users_use_gpus(host: Host, settings: Settings, group: str) -> None:
    """Whoever may use a GPU may read what others left in its memory, and may hang it."""
    if settings.users is None:
        pytest.skip("users is not set")
    accounts = Accounts().process(host.check_output(Accounts().command()).splitlines())
    wrong = accounts.why_not_only(group, settings.users)
    assert not wrong, wrong


@pytest.mark.control("NP-ROC-04")
def test_no_rule_opens_gpus_to_all(host: Host) -> None:
    """AMD has packages that do, for machines with one user."""
    found = host.run("sh -c %s sh %s", FIND_RULES, OPEN_TO_ALL)
    assert found.rc == 0, f"could not look: {found.stderr.strip()}"
    assert not found.stdout, f"rules of udev: {found.stdout.strip()}"


@pytest.mark.control("NP-ROC-04")
def test_gpus_are_for_their_group(host: Host, loaded: LiveDriver) -> None:
    """What rules say counts only when the device came after them."""
    said = host.check_output("stat -c '%a %U %G %n' /dev/kfd /dev/dri/renderD*")
    wrong = [line for line in said.splitlines() if not line.startswith("660 root render /")]
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-ROC-05")
def test_module_options_configured(host: Host, settings: Settings) -> None:
    """Of two files that set an option the later one wins, whoever wrote it."""
    if not settings.options:
        pytest.skip("no option is asked for")
    told = host.check_output("modprobe --showconfig").splitlines()
    lines = [line.split()[2:] for line in told if line.startswith("options amdgpu ")]
    last = dict(word.partition("=")[::2] for words in lines for word in words)
    wrong = [f"{k} is {last.get(k)}" for k, v in settings.options.items() if last.get(k) != v]
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-ROC-05")
def test_module_options_in_effect(running: Settings, loaded: LiveDriver) -> None:
    """A module keeps the options with which it was loaded, until it is loaded anew."""
    if not running.options:
        pytest.skip("no option is asked for")
    wrong = []
    for name, value in running.options.items():
        found = option_is(loaded.params, name, value)
        if found is None:
            wrong.append(f"the module does not tell {name}")
        elif not found:
            wrong.append(f"{name} is {loaded.params[name]}, not {value}")
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-ROC-06")
def test_gpus_divided_as_asked(running: Settings, loaded: LiveDriver) -> None:
    """A job gets as many GPUs, and as much memory of each, as its script was written for."""
    if not running.partitions:
        pytest.skip("nothing is asked of partitions")
    wrong = [
        f"{name} is {gpu[name] or 'not to be had'}, not {value}"
        for gpu in loaded.partitions
        for name, value in running.partitions.items()
        if gpu[name] != value
    ]
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-ROC-06")
def test_gpus_divided_at_boot(host: Host, settings: Settings) -> None:
    """How GPUs are divided is gone with the power."""
    if not settings.partitions:
        pytest.skip("nothing is asked of partitions")
    wrong = why_down(host, UNIT, now=settings.image is None)
    assert not wrong, wrong


@pytest.mark.control("NP-ROC-07")
@pytest.mark.parametrize("topic", HEALTH)
def test_gpus_healthy(findings: tuple[Finding, ...], topic: Topic) -> None:
    """A GPU that is half broken gives wrong results, or none, after hours of work."""
    failed = why_failed(findings, topic)
    assert not failed, failed
    if why := why_skipped(findings, topic):
        pytest.skip(why)
