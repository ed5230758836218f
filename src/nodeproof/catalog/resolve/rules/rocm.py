"""Which ROCm release is for these accelerators on this system."""

from __future__ import annotations

from nodeproof.catalog.model.stack import RocmRelease
from nodeproof.catalog.resolve.case import Case, Findings, because, no
from nodeproof.catalog.resolve.rules.places import pinned
from nodeproof.catalog.resolve.rules.release import built_for_x86_64, kernel_is_named
from nodeproof.catalog.resolve.rules.support import below, judged


def release_is_for_production(case: Case, name: str, release: RocmRelease) -> Findings:
    """A preview is not supported anywhere."""
    if release.status == "preview":
        yield no(f"ROCm {name} is a preview", sources=release.sources)


def matrix_is_known(case: Case, name: str, release: RocmRelease) -> Findings:
    """Of some releases it is known that they exist, and no more."""
    if not release.systems:
        yield no(
            f"where ROCm {name} is supported is not in the catalog",
            "ask for a release whose matrix it has",
            release.sources,
        )


def processor_is_supported(case: Case, name: str, release: RocmRelease) -> Findings:
    """ROCm is built for x86-64."""
    yield from built_for_x86_64(case, f"ROCm {name}", release.sources)


def target_is_compiled(case: Case, name: str, release: RocmRelease) -> Findings:
    """Libraries hold code for the targets of their release."""
    for card in {card.name: card for card in case.amd}.values():
        target = card.product.architecture if card.product else card.name
        if release.targets and target not in release.targets:
            yield no(
                f"ROCm {name} has no code for {card.title} ({target})", sources=release.sources
            )
        elif release.targets:
            yield because(f"ROCm {name} has code for {card.title} ({target})", release.sources)


def system_is_supported(case: Case, name: str, release: RocmRelease) -> Findings:
    """AMD supports a release on some distributions, each with its kernels and products."""
    if case.at is None or not release.systems:
        return
    row = release.systems.get(case.at[0])
    if row is None:
        yield no(f"ROCm {name} is not supported on {case.system.title}", sources=release.sources)
        return
    for card in {card.name: card for card in case.amd}.values():
        if card.name in row.without or (row.only and card.name not in row.only):
            yield no(
                f"ROCm {name} does not support {card.title} on {case.system.title}",
                sources=release.sources,
            )
    yield because(f"ROCm {name} is supported on {case.system.title}", release.sources)


def kernel_is_supported(case: Case, name: str, release: RocmRelease) -> Findings:
    """The driver is built against kernels that AMD names."""
    row = release.systems.get(case.at[0]) if case.at else None
    if row is not None:
        yield from kernel_is_named(case, f"ROCm {name}", row.kernels, release.sources)


def advisories_are_met(case: Case, name: str, release: RocmRelease) -> Findings:
    """Bulletins of AMD's are about products."""
    for known, advisory, fixed in below(case, "rocm", name):
        about = [card for card in case.amd if card.name in advisory.products]
        if not about and advisory.products:
            continue
        text = f"ROCm {name} is open to {known}, mended in {fixed}"
        yield judged(case, known, advisory, text)


def repository_is_proven(case: Case, name: str, release: RocmRelease) -> Findings:
    """As for all repositories: a key that is known beforehand, or none."""
    place = release.repositories.get(case.at[0]) if case.at else None
    if place is not None:
        yield from pinned(case, place, case.catalog.repositories[place])
    elif case.at is not None and release.systems:
        yield no(
            f"where ROCm {name} is to be had for {case.system.title} is not in the catalog",
            sources=release.sources,
        )
