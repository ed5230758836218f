"""Find what is shipped beside the code: templates and deploy files."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent.parent


def shipped(*parts: str) -> Path:
    """Return the path of a shipped file, in the wheel or else in the checkout.

    Raises FileNotFoundError where neither has it.
    """
    for root in (PACKAGE, CHECKOUT):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(f"{'/'.join(parts)} is missing from this installation of nodeproof")
