"""The catalogue of controls: what each id asks for, why, and which standards it serves."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nodeproof.errors import UsageError
from nodeproof.evidence import standards
from nodeproof.settings.problems import nearest

CATALOGUE = Path(__file__).with_name("controls.toml")
ID_PATTERN = r"^NP-[A-Z]{3}-[0-9]{2}$"

_Words = Annotated[str, Field(min_length=1)]


class Standard(BaseModel):
    """What controls are mapped to; the title names its version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Words
    title: _Words
    distribution: str = ""
    """Key of the only distribution that it is about."""
    through: Mapping[str, tuple[_Words, ...]] = {}
    """Its items, each to the controls or families of NIST 800-53 that stand for it."""
    note: str = ""
    """What is to be known of its mapping."""


class Control(BaseModel):
    """One requirement that checks can prove."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=ID_PATTERN)
    title: _Words
    rationale: _Words
    layer: _Words
    changes: tuple[_Words, ...]
    """Shell patterns of the names of its layer's changes that meet it."""
    no_changes: str = ""
    """Why there are none."""
    level: Literal[1, 2] = 1
    """1 for every server, 2 for strict ones."""
    needs: str = ""
    """What a node must have, or be asked, for it to apply; nothing where it always does."""
    rules: tuple[_Words, ...] = ()
    """Names of ComplianceAsCode rules whose matter it proves."""
    maps: Mapping[str, tuple[_Words, ...]] = {}
    """Key of a standard, to the identifiers there that this control serves."""

    def is_met_by(self, change: str) -> bool:
        """Tell whether a change of its layer with that name meets it."""
        return any(fnmatchcase(change, pattern) for pattern in self.changes)

    @model_validator(mode="after")
    def _changes_or_why_not(self) -> Self:
        if bool(self.changes) == bool(self.no_changes):
            raise ValueError(f"{self.id}: give changes, or say in no_changes why there are none")
        return self


class Catalogue(Mapping[str, Control]):
    """Controls by id, in their file's order; an unknown id raises KeyError with the nearest."""

    def __init__(self, controls: Mapping[str, Control], standards: Mapping[str, Standard]) -> None:
        self._controls = dict(controls)
        self.standards = dict(standards)
        """By the keys that controls use in `maps`."""

    def serving(self, standard: str) -> list[Control]:
        """Return the controls that serve some item of a standard."""
        return [control for control in self.values() if standard in control.maps]

    def automated(self, standard: str) -> tuple[str, ...]:
        """Return the items of a standard that can be automated, as its source has them."""
        table = self.standards[standard].through
        return tuple(table) or standards.items()[standard].automated

    def __getitem__(self, control_id: str) -> Control:
        if control_id in self._controls:
            return self._controls[control_id]
        near = nearest(control_id, self._controls)
        raise KeyError(f"{control_id}: unknown control" + (f"; nearest is {near}" if near else ""))

    def __contains__(self, control_id: object) -> bool:
        return control_id in self._controls

    def __iter__(self) -> Iterator[str]:
        return iter(self._controls)

    def __len__(self) -> int:
        return len(self._controls)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    standards: dict[str, Standard]
    controls: dict[str, Control]

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: dict[str, dict[str, dict[str, Any]]]) -> object:
        """Give each control its id, and all that its rules serve besides its own `maps`."""
        tables = {key: row["through"] for key, row in data["standards"].items() if "through" in row}
        complete = {}
        for key, row in data["controls"].items():
            served = [_of_rule(key, rule) for rule in row.get("rules", ())]
            maps = standards.union([*served, row.get("maps", {})], data["standards"])
            for standard, table in tables.items():
                if found := standards.through(table, maps.get("nist_800_53", ())):
                    maps[standard] = found
            complete[key] = {**row, "id": key, "maps": maps}
        return {**data, "controls": complete}

    @model_validator(mode="after")
    def _standards_are_known(self) -> Self:
        for control in self.controls.values():
            if unknown := set(control.maps) - set(self.standards):
                raise ValueError(f"{control.id}: unknown standard {', '.join(sorted(unknown))}")
        return self


def _of_rule(control: str, rule: str) -> Mapping[str, tuple[str, ...]]:
    known = standards.rules()
    if rule not in known:
        raise ValueError(f"{control}: rule {rule} is not in standards.json; make it anew")
    return known[rule]


@cache
def controls() -> Catalogue:
    """Return the catalogue that is shipped."""
    return parse(CATALOGUE.read_text(encoding="utf-8"))


def parse(text: str) -> Catalogue:
    """Return the catalogue that `text` (TOML) holds; raises pydantic's ValidationError."""
    file = _File.model_validate(tomllib.loads(text))
    return Catalogue(file.controls, file.standards)


def chosen(control_id: str) -> Control:
    """Return the control that a user chose to take back; raises UsageError."""
    try:
        control = controls()[control_id]
    except KeyError as error:
        raise UsageError(f"--control {error.args[0]}", hint="docs/reference/controls.md") from None
    if not control.changes:
        raise UsageError(f"--control {control_id}: has no changes of its own: {control.no_changes}")
    return control


def chosen_standards(keys: Iterable[str]) -> tuple[str, ...]:
    """Return the keys of standards, in the catalogue's order; raises UsageError."""
    known = controls().standards
    for key in keys:
        if key not in known:
            near = nearest(key, known)
            raise UsageError(
                f"--standard {key}: no such standard",
                hint=f"did you mean {near}?" if near else f"standards are {', '.join(known)}",
            )
    return tuple(key for key in known if key in set(keys))


def going_along(control_id: str, changes: Iterable[str]) -> list[str]:
    """Return the ids of the other controls that these changes, of the control's layer, meet."""
    names, layer = list(changes), controls()[control_id].layer
    return [
        other.id
        for other in controls().values()
        if other.id != control_id and other.layer == layer and any(map(other.is_met_by, names))
    ]
