"""CUDA toolkits as programs find them, and against the driver that runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date

import pytest
from testinfra.host import Host

from nodeproof.catalog.distributions import Distribution
from nodeproof.catalog.overlay import current
from nodeproof.catalog.resolve.asked import Asked
from nodeproof.catalog.resolve.choice import Choice
from nodeproof.catalog.resolve.machine import of_node
from nodeproof.catalog.resolve.resolver import resolve
from nodeproof.catalog.resolve.spec import is_release
from nodeproof.catalog.resolve.text import in_one_line
from nodeproof.catalog.versions import series_of
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.nvidia_smi import parse_smi
from nodeproof.facts.packages import PackagesData
from nodeproof.layers.cuda import names
from nodeproof.layers.cuda.facts import Alternative
from nodeproof.layers.cuda.settings import Settings
from nodeproof.layers.cuda.stack import built_for
from nodeproof.repositories.nvidia import repository
from nodeproof.repositories.proof import held, trusted_wrongly
from nodeproof.repositories.stack import is_version, upstream

LIBRARIES = ("libcudnn", "libnccl")
WITH_WSL = "PATH=$PATH:/usr/lib/wsl/lib;"
"""There nvidia-smi is in a folder that only shells of Windows' terminal look into."""
SMI = f"{WITH_WSL} LC_ALL=C timeout -k 5 60 nvidia-smi -q -x"
LOADER = "LC_ALL=C /sbin/ldconfig -N -X -v 2>/dev/null"
LOGIN = "env -i HOME=/root PATH=/usr/bin:/bin bash -lc %s"
"""As somebody who logs in has it; nothing of the connection's own environment."""

LOAD = 'module use "$1" && module load "cuda/$2" && echo "$CUDA_HOME"'

Toolkits = Mapping[str, str]


@pytest.fixture(scope="module")
def toolkits(settings: Settings, packages: PackagesData) -> Toolkits:
    """Return the toolkits that are installed, release to version, newest first."""
    found = names.installed(packages.installed, settings.parts, current())
    versions = {series: upstream(packages.installed[name]) for name, series in found.items()}
    assert versions, "no toolkit is installed"
    return dict(sorted(versions.items(), key=lambda one: _number(one[0]), reverse=True))


@pytest.fixture(scope="module")
def supported(host: Host, settings: Settings) -> str:
    """Return the CUDA that the driver supports; skipped where none is asked for, and none is."""
    if settings.asked.image is not None:
        pytest.skip("the node becomes an image for other machines; it has none of their drivers")
    if host.run(f"{WITH_WSL} command -v nvidia-smi").failed:
        loaded = host.run("test -e /proc/driver/nvidia/version -o -e /dev/dxg").succeeded
        assert not loaded, "a driver is loaded, and there is no nvidia-smi that could be asked"
        assert settings.asked.driver == "none", "a driver is asked for, and none answers"
        pytest.skip("the node has no driver of NVIDIA's, and none is asked for")
    said = host.run(SMI)
    assert said.rc == 0, f"nvidia-smi: {' '.join((said.stdout + said.stderr).split())[:300]}"
    cuda = parse_smi(said.stdout).cuda
    assert cuda, "nvidia-smi does not say which CUDA the driver supports"
    return cuda


@pytest.fixture(scope="module")
def default(
    settings: Settings, node: NodeFacts, accelerators: Accelerators, toolkits: Toolkits
) -> str:
    """Return the release that is to be the default: of what is there the newest that is meant."""
    if settings.default is not None:
        return settings.default
    answer = resolve(
        asks(settings, settings.toolkits), of_node(node, accelerators), current(), date.today()
    )
    meant = [series_of(one.version) for one in answer.cuda] if isinstance(answer, Choice) else []
    return next((one for one in toolkits if one in meant), next(iter(toolkits)))


@pytest.fixture(scope="module")
def loader(host: Host) -> tuple[str, ...]:
    """Return the folders in which the loader looks for libraries, for everybody."""
    lines = host.check_output(f"{LOADER}; true").splitlines()
    found = tuple(line.partition(":")[0] for line in lines if line.startswith("/"))
    assert found, "could not look: ldconfig names no folder"
    return found


