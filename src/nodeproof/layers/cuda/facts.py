"""What the cuda layer alone needs to know of a node."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override


@dataclass(frozen=True)
class AlternativeData:
    """What a group of alternatives points to."""

    value: str = ""
    """Where it points; empty where there is no such group."""
    manual: bool = False
    """Whether somebody chose it, so that packages leave it alone."""


class Alternative(FactBase[AlternativeData]):
    """
    What a group of alternatives points to.

    .. code:: python

        AlternativeData(value="/usr/local/cuda-13.1", manual=True)
    """

    called = "what the alternatives {group} point to"

    @override
    def requires_command(self, group: str) -> str:
        """Return the program without which nothing is known."""
        return "update-alternatives"

    @override
    def command(self, group: str) -> StringCommand:
        """Return a command that describes the group, or nothing where there is none.

        It is the only one that both dpkg's program and that of chkconfig's know.
        """
        script = 'LC_ALL=C update-alternatives --display "$1" 2>/dev/null || true'
        return StringCommand("sh", "-c", QuoteString(script), "sh", QuoteString(group))

    @staticmethod
    @override
    def default() -> AlternativeData:
        """Return that there is no such group."""
        return AlternativeData()

    @override
    def process(self, output: list[str]) -> AlternativeData:
        """Parse ``cuda - manual mode``, or ``cuda - status is manual.``, and where it points."""
        points = "link currently points to "
        found = (line.strip() for line in output)
        value = next((one.removeprefix(points) for one in found if one.startswith(points)), "")
        return AlternativeData(value, " manual" in "".join(output[:1]))
