"""GPUs and their driver, as the node runs them; an image is looked at as far as it can be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest
from testinfra.host import Host

from nodeproof.catalog.distributions import Distribution
from nodeproof.catalog.overlay import current
from nodeproof.catalog.resolve.asked import Asked
from nodeproof.catalog.resolve.choice import Choice, DriverChoice
from nodeproof.catalog.resolve.machine import of_node
from nodeproof.catalog.resolve.resolver import resolve
from nodeproof.catalog.resolve.spec import is_driver
from nodeproof.catalog.resolve.text import in_one_line
from nodeproof.catalog.versions import branch_of
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.packages import PackagesData
from nodeproof.health.ask import ask, ask_burn_in, figures, why_failed, why_skipped
from nodeproof.health.finding import Finding, Topic
from nodeproof.health.nvidia import Allowed
from nodeproof.health.units import state, why_down
from nodeproof.layers.gpu.clocks import Clocks, ClocksData, astray, unread, untold
from nodeproof.layers.gpu.facts import Live, LiveDriver, option_is
from nodeproof.layers.gpu.imex import ASK, CHANNEL, parse_domain, troubles
from nodeproof.layers.gpu.imex import UNIT as IMEX
from nodeproof.layers.gpu.settings import UNIT, Imex, Settings
from nodeproof.layers.gpu.stack import stack
from nodeproof.layers.gpu.wanted import wanted_values
from nodeproof.repositories.nvidia import repository
from nodeproof.repositories.proof import held, trusted_wrongly
from nodeproof.repositories.stack import upstream

HEALTH = tuple(topic for topic in Topic if topic is not Topic.BURN_IN)
DRIVERS = ("nvidia-open", "cuda-drivers", "kmod-nvidia-open-dkms", "kmod-nvidia-latest-dkms")
"""Of these at least one is there, whatever of a driver is asked for; all have its version."""


@pytest.fixture(scope="module")
def wanted(settings: Settings) -> Settings:
    """Return what is asked, where a driver is."""
    if settings.driver == "none":
        pytest.skip("no driver is asked for")
    return settings


@pytest.fixture(scope="module")
def running(wanted: Settings) -> Settings:
    """Return what is asked of a node that has the GPUs itself."""
    if wanted.image is not None:
        pytest.skip("the node becomes an image for other machines; it has none of their GPUs")
    return wanted


@pytest.fixture(scope="module")
def managed(wanted: Settings) -> Settings:
    """Return what is asked, where the driver's packages are nodeproof's."""
    if wanted.installed == "keep":
        pytest.skip("the driver that was there is kept as it is")
    return wanted


@pytest.fixture(scope="module")
def installed(managed: Settings, packages: PackagesData) -> str:
    """Return the version of the driver that is installed."""
    found = {upstream(packages.installed[one]) for one in DRIVERS if one in packages.installed}
    assert len(found) == 1, f"the driver's packages have the versions {sorted(found) or 'none'}"
    return found.pop()


@pytest.fixture(scope="module")
def exactly(managed: Settings, installed: str) -> Asked:
    """Return what is asked, of just the driver that is installed."""
    return managed.asked.model_copy(update={"driver": installed})


@pytest.fixture(scope="module")
def choice(exactly: Asked, node: NodeFacts, accelerators: Accelerators) -> Choice:
    """Return what belongs to the installed driver, whether it may be used or not."""
    catalog = current()
    allowed = {
        "allow_insecure": list(catalog.advisories),
        "allow_end_of_life": list(catalog.branches),
        "allow_kernel": True,
    }
    asked = exactly.model_copy(update=allowed)
    answer = resolve(asked, of_node(node, accelerators), catalog, date.today())
    assert isinstance(answer, Choice), in_one_line(answer)
    return answer


@pytest.fixture(scope="module")
def live(host: Host, running: Settings) -> LiveDriver:
    """Return the driver that runs; fails where none does, or where it does not answer."""
    done = host.run("sh -c %s", str(Live().command(",".join(running.modules_at_boot))))
    assert done.rc == 0, f"could not look: {done.stderr.strip()}"
    found = Live().process(done.stdout.splitlines())
    assert found.loaded, "no driver of NVIDIA's is loaded"
    assert not found.trouble, f"nvidia-smi: {found.trouble}"
    assert found.gpus, "nvidia-smi names no GPU"
    return found


@pytest.fixture(scope="module")
def clocks(host: Host, running: Settings) -> ClocksData:
    """Return the clocks that GPUs have now."""
    if not running.locked:
        pytest.skip("no clocks are asked to be locked")
    done = host.run("sh -c %s", Clocks().command())
    assert done.rc == 0, f"could not look: {done.stderr.strip()}"
    found = Clocks().process(done.stdout.splitlines())
    assert not found.trouble, f"nvidia-smi: {found.trouble}"
    return found


@pytest.fixture(scope="module")
def imex(wanted: Settings) -> Imex:
    """Return what is asked of IMEX."""
    if wanted.imex is None:
        pytest.skip("nothing is asked of IMEX")
    return wanted.imex


@pytest.fixture(scope="module")
def findings(host: Host, running: Settings) -> tuple[Finding, ...]:
    """Return what is judged of the GPUs."""
    return ask(host, Allowed(ecc_off=running.ecc is False))


@pytest.mark.control("NP-GPU-01")
def test_driver_is_what_was_asked_for(managed: Settings, installed: str) -> None:
    """A node with another driver than its neighbours gives other results, or none."""
    branch = current().branches.get(branch_of(installed))
    assert branch is not None, f"driver {installed} is of no branch in the catalog"
    asked = is_driver(installed, branch, managed.driver)
    assert asked, f"driver {installed} is installed, {managed.driver} is asked for"


@pytest.mark.control("NP-GPU-01")
def test_driver_is_one_that_the_catalog_allows(
    exactly: Asked, node: NodeFacts, accelerators: Accelerators
) -> None:
    """An advisory, an end of life or another kernel may have come since it was installed."""
    answer = resolve(exactly, of_node(node, accelerators), current(), date.today())
    assert isinstance(answer, Choice), in_one_line(answer)


@pytest.mark.control("NP-GPU-02")
def test_packages_belong_to_one_driver(
    choice: Choice, installed: str, packages: PackagesData
) -> None:
    """A fabric manager of another version than the driver's leaves GPUs without their fabric."""
    assert not packages.broken, f"half installed: {', '.join(packages.broken)}"
    needed = [
        one for companion in choice.companions if companion.exact for one in companion.packages
    ]
    versions = {name: packages.installed.get(name) for name in needed}
    wrong = [
        f"{one} {has}" for one, has in versions.items() if not has or upstream(has) != installed
    ]
    assert not wrong, f"not of driver {installed}: {', '.join(wrong)}"


