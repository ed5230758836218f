"""Decide every parameter of hardening for one node: pure, and the same for any order of roles.

The user's own choice comes first, then the first conflict of the parameter whose roles the node
has, then what the level asks. Conflicts stand in the order of how much they give up, so that of
two roles that conflict differently the one that needs more is served, and the other with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from nodeproof.catalog.hardening.model import LEAVE, Decision, Exempt, Level, Parameter, Value
from nodeproof.settings.roles import Role

CHOSEN = "chosen in the node's own settings"
UNGUARDED = "none is known; who chose it answers for it"


def decide(
    parameters: Iterable[Parameter],
    level: Level,
    roles: Collection[Role],
    chosen: Mapping[str, Value] | None = None,
) -> tuple[Decision, ...]:
    """Return a decision for each parameter, in their order.

    `chosen` are values that the user gave by key, ``leave`` among them. An exception is there
    only where what is decided does not serve the control at this level.
    """
    return tuple(_decided(one, level, roles, chosen or {}) for one in parameters)


def exemptions(decisions: Iterable[Decision]) -> tuple[Exempt, ...]:
    """Return the exceptions among the decisions."""
    return tuple(one.exception for one in decisions if one.exception is not None)


def values(decisions: Iterable[Decision]) -> dict[str, Value]:
    """Return what must be set, by key."""
    return {one.parameter.key: one.value for one in decisions if one.value is not None}


def applicable(parameters: Iterable[Parameter], has: Collection[str]) -> tuple[Parameter, ...]:
    """Return the parameters whose needs the node has."""
    return tuple(one for one in parameters if one.needs <= set(has))


def _decided(
    parameter: Parameter, level: Level, roles: Collection[Role], chosen: Mapping[str, Value]
) -> Decision:
    wanted = parameter.wanted(level)
    if parameter.key in chosen:
        return _instead(parameter, level, chosen[parameter.key], (), CHOSEN, UNGUARDED)
    if wanted is not None:
        for conflict in parameter.conflicts:
            if conflict.roles & set(roles):
                whose = tuple(sorted(conflict.roles & set(roles)))
                why = (conflict.reason, conflict.compensation)
                return _instead(parameter, level, conflict.value, whose, *why)
    return Decision(parameter=parameter, value=wanted)


def _instead(
    parameter: Parameter,
    level: Level,
    value: Value,
    roles: tuple[Role, ...],
    reason: str,
    compensation: str,
) -> Decision:
    wanted = parameter.wanted(level)
    left = None if value == LEAVE else value
    if wanted is None or (left is not None and parameter.serves(left, level)):
        return Decision(parameter=parameter, value=left)
    exception = Exempt(
        control=parameter.control,
        parameter=parameter.key,
        wanted=wanted,
        value=left,
        roles=roles,
        reason=reason,
        compensation=compensation,
    )
    return Decision(parameter=parameter, value=left, exception=exception)
