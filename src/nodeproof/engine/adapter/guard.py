"""Confirm changes that could have cut access, over a connection made after them."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
from pyinfra import host as pyinfra_host
from pyinfra.api import FunctionCommand, QuoteString, State, StringCommand, operation
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS
from pyinfra.api.host import Host

from nodeproof.engine.adapter.connector import NodeSSHConnector, RootShellMixin
from nodeproof.errors import NodeproofError, UnreachableError, said
from nodeproof.facts.journal import PROGRAM
from nodeproof.operations import journal
from nodeproof.operations.journal import OpenRun

if TYPE_CHECKING:
    from nodeproof.engine.adapter.session import Session

UNCONFIRMED_S = 30
"""Changes made within this time are confirmed together."""
TRIES_S = 30
"""How long a new connection is tried before the change counts as having cut access."""
SPARE_S = 5
"""How far to stay from the moment at which the node acts by itself."""
CONNECTION_S = 60
"""How long one new connection may take."""
LATE_S = 30
"""How much later than announced the node may be done with taking back."""


def confirm_now(state: State, host: Host, run: OpenRun, **arguments: Any) -> None:
    """Make a new connection, become root over it, and tell the node that all is well.

    `arguments` are pyinfra's own, e.g. ``_sudo``. Raises NodeproofError, OSError or pyinfra's
    ConnectError where that cannot be done.
    """
    owner = QuoteString(f"NODEPROOF_OWNER={run.owner}")
    command = StringCommand("env", owner, PROGRAM, "confirm", QuoteString(run.id))
    with _new_connection(state, host) as connector:
        good, output = connector.run_shell_command(command, **arguments)
    if not good:
        raise NodeproofError(output.stderr or f"{PROGRAM} confirm failed")
    run.armed_at = None


@contextmanager
def _new_connection(state: State, host: Host) -> Iterator[Any]:
    """Connect once more, as the host did; raises UnreachableError when it takes too long."""
    connector: Any = type(host.connector)(state, host)
    if isinstance(connector, NodeSSHConnector):
        connector.data["ssh_strict_host_key_checking"] = "yes"
    if isinstance(connector, RootShellMixin):
        connector.ask_password = host.connector.ask_password  # type: ignore[attr-defined]
    late = UnreachableError(f"{host.name}: no new connection within {CONNECTION_S} s")
    try:
        with gevent.Timeout(CONNECTION_S, late):
            connector.connect()
            yield connector
    finally:
        connector.disconnect()
        if client := getattr(connector, "client", None):
            client.close()


class Guard:
    """Watches over one run on one node."""

    def __init__(self, session: Session, run: OpenRun) -> None:
        self._session = session
        self._run = run

    def due(self, *, slow: bool) -> bool:
        """Tell whether to confirm before the next change: it may take long, or time has passed."""
        since = self._run.armed_at
        return since is not None and (slow or time.monotonic() - since > UNCONFIRMED_S)

    def confirm(self) -> str:
        """Confirm what was changed; return an empty text, or why it was taken back."""
        if self._run.armed_at is None:
            return ""
        until = self._run.armed_at + journal.GUARD_S  # the node takes it back by itself then
        seconds = TRIES_S if self._alive else max(TRIES_S, until - SPARE_S - time.monotonic())
        problem = self._tried(seconds)
        if not problem:
            return ""
        left = self._take_back()
        if left is not None:
            until = time.monotonic() + journal.GUARD_S
        self._run.ended = True
        back = self._reached(until + LATE_S)
        after = "it works again" if back else "and there is none even so: use the node's console"
        if left:
            after += f"; could not be taken back: {left}"
        return f"taken back, because a new connection was not possible ({problem}); {after}"

    def _tried(self, seconds: float) -> str:
        until = time.monotonic() + seconds
        while True:
            try:
                self._session.within(lambda state, host: confirm_now(state, host, self._run))
                return ""
            except Exception as error:
                problem = said(error).removeprefix(f"{self._session.host.name}: ")
            if time.monotonic() > until:
                return problem
            gevent.sleep(2)

    @property
    def _alive(self) -> bool:
        """Tell whether the connection in use still works, as far as is known."""
        shell = getattr(self._session.host.connector, "shell", None)
        return shell is None or bool(shell.alive)

    def _take_back(self) -> str | None:
        """Do at once what the node does by itself when the time is up; else wait until it has.

        Returns what could not be taken back, None where only the node knows.
        """
        command = f"{PROGRAM} expire {self._run.id} no-new-connection-was-possible"
        try:
            code, out, err = self._session.execute(command)
        except UnreachableError:
            since = self._run.armed_at or time.monotonic()
            gevent.sleep(max(0.0, since + journal.GUARD_S + SPARE_S - time.monotonic()))
            return None
        finally:
            self._run.armed_at = None
        rows = [line.partition("\t") for line in out.decode(errors="replace").splitlines()]
        failed = [item for kind, _, item in rows if kind == "failed"]
        return "; ".join(failed) or (err.decode(errors="replace").strip() if code else "")

    def _reached(self, until: float) -> bool:
        """Tell whether a new connection can be made again."""
        while time.monotonic() < until:
            try:
                self._session.within(_reach)
                return True
            except Exception:
                gevent.sleep(5)
        return False


def _reach(state: State, host: Host) -> None:
    with _new_connection(state, host):
        pass


@operation()
def confirmed() -> Generator[FunctionCommand]:
    """
    Confirm what was changed since the last time, where that could have cut access.

    For plain pyinfra runs; what is not confirmed in time is taken back by the node.

    **Example:**

    .. code:: python

        confirmed(name="Confirm over a new connection")
    """

    run = journal.open_run()
    if run.armed_at is None:
        pyinfra_host.noop("nothing to confirm")
        return
    current = dict(pyinfra_host.current_op_global_arguments or {})
    given = {key: current[key] for key in CONNECTOR_ARGUMENT_KEYS if current.get(key)}
    yield FunctionCommand(_confirm, (run, given), {})


def _confirm(state: State, host: Host, run: OpenRun, given: dict[str, Any]) -> bool:
    confirm_now(state, host, run, **given)
    return True


@operation()
def closed() -> Generator[StringCommand]:
    """
    Close this run's journal on the node, where something was changed.

    **Example:**

    .. code:: python

        closed(name="Close the journal")
    """

    run = journal.open_run()
    if not run.begun:
        pyinfra_host.noop("nothing was changed")
        return
    yield StringCommand(PROGRAM, "end", QuoteString(run.id), "ok")
