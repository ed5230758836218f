"""A root shell on a node over a connection that was made before anything goes wrong."""

from __future__ import annotations

import os
import secrets
import select
import subprocess
import time
from types import TracebackType
from typing import Self

from nodeproof.lab import ssh


class Held:
    """A root shell on the node over a connection of its own, made before the attempt."""

    def __init__(self, access: ssh.Access) -> None:
        self._process = subprocess.Popen(
            access.argv(["sudo", "-n", "sh"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.run("true")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, command: str, seconds: float = 60) -> str:
        """Run a command and return what it printed; raises TimeoutError where nothing comes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        mark = secrets.token_hex(8)
        self._process.stdin.write(f"{command}\necho {mark}\n".encode())
        self._process.stdin.flush()
        said, until = b"", time.monotonic() + seconds
        while not said.endswith(f"{mark}\n".encode()):
            ready, _, _ = select.select([self._process.stdout], [], [], until - time.monotonic())
            data = os.read(self._process.stdout.fileno(), 65536) if ready else b""
            if not data:
                raise TimeoutError(f"{command}: {said.decode(errors='replace')}")
            said += data
        return said.decode(errors="replace").removesuffix(f"{mark}\n")
