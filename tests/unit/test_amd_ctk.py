"""What we merge for AMD, beside what AMD's own tool makes of the same files (recorded)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nodeproof import merging
from nodeproof.layers.containers import configuration
from nodeproof.layers.containers.settings import Settings

RECORDED = Path(__file__).parent.parent / "recorded"
NAMES = [path.name for path in (RECORDED / "amd-ctk" / "after").iterdir()]
OURS = configuration.docker(Settings(docker=True, amd_runtime=True), cdi=True)
MINE = {key: OURS[key] for key in ("features", "runtimes")}
"""What AMD's tool is about."""


@pytest.mark.parametrize("name", NAMES)
def test_after_amds_own_nothing_is_left_to_do(name: str) -> None:
    """Who ran amd-ctk before is not told that the two disagree."""
    text = (RECORDED / "amd-ctk" / "after" / name).read_text(encoding="utf-8")
    assert merging.merge(text, "json", MINE).text == text


@pytest.mark.parametrize("name", NAMES)
def test_ours_is_amds_without_the_loss(name: str) -> None:
    """AMD's tool takes other features of the user's out; that is all that differs."""
    before = (RECORDED / "nvidia-ctk" / "before" / name).read_text(encoding="utf-8")
    after = json.loads((RECORDED / "amd-ctk" / "after" / name).read_text(encoding="utf-8"))
    merged = json.loads(merging.merge(before, "json", MINE).text)
    kept = json.loads(before).get("features", {})
    assert merged == {**after, "features": {**kept, "cdi": True}}


def test_there_are_recordings() -> None:
    assert NAMES
