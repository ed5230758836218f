"""Whether software may be installed on this kind of host at all, and whether it is known."""

from __future__ import annotations

from nodeproof.catalog.resolve.case import Case, Findings, because, no, warn
from nodeproof.catalog.resolve.rules.support import below, judged
from nodeproof.catalog.versions import is_in_series, series_of


def facts_are_whole(case: Case) -> Findings:
    """Could not look is a failure, never a guess."""
    has, image = case.has, case.asked.image
    if image is not None and not has.kernel:
        yield no(
            "an image that is made in a container has no kernel that could be asked",
            "set image.kernel to the one that its machines boot",
        )
        return
    missing = [name for name in ("kernel", "arch") if not getattr(has, name)]
    if not case.machine.os_id:  # a rolling system has no version, and says so
        missing.append("os_id")
    if missing:
        yield no(f"the facts do not say {' and '.join(missing)}", "inspect the machine again")


def platform_takes_packages(case: Case) -> Findings:
    """WSL 2 and containers get their driver from the host, Jetson and images from their maker."""
    platform = case.catalog.platforms.get(case.has.platform)
    if platform is None:
        return
    if case.wants_driver or case.wants_rocm or case.wants_intel:
        yield no(
            f"on {platform.title} no driver is installed",
            f"{platform.instead}; set driver to none",
            platform.sources,
        )
    asks_more = case.asked.cuda or case.asked.container_toolkit != "none"
    if asks_more and case.has.platform in ("image-based", "jetson"):
        yield no(
            f"on {platform.title} packages are not changed", platform.instead, platform.sources
        )
    if case.has.platform == "wsl2":
        yield from _windows_has_the_driver(case)
    yield because(f"{platform.title}: {platform.instead}", platform.sources)
    if case.has.l4t:
        yield from _jetson_linux(case, case.has.l4t)


def _windows_has_the_driver(case: Case) -> Findings:
    """A driver of Linux's keeps programs from that of Windows, which WSL brings in."""
    if (driver := case.has.driver) is not None:
        yield no(
            f"driver {driver.version} for Linux is installed in WSL 2, where the GPUs are Windows'",
            "remove its packages; here only a toolkit of the wsl-ubuntu repository belongs",
        )
    if case.asked.cuda and case.cpu != "x86_64":
        yield no(f"NVIDIA has no toolkits for WSL 2 on {case.has.arch}", "leave cuda out")


def _jetson_linux(case: Case, release: str) -> Findings:
    """Say which JetPack it is, and what its maker mended since: kernel and driver come with it."""
    known = {one.l4t: (name, one) for name, one in case.catalog.jetpacks.items()}
    if release in known:
        name, jetpack = known[release]
        yield because(f"Jetson Linux {release} is that of JetPack {name}", jetpack.sources)
    else:
        yield warn(f"Jetson Linux {release} is of no JetPack in the catalog")
    for name, advisory, fixed in below(case, "jetson", release):
        text = f"Jetson Linux {release} is older than {fixed}, which mends {name}"
        yield judged(case, name, advisory, text)


def processor_is_known(case: Case) -> Findings:
    """Drivers are built for x86-64 and for Arm servers (sbsa)."""
    if case.cpu is None:
        yield no(f"there are no drivers for {case.has.arch} processors")


def system_is_known(case: Case) -> Findings:
    """Only what the catalog knows of a distribution is installed on it."""
    if case.has.platform == "wsl2":
        return
    if case.at is None:
        known = ", ".join(system.title for system in case.catalog.systems.values())
        yield no(f"{case.machine.title} is not in the catalog", f"known are {known}")
        return
    ended = case.system.end_of_life
    if ended and ended < case.today:
        yield no(f"{case.system.title} ended on {ended}", "upgrade it first", case.system.sources)
    yield because(f"{case.machine.title} is known as {case.system.title}", case.system.sources)


def kernel_is_validated(case: Case) -> Findings:
    """The module is built against this kernel; vendors name those they tried."""
    if case.at is None or not case.wants_driver:
        return
    kernel, system = case.has.kernel, case.system
    if any(is_in_series(kernel, series) for series in system.kernels):
        yield because(f"Linux {series_of(kernel)} is validated for {system.title}", system.sources)
    elif case.asked.allow_kernel:
        yield warn(f"Linux {kernel} was not validated for {system.title}", system.sources)
    else:
        yield no(
            f"Linux {kernel} was not validated for {system.title}, which has "
            f"{', '.join(system.kernels)}",
            "boot one of these, or set allow_kernel",
            system.sources,
        )
