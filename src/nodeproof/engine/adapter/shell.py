"""One long-lived root shell on a node: one sudo authentication, one round trip per command.

Commands are written one after another and answered in order, so many can be under way at once
(pipelined). Standard output and standard error end with a random marker each; everything between
two markers is the command's, byte for byte.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import gevent
from gevent.event import AsyncResult
from gevent.lock import RLock
from gevent.queue import Queue

from nodeproof.errors import UnreachableError

READY = "nodeproof-ready"
PASSWORD = "nodeproof-password"  # noqa: S105 - a line that the node prints, not a password
NO_SUDO = "nodeproof-no-sudo"

# The user's login shell may be anything, so the script is one quoted argument of sh. sudo reads
# the password byte by byte (-S), so what is written after it reaches the root shell; its prompt
# (-p) goes to standard error, and a second prompt says that the password was wrong. Start-up
# files may print anything, also half a line; hence the empty lines.
_START = f"""
if [ "$(id -u)" = 0 ]; then echo; echo {READY}; exec sh
elif ! command -v sudo >/dev/null; then echo; echo {NO_SUDO}; exit 1
elif sudo -n true 2>/dev/null; then exec sudo -n -H sh -c 'echo; echo {READY}; exec sh'
else echo; echo {PASSWORD}; exec sudo -S -k -H -p {PASSWORD} sh -c 'echo; echo {READY}; exec sh'
fi
"""
# Hardened nodes have a tight umask and users a poor PATH; neither may change what commands do.
_SETTLE = "cd /; umask 022; export LC_ALL=C; PATH=/usr/local/sbin:/usr/sbin:/sbin:$PATH"

TIMEOUT_KILL_S = 5
TIMEOUT_SLACK_S = 20
START_S = 60
"""How long sudo may think; the time in which somebody types the password does not count."""
LAST_WORDS_S = 1

_UPLOAD = """(umask 077; d={dest}; t=$(mktemp -- "$d.XXXXXXXX") || exit 1
trap 'rm -f -- "$t"' EXIT
[ ! -f "$d" ] || cp --attributes-only --preserve=all -- "$d" "$t" || exit 1
base64 -d >"$t" && sync -- "$t" && mv -fT -- "$t" "$d"
) <<'{end}'
{text}{end}"""


class Streams(Protocol):
    """A started command's three streams; reading raises OSError when the node is gone."""

    def write(self, data: bytes) -> None:
        """Write all of `data` to its standard input."""

    def read_out(self) -> bytes:
        """Return the next bytes of standard output; empty at its end."""

    def read_err(self) -> bytes:
        """Return the next bytes of standard error; empty at its end."""

    def close(self) -> None:
        """End the command."""


class ConnectionLostError(OSError):
    """The node stopped answering; what the last command did is not known."""


@dataclass(frozen=True)
class _Part:
    """One stream's share of one command: its bytes end at the marker."""

    marker: bytes
    answer: AsyncResult = field(default_factory=AsyncResult)


class _Reader:
    """Cuts one stream into the answers of the commands, in order."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._buffer = b""
        self.queue: Queue[_Part] = Queue()

    def until(self, marker: bytes) -> bytes:
        """Return the bytes before the marker; raises ConnectionLostError at the stream's end."""
        searched = 0
        while (at := self._buffer.find(marker, searched)) < 0:
            searched = max(0, len(self._buffer) - len(marker))
            try:
                data = self._read()
            except OSError as error:
                raise ConnectionLostError(f"connection lost: {error}") from error
            if not data:
                raise ConnectionLostError("connection lost: the node closed it")
            self._buffer += data
        head, self._buffer = self._buffer[:at], self._buffer[at + len(marker) :]
        return head

    def rest(self) -> bytes:
        """Return what comes up to the stream's end, or in a second at most."""
        with gevent.Timeout(LAST_WORDS_S, exception=False), contextlib.suppress(OSError):
            while data := self._read():
                self._buffer += data
        return self._buffer

    def serve(self) -> None:
        """Answer the queue for as long as the stream lasts, then tell all who wait."""
        while True:
            part = self.queue.get()
            try:
                head = self.until(part.marker)
                part.answer.set((head, self.until(b"\n")))
            except ConnectionLostError as error:
                part.answer.set_exception(error)
                while True:  # the stream has ended: whoever still comes gets the same answer
                    self.queue.get().answer.set_exception(error)


