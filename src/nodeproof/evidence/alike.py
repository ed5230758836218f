"""The same thing on many nodes, told once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from nodeproof.engine.result import Node

T = TypeVar("T")


class Step(Protocol):
    """A change or a check."""

    @property
    def layer(self) -> str:
        """Whose it is."""

    @property
    def name(self) -> str:
        """What it is called."""


S = TypeVar("S", bound=Step)


@dataclass(frozen=True)
class Shared(Generic[T]):
    """One thing with the nodes it is the same on."""

    item: T
    nodes: list[Node]
    turn: int
    """1 the first time a node has it, 2 the second time: both happen there."""


def alike(
    nodes: Iterable[Node], items: Callable[[Node], Iterable[tuple[Hashable, T]]]
) -> list[Shared[T]]:
    """Return each distinct item with its nodes, in order of first appearance.

    `items` gives what a node has, each with a key: equal keys are the same thing.
    """
    found: dict[Hashable, Shared[T]] = {}
    for node in nodes:
        seen: Counter[Hashable] = Counter()
        for key, item in items(node):
            seen[key] += 1
            turn = seen[key]
            found.setdefault((key, turn), Shared(item, [], turn)).nodes.append(node)
    return list(found.values())


def in_order(found: Iterable[Shared[S]], nodes: Iterable[Node]) -> list[Shared[S]]:
    """Return changes or checks in the order in which nodes have them, whatever came of each."""
    order: dict[tuple[str, str], int] = {}
    for node in nodes:
        things: list[Step] = [*node.changes, *node.checks]
        for thing in things:
            order.setdefault((thing.layer, thing.name), len(order))
    return sorted(found, key=lambda shared: order[shared.item.layer, shared.item.name])
