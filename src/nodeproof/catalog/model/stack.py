"""AMD's stack, container toolkits and runtimes, network drivers, and security advisories."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from nodeproof.catalog.model.base import CatalogModel, Entry, Https, Id, PackagePattern, Vendor
from nodeproof.catalog.versions import SpecifierText, VersionText

KernelModuleName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
KernelArgument = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.]+(=[A-Za-z0-9_.,]+)?$")]
Subject = Literal[
    "driver",
    "cuda",
    "nvidia-container-toolkit",
    "dcgm",
    "runc",
    "containerd",
    "docker",
    "rocm",
    "doca-host",
    "jetson",
]


class RocmSystem(CatalogModel):
    """One row of a release's matrix."""

    kernels: Annotated[tuple[VersionText, ...], Field(min_length=1)]
    only: tuple[Id, ...] = Field((), description="products; empty for all of the release")
    without: tuple[Id, ...] = Field((), description="products that are not supported there")


class RocmRelease(Entry):
    """One ROCm release."""

    layout: Literal["legacy", "core"] = Field(
        description="`core`: side by side in /opt/rocm/core-*"
    )
    status: Literal["production", "preview"] = "production"
    released: date | None = None
    driver: VersionText | None = Field(None, description="version of amdgpu-dkms")
    driver_package: PackagePattern = "amdgpu-dkms"
    driver_repositories: dict[Id, Id] = Field(
        default_factory=dict, description="system to the repository that has just this driver"
    )
    patch: VersionText | None = Field(
        None, description="in names of packages and paths, where it is longer: 6.4.4"
    )
    targets: tuple[Id, ...] = Field((), description="architectures; empty where not looked up")
    systems: dict[Id, RocmSystem] = Field(
        default_factory=dict, description="empty where the matrix was not looked up"
    )
    packages: Annotated[tuple[PackagePattern, ...], Field(min_length=1)]
    repositories: dict[Id, Id] = Field(default_factory=dict, description="system to repository")


class IntelSystem(CatalogModel):
    """One row of a release's matrix."""

    kernels: Annotated[tuple[VersionText, ...], Field(min_length=1)]
    newer: bool = Field(False, description="whether newer kernels are supported, too")
    repository: Id


class IntelRelease(Entry):
    """One release of what drives Intel's GPUs, or Gaudi."""

    title: str
    vendor: Literal["intel", "habana"]
    products: Annotated[tuple[Id, ...], Field(min_length=1)]
    build: VersionText | None = Field(None, description="of all its packages, where it is one")
    module: KernelModuleName = Field(description="the kernel module that drives them")
    dkms: KernelModuleName = Field(description="what DKMS calls it")
    driver: Annotated[tuple[PackagePattern, ...], Field(min_length=1)]
    needs: tuple[PackagePattern, ...] = Field(
        (), description="what the driver needs of the distribution; ``{kernel}`` is filled in"
    )
    packages: Annotated[tuple[PackagePattern, ...], Field(min_length=1)]
    extras: dict[Id, tuple[PackagePattern, ...]] = Field(
        default_factory=dict, description="what may be asked for besides"
    )
    systems: Annotated[dict[Id, IntelSystem], Field(min_length=1)]
    kernel_arguments: dict[VersionText, tuple[KernelArgument, ...]] = Field(
        default_factory=dict, description="series of kernels that must be booted with these"
    )


class ContainerToolkit(Entry):
    """What lets containers use accelerators."""

    title: str
    vendor: Vendor
    versions: Annotated[tuple[VersionText, ...], Field(min_length=1)]
    packages: Annotated[tuple[PackagePattern, ...], Field(min_length=1)]
    cdi_only: tuple[PackagePattern, ...] = Field((), description="enough where CDI is used alone")
    cdi_refresh: VersionText | None = Field(None, description="first with a refresh unit")
    compat_hook: VersionText | None = Field(None, description="first with enable-cuda-compat")
    runtimes: dict[Id, VersionText] = Field(description="oldest runtimes whose CDI works with it")
    repositories: tuple[Id, ...] = ()
    package_version: str = Field(
        "{version}", description="as packages write it; a pattern where the distribution is in it"
    )
    suites: dict[Id, str] = Field(
        default_factory=dict,
        description="system to the suite that is for it; empty where one is for all",
    )
    unnamed: tuple[Id, ...] = Field(
        (), description="systems that the maker does not name, though its packages fit"
    )


class Runtime(Entry):
    """A container runtime, series by series."""

    title: str
    newest: dict[VersionText, VersionText]
    end_of_life: dict[VersionText, date] = Field(default_factory=dict)
    repositories: tuple[Id, ...] = ()


class Doca(Entry):
    """A series of DOCA-OFED."""

    newest: VersionText
    kind: Literal["lts", "standard"]
    ofed: VersionText | None = None
    signed: bool | None = Field(None, description="whether NVIDIA signed its kernel modules")
    packages: tuple[PackagePattern, ...]


class Advisory(Entry):
    """A bulletin as a floor: the first versions that are not affected."""

    subject: Subject
    published: date
    cves: tuple[Annotated[str, StringConstraints(pattern=r"^CVE-[0-9]{4}-[0-9]{4,}$")], ...] = ()
    severity: Literal["low", "medium", "high", "critical", "unknown"] = "unknown"
    refuses: bool = Field(description="whether what is older is refused, or warned of")
    fixed: dict[str, VersionText] = Field(
        description="branch or series to its first fixed version; `all` for one floor"
    )
    affected: SpecifierText | None = Field(None, description="none where all before are")
    products: tuple[Id, ...] = Field((), description="empty where all are affected")
    url: Https
