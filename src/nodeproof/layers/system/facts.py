"""What the system layer alone needs to know of a node."""

from __future__ import annotations

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override


class LoginKeys(FactBase[frozenset[str]]):
    """
    The keys that let a user in now, without options and comments.

    .. code:: python

        frozenset({"ssh-ed25519 AAAA..."})
    """

    default = frozenset
    called = "the keys of {account}"

    @override
    def command(self, account: str) -> StringCommand:
        """Return a command that reads the user's key files as the user."""
        script = (
            'runuser -u "$1" -- sh -c '
            '"cd && cat .ssh/authorized_keys .ssh/authorized_keys2 2>/dev/null; true"'
        )
        return StringCommand("sh", "-c", QuoteString(script), "sh", QuoteString(account))

    @override
    def process(self, output: list[str]) -> frozenset[str]:
        """Find type and base64 in each line; options may stand before them."""
        return frozenset(bare for line in output if (bare := bare_key(line)))


def bare_key(line: str) -> str:
    """Return a key's type and base64 part, or nothing for a line that holds no key."""
    words = line.split()
    starts = (at for at, word in enumerate(words) if word.startswith(("ssh-", "ecdsa-", "sk-")))
    at = next(starts, None)
    return "" if at is None else " ".join(words[at : at + 2])
