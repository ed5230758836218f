"""The story on Debian 13, with every interruption and breaks by hand."""

import pytest

from tests.machines.story import Broken, Converged, Interrupted, Restarted

pytestmark = [pytest.mark.machines, pytest.mark.xdist_group("debian-13")]


class TestDebian13(Restarted, Broken, Converged, Interrupted):
    distribution = "debian-13"
