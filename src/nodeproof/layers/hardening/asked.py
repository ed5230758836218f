"""Which checks apply: those of the topics that were asked for."""

from __future__ import annotations

import pytest

from nodeproof.layers.hardening.settings import Settings, Topic


def needs(settings: Settings, topic: Topic) -> None:
    """Skip a check whose topic was left out."""
    if topic not in settings.topics:
        pytest.skip(f"hardening.topics leaves out {topic}")
