"""The story on Debian 13, with every interruption and breaks by hand."""

from typing import ClassVar

import pytest

from tests.machines.devices import Devices
from tests.machines.story import SITE, Broken, Converged, Interrupted, Restarted

pytestmark = [pytest.mark.machines, pytest.mark.xdist_group("debian-13")]


class TestDebian13(Restarted, Devices, Broken, Converged, Interrupted):
    distribution = "debian-13"
    # Both engines: Docker hands out CDI devices on this distribution only.
    site: ClassVar = {**SITE, "containers": {"podman": True, "docker": True, "compose": False}}
