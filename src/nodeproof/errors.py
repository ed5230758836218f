"""Errors that end a command, each with its exit code."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command; documented in docs/reference/exit-codes.md and stable."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    PENDING = 5
    INTERRUPTED = 130


class NodeproofError(Exception):
    """One line of what is wrong, one line of what to do about it.

    The message reads ``<subject>: <what is wrong, with the value>``; the hint is shown below it.
    """

    exit_code = Exit.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(NodeproofError):
    """The command line, the inventory or the settings are wrong; no node was touched."""

    exit_code = Exit.USAGE


class UnreachableError(NodeproofError):
    """A node could not be reached, its host key is not trusted, or root is not to be had there."""

    exit_code = Exit.UNREACHABLE


class RefusedError(NodeproofError):
    """Going on would not be safe, or cannot work; nothing was changed."""

    exit_code = Exit.REFUSED


def said(error: Exception) -> str:
    """Return what an error says, on one line; one that was not foreseen says its kind too."""
    text = " ".join(str(error).split())
    module = type(error).__module__
    foreseen = isinstance(error, (NodeproofError, OSError)) or module.startswith("pyinfra.")
    return text if foreseen and text else f"{type(error).__name__}: {text}"
