"""Whether the catalog agrees with itself: what its schema cannot say, part by part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from nodeproof.catalog.model.base import Entry
from nodeproof.catalog.versions import branch_of, ordered, series_of, within
from nodeproof.catalog.whole import Catalog


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one entry."""

    part: str
    subject: str
    entry: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject}.{self.entry}: {self.text}"


Found = Iterator[tuple[str, str, str]]
"""Subject, entry and what is wrong."""


def problems(catalog: Catalog, today: date) -> list[Problem]:
    """Return everything wrong, in the order of the parts."""
    return [Problem(part, *one) for part, look in PARTS.items() for one in look(catalog, today)]


def _sources(catalog: Catalog, today: date) -> Found:
    used: set[str] = set()
    for subject, name, entry in catalog.entries():
        used.update(entry.sources)
        for missing in sorted({*entry.sources} - {*catalog.sources}):
            yield subject, name, f"names a source {missing} that there is not"
        if len({*entry.sources}) != len(entry.sources):
            yield subject, name, "names a source twice"
    for name, source in catalog.sources.items():
        if name not in used:
            yield "sources", name, "is of no use to any entry"
        if source.looked_up > today:
            yield "sources", name, f"was looked up on {source.looked_up}, which is yet to come"


def _references(catalog: Catalog, today: date) -> Found:
    for subject, name, field, wanted, among in _named(catalog):
        for one in wanted:
            if one not in getattr(catalog, among):
                yield subject, name, f"{field} names {one}, which is not in {among}"


def _named(catalog: Catalog) -> Iterator[tuple[str, str, str, Iterable[str], str]]:
    """Yield every reference: subject, entry, field, the ids in it, and the table they are of."""
    for name, product in catalog.products.items():
        yield "products", name, "architecture", [product.architecture], "architectures"
    for name, generation in catalog.architectures.items():
        ends = [one for one in (generation.first_branch, generation.last_branch) if one]
        yield "architectures", name, "branch", ends, "branches"
    for name, system in catalog.systems.items():
        yield "systems", name, "cuda", system.cuda.values(), "repositories"
        yield "systems", name, "packages", [system.packages], "packages"
        first = [system.first_branch] if system.first_branch else []
        yield "systems", name, "first_branch", first, "branches"
    for name, packages in catalog.packages.items():
        yield "packages", name, "archive", packages.archive, "systems"
        for versions in packages.archive.values():
            yield "packages", name, "archive", versions, "branches"
    for name, repository in catalog.repositories.items():
        yield "repositories", name, "key", [repository.key] if repository.key else [], "keys"
    for name in catalog.cuda_toolkits:
        yield "cuda_toolkits", name, "major", [series_of(name, 1)], "cuda_majors"
    for name, way in catalog.peer_access.items():
        yield "peer_access", name, "architectures", way.architectures, "architectures"
    for name, conflict in catalog.conflicts.items():
        yield "conflicts", name, "systems", conflict.systems, "systems"
    for name, rocm in catalog.rocm_releases.items():
        yield "rocm_releases", name, "targets", rocm.targets, "architectures"
        yield "rocm_releases", name, "systems", rocm.systems, "systems"
        for there in (rocm.repositories, rocm.driver_repositories):
            yield "rocm_releases", name, "repositories", there, "systems"
            yield "rocm_releases", name, "repositories", there.values(), "repositories"
        for row in rocm.systems.values():
            yield "rocm_releases", name, "products", (*row.only, *row.without), "products"
    for name, intel in catalog.intel_releases.items():
        places = [row.repository for row in intel.systems.values()]
        yield "intel_releases", name, "products", intel.products, "products"
        yield "intel_releases", name, "systems", intel.systems, "systems"
        yield "intel_releases", name, "repositories", places, "repositories"
    for name, box in catalog.container_toolkits.items():
        yield "container_toolkits", name, "runtimes", box.runtimes, "runtimes"
        yield "container_toolkits", name, "repositories", box.repositories, "repositories"
        yield "container_toolkits", name, "suites", (*box.suites, *box.unnamed), "systems"
    for name, runtime in catalog.runtimes.items():
        yield "runtimes", name, "repositories", runtime.repositories, "repositories"
    for name, advisory in catalog.advisories.items():
        yield "advisories", name, "products", advisory.products, "products"
        if advisory.subject == "driver":
            yield "advisories", name, "fixed", advisory.fixed, "branches"


