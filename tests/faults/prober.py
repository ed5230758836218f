"""Somebody who logs in all the time, and knows for how long it was not possible."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType
from typing import Self

from nodeproof.lab import ssh
from tests.faults.bench import ran

PAUSE_S = 6.0
TRY_S = 25.0


class Prober:
    """Tries a new login with sudo again and again; use it in a ``with`` statement.

    Time during which a fault itself takes power or network away does not count: access is
    missed from the moment that sshd answers on its port again.
    """

    def __init__(self, access: ssh.Access) -> None:
        self._access = access
        self._argv = access.argv("sudo -n true", "-o", "ConnectTimeout=10")
        self._stop = threading.Event()
        self._away = threading.Event()
        self._since = time.monotonic()
        self._thread = threading.Thread(target=self._probe, daemon=True)
        self.longest_s = 0.0
        self.tries = 0
        self.last_problem = ""

    def __enter__(self) -> Self:
        self._since = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(TRY_S * 2)
        if not self._away.is_set():
            self.longest_s = max(self.longest_s, time.monotonic() - self._since - PAUSE_S - TRY_S)

    def away(self) -> None:
        """Say that the machine cannot be reached from now on, until it answers again."""
        self._away.set()

    def _probe(self) -> None:
        while not self._stop.is_set():
            if self._away.is_set() and not self._answers():
                self._stop.wait(0.5)
                continue
            done = ran(self._argv, TRY_S)
            self.tries += 1
            now = time.monotonic()
            if done is not None and done.returncode == 0:
                self._away.clear()
                self.longest_s = max(self.longest_s, now - self._since)
                self._since = now
            else:
                self.last_problem = done.stderr.strip() if done is not None else "no answer"
            self._stop.wait(PAUSE_S)

    def _answers(self) -> bool:
        """Say whether sshd answers; the clock of lost access starts when it does."""
        try:
            with socket.create_connection((self._access.address, self._access.port), 2) as link:
                link.settimeout(5)
                if link.recv(4) != b"SSH-":
                    return False
        except OSError:
            return False
        self._since = time.monotonic()
        self._away.clear()
        return True
