"""The story on Debian 12, uninterrupted and unbroken, and taken back."""

import pytest

from tests.machines.story import Converged, Fresh, Restarted, TakenBack

pytestmark = [pytest.mark.machines, pytest.mark.xdist_group("debian-12")]


class TestDebian12(TakenBack, Restarted, Converged, Fresh):
    distribution = "debian-12"
