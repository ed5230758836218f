"""Facts that an operation asks for together are all noted before it is put aside."""

from __future__ import annotations

import pytest

from nodeproof.facts.needed import NeedFact, together


def test_all_are_asked_for_before_one_is_missed() -> None:
    noted: list[str] = []

    def unknown(name: str) -> str:
        noted.append(name)
        raise NeedFact(name)

    with pytest.raises(NeedFact, match="first"):
        together(lambda: unknown("first"), lambda: "known", lambda: unknown("second"))
    assert noted == ["first", "second"]
    assert together(lambda: 1, dict) == [1, {}]


def test_what_is_wrong_is_not_held_back() -> None:
    def fails() -> None:
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"):
        together(fails, lambda: 1)
