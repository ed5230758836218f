"""Intel's GPUs and Gaudi, as the node runs them; an image is looked at as far as it can be."""

from __future__ import annotations

from datetime import date

import pytest
from testinfra.host import Host

from nodeproof.catalog.model.stack import IntelRelease
from nodeproof.catalog.overlay import current
from nodeproof.catalog.resolve.choice import Refusal, StackChoice
from nodeproof.catalog.resolve.release import machine_for
from nodeproof.catalog.versions import is_in_series
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.modules import KernelModule, LiveModule
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.offers import Offers
from nodeproof.facts.packages import PackagesData
from nodeproof.facts.users import Accounts
from nodeproof.layers.intel.choice import answered, refusal
from nodeproof.layers.intel.facts import HL_SMI, STATUS, said
from nodeproof.layers.intel.settings import GROUPS, Settings
from nodeproof.layers.intel.stack import packages as names
from nodeproof.layers.intel.stack import repository
from nodeproof.repositories.proof import trusted_wrongly
from nodeproof.updates.guard import Guard, built
from nodeproof.updates.proof import look, problems


@pytest.fixture(scope="module")
def dkms(settings: Settings) -> Settings:
    """Return what is asked where the driver is Intel's."""
    if settings.driver != "dkms":
        pytest.skip("the kernel's own driver is asked for")
    return settings


@pytest.fixture(scope="module")
def chosen(settings: Settings, node: NodeFacts, accelerators: Accelerators) -> StackChoice:
    """Return what belongs to what is asked, whether it may be used today or not."""
    answer = answered(settings, node, accelerators, current(), date.today())
    if isinstance(answer, Refusal):
        answer = answered(settings, node, accelerators, current(), date.today(), whatever=True)
    assert not isinstance(answer, Refusal), refusal(answer)
    return answer


@pytest.fixture(scope="module")
def release(chosen: StackChoice) -> IntelRelease:
    """Return the release."""
    return current().intel_releases[chosen.version]


@pytest.fixture(scope="module")
def live(host: Host, release: IntelRelease) -> LiveModule:
    """Return the driver that runs, and the one that would be loaded."""
    done = host.run("sh -c %s", str(KernelModule().command(release.module)))
    assert done.rc == 0, f"could not look: {done.stderr.strip()}"
    return KernelModule().process(done.stdout.splitlines())


@pytest.fixture(scope="module")
def devices(accelerators: Accelerators, running: Settings, release: IntelRelease) -> dict[str, str]:
    """Return the release's accelerators: PCI address to the driver that each has."""
    catalog = current()
    ids = {one for name in release.products for one in catalog.products[name].devices}
    vendor = {"intel": "8086", "habana": "1da3"}[release.vendor]
    found = [gpu for gpu in accelerators.gpus if gpu.vendor_id == vendor and gpu.device_id in ids]
    assert found, f"there is no accelerator for {release.title} on the PCI bus"
    return {gpu.pci_address: gpu.driver_in_use or "" for gpu in found}


@pytest.fixture(scope="module")
def gaudi(devices: dict[str, str], release: IntelRelease) -> dict[str, str]:
    """Return the accelerators where they are Gaudi."""
    if release.vendor != "habana":
        pytest.skip("GPUs have no such thing")
    return devices


@pytest.mark.control("NP-INT-01")
def test_packages_are_the_releases(
    host: Host,
    settings: Settings,
    packages: PackagesData,
    chosen: StackChoice,
    release: IntelRelease,
) -> None:
    """The distribution has packages of the same names; what is of another version does not fit."""
    place = repository(settings, chosen, current())
    assert place is not None, "no fingerprint, or no address, of the repository's key is known"
    every = names(settings, release)
    listed = host.check_output("sh -c %s", str(Offers().command(",".join(every))))
    offers = Offers().process(listed.splitlines())
    uri = place.uris[0].rstrip("/")
    wrong = []
    for name in every:
        has = packages.installed.get(name, "")
        here = {one.version for one in offers.get(name, ()) if one.uri == uri}
        if not has:
            wrong.append(f"{name} is not installed")
        elif release.build and has != release.build:
            wrong.append(f"{name} is {has}, not {release.build}")
        elif has not in here:
            wrong.append(f"{name} {has} is not of {uri}")
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-INT-01")
def test_release_is_one_that_the_catalog_allows(
    settings: Settings, node: NodeFacts, accelerators: Accelerators
) -> None:
    """Another kernel, or another accelerator, may have come since it was installed."""
    answer = answered(settings, node, accelerators, current(), date.today())
    assert not isinstance(answer, Refusal), refusal(answer)


@pytest.mark.control("NP-INT-02")
def test_driver_is_built_for_the_kernel(
    dkms: Settings, node: NodeFacts, accelerators: Accelerators, release: IntelRelease
) -> None:
    """DKMS tells nobody who does not ask that a module did not compile."""
    kernel = machine_for(dkms.image, node, accelerators).accelerators.kernel
    states = {
        one.state for one in accelerators.dkms if (one.name, one.kernel) == (release.dkms, kernel)
    }
    state = ", ".join(sorted(states)) or "unknown to DKMS"
    assert states == {"installed"}, f"{release.dkms} for Linux {kernel} is {state}"


@pytest.mark.control("NP-INT-02")
def test_driver_is_the_kernels_own(
    settings: Settings, packages: PackagesData, release: IntelRelease
) -> None:
    """Where both are there, the kernel loads the one that DKMS built."""
    if settings.driver != "kernel":
        pytest.skip("Intel's driver is asked for")
    there = [name for name in release.driver if name in packages.installed]
    assert not there, f"installed beside it: {', '.join(there)}"


