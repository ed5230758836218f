"""One connection per node for all its checks, and what the checks may know about the node."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from nodeproof.catalog.distributions import Distribution
from nodeproof.engine.adapter.inventory import Fleet
from nodeproof.engine.adapter.pool import each
from nodeproof.engine.adapter.session import Session
from nodeproof.engine.preflight import preflight
from nodeproof.errors import NodeproofError, RefusedError
from nodeproof.facts.node import Node, NodeFacts
from nodeproof.settings.site import HostSettings


@dataclass(frozen=True)
class Open:
    """A connected node."""

    session: Session
    settings: HostSettings
    facts: NodeFacts
    distribution: Distribution


class Sessions:
    """The nodes of a fleet, connected in parallel; those that cannot be keep their reason."""

    def __init__(
        self,
        fleet: Fleet,
        ask_password: Callable[[str], str],
        layers: Collection[str] = (),
        say: Callable[[str, str], None] = lambda host, doing: None,
    ) -> None:
        self.fleet = fleet
        self._ask_password = ask_password
        self._layers = layers
        self._say = say
        self.open: dict[str, Open] = {}
        self.failed: dict[str, NodeproofError] = {}

    def connect(self) -> None:
        """Connect to every node and read what it is."""
        each(self.fleet.hosts, self._connect)

    def get(self, name: str) -> Open:
        """Return a connected node; raises the error for which it is not."""
        if name in self.failed:
            raise self.failed[name]
        return self.open[name]

    def reached(self) -> Sessions:
        """Return the same connections without the nodes that could not be reached."""
        reached = Sessions(self.fleet.only(tuple(self.open)), self._ask_password)
        reached.open = self.open
        return reached

    def close(self) -> None:
        """Close all connections."""
        for node in self.open.values():
            node.session.disconnect()
        self.open.clear()

    def _connect(self, host: object) -> None:
        session = Session(host, self._ask_password)  # type: ignore[arg-type]
        name = session.host.name
        self._say(name, "connecting")
        try:
            session.connect()
            facts: NodeFacts = session.fact(Node)
            settings = self.fleet.settings[name]
            distribution = preflight(name, facts, writing=False)
            lacks = distribution.lacks([one for one in settings.layers if one in self._layers])
            if lacks:
                raise RefusedError(f"{name}: {lacks}")
            self.open[name] = Open(session, settings, facts, distribution)
        except NodeproofError as error:
            self.failed[name] = error
