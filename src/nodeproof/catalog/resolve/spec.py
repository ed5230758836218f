"""The words in which versions are asked for: ``lts``, ``580``, ``580.178.04``, ``>=12.8,<13``."""

from __future__ import annotations

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from nodeproof.catalog.model.driver import Branch
from nodeproof.catalog.versions import branch_of, is_in_series, within

_SPECIFIER = r"[<>=!~][<>=!~0-9., ]*"
RELEASE = rf"^(latest|[0-9]+(\.[0-9]+)*|{_SPECIFIER})$"
RELEASE_OR_NONE = RELEASE.replace("latest", "none|latest", 1)
DRIVER = rf"^(none|lts|latest-production|latest|[0-9]{{3}}(\.[0-9]+)*|{_SPECIFIER})$"

KINDS = {"lts": ("lts",), "latest-production": ("production",)}
"""What a word means for branches; every other wish is about versions."""
WORDS = (*KINDS, "latest")


def a_specifier(text: str) -> str:
    """Refuse what looks like a specifier and is none."""
    if text[:1] in "<>=!~":
        try:
            SpecifierSet(text)
        except InvalidSpecifier as error:
            raise ValueError("is not a specifier such as >=12.8,<13") from error
    return text


def is_release(version: str, wish: str) -> bool:
    """Tell whether a version is what is asked for; ``latest`` is any, the newest is taken."""
    if wish == "latest":
        return True
    return is_in_series(version, wish) if wish[0].isdigit() else within(version, wish)


def is_driver(version: str, branch: Branch, wish: str) -> bool:
    """Tell whether a driver is what is asked for; branch names in specifiers are versions, too."""
    if wish in KINDS:
        return branch.kind in KINDS[wish]
    return is_release(version, wish)


def is_exact(wish: str) -> bool:
    """Tell whether a wish names one driver version."""
    return wish[0].isdigit() and wish != branch_of(wish)
