"""Versions as vendors write them, put in order, and what is asked of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Annotated

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, StringConstraints

_BUILD = re.compile(r"-(?=[0-9])")


@cache
def ordered(text: str) -> Version:
    """Return what `text` sorts by: 580.95.05 < 580.126.09, 2.9.2-0.1.6 > 2.9.2, epochs off.

    A hyphen before a digit (a package's revision, a kernel's build) counts as one more place.
    Raises InvalidVersion for what has no order.
    """
    return Version(_BUILD.sub(".", text.partition(":")[2] or text))


def newest(texts: Iterable[str]) -> str:
    """Return the newest of some versions; raises ValueError where there are none."""
    return max(texts, key=ordered)


def branch_of(driver: str) -> str:
    """Return the branch of an NVIDIA driver: 580 of 580.178.04."""
    return driver.partition(".")[0]


def series_of(version: str, places: int = 2) -> str:
    """Return the first places of a version: 13.0 of 13.0.2, 6.8 of 6.8.0-51-generic."""
    return ".".join(re.split(r"[.-]", version)[:places])


def within(version: str, wanted: str) -> bool:
    """Tell whether a version lies in a specifier such as ``>=12.8,<13``."""
    return SpecifierSet(wanted).contains(ordered(version), prereleases=True)


def is_in_series(version: str, series: str) -> bool:
    """Tell whether `version` begins with the places of `series`: 12.8.1 is in 12 and in 12.8."""
    wanted = re.split(r"[.-]", series)
    return re.split(r"[.-]", version)[: len(wanted)] == wanted


def _a_version(text: str) -> str:
    try:
        ordered(text)
    except InvalidVersion as error:
        raise ValueError("is not a version") from error
    return text


def _a_specifier(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError("is not a specifier such as >=12.8,<13") from error
    return text


VersionText = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9][0-9A-Za-z.:+~-]*$", max_length=64),
    AfterValidator(_a_version),
]
SpecifierText = Annotated[
    str, StringConstraints(min_length=2, max_length=64), AfterValidator(_a_specifier)
]
