"""Facts that are not known yet, and how several of them are asked for in one round trip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class NeedFact(BaseException):
    """A fact is not known yet; it has been noted."""


def together(*asks: Callable[[], Any]) -> list[Any]:
    """Return what each says; those that are not known are all noted before one of them is missed.

    An operation is put aside at the first fact that is missing; those after it cost another trip.
    """
    said: list[Any] = []
    missing: NeedFact | None = None
    for ask in asks:
        try:
            said.append(ask())
        except NeedFact as error:
            missing = missing or error
    if missing is not None:
        raise missing
    return said
