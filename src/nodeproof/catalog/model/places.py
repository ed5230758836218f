"""Where software comes from: systems, repositories, keys, and what packages are called."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from nodeproof.catalog.model.base import (
    CatalogModel,
    Cpu,
    Entry,
    Family,
    Fingerprint,
    Https,
    Id,
    PackagePattern,
    Sha256,
)
from nodeproof.catalog.versions import VersionText


class System(Entry):
    """A release of a distribution, as far as accelerators go."""

    title: str
    os_ids: Annotated[tuple[str, ...], Field(min_length=1)]
    os_version: str = Field(description="how VERSION_ID begins: 9 stands for 9.8, too")
    family: Family
    kernels: Annotated[tuple[VersionText, ...], Field(min_length=1)]
    cuda: dict[Cpu, Id] = Field(description="architecture to repository")
    packages: Id
    first_branch: VersionText | None = Field(
        None, description="oldest branch in the repository for it, where it is not all of them"
    )
    end_of_life: date | None = None


class Packages(Entry):
    """What the driver's packages are called; ``{branch}`` and ``{kernel}`` are filled in."""

    title: str
    open: tuple[PackagePattern, ...]
    proprietary: tuple[PackagePattern, ...]
    compute_open: tuple[PackagePattern, ...] = ()
    compute_proprietary: tuple[PackagePattern, ...] = ()
    headers: tuple[PackagePattern, ...]
    prerequisites: tuple[str, ...] = Field(
        (),
        description="what they need of repositories that are neither the vendor's nor added here",
    )
    pin: Literal["package", "stream", "versionlock", "name"]
    pin_open: str
    pin_proprietary: str
    signed: bool = Field(False, description="modules come signed for Secure Boot")
    archive: dict[Id, dict[VersionText, VersionText]] = Field(
        default_factory=dict,
        description="of a distribution's own packages: system, to branch, to the version it has",
    )
    architectures: tuple[Cpu, ...] = ("x86_64", "aarch64")


class Key(Entry):
    """A signing key; pinned by its fingerprint, or by the digest of the file that holds it."""

    url: Https
    fingerprint: Fingerprint | None = None
    beside: tuple[Fingerprint, ...] = Field(
        (), description="other keys of its maker's, which are, or were, in the same file"
    )
    sha256: Sha256 | None = None
    sha256_without: str = Field("", description="lines that are left out before the digest is made")
    revoked: bool = False
    expires: date | None = None


class Keyring(CatalogModel):
    """A package that brings the key, pinned by its digest."""

    file: str
    sha256: Sha256


class Repository(Entry):
    """A package repository."""

    title: str
    family: Family
    uri: Https
    architecture: Cpu | None = Field(None, description="none where the address holds all")
    suites: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    key: Id | None = None
    key_url: Https | None = Field(None, description="where its key is, which is not pinned")
    keyring: Keyring | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether anything says which key is the right one; see `key`, too."""
        return self.key is not None or self.keyring is not None
