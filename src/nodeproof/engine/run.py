"""Inspect, plan and apply over many hosts, each on its own: one host's trouble stays its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from pyinfra.api import DeployError

from nodeproof import __version__
from nodeproof.engine.adapter.inventory import Fleet
from nodeproof.engine.adapter.planned import Planned
from nodeproof.engine.adapter.pool import each
from nodeproof.engine.adapter.session import Session
from nodeproof.engine.canonical import digest
from nodeproof.engine.fingerprint import Fingerprint, fingerprint
from nodeproof.engine.journal import close_run, described, notes, open_run, run_id
from nodeproof.engine.preflight import preflight
from nodeproof.engine.reboot import Order, conclude
from nodeproof.engine.reboot import foresee as foresee_reboot
from nodeproof.engine.result import Change, ChangeStatus, Command, Node, NodeStatus, Result
from nodeproof.engine.site import deploy_layers
from nodeproof.engine.stale import refuse_stale
from nodeproof.errors import NodeproofError, RefusedError, UnreachableError, said
from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.boot import Boot
from nodeproof.facts.gpu import Gpus
from nodeproof.facts.journal import Journal, JournalData
from nodeproof.facts.node import Node as NodeFact
from nodeproof.facts.node import NodeFacts
from nodeproof.operations.journal import OpenRun
from nodeproof.settings.site import HostSettings


class Watcher(Protocol):
    """Whoever wants to know how a run goes on; called from many hosts' greenlets."""

    def node(self, host: str, doing: str) -> None:
        """Say that a host has begun something."""

    def change(self, host: str, change: Change) -> None:
        """Say that one change has come out."""

    def done(self, node: Node) -> None:
        """Say that a host is finished."""


class Options:
    """What to do, on which layers, and how to ask for a sudo password."""

    def __init__(
        self,
        *,
        layers: Sequence[str],
        ask_password: Callable[[str], str],
        agreed: Mapping[str, Fingerprint] | None = None,
        reboot: Order | None = None,
    ) -> None:
        self.layers = tuple(layers)
        self.ask_password = ask_password
        self.agreed = agreed
        """Host to what its plan rests on: apply refuses a host where that is no longer so."""
        self.reboot = reboot or Order()
        self.planned: dict[str, Fingerprint] = {}
        """The same of what was planned now."""
        self.run = ""
        self.inventory = ""


def run(command: Command, fleet: Fleet, options: Options, watcher: Watcher) -> Result:
    """Inspect, plan or apply every host of the fleet, in parallel, and return what came of it."""
    steps = {Command.INSPECT: _inspect, Command.PLAN: _plan, Command.APPLY: _apply}
    return over(command, fleet, options, watcher, steps[command])


def over(
    command: Command,
    fleet: Fleet,
    options: Options,
    watcher: Watcher,
    step: Callable[[Work], Node],
) -> Result:
    """Take a step on every connected host of the fleet, in parallel; return what came of it."""
    started = datetime.now(UTC)
    options.run, options.inventory = run_id(started), fleet.source
    clock = time.monotonic()
    nodes, interrupted = each(fleet.hosts, lambda host: _one(host, fleet, options, watcher, step))
    reached = {node.name for node in nodes}
    nodes += [
        Node(name=name, status=NodeStatus.FAILED, reason="interrupted")
        for name in fleet.names
        if name not in reached
    ]
    order = {name: position for position, name in enumerate(fleet.names)}
    return Result(
        command=command,
        run=options.run,
        version=__version__,
        inventory=fleet.source,
        started=started.isoformat(timespec="seconds"),
        duration_s=round(time.monotonic() - clock, 3),
        nodes=sorted(nodes, key=lambda node: order[node.name]),
        interrupted=interrupted,
    )


class _Work:
    """One host's session with what is asked of it."""

    def __init__(
        self, session: Session, settings: HostSettings, options: Options, watcher: Watcher
    ) -> None:
        self.session = session
        self.settings = settings
        self.options = options
        self.watcher = watcher
        self.name = session.host.name
        self.journal = JournalData()
        self.notes: list[str] = []

    @property
    def reboot(self) -> Order:
        """What is asked about this host's reboot."""
        return self.options.reboot.on(self.settings.reboot)

    def facts(self) -> NodeFacts:
        """Read what the machine is, and what its journal says."""
        self.watcher.node(self.name, "inspecting")
        facts: NodeFacts
        facts, self.journal = self.session.facts(NodeFact, Journal)
        return facts

    def refuse_stale(self, found: Fingerprint) -> None:
        """Raise RefusedError where something that the agreed plan rests on has moved."""
        if self.options.agreed is not None:
            refuse_stale(self.name, self.options.agreed, found)

    def open_run(self, found: Fingerprint) -> tuple[OpenRun, bool]:
        """Open this run on the node; what was found open there is settled and noted.

        Also tells whether the node was changed since its journal was read.
        """
        told = described(
            inventory=self.options.inventory,
            layers=" ".join(self.options.layers),
            settings=digest(found.settings),
        )
        run = OpenRun(self.options.run, told)
        self.notes, last = open_run(
            self.session, run, lambda doing: self.watcher.node(self.name, doing)
        )
        return run, bool(self.notes) or last != self.journal.last

    def begin(self, change: Planned) -> None:
        """Say that a change has begun."""
        self.watcher.node(self.name, f"{change.layer} | {change.name}")

    def foresee(self) -> tuple[NodeFacts, list[Planned], Fingerprint]:
        """Return facts, foreseen changes, and what they rest on; changes nothing."""
        facts = self.facts()
        distribution = preflight(self.name, facts)
        self.session.along(Boot)
        self.watcher.node(self.name, "planning")
        settings, layers = self.settings, self.options.layers
        try:
            self.session.collect(lambda: deploy_layers(settings, layers, facts, distribution))
        except DeployError as error:
            raise RefusedError(str(error)) from error
        planned = self.session.foresee()
        asked = {name: model for name, model in settings.layers.items() if name in layers}
        self.options.planned[self.name] = fingerprint(asked, self.session.cache.reads(), planned)
        return facts, planned, self.options.planned[self.name]


