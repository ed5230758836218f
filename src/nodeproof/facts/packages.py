"""Packages as they are on a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pyinfra.api import FactBase, QuoteString, StringCommand
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


_SIMULATE = r"""
set -f
names=$1; shift
for name in $names; do set -- "$@" "?exact-name($name)"; done
apt-get -s -q --no-install-recommends install -- "$@" 2>/dev/null |
    sed -n 's/^\(Inst\|Remv\) \([^ ]*\) \[\([^]]*\)\].*/\2 \3/p' |
    while read -r name version; do
        apt-cache madison -- "$name" 2>/dev/null | tr -d ' ' |
            awk -F '|' -v v="$version" '$2 == v { found = 1 } END { exit !found }' ||
            printf '%s|%s\n' "$name" "$version"
    done
"""


class AptLastWords(FactBase[dict[str, str]]):
    """
    What an installation of packages would replace or remove, and no repository offers any more.

    .. code:: python

        {"libc6": "2.36-9"}
    """

    called = "what an installation of packages would replace"
    uncounted = "it is read only while package lists are fresh, and moves with them"

    @override
    def requires_command(self, names: str) -> str:
        """Return the program without which nothing is known."""
        return "apt-get"

    @override
    def command(self, names: str) -> StringCommand:
        """Return a script that simulates the installation of these names, separated by blanks."""
        return StringCommand("sh", "-c", QuoteString(_SIMULATE), "sh", QuoteString(names))

    @staticmethod
    @override
    def default() -> dict[str, str]:
        """Return that nothing would be lost."""
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        """Parse ``name|version``."""
        rows = (line.partition("|") for line in output)
        return {name: version for name, _, version in rows if version}
