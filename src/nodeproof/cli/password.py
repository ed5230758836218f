"""The sudo password: asked for once, kept in memory only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from getpass import getpass

from gevent.lock import RLock

from nodeproof.errors import UnreachableError


class Password:
    """Asks when the first node wants it; every other node gets the same answer."""

    def __init__(self) -> None:
        self._answer: str | None = None
        self._refused = False
        self._lock = RLock()
        self.quiet: Callable[[], AbstractContextManager[None]] = nullcontext
        """Stops whatever draws on the terminal while we ask."""

    def ask(self) -> None:
        """Ask now."""
        self("")

    def __call__(self, host: str) -> str:
        """Return the password; raises UnreachableError when there is nobody to ask."""
        with self._lock:
            if self._refused:
                raise UnreachableError(f"{host or 'sudo'}: no sudo password was given")
            if self._answer is None:
                if not sys.stdin.isatty():
                    raise UnreachableError(
                        f"{host or 'sudo'}: sudo wants a password; no terminal to ask on",
                        hint="run it on a terminal, or let the user become root without a password",
                    )
                try:
                    with self.quiet():
                        self._answer = getpass("sudo password: ")
                except EOFError:
                    self._refused = True
                    return self(host)
            return self._answer
