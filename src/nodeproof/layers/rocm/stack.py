"""The packages of a choice, where they come from, and where they land; deed and proof use it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nodeproof.catalog.resolve.choice import Place, StackChoice
from nodeproof.catalog.whole import Catalog
from nodeproof.layers.rocm.settings import DRIVER, Settings, Source
from nodeproof.repositories import vendor
from nodeproof.repositories.spec import AptRepository
from nodeproof.repositories.vendor import Mirror

FIRMWARE = "amdgpu-dkms-firmware"
DRIVER_PACKAGES = ("amdgpu-dkms", FIRMWARE)
INSECURE = "amdgpu-insecure-*"
"""AMD's packages of udev rules that let everybody use GPUs."""
_SUPPLIES = ("amdgpu-core", "amdgpu-dkms*", "libdrm-amdgpu*", "libdrm2-amdgpu")
"""What may come from the driver's repository; it has whole desktops."""


@dataclass(frozen=True)
class Release:
    """One ROCm release on a node."""

    version: str
    """As the catalog has it: 7.14."""
    packages: tuple[str, ...]
    prefix: str
    """Where it lands; `/opt/rocm` leads to the default one."""
    repository: AptRepository | None
    """None where no fingerprint, or no address, of its key is known."""

    @property
    def amd_smi(self) -> str:
        """Where its amd-smi is."""
        return f"{self.prefix}/bin/amd-smi"


def release(settings: Settings, chosen: StackChoice, catalog: Catalog) -> Release:
    """Return where a release comes from and lands; names tell releases apart, so all fit beside."""
    entry = catalog.rocm_releases[chosen.version]
    core = entry.layout == "core"
    number = chosen.version if core else entry.patch or chosen.version
    names = [name for name in chosen.packages if name != entry.driver_package]
    return Release(
        version=chosen.version,
        packages=tuple(names if core else (f"{name}{number}" for name in names)),
        prefix=f"/opt/rocm/core-{number}" if core else f"/opt/rocm-{number}",
        repository=_repository(
            settings.sources.get(chosen.version, Source()),
            chosen.place,
            catalog,
            f"rocm-{chosen.version.replace('.', '-')}",
            ("amdrocm*",) if core else (f"*{number}",),
        ),
    )


def driver_repository(
    settings: Settings, chosen: StackChoice, catalog: Catalog
) -> AptRepository | None:
    """Return the repository of the driver of a release; None where it, or its key, is unknown."""
    source = settings.sources.get(DRIVER, Source())
    return _repository(source, chosen.driver_place, catalog, "amdgpu", _SUPPLIES)


def needs_driver_repository(
    settings: Settings, chosen: Sequence[StackChoice], catalog: Catalog
) -> bool:
    """Tell whether the driver's repository is used; libraries of old releases are there, too."""
    old = any(catalog.rocm_releases[one.version].layout == "legacy" for one in chosen)
    return settings.driver == "dkms" or old


def driver_of(firmware: str) -> str:
    """Return the driver that a version of its firmware is of: 30.30.3 of 30.30.3.0.30300300-23.

    Packages until ROCm 6.4 were counted otherwise; of these it is empty.
    """
    found = re.match(r"([0-9]{2}\.[0-9]+\.[0-9]+)\.[0-9]+[.-]", firmware)
    return found[1] if found else ""


def _repository(
    source: Source, place: Place | None, catalog: Catalog, name: str, supplies: tuple[str, ...]
) -> AptRepository | None:
    mirror = Mirror(source.uri, source.key, source.key_uri)
    return vendor.repository(name, place, catalog, supplies, mirror, architectures=("amd64",))