def asks(settings: Settings, toolkits: Iterable[str]) -> Asked:
    """Return the question about toolkits, for the driver that is there."""
    return Asked.model_validate(
        {
            **settings.asks(),
            "driver": "none",
            "cuda": sorted(toolkits),
            "image": settings.asked.image,
            "repository_key": settings.asked.repository_key,
            "allow_insecure": settings.asked.allow_insecure,
        }
    )


def newer(toolkit: str, supported: str, *, minor_version: bool) -> bool:
    """Tell whether a toolkit is newer than what a driver supports, in a way that counts."""
    (major, minor), (most, least) = _number(toolkit), _number(supported)
    if major == most:
        return minor > least and not minor_version
    return major > most


def _is_compat(name: str) -> bool:
    return name.startswith(names.COMPAT)


def _number(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor.partition(".")[0] or 0)


@pytest.mark.control("NP-CUD-01")
def test_toolkits_that_were_asked_for_are_there(settings: Settings, toolkits: Toolkits) -> None:
    """A program is built with the toolkit that it was tried with, or fails elsewhere."""
    missing = [
        wish
        for wish in settings.toolkits
        if not any(is_release(version, wish) for version in toolkits.values())
    ]
    assert not missing, f"not installed: {', '.join(missing)}; there are {', '.join(toolkits)}"


@pytest.mark.control("NP-CUD-01")
def test_compilers_are_of_their_toolkit(host: Host, settings: Settings, toolkits: Toolkits) -> None:
    """A folder that somebody unpacked something else into builds for another CUDA than it says."""
    if settings.parts == "libraries":
        pytest.skip("parts is libraries: no compiler is asked for")
    wrong = []
    for series in toolkits:
        said = host.run("%s --version", f"{names.folder(series)}/bin/nvcc")
        release = re.search(r"\brelease ([0-9.]+)", said.stdout)
        if said.rc or not release or release[1] != series:
            wrong.append(f"{series}: {release[1] if release else said.stderr.strip() or 'nothing'}")
    assert not wrong, f"nvcc of another release: {'; '.join(wrong)}"


@pytest.mark.control("NP-CUD-01")
def test_default_toolkit_is_the_one_asked_for(host: Host, default: str) -> None:
    """Left to themselves the alternatives move with whatever package is installed next."""
    leads = host.check_output("readlink -f %s", names.DEFAULT)
    assert leads == names.folder(default), f"{names.DEFAULT} is {leads}"
    told = host.run("sh -c %s", str(Alternative().command(names.GROUP)))
    chosen = Alternative().process(told.stdout.splitlines())
    assert chosen.manual, f"{names.DEFAULT} is {leads} until another package is installed"


@pytest.mark.control("NP-CUD-02")
def test_toolkits_are_not_newer_than_the_driver(
    settings: Settings, toolkits: Toolkits, packages: PackagesData, supported: str
) -> None:
    """What is built for a newer CUDA than the driver's starts and fails, or does not start."""
    by_compat = {names.series_in(name) for name in packages.installed if _is_compat(name)}
    wrong = [
        series
        for series in toolkits
        if newer(series, supported, minor_version=settings.minor_version_compat)
        and not (settings.forward_compat and series in by_compat)
    ]
    assert not wrong, f"the driver supports CUDA {supported}, and there is {', '.join(wrong)}"


@pytest.mark.control("NP-CUD-02")
def test_toolkits_are_ones_that_the_catalog_allows(
    settings: Settings, node: NodeFacts, accelerators: Accelerators, toolkits: Toolkits
) -> None:
    """Another GPU or driver, or an advisory, may have come since they were installed."""
    asked = asks(settings, toolkits.values())
    answer = resolve(asked, of_node(node, accelerators), current(), date.today())
    assert isinstance(answer, Choice), in_one_line(answer)


