"""A table of nftables as the kernel has it, beside what a file would make of it."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

SCRIPT = """
echo running; nft -s list table $1 2>/dev/null
echo file; [ -f "$2" ] || exit 0
unshare --net sh -c 'nft -f "$2" && nft -s list table $1' sh "$1" "$2" 2>/dev/null
true
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

    called = "the table {table} of nftables"

    @override
    def command(self, table: str, path: str) -> StringCommand:
        """Return a command that prints both, each after a word of its own."""
        return StringCommand(
            "sh", "-c", QuoteString(SCRIPT), "sh", QuoteString(table), QuoteString(path)
        )

    @staticmethod
    @override
    def default() -> NftTableData:
        """Return no table."""
        return NftTableData()

    @override
    def process(self, output: list[str]) -> NftTableData:
        """Split at the words."""
        lines = [line.rstrip("\n") for line in output]
        middle = lines.index("file")
        return NftTableData("\n".join(lines[1:middle]), "\n".join(lines[middle + 1 :]))
