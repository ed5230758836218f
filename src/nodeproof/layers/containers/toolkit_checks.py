"""The container toolkit, by what is installed and by what it says itself."""

from __future__ import annotations

import re

import pytest
from testinfra.host import Host

from nodeproof.catalog.overlay import current
from nodeproof.catalog.resolve.choice import Choice
from nodeproof.catalog.resolve.text import in_one_line
from nodeproof.catalog.versions import ordered
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.packages import PackagesData
from nodeproof.layers.containers.facts import AMD_REFRESH, INSTANCE, OUR_REFRESH, REFRESH
from nodeproof.layers.containers.probes import SAID_VERSION, VERSION_OF, unit
from nodeproof.layers.containers.settings import (
    AMD_CDI,
    AMD_CTK,
    NVIDIA_CDI,
    NVIDIA_CTK,
    NVIDIA_SMI,
    Settings,
)
from nodeproof.layers.containers.stack import OURS, Toolkit, answered
from nodeproof.layers.containers.stack import toolkit as made
from nodeproof.repositories.proof import trusted_wrongly
from nodeproof.repositories.stack import is_version

DIVIDES = "nodeproof-gpu.service"
"""The gpu layer's unit that divides GPUs at boot."""


@pytest.fixture(scope="module")
def asked(settings: Settings) -> Settings:
    """Return what is asked; skipped where no toolkit is."""
    if settings.toolkit == "none":
        pytest.skip("no container toolkit is asked for")
    return settings


@pytest.fixture(scope="module")
def toolkit(asked: Settings, node: NodeFacts, accelerators: Accelerators) -> Toolkit:
    """Return the toolkit that belongs to what is asked, whether it may be used today or not."""
    answer = answered(asked, node, accelerators, current(), whatever=True)
    assert isinstance(answer, Choice), in_one_line(answer, OURS)
    assert answer.container_toolkit is not None, "the catalog has no such toolkit"
    return made(asked, answer.container_toolkit, current())


@pytest.mark.control("NP-CTR-07")
def test_toolkit_is_the_one_that_was_chosen(packages: PackagesData, toolkit: Toolkit) -> None:
    """Its parts work in one version only, and the one that the catalog knows."""
    found = {name: packages.installed.get(name, "none") for name in toolkit.stack.wanted}
    wrong = [
        f"{name} is {found[name]}"
        for name, wish in toolkit.stack.wanted.items()
        if not is_version(found[name], wish)
    ]
    assert not wrong, f"{toolkit.title} is to be {toolkit.version}, and {', '.join(wrong)}"


@pytest.mark.control("NP-CTR-07")
def test_toolkit_that_runs_is_the_one_installed(host: Host, toolkit: Toolkit) -> None:
    """One that somebody unpacked earlier on the path, or built, is not what was checked."""
    done = host.run(VERSION_OF[toolkit.vendor])
    said = re.search(SAID_VERSION[toolkit.vendor], done.stdout, re.MULTILINE)
    assert said, f"{VERSION_OF[toolkit.vendor]}: {(done.stdout + done.stderr).strip()[:200]}"
    assert said[1] == toolkit.version, f"it says that it is {said[1]}, not {toolkit.version}"


@pytest.mark.control("NP-CTR-07")
def test_toolkit_is_one_that_the_catalog_allows(
    asked: Settings, node: NodeFacts, accelerators: Accelerators
) -> None:
    """Whoever breaks out of a container by a hole in it has the node; it may be known since."""
    answer = answered(asked, node, accelerators, current(), whatever=False)
    assert isinstance(answer, Choice), in_one_line(answer, OURS)


@pytest.mark.control("NP-CTR-07")
def test_toolkit_held(packages: PackagesData, toolkit: Toolkit) -> None:
    """An unattended upgrade of one part leaves the others behind."""
    loose = sorted({*toolkit.stack.wanted} - {*packages.held})
    assert not loose, f"not on hold: {', '.join(loose)}"


@pytest.mark.control("NP-CTR-07")
def test_toolkit_repository_trusts_the_pinned_key_only(host: Host, toolkit: Toolkit) -> None:
    """Whoever may sign packages is root on every node that installs them."""
    assert toolkit.repository is not None, "no fingerprint, or no address, of its key is known"
    wrong = trusted_wrongly(host, toolkit.repository)
    assert not wrong, wrong


