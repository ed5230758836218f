"""The story on Debian 13, with every interruption."""

import pytest

from tests.machines.story import Interrupted, Story

pytestmark = pytest.mark.machines


class TestDebian13(Story, Interrupted):
    distribution = "debian-13"
