"""What a plan rests on, as digests: the settings, what was read of the node, what is foreseen.

It is what a saved plan keeps: neither contents nor secrets, not even digests of secrets, because
whoever has the digest of a weak secret can guess it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict
from pyinfra.api import FactBase

from nodeproof.engine.canonical import counted_fields, digest
from nodeproof.uncounted import Selective

SHORT = 12
"""Hexadecimal digits of digests that only explain."""


class Foreseen(Protocol):
    """A change that a plan foresees."""

    @property
    def layer(self) -> str:
        """Whose it is."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def commands(self) -> tuple[str, ...]:
        """Its commands; none where nothing is to be done."""

    def digest(self) -> str:
        """Return a sha256 over what counts of it."""


class Read(Protocol):
    """A fact that was read."""

    @property
    def kind(self) -> type[FactBase[Any]]:
        """Its class; ``called`` and ``things`` there are words for people.

        With ``uncounted``, which says why, a plan does not rest on it.
        """

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What it is about."""

    @property
    def value(self) -> Any:
        """What it is."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FactPrint(_Model):
    """One fact."""

    called: str
    """What people call it."""
    digest: str
    """A sha256 over all that counts; the others below only explain."""
    there: bool
    """Whether there was anything at all."""
    parts: dict[str, str] = {}
    """Its fields."""
    things: dict[str, str] = {}
    """Single things in it, by what people call them."""


class ChangePrint(_Model):
    """One foreseen change."""

    layer: str
    name: str
    needed: bool
    digest: str


class Fingerprint(_Model):
    """One node's part of a plan."""

    settings: dict[str, dict[str, str]]
    """Layer to key to digest."""
    facts: dict[str, FactPrint]
    changes: tuple[ChangePrint, ...]

    @property
    def hash(self) -> str:
        """A sha256 over everything that a plan rests on."""
        facts = {name: fact.digest for name, fact in self.facts.items()}
        changes = [tuple(change.model_dump().values()) for change in self.changes]
        return digest((self.settings, facts, changes))


def fingerprint(
    settings: Mapping[str, BaseModel], reads: Iterable[Read], changes: Iterable[Foreseen]
) -> Fingerprint:
    """Return what a node's plan rests on; `settings` are those of the layers that are planned."""
    facts: dict[str, FactPrint] = {}
    for read in reads:
        if getattr(read.kind, "uncounted", ""):
            continue
        name, found = _fact(read)
        # The same may have been read twice, by two ways of becoming root.
        facts[name] = _both(facts[name], found) if name in facts else found
    return Fingerprint(
        settings={
            layer: {key: digest(value) for key, value in counted_fields(model).items()}
            for layer, model in settings.items()
        },
        facts=dict(sorted(facts.items())),
        changes=tuple(
            ChangePrint(
                layer=one.layer, name=one.name, needed=bool(one.commands), digest=one.digest()
            )
            for one in changes
        ),
    )


def _fact(read: Read) -> tuple[str, FactPrint]:
    """Return a fact's name, such as ``FileState /etc/hosts``, and its digests."""
    kind, value = read.kind, read.value
    name = " ".join([kind.__name__, *map(str, read.arguments.values())])
    called, things = getattr(kind, "called", None), getattr(kind, "things", None)
    if isinstance(value, Selective):
        value = value.counted()
    structured = isinstance(value, BaseModel) or is_dataclass(value)
    return name, FactPrint(
        called=called.format(**read.arguments) if called else name,
        digest=digest(value),
        there=value is not None,
        parts=_short(counted_fields(value) if structured and not things else {}),
        things=_short(things(value) if things and value is not None else {}),
    )


def _short(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: digest(value)[:SHORT] for name, value in values.items()}


def _both(one: FactPrint, other: FactPrint) -> FactPrint:
    if one.digest == other.digest:
        return one
    return one.model_copy(update={"digest": digest({one.digest, other.digest})})
