"""Which controls a node does not meet on purpose, and what that makes of its checks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING

from nodeproof.engine.result import Check, Exempted, Verdict
from nodeproof.evidence.controls import controls
from nodeproof.layers import layer_named
from nodeproof.settings.site import HostSettings

if TYPE_CHECKING:
    from nodeproof.catalog.hardening.model import Exempt, Value

SOON = timedelta(days=30)
"""An exception that ends within this is remarked on."""


def exceptions(settings: HostSettings, layers: Collection[str], today: date) -> list[Exempted]:
    """Return the exceptions of a node's layers, then those that its inventory makes."""
    asked = {name: model for name, model in settings.layers.items() if name in layers}
    found = [
        _of_layer(one, today)
        for name, model in asked.items()
        for one in layer_named(name).exceptions(model)
    ]
    for name, own in settings.exceptions.items():
        if (control := controls()[name]).layer in asked:
            found.append(
                Exempted(
                    control=name,
                    wanted=control.title,
                    reason=own.reason,
                    compensation=own.compensation,
                    expires=own.until,
                    expired=own.ends < today,
                )
            )
    return found


def judged(check: Check, found: Iterable[Exempted]) -> Check:
    """Return a check that failed as excepted, where exceptions cover all of its controls.

    Only what was measured can be excepted: a check that could not look has failed.
    """
    if check.verdict is not Verdict.FAILED or not check.looked:
        return check
    whole = {one.control for one in found if not one.parameter and not one.expired}
    if not whole.issuperset(check.controls):
        return check
    return check.model_copy(update={"verdict": Verdict.EXCEPTED})


def remarks(found: Iterable[Exempted], today: date) -> Iterator[str]:
    """Yield what is to be said of exceptions that have ended, or will soon."""
    for one in found:
        if not one.expires:
            continue
        left = date.fromisoformat(one.expires) - today
        name = " ".join(filter(None, ["exception of", one.control, one.parameter]))
        if one.expired:
            yield f"{name} ended on {one.expires}: it no longer counts"
        elif left <= SOON:
            days = "today" if not left else f"in {left.days} day{'s'[: left.days != 1]}"
            yield f"{name} ends on {one.expires}, {days}"


def _of_layer(one: Exempt, today: date) -> Exempted:
    return Exempted(
        control=one.control,
        parameter=one.parameter,
        wanted=_shown(one.wanted),
        value=_shown(one.value),
        roles=[role.value for role in one.roles],
        reason=one.reason,
        compensation=one.compensation,
        expires=one.expires.isoformat() if one.expires else "",
        expired=one.expires is not None and one.expires < today,
    )


def _shown(value: Value | None) -> str:
    """Return a value as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
