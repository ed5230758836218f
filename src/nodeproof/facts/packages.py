"""Packages as they are on a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pyinfra.api import FactBase
from typing_extensions import override

from nodeproof.uncounted import Uncounted

FRESH_MINUTES = 360
"""Package lists younger than this are not fetched again."""


@dataclass(frozen=True)
class PackagesData:
    """What a package manager knows."""

    installed: dict[str, str] = field(default_factory=dict)
    """Name to version, fully installed ones only."""
    broken: tuple[str, ...] = ()
    """Names that an interrupted run left half installed or unconfigured."""
    lists_fresh: Annotated[bool, Uncounted("they age, and are fetched by timers")] = False


class AptPackages(FactBase[PackagesData]):
    """
    Packages of a distribution that uses dpkg and apt.

    .. code:: python

        PackagesData(installed={"sudo": "1.9.16p2-3"}, broken=(), lists_fresh=True)
    """

    called = "packages"

    @override
    def command(self) -> str:
        """Return a script that prints one line a package."""
        return (
            "dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Version}\\n' || exit; "
            "find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' "
            f"-mmin -{FRESH_MINUTES} 2>/dev/null | head -n 1 | sed 's/.*/fresh/'; "
            "ls /var/lib/dpkg/updates 2>/dev/null | head -n 1 | sed 's/.*/interrupted/'"
        )

    @staticmethod
    @override
    def default() -> PackagesData:
        """Return that nothing is known to be installed."""
        return PackagesData()

    @override
    def process(self, output: list[str]) -> PackagesData:
        """Parse dpkg's states: ``ii`` and ``hi`` are whole, ``rc`` and ``un`` absent."""
        installed: dict[str, str] = {}
        broken: list[str] = []
        for line in output:
            state, _, rest = line.partition("|")
            name, _, version = rest.partition("|")
            if not rest:
                if line == "interrupted":
                    broken.append("dpkg's journal")
            elif state in ("ii ", "hi "):
                installed[name] = version
            elif state[1] not in "cn":
                broken.append(name)
        return PackagesData(installed, tuple(broken), "fresh" in output[-2:])

    @staticmethod
    def things(value: PackagesData) -> dict[str, str]:
        """Return each package's version, by what people call it."""
        whole = {f"package {name}": version for name, version in value.installed.items()}
        return whole | {f"half installed package {name}": "" for name in value.broken}
