"""Mark what does not count when a plan is compared with the node: it moves by itself, or is secret.

A field of a fact is marked where it is declared, ``free_kb: Annotated[int, Uncounted("why")]``;
a command that only such a field asks for is a `Change` with ``counts=False``. A fact with
``uncounted = "why"`` does not count as a whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Uncounted:
    """The mark of a field whose value may differ from what a plan has read."""

    why: str


class Selective(ABC):
    """A fact of which single items do not count."""

    @abstractmethod
    def counted(self) -> Self:
        """Return the same without them."""
