"""The seal of the journal as it is on a node."""

from __future__ import annotations

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

SEAL_HOME = "/var/lib/nodeproof/journal-seal"
SEALED = (
    'id=$(cat /etc/machine-id); d=/var/log/journal/$id; [ -f "$d/fss" ] && echo fss; '
    f"[ -s {SEAL_HOME}/verification-key.pem ] && echo kept; "
    'journalctl --header --file "$d/system.journal" 2>/dev/null | '
    "grep -qi '^Compatible flags:.*SEALED' && echo sealed; true"
)


class Sealed(FactBase[frozenset[str]]):
    """
    How far the journal is sealed: it has a key (fss), the other half is kept, the file is sealed.

    .. code:: python

        frozenset({"fss", "kept", "sealed"})
    """

    default = frozenset
    called = "the seal of the journal"

    @override
    def command(self) -> StringCommand:
        """Return a command that prints a word for each."""
        return StringCommand("sh", "-c", QuoteString(SEALED))

    @override
    def process(self, output: list[str]) -> frozenset[str]:
        """Return the words."""
        return frozenset(output)
