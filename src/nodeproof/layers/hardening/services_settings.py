"""What may be asked about services and clients that a server does without."""

from __future__ import annotations

from typing import Annotated

from nodeproof.catalog.hardening.decide import decide
from nodeproof.catalog.hardening.model import LEAVE, Decision, Level, parameters
from nodeproof.settings import LayerSettings, setting
from nodeproof.settings.roles import Role
from nodeproof.settings.types import PackageName, grammar

SERVICES, CLIENTS = "services", "clients"
UNIT_STEM = r"^[a-z][a-z0-9-]*[a-z0-9]$"
UnitStem = Annotated[
    str, grammar(UNIT_STEM, "a unit without its ending: a-z, 0-9 and -", longest=64)
]


class Services(LayerSettings):
    """Which of the services and clients of the catalog stay."""

    keep: list[UnitStem] = setting([], "services that stay though no role needs them, as nginx")
    keep_packages: list[PackageName] = setting([], "clients that stay, as ldap-utils")
    stop: bool = setting(
        False, "whether those that run are stopped; else they are named by verify, and run on"
    )


def decided(subject: str, level: int, roles: list[Role], keep: list[str]) -> tuple[Decision, ...]:
    """Return what becomes of each service or client; who keeps one chooses to leave it."""
    at: Level = 2 if level == 2 else 1
    return decide(parameters(subject), at, roles, dict.fromkeys(keep, LEAVE))
