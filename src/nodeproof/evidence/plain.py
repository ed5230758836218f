"""Text from nodes made safe to show: nothing in it can steer a terminal, break XML or hide."""

from __future__ import annotations

import re

# C0 and C1 controls (ESC starts terminal commands; XML 1.0 allows none but tab and line feed),
# what turns the reading direction, other line separators, lone surrogates, non-characters.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
    "\ud800-\udfff\ufeff\ufffe\uffff]"
)


def printable(text: str) -> str:
    """Return `text` with every character that is not plainly shown written as its escape."""
    return _UNSAFE.sub(_escape, text.replace("\r\n", "\n")).expandtabs(4)


def one_line(text: str) -> str:
    """Return `text` made safe, on one line."""
    return " ".join(printable(text).split())


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")
