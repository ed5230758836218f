"""Which ROCm releases a node gets: each put to the catalog's resolver, and all held together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from nodeproof.catalog.resolve.case import Case
from nodeproof.catalog.resolve.choice import Refusal, StackChoice
from nodeproof.catalog.resolve.machine import Machine
from nodeproof.catalog.resolve.release import kernel_unknown, machine_for, unsigned
from nodeproof.catalog.resolve.resolver import resolve
from nodeproof.catalog.resolve.text import in_one_line
from nodeproof.catalog.versions import is_in_series, ordered
from nodeproof.catalog.whole import Catalog
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.rocm.settings import Settings
from nodeproof.layers.rocm.stack import FIRMWARE, driver_of

_OURS = {"rocm": "releases"}
"""What this layer calls the resolver's keys."""
_OLD = re.compile(r"rocm-core[0-9.]*")
_ALONE_OR_NEW = re.compile(r"rocm-core|amdrocm.*")
"""Packages without a version in their names have no release beside them."""


def answered(
    settings: Settings,
    node: NodeFacts,
    has: Accelerators,
    catalog: Catalog,
    today: date,
    *,
    whatever: bool = False,
) -> tuple[StackChoice, ...] | Refusal:
    """Return what the node gets, the default release first, or why it gets nothing.

    `whatever` is for looking at what is there: also what should not be used is answered.
    """
    meant = machine_for(settings.image, node, has)
    if (nobody := kernel_unknown(settings.image, meant)) is not None:
        return nobody
    allowed = {"allow_insecure": [*catalog.advisories], "allow_kernel": True} if whatever else {}
    found: list[StackChoice] = []
    for wish in settings.releases:
        about = {"rocm": wish, "repository_key": settings.key(wish), **allowed}
        answer = resolve(settings.asked.model_copy(update=about), meant, catalog, today)
        if isinstance(answer, Refusal):
            return answer
        if answer.rocm is not None:
            found.append(answer.rocm)
    objection = _objection(settings, meant, found, catalog)
    return tuple(found) if objection is None or whatever else objection


def _objection(
    settings: Settings, meant: Machine, found: Sequence[StackChoice], catalog: Catalog
) -> Refusal | None:
    """Return what the resolver, which is asked for one release at a time, does not see."""
    versions = [one.version for one in found]
    if len(versions) != len({*versions}):
        text = f"releases {', '.join(settings.releases)} are {', '.join(versions)}: one twice"
        return Refusal(rule="rocm.releases-differ", text=text)
    if len({catalog.rocm_releases[one].layout for one in versions}) > 1:
        return Refusal(
            rule="rocm.layouts-agree",
            text=f"ROCm {' and '.join(versions)} cannot be side by side: 7.2.4 and older have to "
            "go before a newer one comes",
        )
    if settings.driver == "kernel":
        return None
    if found[0].driver_place is None:
        return Refusal(
            rule="rocm.driver-is-known",
            text=f"where the driver of ROCm {versions[0]} is to be had for {meant.title} is not "
            "in the catalog",
            hint="set driver to kernel",
        )
    return unsigned(meant, settings.secure_boot, "rocm.driver-may-load")


def in_the_way(found: Sequence[StackChoice], installed: Iterable[str], catalog: Catalog) -> str:
    """Return what of another installation has to go first, as AMD says; empty where nothing."""
    core = catalog.rocm_releases[found[0].version].layout == "core"
    other = _OLD if core else _ALONE_OR_NEW
    strange = sorted(name for name in installed if other.fullmatch(name))
    return f"ROCm of another layout has to go first: {', '.join(strange[:3])}" if strange else ""


def goes_back(
    settings: Settings, found: Sequence[StackChoice], installed: Mapping[str, str]
) -> str:
    """Return what is wrong where an older driver would come; empty where that is meant."""
    there, comes = installed.get(FIRMWARE, ""), found[0].driver
    has = driver_of(there)
    if settings.driver == "kernel" or settings.downgrade or not (there and comes):
        return ""
    if not has:
        return f"the driver {there} is counted otherwise than {comes}; set downgrade to replace it"
    if ordered(has) > ordered(comes) and not is_in_series(has, comes):
        return f"driver {has} is installed, and {comes} is older; set downgrade if that is meant"
    return ""


def headers(
    settings: Settings, node: NodeFacts, has: Accelerators, catalog: Catalog
) -> tuple[str, ...]:
    """Return the packages of kernel headers that the driver is built with."""
    case = Case(settings.asked, machine_for(settings.image, node, has), catalog, date.min)
    names = catalog.packages[case.system.packages].headers
    return tuple(name.format(kernel=case.has.kernel) for name in names)


def refusal(answer: Refusal) -> str:
    """Return a refusal in one line: what is in the way, what to do, what would work."""
    return in_one_line(answer, _OURS, "rocm")
