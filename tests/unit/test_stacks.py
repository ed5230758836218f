"""Packages that belong together: which versions they get."""

from __future__ import annotations

import pytest

from nodeproof.repositories.stack import NEWEST, Stack, exact, is_version, upstream


@pytest.mark.parametrize(
    ("version", "wish", "is_one"),
    [
        ("580.178.04-1", "580.178.04", True),
        ("580.178.04-0ubuntu1", "580.178.04", True),
        ("1:4.6.0-1", "4.6.0-1", True),
        ("1:4.6.0-1", "4.6.0", True),
        ("4.6.0-1", "4.6.0-1", True),
        ("3:580.178.04-1", "580.178.04", True),
        ("580.178.041-1", "580.178.04", False),
        ("580.178-1", "580.178.04", False),
        ("anything", "", True),
    ],
)
def test_versions_as_their_makers_count(version: str, wish: str, is_one: bool) -> None:
    assert is_version(version, wish) is is_one


def test_upstream() -> None:
    assert [upstream(one) for one in ("1:4.6.0-1", "580.178.04-1", "2.6")] == [
        *("4.6.0", "580.178.04", "2.6")
    ]


def test_exact_versions() -> None:
    asked = Stack({"a": "1.0", "b": "", "c": "2.0"}, "pin")
    offers = {"a": ("1.1-1", "1.0-2", "1.0-1"), "b": ("9-1",)}
    assert exact(asked, {}, offers) == {"a": "1.0-2", "b": "9-1", "c": "2.0"}
    assert exact(asked, {"a": "1.0-1", "b": "8-1"}, offers) == {
        "a": "1.0-1",
        "b": "8-1",
        "c": "2.0",
    }
    assert exact(asked, {}, {**offers, "pin": ("1-1",)})["pin"] == "1-1"
    assert exact(Stack({"b": ""}), {}, {}) == {"b": NEWEST}
