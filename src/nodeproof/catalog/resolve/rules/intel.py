"""Which release of Intel's is for these GPUs, or for Gaudi, on this system."""

from __future__ import annotations

from nodeproof.catalog.model.stack import IntelRelease
from nodeproof.catalog.resolve.case import Case, Findings, because, no
from nodeproof.catalog.resolve.rules.hardware import titles
from nodeproof.catalog.resolve.rules.places import pinned
from nodeproof.catalog.resolve.rules.release import built_for_x86_64, kernel_is_named


def one_kind_is_meant(case: Case, name: str, release: IntelRelease) -> Findings:
    """GPUs and Gaudi have releases of their own, and a node gets one."""
    if case.asked.intel == "latest" and len({card.vendor for card in case.intel}) > 1:
        yield no(f"there are {titles(case.intel)}, which have releases of their own", "name one")


def release_is_for_the_product(case: Case, name: str, release: IntelRelease) -> Findings:
    """Intel names the products that it validates a release on."""
    for card in {card.name: card for card in case.intel if card.vendor == release.vendor}.values():
        if card.name in release.products:
            yield because(f"{release.title} is for {card.title}", release.sources)
        else:
            yield no(
                f"{release.title} is not for {card.title}",
                "use what its maker has for it, and leave it out here",
                release.sources,
            )


def processor_is_supported(case: Case, name: str, release: IntelRelease) -> Findings:
    """Packages are built for x86-64."""
    yield from built_for_x86_64(case, release.title, release.sources)


def system_is_supported(case: Case, name: str, release: IntelRelease) -> Findings:
    """There are repositories for some distributions only."""
    if case.at is None:
        return
    if case.at[0] in release.systems:
        yield because(f"{release.title} is for {case.system.title}", release.sources)
        return
    known = ", ".join(case.catalog.systems[one].title for one in release.systems)
    yield no(
        f"{release.title} is not for {case.system.title}", f"it is for {known}", release.sources
    )


def kernel_is_supported(case: Case, name: str, release: IntelRelease) -> Findings:
    """The driver is built against kernels that Intel names."""
    row = release.systems.get(case.at[0]) if case.at else None
    if row is not None:
        yield from kernel_is_named(
            case, release.title, row.kernels, release.sources, newer=row.newer
        )


def repository_is_proven(case: Case, name: str, release: IntelRelease) -> Findings:
    """As for all repositories: a key that is known beforehand, or none."""
    row = release.systems.get(case.at[0]) if case.at else None
    if row is not None:
        yield from pinned(case, row.repository, case.catalog.repositories[row.repository])
