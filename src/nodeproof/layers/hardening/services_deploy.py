"""Services that a server does without are masked, clients without encryption removed."""

from __future__ import annotations

from pyinfra import host

from nodeproof.catalog.distributions import Distribution
from nodeproof.catalog.hardening.decide import values
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.packages import PACKAGES
from nodeproof.layers.hardening.operations import services_masked
from nodeproof.layers.hardening.settings import Settings
from nodeproof.operations import packages


def services(settings: Settings, node: NodeFacts, distribution: Distribution) -> None:
    """Mask what does not run and no role needs; what runs only where that is asked for."""
    services_masked(
        name="Mask services that no role needs",
        services=list(values(settings.services_decided())),
        stop=settings.services.stop,
    )
    installed = host.get_fact(PACKAGES[distribution.package_manager]).installed
    unwanted = [name for name in values(settings.clients_decided()) if name in installed]
    if unwanted:
        packages.versions(
            name="Remove clients without encryption",
            manager=distribution.package_manager,
            versions={},
            without=unwanted,
            hold=False,
        )
