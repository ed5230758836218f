"""The client of QEMU's monitor, against a socket that plays QEMU."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodeproof.lab.qmp import Qmp, QmpError


class FakeQemu:
    """Greets, then sends the next of ``answers`` for each line it reads; None hangs up."""

    def __init__(self, path: Path) -> None:
        self.seen: list[dict[str, Any]] = []
        self.answers: list[list[dict[str, Any]] | None] = [[{"return": {}}]]
        self._server = socket.socket(socket.AF_UNIX)
        folder = os.open(path.parent, os.O_PATH)
        self._server.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)
        self._server.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection, connection.makefile("rwb") as lines:
            lines.write(json.dumps({"QMP": {"version": {}}}).encode() + b"\n")
            lines.flush()
            for line in lines:
                self.seen.append(json.loads(line))
                answer = self.answers.pop(0)
                if answer is None:
                    return
                for part in answer:
                    lines.write(json.dumps(part).encode() + b"\n")
                lines.flush()

    def end(self) -> None:
        self._thread.join(10)
        self._server.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / ("deep" * 40)  # longer than a socket's address may be
    folder.mkdir()
    return folder / "qmp.sock"


@pytest.fixture
def qemu(path: Path) -> Iterator[FakeQemu]:
    fake = FakeQemu(path)
    yield fake
    fake.end()


def test_command_and_answer(qemu: FakeQemu, path: Path) -> None:
    qemu.answers.append([{"return": {"status": "running"}}])
    with Qmp(path) as qmp:
        assert qmp.execute("query-status") == {"status": "running"}
        qemu.answers.append([{"return": {}}])
        qmp.execute("set_link", name="management", up=False)
    assert [line["execute"] for line in qemu.seen] == [
        "qmp_capabilities",
        "query-status",
        "set_link",
    ]
    assert qemu.seen[-1]["arguments"] == {"name": "management", "up": False}


def test_events_are_passed_over(qemu: FakeQemu, path: Path) -> None:
    qemu.answers.append([{"event": "STOP"}, {"event": "RESUME"}, {"return": 7}])
    with Qmp(path) as qmp:
        assert qmp.execute("query-something") == 7


def test_refused_command_is_an_error(qemu: FakeQemu, path: Path) -> None:
    qemu.answers.append([{"error": {"class": "GenericError", "desc": "no such device"}}])
    with Qmp(path) as qmp, pytest.raises(QmpError, match="set_link failed: no such device"):
        qmp.execute("set_link", name="x", up=True)


def test_what_the_human_monitor_prints_is_an_error(qemu: FakeQemu, path: Path) -> None:
    qemu.answers += [[{"return": ""}], [{"return": "Error: no snapshot\r\n"}]]
    with Qmp(path) as qmp:
        qmp.monitor("savevm ready")
        with pytest.raises(QmpError, match="loadvm x failed: Error: no snapshot"):
            qmp.monitor("loadvm x")
    assert qemu.seen[1]["arguments"] == {"command-line": "savevm ready"}


def test_qemu_that_ends_is_an_error(qemu: FakeQemu, path: Path) -> None:
    qemu.answers.append(None)
    with Qmp(path) as qmp, pytest.raises(QmpError, match="it has ended"):
        qmp.execute("quit")


def test_absent_qemu_is_an_error(path: Path) -> None:
    with pytest.raises(QmpError, match="no answer from QEMU"), Qmp(path):
        pass


def test_silent_qemu_is_an_error(qemu: FakeQemu, path: Path) -> None:
    qemu.answers.append([])
    with Qmp(path, timeout=0.2) as qmp, pytest.raises(QmpError, match="was not answered"):
        qmp.execute("query-status")