@pytest.mark.control("NP-CTR-07")
@pytest.mark.parametrize("engine", sorted(VERSION_OF.keys() & {"podman", "docker", "containerd"}))
def test_engine_is_new_enough(host: Host, asked: Settings, toolkit: Toolkit, engine: str) -> None:
    """An older one cannot read the toolkit's CDI specification, or reads half of it."""
    needs = current().container_toolkits[toolkit.vendor].runtimes.get(engine)
    if not asked.cdi or not getattr(asked, engine) or needs is None:
        pytest.skip(f"{engine} is not to be given devices of {toolkit.title}'s by CDI")
    done = host.run(VERSION_OF[engine])
    said = re.search(SAID_VERSION[engine], done.stdout, re.MULTILINE)
    assert said, f"{VERSION_OF[engine]}: {(done.stdout + done.stderr).strip()[:200]}"
    assert ordered(said[1]) >= ordered(needs), f"it is {said[1]}, and {needs} is needed"


def _describes(host: Host, settings: Settings, program: str, maker: str) -> None:
    """Skip where a maker's toolkit describes no devices."""
    if not settings.cdi:
        pytest.skip("cdi is not asked for")
    if host.run("test -x %s", program).rc != 0:
        pytest.skip(f"{maker}'s container toolkit is not here")


@pytest.fixture(scope="module")
def nvidia(host: Host, settings: Settings) -> None:
    """Skip where NVIDIA's toolkit describes no devices."""
    _describes(host, settings, NVIDIA_CTK, "NVIDIA")


@pytest.fixture(scope="module")
def amd(host: Host, settings: Settings) -> None:
    """Skip where AMD's toolkit describes no devices."""
    _describes(host, settings, AMD_CTK, "AMD")


@pytest.mark.control("NP-CTR-04")
def test_nvidia_specification_is_kept_current(host: Host, nvidia: None) -> None:
    """It is gone with the power, and wrong after an update of the driver."""
    states = {
        name: [unit(host, f"{name}.{kind}") for kind in ("service", "path")]
        for name in (REFRESH, OUR_REFRESH)
    }
    good = [
        name
        for name, ((_, boots), (watches, too)) in states.items()
        if (boots, watches, too) == ("enabled", "active", "enabled")
    ]
    assert good, f"{REFRESH}: service {states[REFRESH][0]}, path {states[REFRESH][1]}"
    if host.check_output("systemctl show -P UnitFileState %s", DIVIDES) == "enabled":
        after = host.check_output("systemctl show -P After %s.service", good[0]).split()
        assert DIVIDES in after, f"at boot {good[0]} does not wait for {DIVIDES}"


@pytest.mark.control("NP-CTR-04")
def test_nvidia_specification_names_instances_that_exist(host: Host, nvidia: None) -> None:
    """After another MIG layout a job is given what is gone, or cannot be given what there is."""
    if host.run("test -c /dev/nvidiactl").rc != 0:
        pytest.skip("NVIDIA's driver runs no GPU here")
    there = set(re.findall(INSTANCE, host.check_output(f"{NVIDIA_SMI} -L")))
    named = set(re.findall(INSTANCE, host.check_output("cat -- %s", NVIDIA_CDI)))
    wrong = [f"{one} is gone" for one in named - there]
    wrong += [f"{one} is not in it" for one in there - named]
    assert not wrong, f"{NVIDIA_CDI}: {', '.join(sorted(wrong))}"


@pytest.mark.control("NP-CTR-04")
def test_amd_specification_is_kept_current(host: Host, amd: None) -> None:
    """AMD's toolkit writes it when somebody asks for it, and never again."""
    active, boots = unit(host, AMD_REFRESH)
    assert (boots, active != "failed") == ("enabled", True), f"{AMD_REFRESH} is {boots}, {active}"


@pytest.mark.control("NP-CTR-04")
def test_amd_specification_is_what_there_is(host: Host, amd: None) -> None:
    """One from before GPUs were divided otherwise gives jobs what is gone, or another's."""
    there = [host.run("test -e %s", path).rc == 0 for path in ("/dev/kfd", AMD_CDI)]
    if not any(there):
        pytest.skip("no GPU that AMD's driver runs and no specification of one is here")
    # Its exit code is 0 whatever it finds.
    done = host.run(f"{AMD_CTK} cdi validate --path=%s", AMD_CDI)
    said = " ".join((done.stdout + done.stderr).split())
    assert "CDI spec is valid" in done.stdout.splitlines(), said
