"""The story on Debian 12, uninterrupted."""

import pytest

from tests.machines.story import Fresh, Story

pytestmark = pytest.mark.machines


class TestDebian12(Story, Fresh):
    distribution = "debian-12"
