"""Which release of Intel's a node gets: put to the catalog's resolver, and held to the settings."""

from __future__ import annotations

from datetime import date
from typing import Any

from nodeproof.catalog.model.stack import IntelRelease
from nodeproof.catalog.resolve.choice import Refusal, StackChoice
from nodeproof.catalog.resolve.machine import Machine
from nodeproof.catalog.resolve.release import kernel_unknown, machine_for, unsigned
from nodeproof.catalog.resolve.resolver import resolve
from nodeproof.catalog.resolve.text import in_one_line
from nodeproof.catalog.whole import Catalog
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.intel.settings import Settings

_OURS = {"intel": "release"}
"""What this layer calls the resolver's keys."""


def answered(
    settings: Settings,
    node: NodeFacts,
    has: Accelerators,
    catalog: Catalog,
    today: date,
    *,
    whatever: bool = False,
) -> StackChoice | Refusal:
    """Return what the node gets, or why it gets nothing.

    `whatever` is for looking at what is there: also what should not be used is answered.
    """
    meant = machine_for(settings.image, node, has)
    if (nobody := kernel_unknown(settings.image, meant)) is not None:
        return nobody
    about: dict[str, Any] = {
        "intel": settings.release,
        "repository_key": settings.repository_key,
        **dict.fromkeys(("driver", "rocm", "container_toolkit"), "none"),
        "cuda": [],
        "image": None,
        **({"allow_kernel": True} if whatever else {}),
    }
    answer = resolve(settings.asked.model_copy(update=about), meant, catalog, today)
    if isinstance(answer, Refusal):
        return answer
    if answer.intel is None:
        raise LookupError("a release was asked for, and neither chosen nor refused")
    release = catalog.intel_releases[answer.intel.version]
    objection = _objection(settings, meant, release)
    return answer.intel if objection is None or whatever else objection


def _objection(settings: Settings, meant: Machine, release: IntelRelease) -> Refusal | None:
    """Return what the resolver, which knows no extras and no users, does not see."""
    if unknown := [one for one in settings.extras if one not in release.extras]:
        return Refusal(
            rule="intel.extras-are-of-the-release",
            text=f"{release.title} has no {' and no '.join(unknown)}",
            hint=f"extras may be {', '.join(release.extras)}",
        )
    if settings.users is not None and release.vendor == "habana":
        return Refusal(
            rule="intel.users-are-of-gpus",
            text="users are the members of render and video, and Gaudi is not theirs",
            hint="leave users out",
        )
    if settings.driver == "kernel":
        return None
    return unsigned(meant, settings.secure_boot, "intel.driver-may-load")


def refusal(answer: Refusal) -> str:
    """Return a refusal in one line: what is in the way, what to do, what would work."""
    return in_one_line(answer, _OURS, "intel")