class Shell:
    """A root shell on one node.

    `start` starts a command given as one string and returns its streams; `password` is called
    only when sudo asks for one. Raises UnreachableError when root is not to be had.
    """

    def __init__(
        self, host: str, start: Callable[[str], Streams], password: Callable[[str], str]
    ) -> None:
        self.host = host
        self._streams = start(f"exec sh -c {shlex.quote(_START)}")
        self._out = _Reader(self._streams.read_out)
        self._err = _Reader(self._streams.read_err)
        self._write_lock = RLock()
        self.alive = True
        self._asked_again = False
        try:
            self._become_root(password)
        except BaseException:
            self.close()
            raise
        self._servers = [gevent.spawn(self._out.serve), gevent.spawn(self._err.serve)]
        self._ask(_SETTLE, None)

    def run(self, command: str, *, timeout: float | None = None) -> tuple[int, bytes, bytes]:
        """Run a command in a new ``sh`` and return its exit code, output and error output.

        Raises TimeoutError (the command was killed) and ConnectionLostError.
        """
        argv = ["sh", "-c", command]
        if timeout:
            argv = ["timeout", "-k", str(TIMEOUT_KILL_S), str(timeout), *argv]
        code, out, err = self._ask(f"{shlex.join(argv)} </dev/null", timeout)
        if timeout and code in (124, 137):
            raise TimeoutError(f"no end after {timeout:.0f} s: {command[:200]}")
        return code, out, err

    def upload(self, content: bytes, destination: str) -> tuple[int, bytes, bytes]:
        """Replace a file in one step; a reader sees the old content or the new, never a part.

        The new file keeps owner, mode and security label of the one it replaces; else it is
        readable by root only until the caller says otherwise.
        """
        end = f"end-{secrets.token_hex(8)}"
        text = base64.encodebytes(content).decode()
        return self._ask(_UPLOAD.format(dest=shlex.quote(destination), end=end, text=text), None)

    def close(self) -> None:
        """End the shell; commands still under way lose their answer."""
        self.alive = False
        self._streams.close()

    def _ask(self, script: str, timeout: float | None) -> tuple[int, bytes, bytes]:
        out, err = (_Part(secrets.token_hex(16).encode()) for _ in range(2))
        text = (
            f"{script}\nnp=$?\nprintf '%s %s\\n' {out.marker.decode()} $np; "
            f"printf '%s\\n' {err.marker.decode()} >&2\n"
        )
        with self._write_lock:
            self._out.queue.put(out)
            self._err.queue.put(err)
            try:
                self._streams.write(text.encode())
            except OSError as error:
                self.close()
                raise ConnectionLostError(f"connection lost: {error}") from error
        wait = timeout + TIMEOUT_KILL_S + TIMEOUT_SLACK_S if timeout else None
        try:
            said, code = out.answer.get(timeout=wait)
            complained, _ = err.answer.get(timeout=wait)
        except gevent.Timeout as error:
            self.close()
            raise TimeoutError(f"no answer within {wait} s") from error
        except ConnectionLostError:
            self.close()
            raise
        return int(code), said, complained

    def _become_root(self, password: Callable[[str], str]) -> None:
        watch = None
        try:
            while (line := self._started(self._out, b"\n").decode(errors="replace")) != READY:
                if line == NO_SUDO:
                    raise UnreachableError(
                        f"{self.host}: sudo is not installed and the user is not root",
                        hint="install sudo on the node, or connect as root",
                    )
                if line == PASSWORD:
                    self._started(self._err, PASSWORD.encode())
                    self._streams.write(password(self.host).encode() + b"\n")
                    watch = gevent.spawn(self._end_at_second_prompt)
        except OSError as error:
            if watch:
                watch.kill()  # two may not read one stream
            said = self._err.rest().decode(errors="replace").strip().splitlines()
            reason = "the password is wrong" if self._asked_again else " ".join(said[-1:])
            raise UnreachableError(
                f"{self.host}: sudo does not make this user root: {reason or error}",
                hint="check the password and the node's sudoers (`sudo -l` on the node)",
            ) from error
        finally:
            if watch:
                watch.kill()

    def _started(self, reader: _Reader, marker: bytes) -> bytes:
        """Return the bytes before the marker; raises OSError when they do not come in time."""
        late = ConnectionLostError(f"no answer within {START_S} s")
        with gevent.Timeout(START_S, late):
            return reader.until(marker)

    def _end_at_second_prompt(self) -> None:
        """Close when sudo asks again, instead of letting it count more failures."""
        with contextlib.suppress(OSError):
            self._err.until(PASSWORD.encode())
            self._asked_again = True
            self._streams.close()