@pytest.mark.control("NP-CUD-03")
def test_packages_held(
    host: Host, settings: Settings, packages: PackagesData, distribution: Distribution
) -> None:
    """An upgrade of everything makes another toolkit of the one that a program was built with."""
    wanted = {*names.installed(packages.installed, settings.parts, current())}
    wanted |= {one for one in packages.installed if one.startswith(LIBRARIES) or _is_compat(one)}
    loose = sorted(wanted - held(host, distribution, packages))
    assert not loose, f"not on hold: {', '.join(loose)}"


@pytest.mark.control("NP-CUD-03")
def test_repository_trusts_the_pinned_key_only(
    host: Host, settings: Settings, node: NodeFacts, accelerators: Accelerators
) -> None:
    """Whoever may sign packages is root on every node that installs them."""
    bare = accelerators.model_copy(update={"driver": None, "gpus": []})
    asked = asks(settings, ["latest"]).model_copy(update={"image": None})
    answer = resolve(asked, of_node(node, bare), current(), date.today())
    assert isinstance(answer, Choice), in_one_line(answer)
    assert answer.cuda_place is not None, "NVIDIA has no repository for this distribution"
    wanted = repository(settings.asked, answer.cuda_place, current())
    assert wanted is not None, "no fingerprint of its key is known"
    wrong = trusted_wrongly(host, wanted)
    assert not wrong, wrong


@pytest.mark.control("NP-CUD-04")
def test_no_compatibility_library_is_in_the_way(
    host: Host, settings: Settings, packages: PackagesData, loader: tuple[str, ...]
) -> None:
    """Where forward compatibility is not allowed its libcuda keeps programs from the driver."""
    if settings.forward_compat:
        pytest.skip("forward_compat allows it")
    there = sorted(filter(_is_compat, packages.installed))
    said = host.check_output(LOGIN, 'printf %s "${LD_LIBRARY_PATH:-}"')
    found = [one for one in (*loader, *said.split(":")) if one.rstrip("/").endswith("/compat")]
    wrong = [*there, *found]
    assert not wrong, f"there is {', '.join(wrong)}"


@pytest.mark.control("NP-CUD-05")
def test_libraries_are_found(
    host: Host,
    settings: Settings,
    packages: PackagesData,
    loader: tuple[str, ...],
    default: str,
) -> None:
    """A framework falls back to slow code, or to one GPU, where these are not found."""
    asked = {names.CUDNN: settings.cudnn, names.NCCL: settings.nccl}
    if not any(asked.values()):
        pytest.skip("neither cudnn nor nccl is asked for")
    wrong = [
        f"no {library}"
        for library, wanted in asked.items()
        if wanted and all(host.run("test -e %s", f"{one}/{library}").failed for one in loader)
    ]
    if settings.nccl:
        there = packages.installed
        has = there.get("libnccl2", there.get("libnccl", "none"))
        if not is_version(has, built_for(default)):
            wrong.append(f"NCCL {has} is not built for CUDA {default}")
    assert not wrong, "; ".join(wrong)


@pytest.mark.control("NP-CUD-05")
def test_login_shells_have_the_default_toolkit(host: Host, settings: Settings) -> None:
    """Another nvcc may come first on the PATH, or none."""
    if not settings.profile:
        pytest.skip("profile is not asked for")
    found = host.run(LOGIN, "command -v nvcc").stdout.strip()
    assert found == f"{names.DEFAULT}/bin/nvcc", f"nvcc is {found or 'not found'}"


@pytest.mark.control("NP-CUD-05")
def test_modulefiles_load(host: Host, settings: Settings, toolkits: Toolkits) -> None:
    """A job asks for a toolkit by name, and gets it, or runs with another one."""
    if settings.modulefiles is None:
        pytest.skip("modulefiles are not asked for")
    if host.run(LOGIN, "command -v module").failed:
        pytest.skip("neither Environment Modules nor Lmod is installed")
    wrong = []
    for series in toolkits:
        found = host.run(f"{LOGIN} bash %s %s", LOAD, settings.modulefiles, series)
        if found.stdout.strip() != names.folder(series):
            wrong.append(f"{series}: {found.stdout.strip() or found.stderr.strip()[:200]}")
    assert not wrong, "; ".join(wrong)