@pytest.mark.control("NP-GPU-02")
def test_driver_that_runs_is_the_installed_one(
    live: LiveDriver, choice: Choice, installed: str
) -> None:
    """After an update the old module goes on until a reboot, and new programs do not fit it."""
    assert live.loaded == installed, f"{live.loaded} is loaded, {installed} is installed"
    flavour = "open" if live.open else "proprietary"
    assert choice.driver is not None
    assert flavour == choice.driver.modules, f"the {flavour} modules are loaded"


@pytest.mark.control("NP-GPU-03")
def test_packages_held(
    host: Host, choice: Choice, packages: PackagesData, distribution: Distribution
) -> None:
    """An unattended upgrade of one package takes the driver away from under the jobs."""
    loose = sorted(stack(choice).wanted.keys() - held(host, distribution, packages))
    assert not loose, f"not on hold: {', '.join(loose)}"


@pytest.mark.control("NP-GPU-03")
def test_repository_trusts_the_pinned_key_only(
    host: Host, managed: Settings, choice: Choice
) -> None:
    """Whoever may sign packages is root on every node that installs them."""
    driver: DriverChoice | None = choice.driver
    assert driver is not None
    assert driver.place is not None
    asked = repository(managed.asked, driver.place, current())
    assert asked is not None, "no fingerprint of its key is known"
    wrong = trusted_wrongly(host, asked)
    assert not wrong, wrong


