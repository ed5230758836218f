"""A table of nftables as the kernel has it, beside what a file would make of it."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

SCRIPT = """
nft -s list table "$1" "$2" 2>/dev/null | sed 's/^/running /'
[ ! -f "$3" ] || unshare --net sh -c 'nft -f "$3" && nft -s list table "$1" "$2"' sh "$@" \\
  2>/dev/null | sed 's/^/file /'
"""
"""The file is loaded in a network namespace of its own, which is gone when it has been listed;
of a file that nft refuses nothing is listed."""


@dataclass(frozen=True)
class NftTableData:
    """Both as ``nft --stateless list table`` prints them; empty where there is none."""

    running: str = ""
    file: str = ""

    @property
    def loaded(self) -> bool:
        """Whether the kernel has what the file says."""
        return self.running != "" and self.running == self.file


class NftTable(FactBase[NftTableData]):
    """
    A table, and the file that it is loaded from.

    .. code:: python

        NftTableData(running="table inet nodeproof {...", file="table inet nodeproof {...")
    """

    called = "the table {family} {table} of nftables"

    @override
    def command(self, family: str, table: str, path: str) -> StringCommand:
        """Return a command that prints both, each line behind a word."""
        words = (QuoteString(word) for word in (SCRIPT, "sh", family, table, path))
        return StringCommand("sh", "-c", *words)

    @staticmethod
    @override
    def default() -> NftTableData:
        """Return no table."""
        return NftTableData()

    @override
    def process(self, output: list[str]) -> NftTableData:
        """Take the words off."""
        words = [line.partition(" ") for line in output]
        running, file = (
            "\n".join(text for word, _, text in words if word == kind)
            for kind in ("running", "file")
        )
        return NftTableData(running, file)
