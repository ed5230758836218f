"""The table of distributions: whole, asked by all, and clear about what it lacks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import nodeproof
from nodeproof.catalog.distributions import (
    Distribution,
    UnsupportedDistributionError,
    distribution,
    distributions,
)

SOURCE = Path(nodeproof.__file__).parent
ROWS = sorted(distributions().items())


@pytest.mark.parametrize(("key", "row"), ROWS)
def test_key_says_what_the_row_is(key: str, row: Distribution) -> None:
    assert key == f"{row.id}-{row.version}"
    assert distribution(row.id, row.version) is row
    assert row.version in row.title


@pytest.mark.parametrize("part", ["packages", "units", "features"])
def test_every_distribution_answers_the_same_questions(part: str) -> None:
    answered = {key: set(getattr(row, part)) for key, row in ROWS}
    assert len({frozenset(keys) for keys in answered.values()}) == 1, answered


@pytest.mark.parametrize(("key", "row"), ROWS)
def test_names_are_names(key: str, row: Distribution) -> None:
    for packages in row.packages.values():
        assert packages
        assert len(set(packages)) == len(packages)
        assert all(re.fullmatch(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+]", name) for name in packages)
    assert all(re.fullmatch(r"[\w@.-]+\.(service|timer|socket)", u) for u in row.units.values())


def test_what_layers_ask_for_is_there() -> None:
    """A key that only one row has would fail on the others, in the middle of an apply."""
    asked = {
        (part, key)
        for path in (SOURCE / "layers").rglob("*.py")
        for part, key in re.findall(
            r'distribution\.(packages|units|features)\["(\w+)"\]', path.read_text(encoding="utf-8")
        )
    }
    assert asked
    for _, row in ROWS:
        assert not [(part, key) for part, key in asked if key not in getattr(row, part)]


@pytest.mark.parametrize(
    ("os_id", "version", "named"),
    [
        ("debian", "11", "debian 11"),
        ("debian", "", "debian"),
        ("fedora", "43", "fedora 43"),
        ("", "", "a system without os-release"),
        ("Debian", "13", "Debian 13"),
        ("debian", "13.1", "debian 13.1"),
    ],
)
def test_others_are_refused_by_name(os_id: str, version: str, named: str) -> None:
    with pytest.raises(UnsupportedDistributionError) as caught:
        distribution(os_id, version)
    assert str(caught.value).startswith(f"{named} is not supported; supported are ")
    assert all(row.title in str(caught.value) for _, row in ROWS)


def test_nobody_else_names_a_distribution() -> None:
    """What differs between distributions is in the table, nowhere else."""
    allowed = {"catalog", "lab"}  # the lab builds their images
    named = {row.id for _, row in ROWS} | {"ubuntu", "rocky", "fedora", "bookworm", "trixie"}
    wrong = [
        f"{path.relative_to(SOURCE)}, line {node.lineno}: {node.value}"
        for path in SOURCE.rglob("*.py")
        if path.relative_to(SOURCE).parts[0] not in allowed
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in named
    ]
    assert not wrong
