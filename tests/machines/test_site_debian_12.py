"""The whole story on Debian 12."""

import pytest

from tests.machines.story import Story

pytestmark = pytest.mark.machines


class TestDebian12(Story):
    distribution = "debian-12"
