"""What repositories offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from nodeproof.catalog.distributions import PackageManager
from nodeproof.repositories.transaction import transaction
from nodeproof.scripts import script

_WITH_DNF, _DNF_TRANSACTION = script("with-dnf.sh"), script("dnf-transaction.py")
_CALLED = "the versions that repositories offer"
_UNCOUNTED = "lists are fetched by timers; what a plan makes of them is counted"


@dataclass(frozen=True)
class Offer:
    """A version of a package, and the address of the repository that has it."""

    version: str
    uri: str


class Offers(FactBase[dict[str, tuple[Offer, ...]]]):
    """
    The versions of packages, newest first, each with the repository that has it; of apt.

    .. code:: python

        {"amdgpu-dkms": (Offer("1:6.16.13.30300300-2327507.22.04", "https://repo.radeon.com/..."),)}
    """

    called = _CALLED
    uncounted = _UNCOUNTED

    @override
    def requires_command(self, names: str) -> str:
        """Return the program without which nothing is known."""
        return "apt-cache"

    @override
    def command(self, names: str) -> StringCommand:
        """Return a command that lists them; `names` are package names, with commas."""
        each = 'echo "$1" | tr , "\\n" | xargs -r apt-cache madison -- 2>/dev/null || true'
        return StringCommand("sh", "-c", QuoteString(each), "sh", QuoteString(names))

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


class _Versions(FactBase[dict[str, tuple[str, ...]]]):
    """What a package manager's repositories have."""

    called = _CALLED
    uncounted = _UNCOUNTED

    @staticmethod
    @override
    def default() -> dict[str, tuple[str, ...]]:
        """Return that nothing is offered."""
        return {}


class AptOffers(_Versions):
    """
    The versions of packages that repositories offer, newest first.

    .. code:: python

        {"nvidia-open": ("595.91.07-1", "580.178.04-1")}
    """

    @override
    def requires_command(self, names: str) -> str:
        """Return the program without which nothing is known."""
        return "apt-cache"

    @override
    def command(self, names: str) -> StringCommand:
        """Return a command that lists them; `names` are package names, with commas."""
        return Offers().command(names)

    @override
    def process(self, output: list[str]) -> dict[str, tuple[str, ...]]:
        """Leave out which repository has them, and with it what several have."""
        return {
            name: tuple(dict.fromkeys(one.version for one in found))
            for name, found in Offers().process(output).items()
        }


class DnfOffers(_Versions):
    """
    The same as AptOffers for dnf; a name may be of one build, such as kernel-devel-5.14.0-687.el9.

    .. code:: python

        {"nvidia-open": ("3:580.178.04-1.el9", "3:580.126.09-1.el9")}
    """

    @override
    def requires_command(self, names: str) -> str:
        """Return the program without which nothing is known."""
        return "dnf"

    @override
    def command(self, names: str) -> StringCommand:
        """Return a program that lists them; `names` are package names, with commas."""
        each = (QuoteString(name) for name in names.split(","))
        return StringCommand("sh", "-c", _WITH_DNF, "sh", _DNF_TRANSACTION, "offers", *each)

    @override
    def process(self, output: list[str]) -> dict[str, tuple[str, ...]]:
        """Parse what the program printed."""
        return dict(transaction(output).offers)


OFFERS: Mapping[PackageManager, type[_Versions]] = {
    PackageManager.APT: AptOffers,
    PackageManager.DNF: DnfOffers,
}
"""The versions that a package manager's repositories have."""
