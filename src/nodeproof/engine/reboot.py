"""The one reboot of an apply, at its end: looked at first, waited for, and proven."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nodeproof.engine.adapter.session import Session
from nodeproof.engine.bootable import examine
from nodeproof.engine.oneshot import arrange, settle
from nodeproof.engine.result import Node, NodeStatus, Reboot
from nodeproof.errors import NodeproofError, RefusedError, UnreachableError, said
from nodeproof.facts.boot import Boot, BootData
from nodeproof.facts.bootable import Bootable
from nodeproof.facts.node import NodeFacts
from nodeproof.facts.work import Work
from nodeproof.settings.reboot import When

LIMIT_S = 900
PAUSE_S = 3
ATTEMPT_S = 30
"""How long one attempt to connect may take."""
GOING_DOWN_S = 60
"""How long the old connection is watched before a new one is tried."""
COMPLETE_S = 600
"""How long the boot may go on after somebody can log in."""

_BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
_FAILED = "systemctl list-units --failed --plain --no-legend --no-pager"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What was asked about reboots."""

    when: When | None = None
    """None: as the inventory says."""
    limit_s: float = LIMIT_S
    """How long the node may take to come back."""
    despite_work: bool = False
    """Whether running work may be killed."""

    def on(self, inventory: When) -> Order:
        """Return the order of one host, whose inventory says when."""
        return replace(self, when=self.when or inventory)


def foresee(session: Session, order: Order) -> Reboot | None:
    """Return what is known about a reboot without another look at the node."""
    boot: BootData | None = session.known(Boot)
    return _told(boot or BootData(), order)


def conclude(session: Session, node: Node, order: Order, say: Say) -> Node:
    """Return an applied node with what is to be said of a reboot; does it where it is asked for.

    At most one; nothing else is changed after it. Its failure is the node's, with what was
    changed before it.
    """
    if node.status not in (NodeStatus.OK, NodeStatus.CHANGED):
        return node
    clock = time.monotonic()
    trial = _Reboot(session, order, say)
    update: dict[str, object] = {}
    try:
        if trial.due(node):
            trial.refuse_elsewhere(NodeFacts.model_validate(node.facts))
            trial.run()
            update = {"status": NodeStatus.CHANGED}
    except Exception as error:  # what was changed before must not be lost from the record
        update = _failed(node.name, error)
    told = trial.told
    if told and (told.done or update):
        told = told.model_copy(update={"duration_s": round(time.monotonic() - clock, 3)})
    return node.model_copy(update={**update, "reboot": told})


def _told(boot: BootData, order: Order) -> Reboot | None:
    when = order.when or When.NEVER
    if not boot.reasons and when is not When.ALWAYS:
        return None
    return Reboot(
        asked=when,
        needed=list(boot.reasons),
        kernel_before=boot.running,
        boot_id_before=boot.boot_id,
    )


def _failed(name: str, error: Exception) -> dict[str, object]:
    status = NodeStatus.FAILED
    if isinstance(error, RefusedError):
        status = NodeStatus.REFUSED
    elif isinstance(error, UnreachableError):
        status = NodeStatus.UNREACHABLE
    hint = error.hint if isinstance(error, NodeproofError) else None
    reason = f"reboot: {said(error).removeprefix(f'{name}: ')}"
    return {"status": status, "reason": reason, "hint": hint or ""}


