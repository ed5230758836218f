"""NVIDIA's drivers, toolkits, and what must match them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from nodeproof.catalog.model.base import CatalogModel, Cpu, Entry, Id, Modules, PackagePattern
from nodeproof.catalog.versions import SpecifierText, VersionText


class Release(CatalogModel):
    """One patch level."""

    version: VersionText
    released: date | None = None


class Branch(Entry):
    """A driver branch: R580 with all patch levels that are known."""

    kind: Literal["lts", "production", "new-feature", "legacy"]
    released: date | None = None
    end_of_life: date | None = Field(None, description="its last day; none was published otherwise")
    native_cuda: VersionText | None = Field(None, description="the CUDA it was made with")
    modules: Annotated[tuple[Modules, ...], Field(min_length=1)]
    releases: Annotated[tuple[Release, ...], Field(min_length=1)]

    @property
    def versions(self) -> tuple[str, ...]:
        """Patch levels, in the order of the file."""
        return tuple(one.version for one in self.releases)


class ByFamily(CatalogModel):
    """What packages are called where they are of this family."""

    deb: tuple[PackagePattern, ...] = ()
    rpm: tuple[PackagePattern, ...] = ()


class CudaMajor(Entry):
    """What all minors of a major release share: minor-version compatibility."""

    driver: VersionText = Field(description="oldest driver on which any of its minors run")
    compat_package: PackagePattern
    build_package: PackagePattern = Field(description="compiler and runtime of one minor, no more")
    libraries_package: PackagePattern = Field(description="libraries of one minor, no compiler")
    cudnn: ByFamily = Field(ByFamily(), description="cuDNN; empty where there is none")
    nccl: ByFamily = Field(ByFamily(), description="NCCL, in builds for a minor release")


class CudaToolkit(Entry):
    """One toolkit release."""

    driver: VersionText = Field(description="the driver that was released with it: full function")
    package: PackagePattern


class Names(CatalogModel):
    """What packages are called, for some branches."""

    branches: SpecifierText
    deb: tuple[PackagePattern, ...]
    rpm: tuple[PackagePattern, ...]


class Companion(Entry):
    """Software that is installed beside the driver."""

    title: str
    version: Literal["driver", "own"] = Field(
        description="`driver`: exactly the driver's version, or it does not start"
    )
    needed: Literal["always", "nvswitch", "nvlink5", "rack", "asked"]
    names: Annotated[tuple[Names, ...], Field(min_length=1)]
    versions: tuple[VersionText, ...] = Field((), description="of its own; oldest first")
    kernel: dict[VersionText, SpecifierText] = Field(
        default_factory=dict, description="version to the kernels that it is for, where it matters"
    )
    modules: tuple[Modules, ...] = Field((), description="driver flavours that it works with")
    architectures: tuple[Cpu, ...] = ("x86_64", "aarch64")


class PeerAccess(Entry):
    """A way for network adapters to reach GPU memory."""

    title: str
    modules: Annotated[tuple[Modules, ...], Field(min_length=1)]
    architectures: tuple[Id, ...] = Field((), description="generations; empty for all")
    cuda: VersionText | None = None
    kernel: VersionText | None = None
    ofed: bool = Field(description="whether DOCA-OFED or MLNX_OFED must be there")


class Conflict(Entry):
    """Versions that were seen not to work together."""

    driver: SpecifierText
    kernel: SpecifierText
    systems: Annotated[tuple[Id, ...], Field(min_length=1)]
    why: str
