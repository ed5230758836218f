"""A testinfra backend over nodeproof's own connection: root, one round trip a command."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

import testinfra.backend
from testinfra.backend.base import BaseBackend, CommandResult

from nodeproof.checks.sessions import Sessions

NAME = "nodeproof"
_sessions: list[Sessions] = []


class NodeBackend(BaseBackend):  # type: ignore[misc] # testinfra is not typed
    """Run testinfra's commands through a node's session."""

    NAME = NAME

    def __init__(self, hostname: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(unquote(hostname), *args, **kwargs)

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        """Run a command; raises when the node cannot be asked, so that no check passes unseen."""
        full = self.get_command(command, *args)
        code, out, err = _sessions[-1].get(self.hostname).session.execute(full)
        return self.result(code, full.encode(), out, err)

    def get_encoding(self) -> str:
        """Return the encoding without asking the node for a Python."""
        return "utf-8"


def register(sessions: Sessions) -> str:
    """Make testinfra know the nodes and return the value of its ``--hosts``."""
    testinfra.backend.BACKENDS[NAME] = f"{__name__}.NodeBackend"
    _sessions.append(sessions)
    return ",".join(f"{NAME}://{quote(name, safe='')}" for name in sessions.fleet.names)
