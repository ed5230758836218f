"""Mark content that must never be shown: not in a plan, a log, a report or a diff."""

from __future__ import annotations

from io import BytesIO
from typing import Any


class SecretContent(BytesIO):
    """File content that is uploaded but never shown, hashed or compared."""


def is_secret(content: Any) -> bool:
    """Tell whether content was marked."""
    return isinstance(content, SecretContent)
