"""The catalogue of controls: what each id asks for, why, and which standards it serves."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nodeproof.settings.problems import nearest

CATALOGUE = Path(__file__).with_name("controls.toml")
ID_PATTERN = r"^NP-[A-Z]{3}-[0-9]{2}$"

_Words = Annotated[str, Field(min_length=1)]


class Standard(BaseModel):
    """What controls are mapped to; the title names its version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Words
    title: _Words


class Control(BaseModel):
    """One requirement that checks can prove."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=ID_PATTERN)
    title: _Words
    rationale: _Words
    layer: _Words
    maps: Mapping[str, tuple[_Words, ...]] = {}
    """Key of a standard, to the identifiers there that this control serves."""


class Catalogue(Mapping[str, Control]):
    """Controls by id, in their file's order; an unknown id raises KeyError with the nearest."""

    def __init__(self, controls: Mapping[str, Control], standards: Mapping[str, Standard]) -> None:
        self._controls = dict(controls)
        self.standards = dict(standards)
        """By the keys that controls use in `maps`."""

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
    def _name_controls(cls, data: dict[str, dict[str, dict[str, object]]]) -> object:
        named = {key: {"id": key, **row} for key, row in data["controls"].items()}
        return {**data, "controls": named}

    @model_validator(mode="after")
    def _standards_are_known(self) -> Self:
        for control in self.controls.values():
            if unknown := set(control.maps) - set(self.standards):
                raise ValueError(f"{control.id}: unknown standard {', '.join(sorted(unknown))}")
        return self


@cache
def controls() -> Catalogue:
    """Return the catalogue that is shipped."""
    return parse(CATALOGUE.read_text(encoding="utf-8"))


def parse(text: str) -> Catalogue:
    """Return the catalogue that `text` (TOML) holds; raises pydantic's ValidationError."""
    file = _File.model_validate(tomllib.loads(text))
    return Catalogue(file.controls, file.standards)
