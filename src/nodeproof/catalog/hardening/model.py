"""Parameters of hardening, and how a node's role or its owner makes one otherwise."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from nodeproof.catalog.model.base import CatalogModel, Id, Source
from nodeproof.settings.roles import Role

FOLDER = Path(__file__).parent
LEAVE = "leave"
"""In place of a value: the node keeps what it has."""

Level = Literal[0, 1, 2]
"""0 off, 1 for every server, 2 strict."""

Value = bool | int | str | tuple[str, ...]
_Words = Annotated[str, Field(min_length=1)]
_Key = Annotated[str, StringConstraints(pattern=r"^[^\s]+$", max_length=128)]
_Sources = Annotated[tuple[Id, ...], Field(min_length=1)]


class Conflict(CatalogModel):
    """Roles whose work the control would stop, and what such a node gets instead."""

    roles: Annotated[frozenset[Role], Field(min_length=1)]
    value: Value
    """Or ``leave``."""
    reason: _Words
    compensation: _Words
    """What guards the node instead."""
    sources: _Sources


class Parameter(CatalogModel):
    """One value that a control asks for; a value for `strict` alone begins at level 2."""

    key: _Key
    control: Annotated[str, Field(pattern=r"^NP-[A-Z]{3}-[0-9]{2}$")]
    server: Value | None = None
    strict: Value | None = None
    stricter: Literal["higher", "lower", "neither"] = "neither"
    """On which side of a number there are values that serve the control, too."""
    also: tuple[Value, ...] = ()
    """Other values that serve it, where they do not lie on one side."""
    until_reboot: bool = False
    """Whether it cannot be taken back before the next boot."""
    needs: frozenset[_Words] = frozenset()
    """What a node must have for it, e.g. ``ipv6``; see `applicable`."""
    conflicts: tuple[Conflict, ...] = ()
    """The one that gives up most first: the first whose roles a node has counts."""
    sources: _Sources
    note: str = ""

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if self.server is None and self.strict is None:
            raise ValueError(f"{self.key}: give a value for server, for strict, or for both")
        if LEAVE in (self.server, self.strict):
            raise ValueError(f"{self.key}: a level asks for a value; {LEAVE} is for conflicts")
        return self

    def wanted(self, level: Level) -> Value | None:
        """Return what the level asks for; nothing where it asks for nothing."""
        if level == 0:
            return None
        return self.strict if level == 2 and self.strict is not None else self.server

    def serves(self, value: Value, level: Level) -> bool:
        """Tell whether a value is what the level asks for, or stricter."""
        wanted = self.wanted(level)
        if wanted is not None and value in self.also:
            return True
        if isinstance(value, int) and isinstance(wanted, int) and self.stricter != "neither":
            return value >= wanted if self.stricter == "higher" else value <= wanted
        return value == wanted


class Exempt(CatalogModel):
    """A parameter that is on purpose other than its control asks."""

    control: str
    parameter: str
    wanted: Value
    value: Value | None
    """What is set instead; nothing where the node keeps what it has."""
    roles: tuple[Role, ...] = ()
    """For whose sake; none where it is the user's own choice."""
    reason: str
    compensation: str
    expires: date | None = None


class Decision(CatalogModel):
    """What one parameter becomes on one node."""

    parameter: Parameter
    value: Value | None
    """Nothing where the node keeps what it has."""
    exception: Exempt | None = None


class _Table(CatalogModel):
    parameters: Mapping[str, Parameter]


@cache
def parameters(subject: str) -> tuple[Parameter, ...]:
    """Return the parameters of ``SUBJECT.toml``, in the file's order."""
    rows = _read(subject)["parameters"]
    named = {"parameters": {key: {"key": key, **row} for key, row in rows.items()}}
    return tuple(_Table.model_validate(named).parameters.values())


@cache
def sources() -> Mapping[str, Source]:
    """Return where values and conflicts were read, by the ids that parameters name."""
    return {key: Source.model_validate(row) for key, row in _read("sources")["sources"].items()}


def _read(subject: str) -> dict[str, dict[str, dict[str, object]]]:
    text = FOLDER.joinpath(f"{subject}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