Work = _Work
"""The same, for other modules' steps."""


def _one(
    host: object,
    fleet: Fleet,
    options: Options,
    watcher: Watcher,
    step: Callable[[_Work], Node],
) -> Node:
    clock = time.monotonic()
    session = Session(host, options.ask_password)  # type: ignore[arg-type]
    work = _Work(session, fleet.settings[session.host.name], options, watcher)
    try:
        watcher.node(work.name, "connecting")
        session.connect()
        node = step(work)
    except NodeproofError as error:
        node = failed_node(work.name, error)
    except Exception as error:  # a mistake in one host's deploy must not end the others' work
        node = failed_node(work.name, NodeproofError(said(error)))
    finally:
        trips = session.round_trips
        session.disconnect()
    node = node.model_copy(
        update={"duration_s": round(time.monotonic() - clock, 3), "round_trips": trips}
    )
    watcher.done(node)
    return node


def failed_node(name: str, error: NodeproofError) -> Node:
    """Return the part of a result for a node whose work ended with an error."""
    status = NodeStatus.FAILED
    if isinstance(error, UnreachableError):
        status = NodeStatus.UNREACHABLE
    elif isinstance(error, RefusedError):
        status = NodeStatus.REFUSED
    reason = error.message.removeprefix(f"{name}: ")
    return Node(name=name, status=status, reason=reason, hint=error.hint or "")


def _inspect(work: _Work) -> Node:
    work.session.along(Gpus)
    facts = work.facts()
    accelerators: Accelerators = work.session.fact(Gpus)
    found = {"accelerators": accelerators.model_dump(mode="json")}
    return Node(name=work.name, status=NodeStatus.OK, facts=facts.model_dump(mode="json") | found)


def _plan(work: _Work) -> Node:
    facts, planned, found = work.foresee()
    changes = [_forecast(one) for one in planned]
    pending = any(change.status is ChangeStatus.PLANNED for change in changes)
    return Node(
        name=work.name,
        status=NodeStatus.PENDING if pending else NodeStatus.OK,
        facts=facts.model_dump(mode="json"),
        plan_hash=found.hash,
        changes=changes,
        notes=notes(work.journal),
        reboot=foresee_reboot(work.session, work.reboot),
    )


def _forecast(one: Planned) -> Change:
    status = ChangeStatus.PLANNED if one.commands else ChangeStatus.UNCHANGED
    return Change(
        layer=one.layer,
        name=one.name,
        status=status,
        commands=list(one.commands),
        diff=one.diff,
        lasting=list(one.lasting),
    )


def _apply(work: _Work) -> Node:
    facts, planned, found = work.foresee()
    work.refuse_stale(found)
    run, failed, changes = None, None, [_forecast(one) for one in planned]
    try:
        if work.journal.open_ends or any(one.commands for one in planned):
            run, moved = work.open_run(found)
            if moved:
                work.session.forget()
                facts, planned, found = work.foresee()
                work.refuse_stale(found)
            changes = []
            for change in work.session.run(planned, run, work.begin):
                changes.append(change)
                work.watcher.change(work.name, change)
        failed = next((one for one in changes if one.status is ChangeStatus.FAILED), None)
    finally:
        if run is not None:
            _close(work, run, failed)
    statuses = {change.status for change in changes}
    status = NodeStatus.CHANGED if ChangeStatus.CHANGED in statuses else NodeStatus.OK
    reason = ""
    if failed is not None:
        lost = failed.reason == "connection lost"
        status = NodeStatus.UNREACHABLE if lost else NodeStatus.FAILED
        reason = f"{failed.layer}: {failed.name}: {failed.reason}"
    node = Node(
        name=work.name,
        status=status,
        reason=reason,
        facts=facts.model_dump(mode="json"),
        plan_hash=found.hash,
        changes=changes,
        hint="apply again: it goes on where it stopped" if failed else "",
        notes=work.notes,
    )
    say = partial(work.watcher.node, work.name)
    return conclude(work.session, node, work.reboot, say)


def _close(work: _Work, run: OpenRun, failed: Change | None) -> None:
    """Close the run on the node; one that cannot be reached finds it interrupted later."""
    with suppress(UnreachableError):
        close_run(work.session, run, "failed" if failed else "ok")
