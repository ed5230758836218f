"""Outputs of real machines; SOURCES.md says whose. A broken variant names its one edit."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def recorded(name: str) -> str:
    """Return a recorded output, e.g. ``nvidia/t4.xml``."""
    return (HERE / name).read_text(encoding="utf-8")


def edited(name: str, was: str, becomes: str) -> str:
    """Return a recorded output with one thing different."""
    text = recorded(name)
    assert text.count(was) == 1, f"{name}: {was!r} stands there {text.count(was)} times"
    return text.replace(was, becomes)
