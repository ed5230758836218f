"""From a driver that no rule objects to, to everything that is installed with it."""

from __future__ import annotations

from collections.abc import Mapping

from nodeproof.catalog.model.driver import Companion
from nodeproof.catalog.model.places import Repository
from nodeproof.catalog.resolve.case import Case, Driver
from nodeproof.catalog.resolve.choice import (
    Choice,
    CompanionChoice,
    CudaChoice,
    DriverChoice,
    Place,
    Reason,
    StackChoice,
)
from nodeproof.catalog.resolve.rules import beside, cuda
from nodeproof.catalog.resolve.rules.present import REMOVAL
from nodeproof.catalog.versions import series_of, within

WSL = "cuda-wsl-ubuntu"


def choice(
    case: Case,
    driver: Driver | None,
    releases: Mapping[str, str],
    reasons: tuple[Reason, ...],
    warnings: tuple[Reason, ...],
) -> Choice:
    """Put the pieces together; `releases` are those of other makers, by what asks for them."""
    return Choice(
        driver=_driver(case, driver) if driver else None,
        companions=tuple(_companions(case, driver)) if driver else (),
        cuda=tuple(one for one, _ in cuda.chosen(case, driver or case.present) if one),
        cuda_place=_cuda_place(case) if case.asked.cuda else None,
        rocm=_rocm(case, releases["rocm"]) if "rocm" in releases else None,
        intel=_intel(case, releases["intel"]) if "intel" in releases else None,
        container_toolkit=_container_toolkit(case),
        steps=tuple(_steps(case, driver)),
        reasons=tuple(dict.fromkeys(reasons)),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _driver(case: Case, driver: Driver) -> DriverChoice:
    if driver.kept:
        return DriverChoice(
            version=driver.version, branch=driver.name, modules=driver.modules, origin="kept"
        )
    names = case.packages
    if names is None:
        raise LookupError("a driver was chosen where there are no packages")
    is_open = driver.modules == "open"
    whole = names.open if is_open else names.proprietary
    compute = names.compute_open if is_open else names.compute_proprietary
    packages = compute if case.asked.compute_only and compute else whole
    fill = {
        "branch": driver.name,
        "version": driver.version,
        "kernel": case.has.kernel,
        "series": series_of(case.has.kernel),
        "flavour": case.has.kernel.rpartition("-")[2],
    }
    pin = names.pin_open if is_open else names.pin_proprietary
    vendor = case.asked.source == "vendor" and case.repository is not None
    place = Place(repository="distribution")
    if vendor and case.repository is not None:
        place = _place(case, *case.repository)
    return DriverChoice(
        version=driver.version,
        branch=driver.name,
        modules=driver.modules,
        origin=case.asked.source,
        place=place,
        packages=tuple(one.format(**fill) for one in packages),
        headers=tuple(one.format(**fill) for one in names.headers),
        prerequisites=names.prerequisites,
        pin=pin.format(**fill),
    )


def _place(case: Case, name: str, repository: Repository) -> Place:
    key = case.catalog.keys.get(repository.key or "")
    fingerprint = (key.fingerprint if key else None) or case.asked.repository_key or ""
    digest = (key.sha256 if key else None) or ""
    return Place(repository=name, uri=repository.uri, fingerprint=fingerprint, key_sha256=digest)


def _companions(case: Case, driver: Driver) -> list[CompanionChoice]:
    found = []
    for name in sorted(beside.needed(case)):
        one = case.catalog.companions[name]
        exact = one.version == "driver"
        version = driver.version if exact else beside.own_version(case, name) or ""
        packages = _names(case, one, driver)
        found.append(CompanionChoice(id=name, packages=packages, version=version, exact=exact))
    return found


def _names(case: Case, companion: Companion, driver: Driver) -> tuple[str, ...]:
    for names in companion.names:
        if within(driver.name, names.branches):
            packages = names.deb if case.system.family == "deb" else names.rpm
            return tuple(one.format(branch=driver.name) for one in packages)
    return ()


def _rocm(case: Case, name: str) -> StackChoice:
    release = case.catalog.rocm_releases[name]
    at = case.at[0] if case.at else ""
    place, driver = release.repositories[at], release.driver_repositories.get(at)
    return StackChoice(
        version=name,
        packages=(release.driver_package, *release.packages),
        place=_place(case, place, case.catalog.repositories[place]),
        driver=release.driver or "",
        driver_place=_place(case, driver, case.catalog.repositories[driver]) if driver else None,
    )


def _intel(case: Case, name: str) -> StackChoice:
    release = case.catalog.intel_releases[name]
    place = release.systems[case.at[0] if case.at else ""].repository
    return StackChoice(
        version=name,
        packages=(*release.driver, *release.packages),
        place=_place(case, place, case.catalog.repositories[place]),
    )


def _cuda_place(case: Case) -> Place | None:
    """Return where toolkits come from: on WSL 2 a repository without drivers."""
    if case.has.platform == "wsl2":
        return _place(case, WSL, case.catalog.repositories[WSL])
    return _place(case, *case.repository) if case.repository else None


def _container_toolkit(case: Case) -> StackChoice | None:
    if case.asked.container_toolkit == "none":
        return None
    vendor, version = beside.toolkit_vendor(case), beside.toolkit_version(case)
    toolkit = case.catalog.container_toolkits[vendor]
    if version is None:
        return None
    where = None
    if found := beside.toolkit_repository(case):
        suite = toolkit.suites.get(case.at[0], "") if case.at else ""
        where = _place(case, *found).model_copy(update={"suite": suite})
    return StackChoice(id=vendor, version=version, packages=toolkit.packages, place=where)


def _steps(case: Case, driver: Driver | None) -> list[str]:
    """Return what has to be done besides installing, in order."""
    if driver is None or driver.kept:
        return []
    steps = []
    present, has = case.has.driver, case.has
    ours = "vendor-repository" if case.asked.source == "vendor" else "distribution"
    if present and present.origin != ours:
        steps.append(f"{REMOVAL[present.origin]} (driver {present.version})")
    if has.nouveau_loaded:
        steps.append("switch nouveau off and build the initramfs anew")
    if not has.kernel_headers and not _signed(case):
        steps.append(f"install the headers of Linux {has.kernel}")
    if has.secure_boot and case.asked.secure_boot == "mok" and not _signed(case):
        steps.append("enrol the machine's key at its console, at the next boot")
    moves = present is None or not present.loaded or present.version != driver.version
    if has.nouveau_loaded or (moves and present is not None):
        steps.append("reboot")
    return steps


def _signed(case: Case) -> bool:
    return case.packages is not None and case.packages.signed


def summary(answer: Choice) -> str:
    """Return a choice in one line."""
    parts = []
    if answer.driver:
        parts.append(f"driver {answer.driver.version} ({answer.driver.modules})")
    parts += [f"CUDA {one.version}{_by(one)}" for one in answer.cuda]
    if answer.rocm:
        parts.append(f"ROCm {answer.rocm.version}")
    if answer.intel:
        parts.append(f"Intel's {answer.intel.version}")
    if answer.container_toolkit:
        parts.append(f"container toolkit {answer.container_toolkit.version}")
    return ", ".join(parts) or "nothing to install"


def _by(one: CudaChoice) -> str:
    return "" if one.runs in ("full", "no-driver") else f" by {one.runs} compatibility"
