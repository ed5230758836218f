"""Where the driver comes from, and whether the firmware will let it load."""

from __future__ import annotations

from nodeproof.catalog.model.places import Repository
from nodeproof.catalog.resolve.case import Case, Driver, Findings, because, no, warn
from nodeproof.catalog.versions import ordered, series_of, within


def source_is_there(case: Case) -> Findings:
    """The vendor has a repository for this distribution on this processor, or it has its own."""
    if not case.wants_driver or case.at is None or case.asked.installed == "keep":
        return
    if case.asked.source == "distribution":
        if case.packages is None:
            yield no(
                f"the catalog has no drivers of {case.system.title}'s own on {case.has.arch}",
                "set source to vendor",
            )
    elif case.repository is None:
        yield no(
            f"NVIDIA has no repository for {case.system.title} on {case.has.arch}",
            sources=case.system.sources,
        )
    else:
        name, place = case.repository
        yield because(f"packages come from {name}, {place.uri}", place.sources)


def key_is_pinned(case: Case) -> Findings:
    """A repository whose key is not known beforehand could be anybody's."""
    if not case.wants_driver or case.asked.source != "vendor" or case.asked.installed == "keep":
        return
    if case.repository is not None:
        yield from pinned(case, *case.repository)


def pinned(case: Case, name: str, place: Repository) -> Findings:
    """Object to a repository of which neither the catalog nor the settings know the key."""
    if place.is_pinned:
        key = case.catalog.keys.get(place.key or "")
        proof = "the digest of its keyring package"
        if key is not None:
            proof = f"fingerprint {key.fingerprint}" if key.fingerprint else "its key's digest"
        yield because(f"{name} is proven by {proof}", key.sources if key else place.sources)
    elif case.asked.repository_key:
        yield warn(f"{name} is proven by your repository_key {case.asked.repository_key}")
    else:
        yield no(
            f"the key of {name} is not in the catalog",
            "read its fingerprint from the vendor and set repository_key",
            place.sources,
        )


def branch_is_built_for_the_system(case: Case, driver: Driver) -> Findings:
    """A repository begins with some branch."""
    if driver.kept or case.at is None:
        return
    if case.asked.source == "distribution":
        yield from _in_the_archive(case, driver)
        return
    first = case.system.first_branch
    if first and ordered(driver.name) < ordered(first):
        yield no(
            f"R{driver.name} is not built for {case.system.title}, which begins with R{first}",
            sources=case.system.sources,
        )


def _in_the_archive(case: Case, driver: Driver) -> Findings:
    """A distribution has one version of a branch, not all."""
    archive = case.archive
    sources = case.packages.sources if case.packages else ()
    if archive.get(driver.name) != driver.version:
        holds = ", ".join(archive.values()) or "no driver"
        yield no(f"{case.system.title} itself has {holds}", "set source to vendor", sources)


def secure_boot_lets_it_load(case: Case) -> Findings:
    """With Secure Boot the kernel loads no module that nobody signed."""
    if not case.wants_driver or case.asked.installed == "keep":
        return
    if case.packages is not None and case.packages.signed:
        yield because(f"modules are signed: {case.packages.title}", case.packages.sources)
    elif case.has.secure_boot is None:
        if case.asked.secure_boot == "mok":
            yield because("modules are signed with the machine's own key")
        else:
            yield no(
                "whether Secure Boot is on could not be read, and unsigned modules may not load",
                "inspect as root, or set secure_boot to mok",
            )
    elif case.has.secure_boot and case.asked.secure_boot == "mok":
        yield warn("Secure Boot is on: the machine's own key has to be enrolled at its console")
    elif case.has.secure_boot:
        yield no(
            "Secure Boot is on, and modules that are built here are not signed",
            "set secure_boot to mok and enrol the key at the console",
        )
    else:
        yield because("Secure Boot is off: modules need no signature")


def kernel_is_not_in_conflict(case: Case, driver: Driver) -> Findings:
    """Some pairs of driver and kernel were seen not to compile."""
    for conflict in case.catalog.conflicts.values():
        if case.at is None or case.at[0] not in conflict.systems or driver.kept:
            continue
        kernel = series_of(case.has.kernel.partition("+")[0], 3)
        if within(driver.version, conflict.driver) and within(kernel, conflict.kernel):
            yield no(
                f"{driver.version} on Linux {case.has.kernel} {conflict.why}",
                sources=conflict.sources,
            )