@pytest.mark.control("NP-GPU-04")
def test_nouveau_stays_away(host: Host, wanted: Settings) -> None:
    """The kernel's own driver takes the GPUs at boot, and NVIDIA's finds none."""
    if wanted.nouveau == "keep":
        pytest.skip("gpu.nouveau is keep")
    told = host.check_output("modprobe --showconfig").splitlines()
    assert "blacklist nouveau" in told, "modprobe would load it for a GPU"
    if wanted.image is None:
        assert not host.run("test -e /sys/module/nouveau").succeeded, "it is loaded"


@pytest.mark.control("NP-GPU-04")
def test_module_options_configured(host: Host, wanted: Settings) -> None:
    """Of two files that set an option the later one wins, whoever wrote it."""
    told = host.check_output("modprobe --showconfig").splitlines()
    lines = [line.split()[2:] for line in told if line.startswith("options nvidia ")]
    last = dict(word.partition("=")[::2] for words in lines for word in words)
    wrong = [
        f"{name} is {last.get(name)}" for name, v in wanted.options.items() if last.get(name) != v
    ]
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-GPU-04")
def test_module_options_in_effect(live: LiveDriver, running: Settings) -> None:
    """A module keeps the options with which it was loaded, until it is loaded anew."""
    wrong = []
    for name, value in running.options.items():
        found = option_is(live.params, name, value)
        if found is None:
            wrong.append(f"the module does not list {name}")
        elif not found:
            wrong.append(f"{name} is not {value}")
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-GPU-05")
def test_persistence_daemon_as_asked(host: Host, wanted: Settings) -> None:
    """Without it a GPU is initialised anew for each job, which takes seconds, and forgets."""
    if wanted.persistence:
        wrong = why_down(host, "nvidia-persistenced.service", now=wanted.image is None)
    else:
        running = state(host, "nvidia-persistenced.service")["ActiveState"] == "active"
        wrong = "it runs, and is not asked for" if running else ""
    assert not wrong, wrong


@pytest.mark.control("NP-GPU-05")
def test_fabric_manager_runs(host: Host, wanted: Settings, choice: Choice) -> None:
    """Without it GPUs behind NVSwitches do not initialise CUDA."""
    if "fabric-manager" not in {one.id for one in choice.companions}:
        pytest.skip("there is no NVLink fabric to manage")
    wrong = why_down(host, "nvidia-fabricmanager.service", now=wanted.image is None)
    assert not wrong, wrong


@pytest.mark.control("NP-GPU-05")
def test_dcgm_runs(host: Host, wanted: Settings) -> None:
    """Nobody hears of a GPU that fails where nobody watches it."""
    if not wanted.dcgm:
        pytest.skip("dcgm is not asked for")
    wrong = why_down(host, "nvidia-dcgm.service", now=wanted.image is None)
    assert not wrong, wrong


@pytest.mark.control("NP-GPU-05")
def test_modules_beside_the_driver(host: Host, wanted: Settings) -> None:
    """Network adapters and disks reach GPU memory through these, also after a reboot."""
    if not wanted.modules_at_boot:
        pytest.skip("no module is asked for beside the driver")
    told = host.check_output("systemd-analyze cat-config modules-load.d").splitlines()
    missing = [name for name in wanted.modules_at_boot if name not in told]
    assert not missing, f"not loaded at boot: {', '.join(missing)}"
    if wanted.image is None:
        names = [name.replace("-", "_") for name in wanted.modules_at_boot]
        gone = [one for one in names if host.run("test -e /sys/module/%s", one).failed]
        assert not gone, f"not loaded: {', '.join(gone)}"


