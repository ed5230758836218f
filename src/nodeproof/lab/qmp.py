"""A client of QEMU's monitor protocol (docs/interop/qmp-spec)."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nodeproof.errors import NodeproofError


class QmpError(NodeproofError):
    """QEMU refused a command, or went away while it ran."""


class Qmp:
    """One session with a running QEMU; use it in a ``with`` statement.

    QEMU serves one session at a time: keep it short. ``timeout`` is in seconds, for each answer.
    """

    def __init__(self, path: Path, *, timeout: float = 120) -> None:
        """Name the monitor's socket; nothing is opened yet."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)

    def __enter__(self) -> Self:
        """Connect and agree on the protocol."""
        # A socket's address holds 108 bytes and a lab's folder may be deeper: go through its
        # parent's descriptor.
        folder = os.open(self._path.parent, os.O_PATH)
        try:
            self._socket.connect(f"/proc/self/fd/{folder}/{self._path.name}")
            self._lines = self._socket.makefile("rb")
            self._read()
            self.execute("qmp_capabilities")
        except OSError as error:
            self._socket.close()
            raise QmpError(f"{self._path}: no answer from QEMU ({error})") from error
        finally:
            os.close(folder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the next session in."""
        self._lines.close()
        self._socket.close()

    def execute(self, command: str, **arguments: object) -> Any:
        """Run ``command`` and return what it answers; raise QmpError where it is refused."""
        request = {"execute": command, "arguments": arguments}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            answer = self._read()
            while "event" in answer:
                answer = self._read()
        except OSError as error:
            raise QmpError(f"QEMU: {command} was not answered ({error})") from error
        if "error" in answer:
            raise QmpError(f"QEMU: {command} failed: {answer['error']['desc']}")
        return answer["return"]

    def monitor(self, line: str) -> str:
        """Run a command of the human monitor; raise QmpError where it prints an error.

        For savevm and loadvm, which say nothing where they succeed.
        """
        output = str(self.execute("human-monitor-command", **{"command-line": line})).strip()
        if output:
            raise QmpError(f"QEMU: {line} failed: {output}")
        return output

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise QmpError("QEMU: closed its monitor; it has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer
