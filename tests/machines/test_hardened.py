"""The hardening layers together, on a kernel of their own: applied, restarted, proven, reverted."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.machines.story import Converged, Fresh, Restarted, TakenBack

pytestmark = pytest.mark.hardened


class TestHardened(TakenBack, Restarted, Converged, Fresh):
    distribution = "debian-13"
    site: ClassVar = {
        "roles": ["training"],
        "system": {"users": {"trainer": {"groups": ["ml"]}}},
        "kernel": {"level": 2},
        "network": {"trusted": {"lab": ["10.0.2.0/24"]}},
        "ssh": {},
        "hardening": {
            "topics": ["passwords", "accounts", "sessions", "sudo", "schedules", "files"]
        },
        # Level 2 wants audit=1 of the kernel's arguments, which no layer sets yet.
        "audit": {},
        "updates": {},
    }
