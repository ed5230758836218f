"""The packages of the toolkits that are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nodeproof.catalog.model.base import Family
from nodeproof.catalog.resolve.choice import Choice
from nodeproof.catalog.versions import ordered, series_of
from nodeproof.catalog.whole import Catalog
from nodeproof.errors import UsageError
from nodeproof.layers.cuda import names
from nodeproof.layers.cuda.settings import Settings
from nodeproof.repositories.stack import Stack


@dataclass(frozen=True)
class Toolkits:
    """What becomes of the toolkits that are asked for."""

    versions: Mapping[str, str]
    """Release to patch level, newest first: 13.1 to 13.1.1."""
    forward: tuple[str, ...]
    """Releases that run by a compatibility package."""
    default: str
    stack: Stack


def toolkits(settings: Settings, choice: Choice, catalog: Catalog) -> Toolkits:
    """Return the toolkits of a choice; raises UsageError for what fits no package."""
    chosen = sorted({one.version for one in choice.cuda}, key=ordered, reverse=True)
    versions: dict[str, str] = {}
    for version in chosen:
        other = versions.setdefault(series_of(version), version)
        if other != version:
            raise UsageError(
                f"CUDA {other} and {version} are one package in two versions", hint="ask for one"
            )
    default = settings.default or next(iter(versions))
    if default not in versions:
        raise UsageError(
            f"default is {default}, and the toolkits are {', '.join(versions)}",
            hint="ask for it in toolkits, too, or name another default",
        )
    place = choice.cuda_place
    family = catalog.repositories[place.repository].family if place else "deb"
    wanted = {names.toolkit(one, settings.parts, catalog): one for one in chosen}
    forward = {series_of(one.version): one.compat_package for one in choice.cuda}
    wanted |= dict.fromkeys(filter(None, forward.values()), "")
    if settings.cudnn:
        wanted |= _cudnn(default, family, catalog)
    if settings.nccl:
        wanted |= dict.fromkeys(names.nccl(default, family, catalog), built_for(default))
    without = _other_cudnn(default, family, catalog) if settings.cudnn else ()
    without += () if settings.forward_compat else (f"{names.COMPAT}*",)
    by_compat = tuple(series for series, package in forward.items() if package)
    return Toolkits(versions, by_compat, default, Stack(wanted, without=without))


def built_for(series: str) -> str:
    """Return a pattern for versions of NCCL that were built for a toolkit, or an older minor."""
    major, minor = series.split(".")
    return f"*+cuda{major}.{f'[0-{minor}]' if len(minor) == 1 else '*'}"


def _other_cudnn(series: str, family: Family, catalog: Catalog) -> tuple[str, ...]:
    """Return cuDNN for other major releases: all have one name, and the loader finds one."""
    every = (names.cudnn(version, family, catalog) for version in catalog.cuda_toolkits)
    known = {one for packages in every for one in packages}
    return tuple(sorted(known - {*names.cudnn(series, family, catalog)}))


def _cudnn(series: str, family: Family, catalog: Catalog) -> dict[str, str]:
    found = names.cudnn(series, family, catalog)
    if not found:
        raise UsageError(
            f"the catalog knows no packages of cuDNN for CUDA {series}",
            hint="set cudnn to false, or name another default",
        )
    return dict.fromkeys(found, "")
