"""What standards ask for, item by item, and which rules serve which items.

``standards.json`` is made by ``tools/standards.py`` of the repository, which says what it reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).with_name("standards.json")


@dataclass(frozen=True)
class Items:
    """The identifiers of one standard, in the standard's order."""

    automated: tuple[str, ...]
    """Those that the source has a rule for."""
    others: tuple[str, ...] = ()
    version: str = ""
    source: str = ""


@cache
def items() -> Mapping[str, Items]:
    """Return what each standard asks for, by its key."""
    return {
        key: Items(
            automated=tuple(row["automated"].split()),
            others=tuple(row["others"].split()),
            version=row["version"],
            source=row["source"],
        )
        for key, row in _data()["standards"].items()
    }


@cache
def rules() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Return each rule that a control may name, with the items of each standard it serves."""
    return {
        rule: {key: tuple(served.split()) for key, served in row.items()}
        for rule, row in _data()["rules"].items()
    }


def commits() -> Mapping[str, str]:
    """Return the repositories that were read, each with its commit."""
    found: Mapping[str, str] = _data()["commits"]
    return found


def natural(identifier: str) -> list[tuple[int, str]]:
    """Return a key that sorts 1.10 behind 1.9."""
    return [(int(digits or 0), rest) for digits, rest in re.findall(r"(\d*)(\D*)", identifier)]


def through(table: Mapping[str, Iterable[str]], served: Iterable[str]) -> tuple[str, ...]:
    """Return the items of a table that stand for some controls of NIST 800-53, or families."""
    found = set(served)
    families = {one.partition("-")[0] for one in found}
    whole = found | families | {one.partition("(")[0] for one in found}
    return tuple(item for item, named in table.items() if whole & set(named))


def union(
    rows: Iterable[Mapping[str, Iterable[str]]], order: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Return several mappings as one: standards in their order, items in the standard's."""
    found: dict[str, set[str]] = {}
    for row in rows:
        for key, served in row.items():
            found.setdefault(key, set()).update(served)
    known = [*order, *(key for key in found if key not in set(order))]
    return {key: tuple(sorted(found[key], key=natural)) for key in known if found.get(key)}


@cache
def _data() -> Mapping[str, Any]:
    data: Mapping[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))
    return data
