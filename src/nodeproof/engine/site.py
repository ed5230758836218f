"""The whole site on one node: its layers in order; shared by the command line and plain pyinfra."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from weakref import WeakKeyDictionary

from pyinfra import host
from pyinfra.api import DeployError, Inventory

from nodeproof.catalog.distributions import Distribution
from nodeproof.engine.adapter.guard import closed, confirmed
from nodeproof.engine.canonical import counted_fields, digest
from nodeproof.engine.journal import described, run_id
from nodeproof.engine.preflight import preflight
from nodeproof.errors import NodeproofError
from nodeproof.facts.node import Node, NodeFacts
from nodeproof.layers import LAYER_NAMES, LAYERS
from nodeproof.operations.journal import OpenRun, set_run
from nodeproof.settings.site import HostSettings

_validated: WeakKeyDictionary[Inventory, dict[str, HostSettings]] = WeakKeyDictionary()
_runs: WeakKeyDictionary[Inventory, str] = WeakKeyDictionary()


def deploy_layers(
    settings: HostSettings,
    layers: Collection[str],
    facts: NodeFacts,
    distribution: Distribution,
    after: Callable[[str], None] = lambda layer: None,
) -> None:
    """Call the deploys of the layers that a host was asked to have, and `after` each.

    Raises DeployError, before the first of them, where the distribution lacks one.
    """
    asked = [one for one in LAYERS if one.name in settings.layers and one.name in layers]
    if lacks := distribution.lacks([one.name for one in asked]):
        raise DeployError(f"{host.name}: {lacks}")
    for layer in asked:
        layer.deploy(settings.layers[layer.name], facts, distribution)
        after(layer.name)


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
    settings, chosen = _validated[host.inventory][host.name], layers or LAYER_NAMES
    run(layers=" ".join(chosen), settings=_digest(settings))
    deploy_layers(settings, chosen, facts, distribution, after=_confirm)
    closed(name="Close the journal")


def run(**description: str) -> None:
    """Open a run for operations that follow in a plain pyinfra deploy.

    The node hears of it with the first change. End with ``confirmed()`` and ``closed()`` of
    `nodeproof.engine.adapter.guard`.
    """
    local = os.getpid() if host.name.startswith("@local") else None
    told = described(**description)
    set_run(host.connector_data, OpenRun(_run(host.inventory), told, controller=local))


def _digest(settings: HostSettings) -> str:
    return digest({layer: counted_fields(model) for layer, model in settings.layers.items()})


def _run(inventory: Inventory) -> str:
    """Return the id of this pyinfra run: the same for all its hosts."""
    return _runs.setdefault(inventory, run_id(datetime.now(UTC)))


def _confirm(layer: str) -> None:
    confirmed(name=f"Confirm {layer} over a new connection")
