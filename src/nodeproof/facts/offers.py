"""What each of several repositories offers."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override


@dataclass(frozen=True)
class Offer:
    """A version of a package, and the address of the repository that has it."""

    version: str
    uri: str


class Offers(FactBase[dict[str, tuple[Offer, ...]]]):
    """
    The versions of packages that repositories offer, newest first.

    .. code:: python

        {"amdgpu-dkms": (Offer("1:6.16.13.30300300-2327507.22.04", "https://repo.radeon.com/..."),)}
    """

    called = "the versions that repositories offer"
    uncounted = "lists are fetched by timers; what a plan makes of them is counted"

    @override
    def requires_command(self, names: str) -> str:
        """Return the program without which nothing is known."""
        return "apt-cache"

    @override
    def command(self, names: str) -> StringCommand:
        """Return a command that lists them; `names` are package names, with commas."""
        script = 'echo "$1" | tr , "\\n" | xargs -r apt-cache madison -- 2>/dev/null || true'
        return StringCommand("sh", "-c", QuoteString(script), "sh", QuoteString(names))

    @staticmethod
    @override
    def default() -> dict[str, tuple[Offer, ...]]:
        """Return that nothing is offered."""
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, tuple[Offer, ...]]:
        """Parse ``name | version | address suite Packages`` lines; a name's newest comes first."""
        offers: dict[str, list[Offer]] = {}
        for line in output:
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) == 3 and cells[2].endswith("Packages"):
                uri = cells[2].split()[0].rstrip("/")
                offers.setdefault(cells[0], []).append(Offer(cells[1], uri))
        return {name: tuple(found) for name, found in offers.items()}