def _branches(catalog: Catalog, today: date) -> Found:
    for name, branch in catalog.branches.items():
        for version in branch.versions:
            if branch_of(version) != name:
                yield "branches", name, f"{version} is of another branch"
        for before, after in pairwise(branch.releases):
            if ordered(before.version) >= ordered(after.version):
                yield "branches", name, f"{after.version} stands after {before.version}"
            if before.released and after.released and before.released > after.released:
                yield "branches", name, f"{after.version} is older than {before.version}"
        if branch.released and branch.end_of_life and branch.released >= branch.end_of_life:
            yield "branches", name, "ends before it begins"
        if branch.kind in ("lts", "production") and branch.end_of_life is None:
            yield "branches", name, f"is {branch.kind} without an end of life"


def _cuda(catalog: Catalog, today: date) -> Found:
    for name, toolkit in catalog.cuda_toolkits.items():
        major = catalog.cuda_majors.get(series_of(name, 1))
        if major and ordered(toolkit.driver) < ordered(major.driver):
            yield "cuda_toolkits", name, f"its driver {toolkit.driver} cannot run its major release"
        branch = catalog.branches.get(branch_of(toolkit.driver))
        if branch and branch.native_cuda and branch.native_cuda != series_of(name):
            yield (
                "cuda_toolkits",
                name,
                f"R{branch_of(toolkit.driver)} is of CUDA {branch.native_cuda}",
            )
        if branch and toolkit.driver not in (*branch.versions, branch_of(toolkit.driver)):
            yield "cuda_toolkits", name, f"{toolkit.driver} is not among the releases of its branch"
        if toolkit.package != f"cuda-toolkit-{series_of(name).replace('.', '-')}":
            yield "cuda_toolkits", name, f"{toolkit.package} is of another series"
    by_age = sorted(catalog.cuda_toolkits.items(), key=lambda one: ordered(one[0]))
    for (before, older), (after, newer) in pairwise(by_age):
        if ordered(newer.driver) < ordered(older.driver):
            yield "cuda_toolkits", after, f"needs an older driver than {before}"


def _companions(catalog: Catalog, today: date) -> Found:
    for name, one in catalog.companions.items():
        if one.version == "driver" and one.versions:
            yield "companions", name, "has versions of its own, and is the driver's version"
        for version in one.kernel:
            if version not in one.versions:
                yield "companions", name, f"says kernels of {version}, which is not a version of it"
        for branch in catalog.branches:
            if sum(within(branch, names.branches) for names in one.names) > 1:
                yield "companions", name, f"has two sets of names for R{branch}"


def _keys(catalog: Catalog, today: date) -> Found:
    for name, key in catalog.keys.items():
        if not (key.fingerprint or key.sha256):
            yield "keys", name, "has neither fingerprint nor digest"
        end = (key.fingerprint or "")[-8:].lower()
        if end and name.startswith("cuda-") and name != f"cuda-{end}":
            yield "keys", name, "is named for another key than its fingerprint says"
    for name, place in catalog.repositories.items():
        signed = catalog.keys.get(place.key or "")
        if signed is not None and signed.revoked:
            yield "repositories", name, f"is signed with {place.key}, which is revoked"
    prints = Counter(key.fingerprint for key in catalog.keys.values() if key.fingerprint)
    for name, key in catalog.keys.items():
        if key.fingerprint and prints[key.fingerprint] > 1:
            yield "keys", name, "has the fingerprint of another key"


