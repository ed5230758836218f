"""Which services carry work, so that no update restarts them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from nodeproof.settings.roles import Role

TABLE = Path(__file__).with_name("services.toml")


class Carrier(BaseModel):
    """One row of the table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...] = Field(min_length=1)
    """How the names of the units begin."""
    why: str
    roles: tuple[Role, ...] = ()
    """On which nodes; on all where none is named."""


@cache
def carriers() -> tuple[Carrier, ...]:
    """Return the table."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return tuple(Carrier.model_validate(row) for row in rows.values())


def kept_running(roles: Collection[Role], more: Collection[str]) -> list[str]:
    """Return how the names begin of units that are left alone on such a node."""
    known = (row.names for row in carriers() if not row.roles or set(row.roles) & set(roles))
    return sorted({*more, *(name for names in known for name in names)})


def as_pattern(name: str) -> str:
    """Return a regular expression, of Perl and of Python, for names that begin so."""
    return "^" + re.sub(r"[.+@]", r"[\g<0>]", name)
