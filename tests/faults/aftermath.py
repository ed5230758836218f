"""What must hold after a fault: nothing lost, nothing left behind, and the next apply converges."""

from __future__ import annotations

import json
from pathlib import Path

from nodeproof.errors import NodeproofError
from nodeproof.operations.journal import GUARD_S
from tests.faults.bench import NODE, Bench, tail
from tests.support import Done, nodeproof

MARGIN_S = 60.0
"""What an emulated machine may take on top of the guard's timeout."""
LEFT = (
    "find /etc /home /opt /root /srv /usr/local /var/lib/nodeproof /var/spool -xdev "
    "\\( -name '.*.nodeproof' -o -name 'journal.[0-9]*' \\) -print 2>/dev/null; "
    "ls -d /run/nodeproof.* /var/lib/nodeproof/armed /run/nodeproof/owner 2>/dev/null; "
    "ls -d /etc/systemd/system/nodeproof-guard-boot.service /var/lib/nodeproof/runs/*/.new "
    "/etc/passwd.lock /etc/shadow.lock /etc/group.lock /etc/gshadow.lock 2>/dev/null; "
    "ls /run/nodeproof/pending 2>/dev/null; "
    "systemctl list-timers --all --no-legend 'nodeproof*'; "
    "for r in /var/lib/nodeproof/runs/*/; do [ -e $r/result ] || echo no result: $r; done; "
    "dpkg --audit"
)
OPEN = (
    "for r in /var/lib/nodeproof/runs/*/; do [ ! -d $r ] || [ -e $r/result ] || basename $r; done"
)


class Lost(Exception):
    """Something was lost; the text says what."""


class Aftermath:
    """Looks at a machine after a fault, and keeps all that was printed as evidence."""

    def __init__(self, bench: Bench, evidence: Path) -> None:
        self._bench = bench
        self._evidence = evidence
        self._step = 0
        evidence.mkdir(parents=True, exist_ok=True)

    def kept(self, what: str, done: Done) -> Done:
        """Keep a command's output; raises Lost where it shows a mistake of ours."""
        self._step += 1
        path = self._evidence / f"{self._step:02}-{what}.txt"
        path.write_text(f"exit {done.code}\n--- stdout\n{done.out}\n--- stderr\n{done.err}\n")
        if "Traceback" in done.err or "Traceback" in done.out:
            raise Lost(f"{what}: a traceback")
        return done

    def struck(self, done: Done, codes: tuple[int, ...]) -> None:
        """Look at how the disturbed apply ended: a foreseen code, and one clear reason."""
        self.kept("disturbed", done)
        if done.code not in codes:
            raise Lost(f"the disturbed apply ended with {done.code}: {_reason(done)}")
        if done.code in (1, 3, 4) and not _reason(done):
            raise Lost(f"the disturbed apply ended with {done.code} and no reason")

    def reachable(self) -> None:
        """Wait until a login works."""
        try:
            self._bench.machine.wait(400)
        except NodeproofError as error:
            raise Lost(f"no access: {error}") from error

    def noted(self) -> None:
        """Every run that was left open is named by the plan."""
        if not (left := self._bench.root(OPEN).split()):
            return
        planned = self.kept("plan", nodeproof("plan", self._bench.inventory, "--json"))
        if planned.code != 0:
            raise Lost(f"plan: {planned.code} {_reason(planned)}")
        notes = " ".join(planned.node(NODE)["notes"])
        if missing := [run for run in left if run not in notes]:
            raise Lost(f"plan does not name the interrupted run {missing[0]}: {notes!r}")

    def still_there(self) -> str:
        """Apply while the fault lasts: it may fail, with the right code and one reason."""
        done = self.kept("while_it_lasts", self._apply())
        if done.code == 0:
            return "the next apply did without"
        if done.code not in (1, 4):
            raise Lost(f"apply while it lasts: {done.code} {_reason(done)}")
        if not _reason(done):
            raise Lost("apply while it lasts: no reason")
        return f"while it lasted: {done.code}, {_reason(done)[:150]}"

    def converges(self) -> None:
        """Apply, apply again without a change, verify."""
        done = self.kept("apply", self._apply())
        if done.code != 0:
            raise Lost(f"the next apply: {done.code} {_reason(done)}")
        again = self.kept("again", self._apply())
        if again.code != 0 or again.changed(NODE):
            raise Lost(f"the second apply changed {again.changed(NODE)} ({again.code})")
        verified = self.kept("verify", nodeproof("verify", self._bench.inventory, "--json"))
        if verified.code != 0:
            raise Lost(f"verify: {verified.failing(NODE) or _reason(verified)}")

    def clean(self) -> None:
        """Nothing of ours is left: no temporary file, guard, lock, open run, half package."""
        if left := self._bench.root(LEFT).strip():
            raise Lost(f"left behind: {' '.join(left.split())[:400]}")

    def whole(self, before: str) -> None:
        """The user's files are what they were."""
        after = self._bench.picture()
        if after != before:
            (self._evidence / "files-before.txt").write_text(before)
            (self._evidence / "files-after.txt").write_text(after)
            gone = sorted(set(before.splitlines()) ^ set(after.splitlines()))
            raise Lost(f"user files differ: {gone[:4]}")

    def access(self, longest_s: float, problem: str) -> None:
        """Access was never missed for longer than the guard's timeout."""
        if longest_s > GUARD_S + MARGIN_S:
            raise Lost(f"no access for {longest_s:.0f} s: {problem}")

    def collect(self) -> None:
        """Keep what tells more about a loss: the node's journal, its log, its console."""
        (self._evidence / "console.txt").write_text(self._bench.console())
        script = (
            "cd /var/lib/nodeproof; find . -type f | sort; tail -n 50 runs/*/log runs/*/result; "
            "head -n 5 runs/*/0*/change runs/*/0*/code; ls -laR /run/nodeproof*; ps axf; "
            "journalctl --no-pager -n 300"
        )
        try:
            (self._evidence / "node.txt").write_text(self._bench.root(script, check=False))
        except NodeproofError as error:
            (self._evidence / "node.txt").write_text(f"could not look: {error}\n")

    def _apply(self) -> Done:
        return nodeproof("apply", self._bench.inventory, "--yes", "--json")


def _reason(done: Done) -> str:
    """Return the node's reason, or the end of what was said."""
    try:
        return str(done.node(NODE)["reason"])
    except (json.JSONDecodeError, StopIteration, KeyError):
        return " ".join(tail(done.err, 2).split())
