"""When a node may be rebooted."""

from __future__ import annotations

from enum import StrEnum


class When(StrEnum):
    """Asked for in the inventory or on the command line, which wins."""

    NEVER = "never"
    IF_NEEDED = "if-needed"
    ALWAYS = "always"
