"""What services listen on, and which roles bring them."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from nodeproof.settings.roles import Role

TABLE = Path(__file__).with_name("services.toml")


class Listener(BaseModel):
    """One port, or one range of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Literal["tcp", "udp"]
    port: str
    """A number, a range, or the name of the setting that holds one."""
    what: str


class Service(BaseModel):
    """One entry of the table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    roles: tuple[Role, ...]
    reached: Literal["trusted", "fabric"] = Field(alias="from")
    source: tuple[str, ...] = Field(min_length=1)
    ports: tuple[Listener, ...] = Field(min_length=1)


@cache
def services() -> Mapping[str, Service]:
    """Return the table, by its keys such as ``slurm``."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {key: Service.model_validate(row) for key, row in rows.items()}


def chosen(roles: Collection[Role], asked: Collection[str]) -> Mapping[str, Service]:
    """Return the services that roles bring or that are asked for, by name."""
    return {
        name: one
        for name, one in services().items()
        if name in asked or any(role in roles for role in one.roles)
    }
