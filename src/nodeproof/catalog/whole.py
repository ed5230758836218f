"""The catalog of accelerators as one frozen value, and how it is read."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nodeproof.catalog.model.base import CatalogModel, Entry, Source
from nodeproof.catalog.model.driver import (
    Branch,
    Companion,
    Conflict,
    CudaMajor,
    CudaToolkit,
    PeerAccess,
)
from nodeproof.catalog.model.hardware import Architecture, JetPack, Platform, Product
from nodeproof.catalog.model.places import Key, Packages, Repository, System
from nodeproof.catalog.model.stack import (
    Advisory,
    ContainerToolkit,
    Doca,
    IntelRelease,
    RocmRelease,
    Runtime,
)
from nodeproof.errors import UsageError

FOLDER = Path(__file__).with_name("gpu")


class Catalog(CatalogModel):
    """Every subject by id; the file of a subject has its name."""

    sources: Mapping[str, Source]
    architectures: Mapping[str, Architecture]
    products: Mapping[str, Product]
    platforms: Mapping[str, Platform]
    jetpacks: Mapping[str, JetPack]
    branches: Mapping[str, Branch]
    cuda_majors: Mapping[str, CudaMajor]
    cuda_toolkits: Mapping[str, CudaToolkit]
    companions: Mapping[str, Companion]
    peer_access: Mapping[str, PeerAccess]
    conflicts: Mapping[str, Conflict]
    systems: Mapping[str, System]
    packages: Mapping[str, Packages]
    repositories: Mapping[str, Repository]
    keys: Mapping[str, Key]
    rocm_releases: Mapping[str, RocmRelease]
    intel_releases: Mapping[str, IntelRelease]
    container_toolkits: Mapping[str, ContainerToolkit]
    runtimes: Mapping[str, Runtime]
    doca: Mapping[str, Doca]
    advisories: Mapping[str, Advisory]

    def entries(self) -> Iterator[tuple[str, str, Entry]]:
        """Yield subject, id and entry of everything but the sources."""
        for subject in SUBJECTS:
            if subject != "sources":
                for name, entry in getattr(self, subject).items():
                    yield subject, name, entry


SUBJECTS = tuple(Catalog.model_fields)


Tables = dict[str, dict[str, Any]]


def folder(path: Path = FOLDER) -> Tables:
    """Read a folder of tables, a file a subject; raises UsageError for a file that is no table."""
    tables: Tables = {}
    for file in sorted(path.glob("*.toml")):
        _known(file.stem, file)
        tables[file.stem] = parsed(file.read_text(encoding="utf-8"), file)
    return tables


def bundle(text: str, named: object) -> Tables:
    """Read a bundle: one text, a table a subject, as updates and additions of one's own are."""
    tables: Tables = parsed(text, named)
    for subject, entries in tables.items():
        _known(subject, named)
        if not isinstance(entries, dict):
            raise UsageError(f"{named}: {subject} is no table", hint=f"write [{subject}.NAME]")
    return tables


def merged(*some: Tables) -> Catalog:
    """Put tables together, a later entry in an earlier one's place; raises UsageError."""
    together: Tables = {}
    for tables in some:
        for subject, entries in tables.items():
            together.setdefault(subject, {}).update(entries)
    try:
        return Catalog.model_validate(together)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"catalog: {where}: {first['msg']}") from error


def parsed(text: str, named: object) -> dict[str, Any]:
    """Parse TOML; raises UsageError where it is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{named}: is not TOML: {error}") from error


def _known(subject: str, named: object) -> None:
    if subject not in SUBJECTS:
        raise UsageError(
            f"{named}: {subject} is no table of the catalog",
            hint=f"tables are {', '.join(SUBJECTS)}",
        )


@cache
def shipped() -> Catalog:
    """Return the catalog that comes with this version."""
    return merged(folder())
