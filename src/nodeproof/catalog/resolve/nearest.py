"""Which changes of the settings are tried when there is no choice, smallest first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from nodeproof.catalog.resolve.case import Case
from nodeproof.catalog.versions import newest, series_of

Change = dict[str, Any]

_SMALL: tuple[Change, ...] = (
    {"modules": "auto"},
    {"nouveau": "off"},
    {"fabric_manager": "auto"},
    {"container_toolkit": "latest"},
    {"source": "vendor"},
    {"secure_boot": "mok"},
    {"installed": "replace"},
    {"installed": "keep"},
)
"""What takes away nothing that was asked for."""
_LARGE: tuple[Change, ...] = (
    {"peer_access": "peermem"},
    {"peer_access": "none"},
    {"gds": False},
    {"gdrcopy": False},
    {"mig": False},
)
_LAST: tuple[Change, ...] = (
    {"container_toolkit": "none"},
    {"rocm": "none"},
    {"intel": "none"},
    {"driver": "none"},
    {"rocm": "none", "driver": "none"},
    {"intel": "none", "driver": "none"},
)
"""What gives nothing, and is better than nothing."""
_WHOLE = ("rocm", "intel", "container_toolkit")
"""What is asked for as a whole, or not at all."""


def changes(case: Case) -> Iterator[Change]:
    """Yield single changes, then pairs; none that gives up safety (allow_…) is among them."""
    singles = [one for one in _singles(case) if _is_change(case, one)]
    yield from singles
    for one, other in combinations(singles, 2):
        if not one.keys() & other.keys():
            yield {**one, **other}
    yield from (one for one in _LAST if _is_change(case, one))


def _singles(case: Case) -> Iterator[Change]:
    yield from _SMALL
    yield from ({"driver": name} for name in _branches(case))
    yield from _cuda(case)
    yield from ({"rocm": name} for name in reversed([*case.catalog.rocm_releases]))
    yield from ({"intel": name} for name in reversed([*case.catalog.intel_releases]))
    yield from _LARGE


def _is_change(case: Case, change: Change) -> bool:
    """Leave out what is so already, and what would ask for more than was asked."""
    for name, value in change.items():
        old = getattr(case.asked, name)
        if old == value or (name in _WHOLE and old == "none"):
            return False
        if name == "peer_access" and old == "none":
            return False
    return True


def _branches(case: Case) -> list[str]:
    """Return branches by their distance from the one that is asked for, else newest first."""
    names = [name for name, one in case.catalog.branches.items() if one.kind != "legacy"]
    number = re.search(r"[0-9]{3}", case.asked.driver)
    if number is None:
        best = {"lts": 0, "production": 1, "new-feature": 2}
        kinds = case.catalog.branches
        return sorted(names, key=lambda one: (best.get(kinds[one].kind, 3), -int(one)))
    wanted = int(number[0])
    return sorted(names, key=lambda one: (abs(int(one) - wanted), -int(one)))


def _cuda(case: Case) -> Iterator[Change]:
    """Yield each series of toolkits in place of the ones that are asked for, newest first."""
    if not case.asked.cuda:
        return
    majors = sorted({series_of(one, 1) for one in case.catalog.cuda_toolkits}, key=int)
    for major in reversed(majors):
        yield {"cuda": [major]}
    yield {"cuda": [series_of(newest(case.catalog.cuda_toolkits))]}
