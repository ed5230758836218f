"""The distributions that are supported, and what differs between them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

TABLE = Path(__file__).with_name("distributions.toml")


class PackageManager(StrEnum):
    """What installs packages."""

    APT = "apt"


class Distribution(BaseModel):
    """One row of the table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    version: str
    title: str
    package_manager: PackageManager
    admin_group: str
    packages: Mapping[str, tuple[str, ...]]
    """What a layer needs, to the names of the packages that bring it."""
    units: Mapping[str, str]
    features: Mapping[str, Any]


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
        if (row.id, row.version) == (os_id, os_version):
            return row
    named = f"{os_id} {os_version}".strip() or "a system without os-release"
    titles = ", ".join(row.title for row in distributions().values())
    raise UnsupportedDistributionError(f"{named} is not supported; supported are {titles}")
