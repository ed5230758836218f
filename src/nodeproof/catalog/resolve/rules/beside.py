"""What goes beside the driver: fabric, storage and network paths, containers."""

from __future__ import annotations

from nodeproof.catalog.model.places import Repository
from nodeproof.catalog.resolve.case import Case, Driver, Findings, because, no, warn
from nodeproof.catalog.resolve.rules.support import below, judged
from nodeproof.catalog.resolve.spec import is_release
from nodeproof.catalog.versions import ordered, series_of, within

_EVEN = "the version is exactly the driver's"


def fabrics(case: Case) -> set[str]:
    """Return which NVLink fabrics are there: nvswitch, nvlink5, rack."""
    found = {card.product.fabric for card in case.nvidia if card.product} - {"none"}
    if case.has.platform == "vm" and not case.has.nvswitches:
        found.discard("nvlink5")  # the switches belong to the host, and so does their manager
    return {*found, "nvswitch"} if case.has.nvswitches or "nvlink5" in found else {*found}


def fabric_is_managed(case: Case) -> Findings:
    """Without its manager an NVLink fabric stays down, and CUDA does not initialise."""
    for fabric in sorted(fabrics(case)) if case.wants_driver else ():
        if case.asked.fabric_manager == "off" and fabric == "nvswitch":
            yield no(
                f"{case.has.nvswitches or 'its'} NVSwitches need the fabric manager",
                "set fabric_manager to auto",
                case.catalog.companions["fabric-manager"].sources,
            )
    if case.wants_driver and not fabrics(case):
        yield because("there is no NVLink fabric to manage")


def companions_match_the_driver(case: Case, driver: Driver) -> Findings:
    """Fabric manager, NSCQ and IMEX refuse to work with any driver but their own."""
    for name in sorted(needed(case)):
        companion = case.catalog.companions[name]
        if companion.modules and driver.modules not in companion.modules:
            yield no(
                f"{companion.title} needs {' or '.join(companion.modules)} modules",
                "set modules to auto",
                companion.sources,
            )
        elif not any(within(driver.name, names.branches) for names in companion.names):
            yield no(f"there is no {companion.title} for R{driver.name}", sources=companion.sources)
        elif companion.version == "driver":
            yield because(f"{companion.title}: {_EVEN}, {driver.version}", companion.sources)
        if companion.versions and own_version(case, name) is None:
            yield no(
                f"no {companion.title} is for Linux {case.has.kernel}", sources=companion.sources
            )


def needed(case: Case) -> set[str]:
    """Return which companions this machine needs, and which are asked for."""
    kinds = {"always", *fabrics(case)}
    found = {name for name, one in case.catalog.companions.items() if one.needed in kinds}
    found |= {name for name in ("gds", "gdrcopy", "dcgm") if getattr(case.asked, name)}
    return {name for name in found if case.has.arch in case.catalog.companions[name].architectures}


def own_version(case: Case, name: str) -> str | None:
    """Return the newest version of a companion that is for this kernel and has no advisory."""
    companion = case.catalog.companions[name]
    kernel = series_of(case.has.kernel)
    for version in sorted(companion.versions, key=ordered, reverse=True):
        is_open = name == "dcgm" and any(one.refuses for _, one, _ in below(case, "dcgm", version))
        if within(kernel, companion.kernel.get(version, ">=0")) and not is_open:
            return version
    return None


def network_reaches_gpu_memory(case: Case, driver: Driver) -> Findings:
    """DMA-BUF needs open modules, a recent GPU and kernel; peermem needs OFED."""
    if case.asked.peer_access == "none":
        return
    way = case.catalog.peer_access[case.asked.peer_access]
    if driver.modules not in way.modules:
        yield no(f"{way.title} needs {' or '.join(way.modules)} modules", sources=way.sources)
    if way.kernel and ordered(series_of(case.has.kernel)) < ordered(way.kernel):
        yield no(
            f"{way.title} needs Linux {way.kernel} or newer, and this is {case.has.kernel}",
            "set peer_access to peermem",
            way.sources,
        )
    for card in case.nvidia:
        if way.architectures and card.generation not in [
            case.catalog.architectures[one] for one in way.architectures
        ]:
            yield no(f"{way.title} is not for {card.title}", sources=way.sources)
    if way.ofed:
        yield warn(f"{way.title} needs DOCA-OFED or MLNX_OFED", way.sources)
    else:
        yield because(f"{way.title} needs no OFED", way.sources)


def container_toolkit_is_safe(case: Case) -> Findings:
    """A container toolkit is what stands between a container and its host."""
    wish = case.asked.container_toolkit
    if wish == "none":
        return
    vendor = toolkit_vendor(case)
    toolkit = case.catalog.container_toolkits[vendor]
    version = toolkit_version(case)
    if version is None:
        yield no(
            f"no {toolkit.title} {wish} is in the catalog",
            f"it has {', '.join(toolkit.versions)}",
            toolkit.sources,
        )
        return
    about = below(case, "nvidia-container-toolkit", version) if vendor == "nvidia" else ()
    for name, advisory, fixed in about:
        text = f"{toolkit.title} {version} is open to {name}, mended in {fixed}"
        yield judged(case, name, advisory, text)
    needs = ", ".join(f"{name} {oldest}" for name, oldest in sorted(toolkit.runtimes.items()))
    yield because(f"{toolkit.title} {version}; CDI needs at least {needs}", toolkit.sources)


def container_toolkit_is_for_the_system(case: Case) -> Findings:
    """A maker has packages of its toolkit for some distributions and processors."""
    if case.asked.container_toolkit == "none":
        return
    toolkit = case.catalog.container_toolkits[toolkit_vendor(case)]
    if toolkit_repository(case) is None:
        yield no(f"there is no {toolkit.title} for {case.has.arch}", sources=toolkit.sources)
    elif case.at is not None and toolkit.suites:
        name, system = case.at
        if name not in toolkit.suites:
            yield no(f"there is no {toolkit.title} for {system.title}", sources=toolkit.sources)
        elif name in toolkit.unnamed:
            yield warn(
                f"{toolkit.title}: its maker does not name {system.title}, and its packages for "
                f"{toolkit.suites[name]} are taken",
                toolkit.sources,
            )


def toolkit_repository(case: Case) -> tuple[str, Repository] | None:
    """Return where the container toolkit for this family of systems and processor is."""
    family = case.system.family if case.at else "deb"
    for name in case.catalog.container_toolkits[toolkit_vendor(case)].repositories:
        place = case.catalog.repositories[name]
        if place.family == family and place.architecture in (None, case.cpu):
            return name, place
    return None


def toolkit_vendor(case: Case) -> str:
    """Return whose container toolkit is meant: that of the GPUs that are there."""
    return "amd" if case.amd and not case.nvidia else "nvidia"


def toolkit_version(case: Case) -> str | None:
    """Return the newest container toolkit that is asked for."""
    wish = case.asked.container_toolkit
    toolkit = case.catalog.container_toolkits[toolkit_vendor(case)]
    return max(
        (one for one in toolkit.versions if is_release(one, wish)), key=ordered, default=None
    )
