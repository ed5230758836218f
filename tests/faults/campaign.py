"""Faults one after another, each from the same snapshot or on what the last one left."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue

from nodeproof.errors import NodeproofError
from tests.faults.aftermath import Aftermath, Lost
from tests.faults.bench import NODE, Bench, made, unmade
from tests.faults.kinds import KINDS
from tests.faults.kinds.kind import Kind
from tests.faults.kinds.software import UserEdits
from tests.faults.prober import Prober
from tests.faults.scene import MissedError, Scene
from tests.held import Held
from tests.support import Running, nodeproof

CHAIN = 3
"""How many faults a chain has: the machine is not reset between them."""
CHAINED = 0.25
"""Which part of the faults is in chains."""
TRIES = 3
"""How often a fault is tried that came too late."""


@dataclass(frozen=True)
class Task:
    """One fault to be made; `seed` decides its moment."""

    number: int
    kind: str
    seed: int
    full: bool = False
    chained: bool = False
    """Whether it goes on where the one before it ended."""


@dataclass
class Outcome:
    """How one fault ended."""

    task: Task
    lost: str = ""
    told: str = ""
    seconds: float = 0.0
    no_access_s: float = 0.0
    evidence: Path | None = None


@dataclass
class Campaign:
    """All of it: what to do, and how it came out."""

    seed: int
    folder: Path
    distribution: str = "debian-13"
    keep: bool = False
    """Whether the machines stay for the next campaign."""
    container: bool = False
    """Whether container nodes stand in for machines, where the kinds allow it."""
    until: float = float("inf")
    """When, as time.monotonic() says, no other fault is begun."""
    say: Callable[[str], None] = print
    outcomes: list[Outcome] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def _record(self) -> Path:
        return self.folder / "outcomes.jsonl"

    def resume(self) -> None:
        """Take what an earlier part of this campaign found; its faults are not made again."""
        lines = self._record.read_text().splitlines() if self._record.exists() else []
        for row in map(json.loads, lines):
            task, evidence = Task(**row.pop("task")), row.pop("evidence")
            self.outcomes.append(Outcome(task, **row, evidence=Path(evidence)))

    def run(self, chains: Sequence[Sequence[Task]], workers: int) -> list[Outcome]:
        """Make all faults that were not made yet; chains are not torn apart."""
        queue: SimpleQueue[Sequence[Task]] = SimpleQueue()
        done = {outcome.task.number for outcome in self.outcomes}
        for chain in sorted(chains, key=lambda chain: chain[0].full):
            if left := [task for task in chain if task.number not in done]:
                queue.put([replace(left[0], chained=False), *left[1:]])
        threads = [
            threading.Thread(target=self._work, args=(f"{number}", queue))
            for number in range(1, workers + 1)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            self.until = 0.0
            self.say("ending after the faults that are under way")
            for thread in threads:
                thread.join()
        return sorted(self.outcomes, key=lambda outcome: outcome.task.number)

    def _work(self, worker: str, queue: SimpleQueue[Sequence[Task]]) -> None:
        bench: Bench | None = None
        try:
            while time.monotonic() < self.until:
                try:
                    chain = queue.get_nowait()
                except Empty:
                    return
                bench = self._bench(worker, bench, full=chain[0].full)
                for task in chain:
                    if time.monotonic() > self.until:
                        return
                    if self._fault(bench, task).lost:
                        break  # what comes after a loss in a chain would say nothing
        except Exception as error:
            why = f"{error!r} {getattr(error, 'hint', '')}".strip()
            self._add(Outcome(Task(0, f"worker {worker}", 0), lost=why))
        finally:
            if bench is not None and (bench.container or not self.keep):
                bench.close()

    def _bench(self, worker: str, bench: Bench | None, *, full: bool) -> Bench:
        if bench is not None and bench.full == full:
            return bench
        if bench is not None:
            bench.close(keep=self.keep)
        what = "node" if self.container else "full" if full else "quick"
        name = f"faults-{what}-{self.distribution}-{worker}"
        began = time.monotonic()
        folder = self.folder / name
        bench = made(name, self.distribution, folder, full=full, container=self.container)
        self.say(
            f"{name}: ready after {time.monotonic() - began:.0f} s; an apply makes "
            f"{len(bench.changes)} changes in {bench.apply_s:.0f} s"
        )
        return bench

    def _fault(self, bench: Bench, task: Task) -> Outcome:
        began = time.monotonic()
        evidence = self.folder / f"{task.number:03}-{task.kind}"
        outcome = Outcome(task, evidence=evidence)
        aftermath = Aftermath(bench, evidence)
        try:
            for attempt in range(TRIES):
                rng = random.Random(task.seed + attempt)  # noqa: S311 - reproducible, not secret
                try:
                    self._one(bench, task, rng, aftermath, outcome)
                    break
                except MissedError as missed:
                    outcome.told = f"missed: {missed}"
            else:
                outcome.lost = f"never struck: {outcome.told}"
        except (Lost, AssertionError) as lost:
            outcome.lost = str(lost)
        except (NodeproofError, TimeoutError, OSError) as error:
            outcome.lost = f"the campaign could not look: {error!r}"
        if outcome.lost:
            aftermath.collect()
        outcome.seconds = time.monotonic() - began
        self._add(outcome)
        return outcome

    def _one(
        self, bench: Bench, task: Task, rng: random.Random, after: Aftermath, outcome: Outcome
    ) -> None:
        kind = KINDS[task.kind]()
        pending = _ready(bench, chained=task.chained)
        before = bench.picture()
        with Held(bench.machine.access) as hands, Prober(bench.machine.access) as prober:
            apply = Running("apply", bench.inventory, "--yes", "--json")
            scene = Scene(bench, rng, apply, hands, prober, pending)
            try:
                kind.strike(scene)
                after.struck(apply.finish(), kind.codes)
            finally:
                if apply.process.poll() is None:
                    apply.process.kill()
                outcome.told = "; ".join(scene.told)
            outcome.told = _settle(bench, kind, scene, after)
            if isinstance(kind, UserEdits):
                before = bench.picture()
        outcome.no_access_s = prober.longest_s
        after.clean()
        after.whole(before)
        after.access(prober.longest_s, prober.last_problem)

    def _add(self, outcome: Outcome) -> None:
        with self._lock:
            self.outcomes.append(outcome)
            with self._record.open("a") as record:
                record.write(json.dumps(asdict(outcome), default=str) + "\n")
            self.say(line(outcome))


def _ready(bench: Bench, *, chained: bool) -> list[str]:
    """Make the machine ready for a fault; return the changes that an apply will make."""
    if not chained:
        bench.reset()
        return bench.changes
    unmade(bench)
    planned = nodeproof("plan", bench.inventory, "--json")
    if planned.code != 0:
        raise Lost(f"plan before the fault: {planned.code} {planned.out[-300:]}")
    return planned.changed(NODE)


def _settle(bench: Bench, kind: Kind, scene: Scene, after: Aftermath) -> str:
    """Let the fault pass, and see that all converges."""
    if kind.lasts:
        after.reachable()
        scene.say(after.still_there())
    kind.heal(scene)
    after.reachable()
    bench.machine.set_clock()
    if not kind.lasts:
        after.noted()
    after.converges()
    return "; ".join(scene.told)


def tasks(seed: int, count: int, kinds: Sequence[str], full: int) -> list[list[Task]]:
    """Return chains of faults: each kind in turn, in an order and with moments by the seed."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    names: list[str] = []
    while len(names) < count - full:
        names += rng.sample(kinds, len(kinds))
    heavy = [name for name in kinds if KINDS[name].full]
    heavy = [heavy[n % len(heavy)] for n in range(full)] if heavy else []
    chains: list[list[Task]] = []
    for number, name in enumerate(names[: count - len(heavy)], 1):
        chained = bool(chains) and len(chains[-1]) < CHAIN and rng.random() < CHAINED
        task = Task(number, name, rng.randrange(2**32), chained=chained)
        if chained:
            chains[-1].append(task)
        else:
            chains.append([task])
    for number, name in enumerate(heavy, count - len(heavy) + 1):
        chains.append([Task(number, name, rng.randrange(2**32), full=True)])
    return chains


def line(outcome: Outcome) -> str:
    """Return one row of the table."""
    task = outcome.task
    kind = task.kind + (" (full)" if task.full else "") + (" (chained)" if task.chained else "")
    verdict = f"LOST: {outcome.lost} [{outcome.evidence}]" if outcome.lost else "ok"
    return (
        f"{task.number:3}  {kind:40} {outcome.seconds:5.0f} s  "
        f"no access {outcome.no_access_s:4.0f} s  {verdict}  {outcome.told}"
    )


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the last line."""
    kinds = {outcome.task.kind for outcome in outcomes}
    lost = sum(bool(outcome.lost) for outcome in outcomes)
    return f"{len(outcomes)} faults of {len(kinds)} kinds, {lost} lost"