def _systems(catalog: Catalog, today: date) -> Found:
    for name, system in catalog.systems.items():
        for cpu, place in system.cuda.items():
            repository = catalog.repositories.get(place)
            if repository and (repository.architecture, repository.family) != (cpu, system.family):
                yield "systems", name, f"{place} is not of {system.family} on {cpu}"
    for subject, name, at, place in _places(catalog):
        repository, its = catalog.repositories.get(place), catalog.systems.get(at)
        if repository and its and repository.family != its.family:
            yield subject, name, f"{place} is not of {its.family}, as {at} is"


def _places(catalog: Catalog) -> Iterator[tuple[str, str, str, str]]:
    """Yield where releases are had from: subject, entry, system and repository."""
    for name, rocm in catalog.rocm_releases.items():
        for at, place in (*rocm.repositories.items(), *rocm.driver_repositories.items()):
            yield "rocm_releases", name, at, place
    for name, intel in catalog.intel_releases.items():
        for at, row in intel.systems.items():
            yield "intel_releases", name, at, row.repository


def _advisories(catalog: Catalog, today: date) -> Found:
    floors: dict[tuple[str, str], str] = {}
    for name, one in sorted(catalog.advisories.items(), key=lambda item: item[1].published):
        if one.published > today:
            yield "advisories", name, f"is of {one.published}, which is yet to come"
        for series, version in one.fixed.items():
            if one.subject == "driver" and branch_of(version) != series:
                yield "advisories", name, f"{version} is not of R{series}"
            known = catalog.branches[series].versions if series in catalog.branches else ()
            if one.subject == "driver" and version not in known:
                yield "advisories", name, f"{version} is not among the releases of R{series}"
            where = (one.subject, series)
            if not one.products and ordered(version) < ordered(floors.get(where, "0")):
                yield "advisories", name, f"asks for less than an older one does ({version})"
            floors[where] = version


def _hardware(catalog: Catalog, today: date) -> Found:
    seen: dict[tuple[str, str], str] = {}
    for name, product in catalog.products.items():
        generation = catalog.architectures.get(product.architecture)
        if generation and generation.vendor != product.vendor:
            yield "products", name, f"is {product.vendor}'s, and its generation is not"
        if generation and not {*product.modules} <= {*generation.modules}:
            yield "products", name, "has modules that do not drive its generation"
        if bool(product.mig) != bool(product.mig_driver):
            yield "products", name, "has either MIG instances or a first driver for MIG, not both"
        for device in product.devices:
            other = seen.setdefault((product.vendor, device), name)
            if other != name:
                yield "products", name, f"has the PCI id {device} of {other}"
    for name, release in catalog.intel_releases.items():
        for one in release.products:
            if one in catalog.products and catalog.products[one].vendor != release.vendor:
                yield "intel_releases", name, f"{one} is not {release.vendor}'s"


def _orphans(catalog: Catalog, today: date) -> Found:
    signing = {one.key for one in catalog.repositories.values() if one.key is not None}
    used: dict[str, set[str]] = {
        "architectures": {one.architecture for one in catalog.products.values()},
        "keys": signing | {name for name, key in catalog.keys.items() if key.revoked},
        "packages": {one.packages for one in catalog.systems.values()}
        | {name for name, one in catalog.packages.items() if one.archive},
        "cuda_majors": {series_of(name, 1) for name in catalog.cuda_toolkits},
    }
    for subject, names in used.items():
        for name in sorted({*getattr(catalog, subject)} - names):
            yield subject, name, "is of no use to any entry"


PARTS: dict[str, Callable[[Catalog, date], Found]] = {
    "sources": _sources,
    "references": _references,
    "branches": _branches,
    "cuda": _cuda,
    "companions": _companions,
    "keys": _keys,
    "systems": _systems,
    "advisories": _advisories,
    "hardware": _hardware,
    "orphans": _orphans,
}


def looked_up(catalog: Catalog, entry: Entry) -> date:
    """Return the newest day on which a source of an entry was read."""
    return max(catalog.sources[source].looked_up for source in entry.sources)
