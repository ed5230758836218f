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
from nodeproof.layers import LAYER_NAMES

SOURCE = Path(nodeproof.__file__).parent
ROWS = sorted(distributions().items())


@pytest.mark.parametrize(("key", "row"), ROWS)
def test_key_says_what_the_row_is(key: str, row: Distribution) -> None:
    assert key.rpartition("-")[2] == row.version
    assert all(distribution(one, row.version) is row for one in row.ids)
    assert row.version in row.title


@pytest.mark.parametrize(
    ("os_id", "version", "key"),
    [
        ("rocky", "9.8", "el-9"),
        ("almalinux", "9", "el-9"),
        ("rhel", "10.2", "el-10"),
        ("rocky", "10.1", "el-10"),
    ],
)
def test_minor_releases_are_one_row(os_id: str, version: str, key: str) -> None:
    assert distribution(os_id, version) is distributions()[key]


@pytest.mark.parametrize("part", ["packages", "units", "features"])
def test_every_distribution_answers_the_same_questions(part: str) -> None:
    answered = {key: set(getattr(row, part)) for key, row in ROWS if not row.layers}
    assert len({frozenset(keys) for keys in answered.values()}) == 1, answered


def test_layers_that_a_distribution_lacks_are_named() -> None:
    el = distributions()["el-9"]
    assert el.lacks(["gpu", "cuda"]) == el.lacks([]) == ""
    assert el.lacks(["system", "gpu", "ssh"]) == (
        f"on {el.title} there are only the layers gpu and cuda, not system, ssh; "
        "leave the rest out: --skip-layer system --skip-layer ssh"
    )
    assert distributions()["debian-13"].lacks(LAYER_NAMES) == ""
    assert all({*row.layers} <= {*LAYER_NAMES} for _, row in ROWS)


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
        (path.parent.name, part, key)
        for path in (SOURCE / "layers").rglob("*.py")
        for part, key in re.findall(
            r'distribution\.(packages|units|features)\["(\w+)"\]', path.read_text(encoding="utf-8")
        )
    }
    assert asked
    for _, row in ROWS:
        there = row.layers or LAYER_NAMES
        wrong = [one for one in asked if one[0] in there and one[2] not in getattr(row, one[1])]
        assert not wrong


@pytest.mark.parametrize(
    ("os_id", "version", "named"),
    [
        ("debian", "11", "debian 11"),
        ("debian", "", "debian without a version (VERSION_ID)"),
        ("fedora", "43", "fedora 43"),
        ("", "", "a system without os-release"),
        ("Debian", "13", "Debian 13"),
        ("debian", "130", "debian 130"),
        ("rocky", "8.10", "rocky 8.10"),
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
    named = {one for _, row in ROWS for one in row.ids}
    named |= {"ubuntu", "fedora", "bookworm", "trixie"}
    wrong = [
        f"{path.relative_to(SOURCE)}, line {node.lineno}: {node.value}"
        for path in SOURCE.rglob("*.py")
        if path.relative_to(SOURCE).parts[0] not in allowed
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in named
    ]
    assert not wrong
