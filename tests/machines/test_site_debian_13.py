"""The whole story on Debian 13."""

import pytest

from tests.machines.story import Story

pytestmark = pytest.mark.machines


class TestDebian13(Story):
    distribution = "debian-13"
