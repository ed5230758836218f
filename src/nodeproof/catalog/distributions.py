"""The distributions that are supported, and what differs between them."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from nodeproof.catalog.versions import is_in_series

TABLE = Path(__file__).with_name("distributions.toml")


class PackageManager(StrEnum):
    """What installs packages."""

    APT = "apt"
    DNF = "dnf"


class Initramfs(StrEnum):
    """What builds the initramfs."""

    INITRAMFS_TOOLS = "initramfs-tools"
    DRACUT = "dracut"


class Distribution(BaseModel):
    """One row of the table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: tuple[str, ...]
    """What os-release calls it: builds of one distribution by several hands are one row."""
    version: str
    """How VERSION_ID begins: 9 stands for 9.8, too."""
    title: str
    package_manager: PackageManager
    admin_group: str
    initramfs: Initramfs
    layers: tuple[str, ...] = ()
    """The only layers that work there; all do where none is named."""
    packages: Mapping[str, tuple[str, ...]] = {}
    """What a layer needs, to the names of the packages that bring it."""
    units: Mapping[str, str] = {}
    features: Mapping[str, Any] = {}

    def lacks(self, layers: Collection[str]) -> str:
        """Return why these layers cannot be had there, in one sentence, or nothing."""
        missing = [name for name in layers if self.layers and name not in self.layers]
        if not missing:
            return ""
        skip = " ".join(f"--skip-layer {name}" for name in missing)
        return (
            f"on {self.title} there are only the layers {' and '.join(self.layers)}, not "
            f"{', '.join(missing)}; leave the rest out: {skip}"
        )


class UnsupportedDistributionError(LookupError):
    """The table has no such distribution; the message says which it has."""


@cache
def distributions() -> Mapping[str, Distribution]:
    """Return the table, by its keys such as ``debian-13``."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {key: Distribution.model_validate(row) for key, row in rows.items()}


def distribution(os_id: str, os_version: str) -> Distribution:
    """Return the row for an os-release ID and VERSION_ID.

    Raises UnsupportedDistributionError.
    """
    for row in distributions().values():
        if os_id in row.ids and is_in_series(os_version, row.version):
            return row
    named = f"{os_id} {os_version or 'without a version (VERSION_ID)'}"
    named = named if os_id else "a system without os-release"
    titles = ", ".join(row.title for row in distributions().values())
    raise UnsupportedDistributionError(f"{named} is not supported; supported are {titles}")


def image_based(os_id: str, os_version: str, title: str, like: str) -> Distribution:
    """Return the row of a system that is an image, of which the table need not know.

    It is looked at only, by layers that know how; a check that asks for its packages asks dpkg or
    rpm, and fails where there is neither.
    """
    is_deb = {"debian", "ubuntu"} & {os_id, *like.split(), os_id.partition("-")[0]}
    return Distribution(
        ids=(os_id,),
        version=os_version,
        title=title or os_id,
        package_manager=PackageManager.APT if is_deb else PackageManager.DNF,
        admin_group="",
        initramfs=Initramfs.DRACUT,
        layers=("gpu", "cuda"),
    )
