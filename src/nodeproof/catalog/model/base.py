"""What all entries have: a frozen shape, and where they were read."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)]
Hex4 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{40}$")]
Https = Annotated[str, StringConstraints(pattern=r"^https://[A-Za-z0-9._~:/?#@!$&()*+,;=%<>{}-]+$")]
PackagePattern = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9*][a-z0-9+._*-]*(\{[a-z]+\}[a-z0-9+._-]*)*$")
]
Cpu = Literal["x86_64", "aarch64"]
Vendor = Literal["nvidia", "amd", "intel", "habana"]
Modules = Literal["open", "proprietary"]
Family = Literal["deb", "rpm"]


class CatalogModel(BaseModel):
    """Frozen; a key that no field is for is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(CatalogModel):
    """Where something was read."""

    title: str = Field(min_length=1)
    url: Https
    looked_up: date
    published: str = Field("", description="its own date or snapshot, as far as it has one")
    primary: bool = Field(description="whether the maker of the thing says so itself")


class Entry(CatalogModel):
    """One thing that exists, with the ids of the sources that say so."""

    sources: Annotated[tuple[Id, ...], Field(min_length=1)]
    note: str = ""