@pytest.mark.control("NP-INT-02")
def test_driver_that_runs_is_the_one_on_the_disk(
    running: Settings, live: LiveModule, release: IntelRelease
) -> None:
    """After an update the old module goes on until a reboot, and new programs do not fit it."""
    assert live.loaded, f"{release.module} is not loaded"
    assert not live.stale, f"another {release.module} module is loaded than the one on the disk"
    whose = "Intel's" if live.built_here else "the kernel's own"
    assert live.built_here == (running.driver == "dkms"), f"{whose} driver is loaded"


@pytest.mark.control("NP-INT-02")
def test_driver_drives_every_accelerator(devices: dict[str, str], release: IntelRelease) -> None:
    """A module that is loaded may have refused a device, and jobs then find one too few."""
    wrong = [
        f"{at} is driven by {driver or 'nothing'}"
        for at, driver in devices.items()
        if driver != release.module
    ]
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-INT-02")
def test_driver_is_not_kept_away(live: LiveModule, release: IntelRelease) -> None:
    """A line that once kept a display driver away leaves all GPUs without one."""
    assert not live.blacklisted, f"modprobe is told to blacklist {release.module}"


@pytest.mark.control("NP-INT-03")
def test_packages_held(settings: Settings, packages: PackagesData, release: IntelRelease) -> None:
    """An unattended upgrade of one package takes it away from the others, which do not fit it."""
    loose = sorted({*names(settings, release)} - {*packages.held})
    assert not loose, f"not on hold: {', '.join(loose)}"


@pytest.mark.control("NP-INT-03")
def test_updates_leave_it_whole(
    host: Host,
    settings: Settings,
    packages: PackagesData,
    accelerators: Accelerators,
    release: IntelRelease,
) -> None:
    """What is held can still be pulled apart: by a kernel that its driver does not compile for."""
    told = [(one.name, one.version, one.state) for one in accelerators.dkms]
    modules = [release.dkms] if settings.driver == "dkms" else []
    guard = Guard(
        "intel",
        {name: packages.installed.get(name, "none") for name in names(settings, release)},
        built(told, modules),
    )
    wrong = problems(guard, host.run(look(guard)).stdout, runs=settings.image is None)
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-INT-03")
def test_repository_trusts_the_pinned_key_only(
    host: Host, settings: Settings, chosen: StackChoice
) -> None:
    """Whoever may sign packages is root on every node that installs them."""
    place = repository(settings, chosen, current())
    assert place is not None, "no fingerprint, or no address, of the repository's key is known"
    wrong = trusted_wrongly(host, place)
    assert not wrong, wrong


@pytest.mark.control("NP-INT-04")
@pytest.mark.parametrize("group", GROUPS)
def test_only_these_users_use_gpus(host: Host, settings: Settings, group: str) -> None:
    """Whoever may use a GPU may read what others left in its memory, and may hang it."""
    if settings.users is None:
        pytest.skip("users is not set")
    accounts = Accounts().process(host.check_output(Accounts().command()).splitlines())
    wrong = accounts.why_not_only(group, settings.users)
    assert not wrong, wrong


@pytest.mark.control("NP-INT-04")
def test_gpus_are_for_their_group(
    host: Host, devices: dict[str, str], release: IntelRelease
) -> None:
    """What rules of udev say counts only when the device came after them."""
    if release.vendor != "intel":
        pytest.skip("Gaudi has no group that its maker names")
    wrong = []
    for at in devices:
        told = host.run("stat -L -c '%%a %%U %%G' /dev/dri/by-path/pci-%s-render", at)
        if told.stdout.strip() != "660 root render":
            wrong.append(f"{at}: {told.stdout.strip() or told.stderr.strip()}")
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-INT-05")
def test_kernel_was_booted_with_what_the_driver_needs(
    host: Host, running: Settings, accelerators: Accelerators, release: IntelRelease
) -> None:
    """On some kernels Gaudi's driver works with the IOMMU in passthrough only."""
    needed = [
        argument
        for series, arguments in release.kernel_arguments.items()
        if is_in_series(accelerators.kernel, series)
        for argument in arguments
    ]
    if not needed:
        pytest.skip(f"{release.title} needs none on Linux {accelerators.kernel}")
    has = host.check_output("cat /proc/cmdline").split()
    missing = [one for one in needed if one not in has]
    assert not missing, f"booted without {' '.join(missing)}"


@pytest.mark.control("NP-INT-05")
def test_accelerators_are_operational(host: Host, gaudi: dict[str, str]) -> None:
    """A device that is disabled, or in a reset that does not end, takes no work."""
    states = host.check_output("sh -c %s", STATUS).splitlines()
    assert len(states) == len(gaudi), f"{len(gaudi)} on the PCI bus, {len(states)} say their state"
    wrong = [state for state in states if state.strip().lower() != "operational"]
    assert not wrong, f"in state {', '.join(wrong)}"


@pytest.mark.control("NP-INT-05")
def test_accelerators_say_the_releases_driver(
    host: Host, settings: Settings, gaudi: dict[str, str], chosen: StackChoice
) -> None:
    """What a program asks is the driver that runs, not the package that is installed."""
    if "tools" not in settings.extras:
        pytest.skip("hl-smi is not asked for")
    found = said(host.check_output(HL_SMI).splitlines())
    assert {one.bus_id for one in found} == {*gaudi}, "hl-smi lists others than the PCI bus"
    wrong = [
        f"{one.bus_id}: {one.driver}"
        for one in found
        if not is_in_series(one.driver, chosen.version)
    ]
    assert not wrong, f"another driver than {chosen.version} runs: {'; '.join(wrong)}"
