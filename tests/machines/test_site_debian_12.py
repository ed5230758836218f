"""The story on Debian 12 with one engine, uninterrupted and unbroken, and taken back."""

from typing import ClassVar

import pytest

from tests.machines.story import SITE, Converged, Fresh, Restarted, TakenBack

pytestmark = [pytest.mark.machines, pytest.mark.xdist_group("debian-12")]


class TestDebian12(TakenBack, Restarted, Converged, Fresh):
    distribution = "debian-12"
    # Its compose is written in Python, which takes an emulated machine minutes to compile.
    site: ClassVar = {**SITE, "containers": {"podman": False, "docker": True, "compose": False}}
