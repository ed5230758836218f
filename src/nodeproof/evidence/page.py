"""Lines of text for a terminal: wrapped, indented, coloured, never cut."""

from __future__ import annotations

from io import StringIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from nodeproof.engine.result import NodeStatus
from nodeproof.evidence.plain import printable

STYLES = {
    NodeStatus.OK: "green",
    NodeStatus.CHANGED: "cyan",
    NodeStatus.PENDING: "yellow",
    NodeStatus.FAILED: "bold red",
    NodeStatus.REFUSED: "bold magenta",
    NodeStatus.UNREACHABLE: "bold red",
}
NARROWEST = 20
"""Columns; a narrower terminal gets lines of this width."""
LONGEST_REASON = 12
"""Lines of a reason that are shown unless everything is asked for."""


class Page:
    """Collects lines that fit a width."""

    def __init__(self, width: int, *, color: bool) -> None:
        self.width = max(width, NARROWEST)
        # An empty environment: NO_COLOR, TERM and COLUMNS are the caller's business.
        self._console = Console(
            file=StringIO(),
            width=self.width,
            force_terminal=color,
            color_system="standard" if color else None,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
            _environ={},
        )
        self._lines: list[Text] = []

    def gap(self) -> None:
        """Add an empty line, unless there is one or this is the beginning."""
        if self._lines and self._lines[-1].plain:
            self._lines.append(Text())

    def line(self, text: str | Text, *, indent: int = 0, style: str = "") -> None:
        """Add text, wrapped; every line of it starts at `indent`."""
        self.beside(" " * indent, text, style=style)

    def beside(self, lead: str | Text, text: str | Text, *, style: str = "") -> None:
        """Add text to the right of a lead; where that leaves too little room, below it."""
        lead = _text(lead)
        body = _text(text, style)
        room = self.width - cell_len(lead.plain)
        if room < min(NARROWEST, self.width // 2):
            self._lines += [_bare(part) for part in self._wrapped(lead, self.width)]
            lead, room = Text("    "), self.width - 4
        for part in self._wrapped(body, room):
            self._lines.append(_bare(Text.assemble(lead, part)))
            lead = Text(" " * cell_len(lead.plain))

    def block(self, text: str, *, indent: int, style: str = "", whole: bool = False) -> None:
        """Add text of several lines; says how many were left out unless all are wanted."""
        lines = printable(text).strip("\n").split("\n")
        if not whole and len(lines) > LONGEST_REASON + 1:
            more = len(lines) - LONGEST_REASON
            lines = [*lines[:LONGEST_REASON], f"… {more} more lines, see --json"]
        for line in lines:
            self.line(line, indent=indent, style=style)

    def diff(self, text: str, *, indent: int) -> None:
        """Add a unified diff, coloured by the first character of each line."""
        styles = {"+": "green", "-": "red", "@": "cyan"}
        for line in printable(text).strip("\n").split("\n"):
            self.line(line, indent=indent, style=styles.get(line[:1], ""))

    def text(self) -> str:
        """Return everything, ending in a line feed."""
        file = self._console.file
        for line in self._lines:
            self._console.print(line, soft_wrap=True)
        if not isinstance(file, StringIO):
            raise TypeError("the console writes elsewhere")
        return file.getvalue()

    def _wrapped(self, text: Text, width: int) -> list[Text]:
        return list(text.wrap(self._console, width, overflow="fold")) or [Text()]


def padded(text: str, cells: int) -> str:
    """Return text filled up to a number of cells; wide characters take two."""
    return text + " " * (cells - cell_len(text))


def _text(text: str | Text, style: str = "") -> Text:
    return text if isinstance(text, Text) else Text(printable(text), style=style)


def _bare(line: Text) -> Text:
    line.rstrip()
    return line
