"""What the judged node is asked to be: every layer that hardens, at its strictest."""

from __future__ import annotations

from typing import Any

SITE: dict[str, Any] = {
    "roles": ["containers", "training"],
    "system": {"users": {"trainer": {"groups": ["ml"]}}},
    "kernel": {"level": 2},
    "network": {"trusted": {"lab": ["10.0.0.0/8"]}},
    "confinement": {},
    "ssh": {},
    "hardening": {"level": 2},
    "audit": {"level": 2},
    "updates": {},
}
LEFT_OUT_ON_CONTAINERS = ("kernel", "confinement", "audit")
"""A container node has its host's kernel."""