@pytest.mark.control("NP-GPU-06")
def test_gpus_set_as_asked(running: Settings, live: LiveDriver) -> None:
    """What a GPU forgets comes back at boot, or a job gets another machine than the last one."""
    if not running.sets_gpus:
        pytest.skip("nothing is asked of the GPUs' settings")
    wanted = wanted_values(running)
    wrong = []
    for gpu in live.gpus:
        has = {
            "compute_mode": gpu.compute_mode,
            "power_limit": gpu.power_limit.partition(".")[0],
            "ecc_pending": gpu.ecc if gpu.ecc == gpu.ecc_pending else f"{gpu.ecc} until a reset",
            "mig": f"{gpu.mig} until a reset" if gpu.mig_pending else gpu.mig or "unknown",
        }
        wrong += [
            f"{gpu.address}: {name} is {has[name]}" for name in wanted if has[name] != wanted[name]
        ]
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-GPU-06")
def test_clocks_locked_as_asked(running: Settings, clocks: ClocksData) -> None:
    """A GPU that clocks higher than its neighbours finishes first and waits, and heats the rack."""
    assert clocks.gpus, "nvidia-smi names no GPU"
    missing = unread(running.locked, clocks.gpus)
    assert not missing, f"could not look: {'; '.join(missing)}"
    wrong = astray(running.locked, clocks.gpus)
    assert not wrong, "; ".join(wrong)
    if nobody_knows := untold(running.locked, clocks.gpus):
        pytest.skip("; ".join(nobody_knows))


@pytest.mark.control("NP-GPU-06")
def test_gpus_set_at_boot(host: Host, wanted: Settings) -> None:
    """Compute mode, power limit and locked clocks are gone with the power."""
    if not wanted.sets_gpus:
        pytest.skip("nothing is asked of the GPUs' settings")
    wrong = why_down(host, UNIT, now=wanted.image is None)
    assert not wrong, wrong


@pytest.mark.control("NP-GPU-07")
@pytest.mark.parametrize("topic", HEALTH)
def test_gpus_healthy(findings: tuple[Finding, ...], topic: Topic) -> None:
    """A GPU that is half broken gives wrong results, or none, after hours of work."""
    failed = why_failed(findings, topic)
    assert not failed, failed
    if why := why_skipped(findings, topic):
        pytest.skip(why)


@pytest.mark.control("NP-GPU-08")
def test_gpus_compute_right(
    host: Host,
    running: Settings,
    burn_in: int,
    accelerators: Accelerators,
    record_property: Callable[[str, object], None],
) -> None:
    """A GPU can look healthy, and multiply wrongly or at half its speed."""
    ours = [gpu.pci_address for gpu in accelerators.gpus if gpu.vendor_id == "10de"]
    assert ours, "there is no GPU of NVIDIA's to burn in"
    found = ask_burn_in(host, ours, seconds=burn_in)
    record_property("measured", figures(found, Topic.BURN_IN))
    failed = why_failed(found, Topic.BURN_IN)
    assert not failed, failed


@pytest.mark.control("NP-GPU-09")
def test_imex_runs(host: Host, wanted: Settings, imex: Imex) -> None:
    """Without it no node of the rack reaches another's GPU memory."""
    wrong = why_down(host, IMEX, now=wanted.image is None)
    assert not wrong, wrong


@pytest.mark.control("NP-GPU-09")
def test_imex_is_the_drivers(host: Host, live: LiveDriver, imex: Imex) -> None:
    """It ends where the driver that is loaded is another."""
    said = host.check_output("nvidia-imex --version")
    assert live.loaded in said.split(), f"driver {live.loaded} is loaded, and {said.strip()}"


@pytest.mark.control("NP-GPU-09")
def test_imex_domain_is_the_one_asked_for(host: Host, running: Settings, imex: Imex) -> None:
    """Nodes that disagree on who belongs to the domain do not share memory, one too many may."""
    wrong = [*troubles(parse_domain(host.check_output(ASK)), imex.nodes)]
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-GPU-09")
def test_imex_channel_as_asked(host: Host, running: Settings, imex: Imex) -> None:
    """CUDA shares memory through a channel; who may open the same one may reach the same memory."""
    if not imex.shared_channel:
        pytest.skip("channels are somebody else's: gpu.imex.shared_channel is off")
    assert host.run("test -c %s", CHANNEL).succeeded, f"{CHANNEL} is not there"
