"""One host's conversation with pyinfra: connect, collect operations, foresee them, run them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import gevent
from pyinfra.api import Config, Inventory, State, StringCommand
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import OperationMeta
from pyinfra.api.operations import run_host_op
from pyinfra.api.state import StateOperationHostData, StateStage
from pyinfra.connectors.local import LocalConnector
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_config, ctx_host, ctx_inventory, ctx_state

from nodeproof.engine.adapter import facts
from nodeproof.engine.adapter.connector import OURS, NodeSSHConnector, RootShellMixin
from nodeproof.engine.adapter.guard import Guard
from nodeproof.engine.adapter.planned import Planned, shown
from nodeproof.engine.result import Change, ChangeStatus
from nodeproof.errors import NodeproofError, RefusedError, UnreachableError, said
from nodeproof.facts.needed import NeedFact
from nodeproof.operations import journal
from nodeproof.operations.journal import OpenRun

CONNECT_TIMEOUT_S = 10
_NO_HOSTS = "No hosts remaining!"
_NOT_YET = "Cannot evaluate operation result before execution"


class _OneHost(Inventory):
    """An inventory of one host that still answers for the groups and data of the whole.

    A State per host keeps hosts apart: one host's failure, order or names never touch another's.
    """

    def __init__(self, whole: Inventory, host: Host) -> None:
        self.__dict__.update(whole.__dict__)
        self.hosts = {host.name: host}


class Session:
    """One host, from connection to disconnection.

    `ask_password` is called with the host's name when sudo wants a password.
    """

    def __init__(self, host: Host, ask_password: Callable[[str], str]) -> None:
        facts.install()
        self.host = host
        # What an earlier session of this host left; interactive apply plans first, then applies.
        host.op_hash_order.clear()
        host.connector_data.clear()
        host.connected = False
        host.connector_cls = OURS.get(host.connector_cls, host.connector_cls)
        self.state = State(
            _OneHost(host.inventory, host),
            Config(CONNECT_TIMEOUT=CONNECT_TIMEOUT_S, FAIL_PERCENT=None, PARALLEL=1),
            check_for_changes=False,
        )
        self.state.current_stage = StateStage.Prepare
        self.cache = facts.FactCache(host, self._context)
        connector = host.connector
        if isinstance(connector, RootShellMixin):
            connector.ask_password = ask_password
            # pyinfra trusts unknown host keys by default; nobody here may.
            if isinstance(connector, NodeSSHConnector):
                connector.data["ssh_strict_host_key_checking"] = "yes"

    def connect(self) -> None:
        """Connect and become root; raises UnreachableError."""
        from nodeproof.engine.adapter.reach import explain

        with self._context():
            try:
                self.host.connect(show_errors=False, raise_exceptions=True)
            except ConnectError as error:
                raise explain(self.host.name, error) from error
            except (OSError, EOFError) as error:
                raise UnreachableError(f"{self.host.name}: {error}") from error
        self.state.activate_host(self.host)

    @property
    def remote(self) -> bool:
        """Whether the node is another machine, and this connection can be made again."""
        return isinstance(self.host.connector, NodeSSHConnector)

    def reconnect(self, within_s: float) -> None:
        """Close the connection and make it again; raises UnreachableError, also when it is late."""
        late = UnreachableError(f"{self.host.name}: no answer within {within_s:.0f} s")
        try:
            with gevent.Timeout(within_s, late):
                self.disconnect()
                self.cache.forget()
                self.connect()
        except OSError as error:  # becoming root, where the node goes down at that moment
            raise UnreachableError(f"{self.host.name}: {error}") from error

    def disconnect(self) -> None:
        """Close the connection."""
        with self._context():
            self.host.disconnect()

    @property
    def is_local(self) -> bool:
        """Whether the node is this machine itself."""
        return isinstance(self.host.connector, LocalConnector)

    @property
    def round_trips(self) -> int:
        """How many commands and uploads went to the node so far."""
        return getattr(self.host.connector, "round_trips", 0)

    def fact(self, cls: type, **arguments: Any) -> Any:
        """Read one fact."""
        with self._context():
            return self._reading(lambda: self.host.get_fact(cls, **arguments))

    def facts(self, *classes: type) -> tuple[Any, ...]:
        """Read facts without arguments, all in one round trip."""
        for cls in classes:
            self.along(cls)
        with self._context():
            self._reading(self.cache.fetch)
            return tuple(self.host.get_fact(cls) for cls in classes)

    def forget(self) -> None:
        """Read everything anew: the node was changed by somebody else."""
        self.cache.forget()
        self._forget_operations()

    def within(self, function: Callable[[State, Host], Any]) -> Any:
        """Call a function of pyinfra's state and host in this host's context."""
        with self._context():
            return function(self.state, self.host)

    def along(self, cls: type, **arguments: Any) -> None:
        """Have a fact read together with the next ones; `known` and `fact` then cost nothing."""
        with self._context(), suppress(NeedFact):
            self.cache.noting(lambda: self.host.get_fact(cls, **arguments))

    def known(self, cls: type, **arguments: Any) -> Any:
        """Return a fact if it was read already, else None."""
        return self.cache.known(cls.__name__, **arguments)

    def anew(self, *wanted: type) -> None:
        """Forget what is known of the node, and read these facts together."""
        self.cache.forget()
        self.facts(*wanted)

    def execute(self, command: str) -> tuple[int, bytes, bytes]:
        """Run a command and return its exit code, output and error output.

        Raises UnreachableError when the node does not answer.
        """
        connector = self.host.connector
        try:
            if isinstance(connector, RootShellMixin) and connector.shell is not None:
                connector.round_trips += 1
                return connector.shell.run(command)
            # A connector without a root shell tells success only, so the code is printed.
            told = StringCommand(f"{{ {command}\n}}; printf '\\n%s' $?")
            with self._context():
                _, output = self.host.run_shell_command(told, _sudo=True)
        except OSError as error:
            raise UnreachableError(f"{self.host.name}: connection lost") from error
        *lines, code = output.stdout_lines
        return int(code), "\n".join(lines).encode(), output.stderr.encode()

    def collect(self, deploy: Callable[[], object]) -> None:
        """Call a deploy so that its operations are known; facts it asks for are read."""
        with self._context():
            while True:
                try:
                    self.cache.noting(deploy)
                    return
                except NeedFact:
                    self._forget_operations()
                    self._reading(self.cache.fetch)

    def foresee(self) -> list[Planned]:
        """Evaluate every operation against the node as it is; changes nothing.

        An operation that waits for another (``_if=other.did_change``) sees that one's forecast.
        """
        with self._context():
            waiting = list(self.host.op_hash_order)
            done: dict[str, list[Any]] = {}
            while waiting:
                left = [op for op in waiting if not self._evaluated(op, done)]
                if left and not self._reading(self.cache.fetch) and left == waiting:
                    raise NodeproofError(
                        f"{self.host.name}: {self._name(left[0])}: waits for itself"
                    )
                waiting = left
            planned = [self._planned(op, done[op]) for op in self.host.op_hash_order]
            for op in self.host.op_hash_order:
                _reset(self._data(op).operation_meta)
            return planned

    def run(
        self, foreseen: list[Planned], run: OpenRun, begin: Callable[[Planned], None]
    ) -> Iterator[Change]:
        """Run the operations in order, yielding one result each; the first failure skips the rest.

        `begin` is called before an operation that is foreseen to change something. After each
        change on the node its facts are read anew. Changes that could cut access are confirmed.
        """
        self.state.current_stage = StateStage.Execute
        journal.set_run(self.host.connector_data, run)
        guard = Guard(self, run)
        failed = ""
        order = list(self.host.op_hash_order)
        for at, (op, plan) in enumerate(zip(order, foreseen, strict=True)):
            if failed:
                yield Change(
                    layer=plan.layer, name=plan.name, status=ChangeStatus.SKIPPED, reason=failed
                )
                continue
            if plan.commands and guard.due(slow=plan.slow) and (change := _confirmed(guard)):
                failed = f"an earlier change was taken back: {change.reason}"
                yield change
                continue
            if plan.commands:
                begin(plan)
            # Facts outlive operations that change nothing, so those up to the next change are
            # read together; what lies beyond it would be read in vain.
            end = next(
                (n for n, one in enumerate(foreseen) if n >= at and one.commands), len(order)
            )
            with self._context():
                change = self._run_one(op, plan, order[at : end + 1])
            if change.status is ChangeStatus.FAILED:
                failed = f"an earlier change failed: {change.name}"
            yield change
        if change := _confirmed(guard):
            yield change

    def _run_one(self, op: str, plan: Planned, together: list[str]) -> Change:
        started = time.monotonic()
        self.state.is_executing = True
        error = ""
        try:
            self._warm(op, together)
            success = run_host_op(self.state, self.host, op)
        except Exception as problem:  # what was changed before must not be lost from the record
            success, error = False, said(problem).removeprefix(f"{self.host.name}: ")
        meta = self._data(op).operation_meta
        commands = list(meta._commands or []) if meta.is_complete() else []
        if commands or not success:
            self.cache.forget()
        status = (
            ChangeStatus.FAILED
            if not success
            else (ChangeStatus.CHANGED if commands else ChangeStatus.UNCHANGED)
        )
        reason = ""
        if not success:
            reason = self._why_failed(meta, error)
        elif commands and not plan.commands:
            reason = "not foreseen: an earlier change made it necessary"
        elif plan.commands and not commands:
            reason = "an earlier change had already done it"
        return Change(
            layer=plan.layer,
            name=plan.name,
            status=status,
            reason=reason,
            duration_s=round(time.monotonic() - started, 3),
            commands=[line for command in commands for line in shown(command)],
            diff=plan.diff if commands else "",
            lasting=list(plan.lasting) if commands else [],
            foreseen=bool(commands) == bool(plan.commands),
        )

    def _why_failed(self, meta: OperationMeta, error: str) -> str:
        lines = list(meta.stderr_lines or meta.stdout_lines) if meta.is_complete() else []
        last = getattr(self.host.connector, "last_failure", "")
        shell = getattr(self.host.connector, "shell", None)
        if shell is not None and not shell.alive:
            return "connection lost"
        if error and error != _NO_HOSTS:
            return error
        failed = (meta._commands or [None])[-1] if meta.is_complete() else None
        if isinstance(failed, journal.Change) and failed.explain and (why := failed.explain(lines)):
            return why
        return "; ".join(line.strip() for line in lines[-4:] if line.strip()) or last or "failed"

    def _warm(self, op: str, together: list[str]) -> None:
        """Read the facts that the operation needs, and at once those of some after it."""
        while True:
            missing = [name for name in together if not self._can_evaluate(name)]
            if op not in missing:
                return
            self._reading(self.cache.fetch)

    def _can_evaluate(self, op: str) -> bool:
        try:
            self.cache.noting(lambda: list(self._data(op).command_generator()))
        except NeedFact:
            return False
        except Exception:  # said when its turn comes, unless an earlier change mends it
            return True
        return True

    def _evaluated(self, op: str, done: dict[str, list[Any]]) -> bool:
        data = self._data(op)
        self.state.is_executing = True  # pyinfra looks at _if only then
        try:
            commands = self.cache.noting(lambda: list(data.command_generator()))
        except NeedFact:
            return False
        except Exception as error:
            if str(error) == _NOT_YET:
                return False
            raise self._refused(op, error) from error
        finally:
            self.state.is_executing = False
        done[op] = commands
        data.operation_meta.set_complete(True, commands, CommandOutput([]))
        return True

    def _refused(self, op: str, error: Exception) -> NodeproofError:
        """Return why an operation cannot be foreseen: it refuses, or has a mistake of ours."""
        kind = RefusedError if isinstance(error, PyinfraError) else NodeproofError
        return kind(f"{self.host.name}: {self._name(op)}: {said(error)}")

    def _planned(self, op: str, commands: list[Any]) -> Planned:
        def known(path: str) -> str:
            was = self.cache.known("FileState", path=path)
            return was.text if was is not None else ""

        return Planned.of(self._name(op), commands, known)

    def _reading(self, function: Callable[[], Any]) -> Any:
        """Read facts; a fact that cannot be read is an error of this host, said in one line."""
        try:
            return function()
        except Exception as error:
            shell = getattr(self.host.connector, "shell", None)
            if isinstance(error, OSError) or (shell is not None and not shell.alive):
                raise UnreachableError(f"{self.host.name}: connection lost") from error
            last = getattr(self.host.connector, "last_failure", "")
            why = last if str(error) == _NO_HOSTS else said(error)
            raise NodeproofError(f"{self.host.name}: cannot read its state: {why}") from error

    def _name(self, op: str) -> str:
        return next(iter(self.state.op_meta[op].names))

    def _data(self, op: str) -> StateOperationHostData:
        return self.state.ops[self.host][op]

    def _forget_operations(self) -> None:
        self.host.op_hash_order.clear()
        self.state.ops[self.host].clear()
        self.state.op_meta.clear()

    def _context(self) -> ExitStack:
        stack = ExitStack()
        stack.enter_context(ctx_state.use(self.state))
        stack.enter_context(ctx_inventory.use(self.state.inventory))
        stack.enter_context(ctx_config.use(self.state.config.copy()))
        stack.enter_context(ctx_host.use(self.host))
        return stack


def _confirmed(guard: Guard) -> Change | None:
    """Confirm what could have cut access; return a failed change where it was taken back."""
    started = time.monotonic()
    problem = guard.confirm()
    if not problem:
        return None
    return Change(
        layer="guard",
        name="Confirm over a new connection",
        status=ChangeStatus.FAILED,
        reason=problem,
        duration_s=round(time.monotonic() - started, 3),
    )


def _reset(meta: OperationMeta) -> None:
    meta._success = None
    meta._commands = None
    meta._combined_output = None
