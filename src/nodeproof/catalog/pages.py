"""The catalog as tables of the documentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TypeVar

from nodeproof.catalog.model.hardware import Architecture
from nodeproof.catalog.resolve.asked import Asked
from nodeproof.catalog.resolve.rules import listed
from nodeproof.catalog.versions import newest, ordered, series_of
from nodeproof.catalog.whole import Catalog, shipped
from nodeproof.settings.describe import describe

T = TypeVar("T")
Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Head and rows, as text."""


def branches(catalog: Catalog) -> Table:
    """Return driver branches with their newest patch levels, newest first."""
    rows = [
        (
            f"R{name}",
            one.kind,
            _day(one.end_of_life),
            newest(one.versions),
            one.native_cuda or "",
            " and ".join(one.modules),
        )
        for name, one in _newest_first(catalog.branches)
    ]
    return ("branch", "kind", "ends", "newest known", "CUDA", "modules"), rows


def generations(catalog: Catalog) -> Table:
    """Return GPU generations against the branches that drive them."""
    names = [name for name, one in _newest_first(catalog.branches) if one.kind != "legacy"]
    rows = [
        (one.title, _ends(one), *(_drives(catalog, one, name) for name in names))
        for one in catalog.architectures.values()
        if one.vendor == "nvidia"
    ]
    return ("generation", "CUDA", *(f"R{name}" for name in names)), rows


def _ends(generation: Architecture) -> str:
    first, last = generation.first_cuda, generation.last_cuda
    return f"{first or '…'} to {last or 'now'}" if first or last else ""


def _drives(catalog: Catalog, generation: Architecture, branch: str) -> str:
    first, last = generation.first_branch, generation.last_branch
    if (first and ordered(branch) < ordered(first)) or (last and ordered(branch) > ordered(last)):
        return "no"
    kinds = [one for one in generation.modules if one in catalog.branches[branch].modules]
    return ", ".join(kinds) or "no"


def cuda(catalog: Catalog) -> Table:
    """Return toolkits against the newest drivers of the branches."""
    names = [name for name, one in _newest_first(catalog.branches) if one.kind != "legacy"]
    rows = []
    for version, toolkit in _newest_first(catalog.cuda_toolkits):
        floor = catalog.cuda_majors[series_of(version, 1)].driver
        runs = []
        for name in names:
            driver = newest(catalog.branches[name].versions)
            runs.append("forward" if ordered(driver) < ordered(floor) else "minor-version")
            if ordered(driver) >= ordered(toolkit.driver):
                runs[-1] = "full"
        rows.append((version, toolkit.driver, *runs))
    return ("CUDA", "driver of its release", *(f"R{name}" for name in names)), rows


def systems(catalog: Catalog) -> Table:
    """Return distributions with their kernels, branches and ROCm releases."""
    rows = []
    for name, one in catalog.systems.items():
        rocm = [version for version, r in catalog.rocm_releases.items() if name in r.systems]
        intel = [version for version, r in catalog.intel_releases.items() if name in r.systems]
        rows.append(
            (
                one.title,
                ", ".join(one.kernels),
                ", ".join(one.cuda),
                f"R{one.first_branch}" if one.first_branch else "all",
                ", ".join(rocm),
                ", ".join(intel),
            )
        )
    return ("system", "kernels", "processors", "drivers from", "ROCm", "Intel's"), rows


def rocm(catalog: Catalog) -> Table:
    """Return ROCm releases with what they are for."""
    rows = [
        (
            name,
            one.layout,
            one.status,
            one.driver or "",
            ", ".join(one.targets),
            "yes" if one.systems else "not looked up",
        )
        for name, one in _newest_first(catalog.rocm_releases)
    ]
    return ("ROCm", "layout", "status", "amdgpu", "targets", "matrix"), rows


def intel(catalog: Catalog) -> Table:
    """Return releases of Intel's with what they are for."""
    rows = [
        (
            name,
            one.title,
            ", ".join(catalog.products[product].title for product in one.products),
            "; ".join(
                f"{catalog.systems[at].title}: {', '.join(row.kernels)}"
                f"{' and newer' if row.newer else ''}"
                for at, row in one.systems.items()
            ),
            one.build or "each its own",
        )
        for name, one in _newest_first(catalog.intel_releases)
    ]
    return ("release", "what", "for", "systems and kernels", "version of packages"), rows


def advisories(catalog: Catalog) -> Table:
    """Return advisories with their floors, newest first."""
    by_day = sorted(catalog.advisories.items(), key=lambda one: one[1].published, reverse=True)
    rows = [
        (
            f"[{name}]({one.url})",
            one.subject,
            str(one.published),
            ", ".join(f"{key}: {value}" for key, value in one.fixed.items()),
            "refused" if one.refuses else "warned of",
        )
        for name, one in by_day
    ]
    return ("advisory", "about", "published", "first fixed", "what is older is"), rows


def keys(catalog: Catalog) -> Table:
    """Return repositories and what pins their keys."""
    rows = []
    for name, one in catalog.repositories.items():
        key = catalog.keys.get(one.key or "")
        pinned = "not known"
        if one.keyring:
            pinned = "the digest of its keyring package"
        if key:
            prints = [*filter(None, [key.fingerprint]), *key.beside]
            pinned = ", ".join(f"`{one}`" for one in prints) or "the digest of its key"
        rows.append((f"`{name}`", one.title, pinned))
    return ("repository", "what", "key"), rows


def companions(catalog: Catalog) -> Table:
    """Return what goes beside the driver."""
    rows = [
        (
            one.title,
            {"driver": "exactly the driver's", "own": "its own"}[one.version],
            one.needed,
            ", ".join(one.versions),
        )
        for one in catalog.companions.values()
    ]
    return ("companion", "version", "needed", "known"), rows


def rules(catalog: Catalog) -> Table:
    """Return the resolver's rules in their order."""
    rows = [
        (f"`{listed.rule_id(rule)}`", " ".join((rule.__doc__ or "").split()))
        for rule in listed.EVERY
    ]
    return ("rule", "why"), rows


def asked(catalog: Catalog) -> Table:
    """Return what may be asked of the resolver."""
    rows = [
        (f"`{key.key.removeprefix('gpu.')}`", key.type, f"`{key.default}`", key.meaning)
        for key in describe(Asked, "gpu")
    ]
    return ("key", "type", "default", "meaning"), rows


def sources(catalog: Catalog) -> Table:
    """Return where everything was read."""
    rows = [
        (f"[{one.title}]({one.url})", str(one.looked_up), "yes" if one.primary else "no")
        for one in catalog.sources.values()
    ]
    return ("source", "looked up", "the maker's own"), rows


def _newest_first(table: Mapping[str, T]) -> list[tuple[str, T]]:
    return sorted(table.items(), key=lambda one: ordered(one[0]), reverse=True)


def _day(day: date | None) -> str:
    return str(day) if day else "not published"


TABLES: dict[str, Callable[[Catalog], Table]] = {
    "branches": branches,
    "generations": generations,
    "cuda": cuda,
    "systems": systems,
    "rocm": rocm,
    "intel": intel,
    "advisories": advisories,
    "keys": keys,
    "companions": companions,
    "rules": rules,
    "asked": asked,
    "sources": sources,
}


def table(name: str) -> Table:
    """Return a table of the shipped catalog."""
    return TABLES[name](shipped())
