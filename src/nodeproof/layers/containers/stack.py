"""The container toolkit that is chosen: its packages, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from nodeproof.catalog.resolve.choice import Choice, Refusal, StackChoice
from nodeproof.catalog.resolve.machine import of_node
from nodeproof.catalog.resolve.resolver import resolve
from nodeproof.catalog.versions import ordered
from nodeproof.catalog.whole import Catalog
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.node import NodeFacts
from nodeproof.layers.containers.settings import Settings
from nodeproof.repositories import vendor
from nodeproof.repositories.spec import AptRepository
from nodeproof.repositories.stack import Stack
from nodeproof.repositories.vendor import Mirror

OURS = {"container_toolkit": "toolkit"}
"""What this layer calls the resolver's keys."""
SUPPLIES = {
    "nvidia": ("nvidia-container-toolkit*", "libnvidia-container*"),
    "amd": ("amd-container-toolkit",),
}


@dataclass(frozen=True)
class Toolkit:
    """A container toolkit in one version."""

    vendor: str
    """As the catalog names its maker: nvidia or amd."""
    title: str
    version: str
    """As its maker counts."""
    stack: Stack
    repository: AptRepository | None
    """None where no fingerprint, or no address, of its key is known."""
    refreshes: bool
    """Whether it brings units that keep its CDI specification current."""


def answered(
    settings: Settings, node: NodeFacts, has: Accelerators, catalog: Catalog, *, whatever: bool
) -> Choice | Refusal:
    """Return what the node gets, together with what other layers ask of its accelerators.

    `whatever` is for looking at what is there: also what should not be used is answered, and of
    nothing but the toolkit.
    """
    asked = settings.asked
    if whatever:
        accepted = [*catalog.advisories]
        asked = asked.model_copy(
            update={
                "driver": "none",
                "rocm": "none",
                "intel": "none",
                "cuda": [],
                "allow_insecure": accepted,
            }
        )
    return resolve(asked, of_node(node, has), catalog, date.today())


def toolkit(settings: Settings, chosen: StackChoice, catalog: Catalog) -> Toolkit:
    """Return the toolkit of a choice."""
    entry = catalog.container_toolkits[chosen.id]
    version = entry.package_version.format(version=chosen.version)
    mirror = Mirror(settings.repository_uri, settings.repository_key, settings.repository_key_uri)
    since = entry.cdi_refresh
    return Toolkit(
        vendor=chosen.id,
        title=entry.title,
        version=chosen.version,
        stack=Stack(dict.fromkeys(chosen.packages, version)),
        repository=vendor.repository(
            f"{chosen.id}-container-toolkit", chosen.place, catalog, SUPPLIES[chosen.id], mirror
        ),
        refreshes=since is not None and ordered(chosen.version) >= ordered(since),
    )