class _Reboot:
    """One host's reboot; `told` is what came of it so far."""

    def __init__(self, session: Session, order: Order, say: Say) -> None:
        self.session = session
        self.order = order
        self.say = say
        self.told: Reboot | None = None
        self.name = session.host.name
        self._deadline = 0.0

    def due(self, node: Node) -> bool:
        """Tell whether the applied node is to be rebooted; looks at it only where that can be."""
        boot: BootData | None = self.session.known(Boot)
        never = self.order.when is When.NEVER
        if boot is None and never and node.status is NodeStatus.OK:
            return False
        boot = boot or self.session.fact(Boot)
        self.told = _told(boot, self.order)
        if never:
            return False
        settle(self.session, boot)  # what an interrupted apply left
        return self.told is not None

    def refuse_elsewhere(self, facts: NodeFacts) -> None:
        """Raise RefusedError where a reboot is not ours to do."""
        if not self.session.remote:
            raise RefusedError(
                f"{self.name}: it is not reached over SSH (@local is this machine), so nobody "
                "could wait for it",
                hint="reboot it yourself, or apply from another machine",
            )
        if facts.is_container:
            raise RefusedError(
                f"{self.name}: it is a container ({facts.virtualization}) with its host's kernel",
                hint="restart it from its host",
            )

    def run(self) -> None:
        """Look, prepare, reboot, wait, and prove what came back; raises NodeproofError."""
        before = self._examined()
        failed = self._failed_units()
        self._tell(arrange(self.session, before))
        self._deadline = time.monotonic() + self.order.limit_s
        self._go_down()
        self._come_back(before.boot_id)
        self._complete()
        self._prove(before, failed)

    def _examined(self) -> BootData:
        self.say("looking whether it would come back from a reboot")
        self.session.anew(Boot, Work)
        boot: BootData = self.session.fact(Boot)
        work: tuple[str, ...] = self.session.fact(Work)
        kernels = {one: self.session.fact(Bootable, kernel=one) for one in boot.candidates}
        if problems := examine(boot, kernels):
            raise RefusedError(
                f"{self.name}: it might not come back: {'; '.join(problems)}",
                hint="mend that, then apply again; nothing overrides it",
            )
        running = f"work is running: {', '.join(work)}"
        if work and not self.order.despite_work:
            raise RefusedError(
                f"{self.name}: {running}",
                hint="drain the node and apply again, or kill it with --reboot-despite-work",
            )
        self._tell([f"was killed: {', '.join(work)}"] if work else [])
        return boot

    def _go_down(self) -> None:
        self.say("rebooting")
        try:
            code, _, err = self.session.execute("systemctl reboot")
            if code:
                why = " ".join(err.decode(errors="replace").split())
                raise NodeproofError(f"{self.name}: systemctl reboot: {why or code}")
            # It ends with the connection; a node that stays up goes on at once.
            self.session.execute(f"sleep {min(GOING_DOWN_S, self._left()):.0f}")
        except UnreachableError:
            self.say("rebooting: it went down")

    def _come_back(self, boot_id: str) -> None:
        last, up = "", False
        while (left := self._left()) > 0:
            self.say(f"rebooting: waiting for it, {left:.0f} s left")
            try:
                self.session.reconnect(min(ATTEMPT_S, left))
                _, out, _ = self.session.execute(_BOOT_ID)
                if out.strip() and out.decode().strip() != boot_id:
                    return
                up = True
            except UnreachableError as error:
                last, up = error.message.removeprefix(f"{self.name}: "), False
            time.sleep(min(PAUSE_S, max(0.0, self._left())))
        limit = f"{self.order.limit_s:.0f} s"
        if up:
            raise NodeproofError(
                f"{self.name}: it is still in the same boot after {limit}",
                hint="look on the node what holds it: systemctl list-jobs",
            )
        raise UnreachableError(
            f"{self.name}: it did not come back within {limit} ({last or 'no answer'})",
            hint="look at its console; a slow machine needs a larger --reboot-timeout",
        )

    def _complete(self) -> None:
        self.say("rebooting: it is back, waiting for the end of its boot")
        limit = max(10, min(COMPLETE_S, self._left()))
        self.session.execute(f"timeout {limit:.0f} systemctl is-system-running --wait")

    def _prove(self, before: BootData, failed: set[str]) -> None:
        self.session.anew(Boot)
        now: BootData = self.session.fact(Boot)
        if now.machine_id != before.machine_id:
            raise NodeproofError(
                f"{self.name}: another machine answers: its machine id is {now.machine_id}, "
                f"before the reboot it was {before.machine_id}",
                hint="find out who has its address now",
            )
        self._tell([], done=True, kernel_after=now.running, boot_id_after=now.boot_id)
        if now.running not in before.candidates:
            raise NodeproofError(
                f"{self.name}: kernel {' or '.join(before.candidates)} was to boot, but "
                f"{now.running} runs",
                hint="the boot loader went back to it by itself; look at why the other failed"
                if now.running == before.running
                else "look at the boot loader's configuration",
            )
        settle(self.session, now)
        if new := sorted(self._failed_units() - failed):
            raise NodeproofError(
                f"{self.name}: failed since the reboot: {', '.join(new)}",
                hint=f"on the node: systemctl status {new[0]}",
            )
        if now.reasons:
            raise NodeproofError(f"{self.name}: still needed after it: {'; '.join(now.reasons)}")

    def _tell(self, notes: Sequence[str], **came: object) -> None:
        told = self.told or Reboot()
        self.told = told.model_copy(update={**came, "notes": [*told.notes, *notes]})

    def _failed_units(self) -> set[str]:
        _, out, _ = self.session.execute(_FAILED)
        return {line.split()[0] for line in out.decode().splitlines() if line.strip()}

    def _left(self) -> float:
        return self._deadline - time.monotonic()
