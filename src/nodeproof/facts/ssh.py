"""OpenSSH as it is on a node."""

from __future__ import annotations

from pyinfra.api import FactBase
from typing_extensions import override


class SshAlgorithms(FactBase[dict[str, frozenset[str]]]):
    """
    Algorithms that the installed OpenSSH knows, by kind.

    .. code:: python

        {"kex": frozenset({"curve25519-sha256"}), "cipher": ..., "mac": ..., "key": ...}
    """

    default = dict
    called = "what OpenSSH knows"

    @override
    def requires_command(self) -> str:
        """Return the client, which every server package depends on."""
        return "ssh"

    @override
    def command(self) -> str:
        """Return a script that prints ``kind name`` lines."""
        return 'for k in kex cipher mac key-sig; do ssh -Q "$k" | sed "s/^/$k /"; done'

    @override
    def process(self, output: list[str]) -> dict[str, frozenset[str]]:
        """Group the lines by kind."""
        kinds: dict[str, set[str]] = {}
        for line in output:
            kind, _, name = line.partition(" ")
            kinds.setdefault(kind, set()).add(name)
        return {kind: frozenset(names) for kind, names in kinds.items()}
