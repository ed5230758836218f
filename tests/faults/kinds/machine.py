"""Faults of the machine: its power, its network, its clock."""

from __future__ import annotations

import time

from tests.faults.kinds.kind import Kind
from tests.faults.scene import Scene


class NetworkCut(Kind):
    """Until the controller has given up, or had all that it needed before."""

    codes = (0, 3)
    full = True

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        scene.bench.machine.link(up=False)
        scene.prober.away()

    def heal(self, scene: Scene) -> None:
        scene.bench.machine.link(up=True)


class NetworkCutShort(Kind):
    """For a few seconds: nobody should even notice."""

    codes = (0,)

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        seconds = scene.rng.uniform(3, 20)
        scene.say(f"for {seconds:.0f} s")
        scene.bench.machine.link(up=False)
        scene.prober.away()
        time.sleep(seconds)
        scene.bench.machine.link(up=True)


class PowerReset(Kind):
    codes = (3,)
    full = True

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        scene.bench.machine.power_cut()
        scene.prober.away()


class PowerResetWhileArmed(Kind):
    """While a change waits to be confirmed: the boot takes it back before sshd starts."""

    codes = (3,)

    def strike(self, scene: Scene) -> None:
        scene.when("[ -e /var/lib/nodeproof/armed ]")
        time.sleep(scene.rng.uniform(0, 3))
        scene.bench.machine.power_cut()
        scene.prober.away()

    def heal(self, scene: Scene) -> None:
        scene.bench.machine.wait(400)
        if scene.bench.root("ls /var/lib/nodeproof/armed 2>/dev/null || true").strip():
            raise AssertionError("the boot did not take the unconfirmed change back")


class PowerResetByPackages(Kind):
    """While dpkg unpacks or configures."""

    codes = (3,)
    full = True

    def strike(self, scene: Scene) -> None:
        scene.when("pgrep -x dpkg >/dev/null")
        time.sleep(scene.rng.uniform(0, 5))
        scene.bench.machine.power_cut()
        scene.prober.away()


class Reboot(Kind):
    """An administrator restarts the machine in the middle."""

    codes = (0, 1, 3)

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        # The connection may end before the answer comes.
        scene.hands.run("{ sleep 0.3; systemctl reboot; } </dev/null >/dev/null 2>&1 &")
        scene.prober.away()

    def heal(self, scene: Scene) -> None:
        time.sleep(3)


class MachinePaused(Kind):
    """The whole machine stands still, as when it is moved to another host."""

    kernel = True
    codes = (0,)

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        seconds = scene.rng.uniform(5, 40)
        scene.say(f"for {seconds:.0f} s")
        with scene.bench.machine.monitor() as qmp:
            qmp.execute("stop")
        scene.prober.away()
        time.sleep(seconds)
        with scene.bench.machine.monitor() as qmp:
            qmp.execute("cont")


class ClockJump(Kind):
    """By hours or months, back or forth."""

    kernel = True
    codes = (0, 1)

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        hours = scene.rng.choice([-24 * 400, -30, -1, 1, 30, 24 * 400])
        scene.say(f"by {hours} hours")
        scene.hands.run(f"date -s @$(($(date +%s) + {hours * 3600})) >/dev/null")

    def heal(self, scene: Scene) -> None:
        scene.bench.machine.set_clock()
