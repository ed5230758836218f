"""A web server of files on one address, which can be stopped and started again."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path


class Server:
    """Serves a folder."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.address = address
        self.log = folder.parent / f"{folder.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind((address, 0))
            self.port: int = probe.getsockname()[1]

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://{self.address}:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        if self._process is not None:
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "http.server", str(self.port)),
                    *("--bind", self.address, "--directory", str(self.folder)),
                ],
                stdout=log,
                stderr=log,
            )
        for _ in range(200):
            try:
                socket.create_connection((self.address, self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"nothing answers at {self.url}")

    def stop(self) -> None:
        """Stop it: the address answers no more."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def requests(self) -> int:
        """Return how many files were asked for so far."""
        return self.log.read_text(errors="replace").count('"GET ')
