"""The story on Debian 12, uninterrupted and unbroken."""

import pytest

from tests.machines.story import Converged, Fresh, Restarted

pytestmark = [pytest.mark.machines, pytest.mark.xdist_group("debian-12")]


class TestDebian12(Restarted, Converged, Fresh):
    distribution = "debian-12"
