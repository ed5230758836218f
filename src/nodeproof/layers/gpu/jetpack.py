"""JetPack on a Jetson: which one, how much of it, and from which repositories.

The repositories are those that the node's own list names; what is pinned is their key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pyinfra.api import FactBase
from typing_extensions import override

from nodeproof.catalog.versions import series_of
from nodeproof.catalog.whole import Catalog
from nodeproof.errors import UsageError
from nodeproof.layers.gpu.settings import Jetson, Settings
from nodeproof.repositories.spec import AptRepository, SigningKey
from nodeproof.repositories.stack import Stack

PACKAGES = {"runtime": "nvidia-jetpack-runtime", "all": "nvidia-jetpack"}
"""NVIDIA's metapackages; the second needs the first, and what builds."""

_COMMAND = (
    "for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list "
    "/etc/apt/sources.list.d/*.sources; do "
    '[ -r "$f" ] && sed "s#^#$f|#" "$f"; done; true'
)
_ONE_LINE = re.compile(r"deb(?:-src)?\s+(?:\[[^]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)")
_OURS = "/jetson/"
"""A part of the addresses of all of them."""


@dataclass(frozen=True)
class SourcesData:
    """The Jetson repositories that apt is told of."""

    uris: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    mixed: tuple[str, ...] = ()
    """Files that name others, too."""


class JetsonSources(FactBase[SourcesData]):
    """
    Where a Jetson's packages come from.

    .. code:: python

        SourcesData(uris=("https://repo.download.nvidia.com/jetson/common",), suites=("r36.4",))
    """

    called = "the Jetson repositories that apt is told of"

    @override
    def command(self) -> str:
        """Return a script that prints apt's sources, each line after its file."""
        return _COMMAND

    @staticmethod
    @override
    def default() -> SourcesData:
        """Return that there are none."""
        return SourcesData()

    @override
    def process(self, output: list[str]) -> SourcesData:
        """Parse both formats; see sources.list(5)."""
        files: dict[str, list[str]] = {}
        for line in output:
            path, _, text = line.partition("|")
            files.setdefault(path, []).append(text)
        uris: dict[str, None] = {}
        suites: dict[str, None] = {}
        mixed = []
        for path, lines in files.items():
            named = [*(_deb822 if path.endswith(".sources") else _one_line)(lines)]
            ours = [(uri, suite) for uri, suite in named if _OURS in uri]
            uris |= dict.fromkeys(uri for uri, _ in ours)
            suites |= dict.fromkeys(suite for _, suite in ours)
            if ours and len(ours) < len(named):
                mixed.append(path)
        return SourcesData(tuple(uris), tuple(suites), tuple(mixed))


def _one_line(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if found := _ONE_LINE.match(line.strip()):
            yield found["uri"], found["suite"]


def _deb822(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for stanza in "\n".join(line for line in lines if not line.startswith("#")).split("\n\n"):
        rows = (line.partition(":") for line in stanza.splitlines() if line[:1].isalpha())
        fields = {name.lower(): value.split() for name, _, value in rows}
        if fields.get("enabled") != ["no"]:
            for uri in fields.get("uris", ()):
                yield from ((uri, suite) for suite in fields.get("suites", ()))


def release(asked: Jetson, l4t: str, catalog: Catalog) -> str:
    """Return the JetPack that belongs to the Jetson Linux that runs.

    Raises UsageError where it is not the one that is asked for, or none is known.
    """
    if not l4t:
        raise UsageError("/etc/nv_tegra_release does not say which Jetson Linux runs")
    if asked.jetpack is not None:
        if asked.jetpack not in catalog.jetpacks:
            raise UsageError(f"JetPack {asked.jetpack} is not in the catalog")
        needs = catalog.jetpacks[asked.jetpack].l4t
        if needs != l4t:
            raise UsageError(
                f"Jetson Linux {l4t} runs, and JetPack {asked.jetpack} is that of {needs}; "
                "update Jetson Linux first, or ask for its own"
            )
        return asked.jetpack
    found = next((name for name, one in catalog.jetpacks.items() if one.l4t == l4t), "")
    if not found:
        raise UsageError(
            f"Jetson Linux {l4t} is of no JetPack in the catalog; add it to your own jetpacks.toml"
        )
    return found


def repository(
    settings: Settings, l4t: str, sources: SourcesData, catalog: Catalog
) -> AptRepository:
    """Return the node's repositories, with the key that is pinned.

    Raises UsageError where there are none, or those of another Jetson Linux.
    """
    suite = f"r{series_of(l4t)}"
    if not sources.uris:
        raise UsageError(
            "apt is told of no Jetson repository; put back "
            "/etc/apt/sources.list.d/nvidia-l4t-apt-source.list"
        )
    if other := [one for one in sources.suites if one != suite]:
        raise UsageError(
            f"Jetson Linux {l4t} runs, and apt is told of the repositories of "
            f"{' and '.join(other)}; they must be those of {suite}"
        )
    if sources.mixed:
        raise UsageError(
            f"{' and '.join(sources.mixed)} names the Jetson repositories beside others; move them "
            "into a file of their own, which can give way"
        )
    key = catalog.keys["jetson"]
    return AptRepository(
        name="jetson",
        uris=sources.uris,
        suites=(suite,),
        components=("main",),
        supplies=("*",),
        priority=500,
        key=SigningKey(
            (settings.repository_key or key.fingerprint or "",),
            url=settings.repository_key_uri or key.url,
        ),
    )


def stack(asked: Jetson, name: str) -> Stack:
    """Return the packages of a JetPack, e.g. nvidia-jetpack in 6.2.1+b38 or 7.2-b49."""
    return Stack({PACKAGES[asked.packages]: f"{name}[+-]b*"})
