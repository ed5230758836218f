"""The whole site on one node: its layers in order; shared by the command line and plain pyinfra."""

from __future__ import annotations

from collections.abc import Collection
from weakref import WeakKeyDictionary

from pyinfra import host
from pyinfra.api import DeployError, Inventory

from nodeproof.catalog.distributions import Distribution
from nodeproof.engine.preflight import preflight
from nodeproof.errors import NodeproofError
from nodeproof.facts.node import Node, NodeFacts
from nodeproof.layers import LAYER_NAMES, LAYERS
from nodeproof.settings.site import HostSettings

_validated: WeakKeyDictionary[Inventory, dict[str, HostSettings]] = WeakKeyDictionary()


def deploy_layers(
    settings: HostSettings, layers: Collection[str], facts: NodeFacts, distribution: Distribution
) -> None:
    """Call the deploys of the layers that a host was asked to have."""
    for layer in LAYERS:
        asked = settings.layers.get(layer.name)
        if asked is not None and layer.name in layers:
            layer.deploy(asked, facts, distribution)


def site(*layers: str) -> None:
    """Deploy layers (all, when none is named) in a plain pyinfra run.

    Settings of all hosts are validated before the first operation; raises DeployError.
    """
    from nodeproof.engine.adapter.inventory import validated

    try:
        if host.inventory not in _validated:
            _validated[host.inventory] = validated(host.inventory, "inventory")
        facts: NodeFacts = host.get_fact(Node)
        distribution = preflight(host.name, facts)
    except NodeproofError as error:
        raise DeployError(
            f"{error.message}; {error.hint}" if error.hint else error.message
        ) from error
    deploy_layers(_validated[host.inventory][host.name], layers or LAYER_NAMES, facts, distribution)
