"""One apply that is going to be disturbed: when, and by whose hands."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass, field

from tests.faults.bench import NODE, Bench
from tests.faults.prober import Prober
from tests.held import Held
from tests.support import Done, Running


class MissedError(Exception):
    """The apply had ended before the fault could strike; nothing was tested."""


@dataclass
class Scene:
    """What a kind of fault gets to work with."""

    bench: Bench
    rng: random.Random
    apply: Running
    hands: Held
    """A root shell from before: some faults leave no way to get another."""
    prober: Prober
    pending: list[str]
    """Changes that this apply is going to make."""
    told: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Note what was done, for the table and the evidence."""
        self.told.append(text)

    def at_change(self, *among: str) -> None:
        """Wait for a random change to begin, and a moment longer."""
        some = [name for name in self.pending if not among or any(one in name for one in among)]
        name = self.rng.choice(some or self.pending)
        jitter = self.rng.uniform(0, 1.5)
        try:
            self.apply.wait_for(f"{NODE}: {name}", 900)
        except AssertionError:
            raise MissedError(f"{name} was never begun") from None
        time.sleep(jitter)
        self._still()
        self.say(f"{jitter:.1f} s into {name}")

    def at_time(self) -> None:
        """Wait for a random moment between the first change and the end."""
        self.apply.wait_for(f"{NODE}: {self.pending[0]}", 900)
        seconds = self.rng.uniform(0, max(5.0, self.bench.apply_s * 0.6))
        time.sleep(seconds)
        self._still()
        self.say(f"{seconds:.1f} s after the first change began")

    def at_any(self) -> None:
        """One or the other."""
        self.rng.choice([self.at_change, self.at_time])()

    def when(self, condition: str, seconds: float = 240) -> None:
        """Wait on the node until a shell condition holds."""
        loop = f"n={int(seconds * 10)}; until {condition}; do sleep 0.1; n=$((n - 1)); "
        said = self.hands.run(f"{loop}[ $n -gt 0 ] || break; done; {condition} && echo yes", 600)
        self._still()
        if "yes" not in said:
            raise MissedError(f"{condition}: never")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send the controller a signal."""
        self.apply.process.send_signal(number)

    def _still(self) -> None:
        if self.apply.process.poll() is not None:
            raise MissedError("the apply had ended")

    def finish(self) -> Done:
        """Wait for the apply's end."""
        return self.apply.finish()
