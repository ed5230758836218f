"""Faults of the controller: killed, interrupted, frozen, its shells lost, or one too many."""

from __future__ import annotations

import signal
import time

from tests.faults.kinds.kind import Kind
from tests.faults.scene import Scene
from tests.support import nodeproof

KILLED = -signal.SIGKILL
OWNER = "/run/nodeproof/owner"


class ControllerKilledAtChange(Kind):
    codes = (KILLED,)
    full = True

    def strike(self, scene: Scene) -> None:
        scene.at_change()
        scene.kill()


class ControllerKilledAtTime(Kind):
    codes = (KILLED,)

    def strike(self, scene: Scene) -> None:
        scene.at_time()
        scene.kill()


class ControllerInterrupted(Kind):
    codes = (130,)

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        scene.kill(signal.SIGINT)


class ControllerFrozen(Kind):
    """For longer than the guard waits: the node takes back what nobody confirmed."""

    codes = (0, 1, 3)

    def strike(self, scene: Scene) -> None:
        scene.when("[ -e /var/lib/nodeproof/armed ]")
        scene.kill(signal.SIGSTOP)
        time.sleep(200)
        scene.kill(signal.SIGCONT)


class TwoControllers(Kind):
    """A second apply is refused and says why; the first goes on."""

    codes = (0,)

    def strike(self, scene: Scene) -> None:
        scene.when(f"[ -e {OWNER} ]")
        second = nodeproof("apply", scene.bench.inventory, "--yes", "--json")
        if second.code not in (0, 4) or (second.code == 4 and "at work" not in second.out):
            raise AssertionError(f"the second controller: {second.code} {second.out[-500:]}")
        scene.say(f"the second ended with {second.code}")


class SessionKilled(Kind):
    """The sshd process of the run's connection, which owns the lock."""

    codes = (0, 3)
    full = True

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        scene.hands.run(f"kill -9 $(sed -n s/^pid=//p {OWNER})")


class RootShellKilled(Kind):
    """The long-lived root shell, all at once with what it runs."""

    codes = (0, 3)

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        find = f"ps -o pid= --ppid $(pgrep -P $(sed -n s/^pid=//p {OWNER}) | head -n 1)"
        scene.hands.run(f"kill -9 $({find} | head -n 1)")


class JournalKilled(Kind):
    """The node's own program, at whatever it is doing."""

    codes = (0, 1)

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        pids = "pgrep -f '^/bin/sh /var/lib/nodeproof/bin/journal (step|begin|end|confirm)'"
        hit = scene.hands.run(
            f"n=600; while [ $n -gt 0 ]; do p=$({pids}) && kill -9 $p && break; n=$((n-1)); "
            "sleep 0.05; done; echo $p"
        )
        scene.say(f"killed {hit.strip() or 'nothing'}")
