"""Exceptions that a site makes itself: controls that its nodes do not meet, and why that is so."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import AfterValidator

from nodeproof.settings.model import LayerSettings, setting
from nodeproof.settings.types import grammar

ControlId = Annotated[
    str, grammar(r"^NP-[A-Z]{3}-[0-9]{2}$", "the id of a control, such as NP-SSH-05", longest=9)
]
# Shown in reports, never run; letters of every language but nothing that steers.
Sentence = Annotated[
    str,
    grammar(
        r"^[\p{L}0-9(][\p{L}0-9 ,.;:()/_+=-]{8,}[\p{L}0-9).]$",
        "a sentence, at least 10 of letters, digits, spaces and , . ; : ( ) / _ + = -",
        longest=500,
    ),
]


def _a_day(text: str) -> str:
    date.fromisoformat(text)
    return text


Day = Annotated[
    str,
    grammar(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "a day such as 2027-01-31", longest=10),
    AfterValidator(_a_day),
]


class OwnException(LayerSettings):
    """Why one control is not met, and until when that is accepted."""

    reason: Sentence = setting(..., "why the control is not met")
    compensation: Sentence = setting(..., "what guards the node instead")
    until: Day = setting(..., "the last day on which the exception counts")

    @property
    def ends(self) -> date:
        """Its last day."""
        return date.fromisoformat(self.until)


class NodeExceptions(LayerSettings):
    """The key `exceptions` beside the layers."""

    exceptions: dict[ControlId, OwnException] = setting(
        {}, "controls that the node does not meet on purpose"
    )
