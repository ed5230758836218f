"""Packages that belong together: what is asked of each, and the exact versions there are of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

NEWEST = "newest"
"""Stands for a version where none is asked for, until the repository is known."""


@dataclass(frozen=True)
class Stack:
    """What is installed together, and held."""

    wanted: Mapping[str, str] = field(default_factory=dict)
    """Package to the version as its maker counts, without epoch and revision; empty: any.

    A pattern where a repository has builds of one version: ``*+cuda13.*``.
    """
    pin: str = ""
    """The package that keeps apt in the branch, where the repository has it."""
    without: tuple[str, ...] = ()
    """Patterns of what it takes the place of."""

    @property
    def names(self) -> list[str]:
        """Every package that may be asked for."""
        return sorted({*self.wanted, *filter(None, [self.pin])})


def exact(
    asked: Stack, installed: Mapping[str, str], offers: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Return package to exact version: what is installed where that fits, else the newest offered.

    What nobody offers keeps what is asked for, so that it can be named in a refusal.
    """
    found = {}
    for name, wish in asked.wanted.items():
        there = [installed[name]] if name in installed else []
        fits = [one for one in [*there, *offers.get(name, ())] if is_version(one, wish)]
        plain = "" if "*" in wish else wish
        found[name] = fits[0] if fits else plain or NEWEST
    if asked.pin and (pinning := [*offers.get(asked.pin, ())]):
        found[asked.pin] = installed.get(asked.pin, pinning[0])
    return found


def is_version(version: str, wish: str) -> bool:
    """Tell whether a package's version is of the version that its maker counts."""
    bare = version.partition(":")[2] or version
    return wish in ("", bare, upstream(version)) or fnmatchcase(bare, wish)


def upstream(version: str) -> str:
    """Return a package's version without epoch and revision."""
    bare = version.partition(":")[2] or version
    return bare.rpartition("-")[0] or bare
