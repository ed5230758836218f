"""The kinds of faults, each with its moment, its deed, and how it passes."""

from __future__ import annotations

import signal
import time
from typing import ClassVar

from tests.faults.scene import Scene
from tests.support import nodeproof

KILLED = -signal.SIGKILL
OWNER = "/run/nodeproof/owner"


class Kind:
    """A kind of fault. It strikes during an apply, which then ends with one of `codes`."""

    codes: ClassVar[tuple[int, ...]] = (0, 1)
    full: ClassVar[bool] = False
    """Whether it is also tried on the apply that installs the engines."""
    kernel: ClassVar[bool] = False
    """Whether it needs a kernel or disks of the machine's own."""
    lasts: ClassVar[bool] = False
    """Whether it is still there when the next apply is tried, which then may fail."""

    def strike(self, scene: Scene) -> None:
        """Wait for the moment and do it."""
        raise NotImplementedError

    def heal(self, scene: Scene) -> None:
        """Make it pass; called once the apply has ended."""


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


class NetworkCut(Kind):
    """Until the controller has given up."""

    codes = (3,)
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
        scene.hands.run("systemctl reboot --no-block")
        scene.prober.away()

    def heal(self, scene: Scene) -> None:
        time.sleep(3)


class _Full(Kind):
    codes = (0, 1, 4)
    path: ClassVar[str]
    lasts = True

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        scene.hands.run(
            f"f={self.path}/.filler; fallocate -l $(($(df -Pk {self.path} | "
            "awk 'NR==2{print $4}')))K $f || dd if=/dev/zero of=$f bs=1M 2>/dev/null; "
            "dd if=/dev/zero of=$f.2 bs=4k 2>/dev/null; true",
            300,
        )

    def heal(self, scene: Scene) -> None:
        scene.bench.root(f"rm -f {self.path}/.filler {self.path}/.filler.2")


class DiskFullRoot(_Full):
    kernel = True
    path = "/"
    full = True


class DiskFullVar(_Full):
    kernel = True
    path = "/var"


class DiskFullTmp(_Full):
    path = "/tmp"
    lasts = False


class DiskFullRun(_Full):
    """Where new content waits, and where the lock is."""

    path = "/run"


class InodesGone(Kind):
    """Of /var, where the journal and the packages are."""

    kernel = True
    codes = (0, 1, 4)
    lasts = True

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        scene.hands.run(
            "mkdir -p /var/.filler; n=$(df -Pi /var | awk 'NR==2{print $4}'); cd /var/.filler && "
            "seq $n | xargs -n 2000 touch 2>/dev/null; cd /; true",
            600,
        )

    def heal(self, scene: Scene) -> None:
        scene.bench.root("rm -rf /var/.filler", timeout=600)


class ReadonlyRemount(Kind):
    """What the kernel does after an error of the disk."""

    kernel = True
    codes = (0, 1, 4)
    lasts = True

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        scene.hands.run("echo u >/proc/sysrq-trigger; sleep 1")

    def heal(self, scene: Scene) -> None:
        writable = "mount -o remount,rw / && mount -o remount,rw /var && echo yes"
        if scene.rng.random() < 0.5 or "yes" not in scene.bench.root(writable, check=False):
            scene.say("healed by a power reset")  # also where the kernel wants a check first
            scene.bench.machine.power_cut()
            scene.prober.away()


class DpkgLockHeld(Kind):
    """By another package manager, for a while: it is waited for."""

    codes = (0,)

    def strike(self, scene: Scene) -> None:
        seconds = scene.rng.randint(20, 60)
        scene.say(f"held for {seconds} s")
        flock = (
            "open F,q(>>),q(/var/lib/dpkg/lock-frontend); "
            "fcntl(F,7,pack(q(ssx4qqix4),1,0,0,0,0)) or die; "
            f"sleep {seconds}"
        )
        scene.hands.run(f"systemd-run --quiet --collect perl -e '{flock}'")


class DownloadFails(Kind):
    """In the middle: the mirror is gone, ssh is not."""

    codes = (0, 1)
    full = True
    lasts = True

    def strike(self, scene: Scene) -> None:
        scene.at_change("Install packages", "Install the container engines")
        scene.hands.run(
            "nft 'table inet faults { chain out { type filter hook output priority 0; "
            "tcp sport 22 accept; oif lo accept; tcp dport 1-65535 reject with tcp reset; "
            "udp dport 53 reject; }; }'"
        )

    def heal(self, scene: Scene) -> None:
        scene.bench.root("nft delete table inet faults")


class ResolverBroken(Kind):
    codes = (0, 1)
    lasts = True

    def strike(self, scene: Scene) -> None:
        if scene.rng.random() < 0.5:
            scene.at_change("Install packages")
        scene.hands.run(
            "cp -a /etc/resolv.conf /run/resolv.kept; echo nameserver 192.0.2.1 >/etc/resolv.conf"
        )

    def heal(self, scene: Scene) -> None:
        scene.bench.root("cat /run/resolv.kept >/etc/resolv.conf; rm /run/resolv.kept")


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


class SshdStopped(Kind):
    """Nobody new gets in until it is started again; who is connected stays."""

    codes = (0, 1)

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        seconds = scene.rng.randint(5, 60)
        scene.say(f"for {seconds} s")
        start = f"systemd-run --quiet --collect --on-active={seconds} systemctl start ssh"
        scene.hands.run(f"{start}; systemctl stop ssh")
        scene.prober.away()

    def heal(self, scene: Scene) -> None:
        scene.hands.run("systemctl start ssh")


class SshdRestarted(Kind):
    """And systemd, too: who is connected stays, the guard's timer stays."""

    codes = (0,)

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        scene.hands.run("systemctl restart ssh; systemctl daemon-reexec")


class OomKill(Kind):
    """The kernel kills the remote command for memory."""

    kernel = True
    codes = (0, 1)

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        marked = (
            "for p in $(pgrep -f 'bin/journal step') $(pgrep -x dpkg) $(pgrep -x apt-get); do "
            "for c in $p $(pgrep -P $p); do echo 1000 >/proc/$c/oom_score_adj; "
            "done; done 2>/dev/null"
        )
        said = scene.hands.run(
            f"n=300; until pgrep -f 'bin/journal step' >/dev/null; do sleep 0.05; n=$((n-1)); "
            f"[ $n -gt 0 ] || break; done; {marked}; echo f >/proc/sysrq-trigger; sleep 1; "
            "dmesg | grep -i 'killed process' | tail -n 1"
        )
        scene.say(said.strip()[-60:])


class PackageManagerKilled(Kind):
    """apt-get or dpkg, with no chance to clean up."""

    codes = (0, 1)
    full = True

    def strike(self, scene: Scene) -> None:
        which = scene.rng.choice(["dpkg", "apt-get"])
        scene.when(f"pgrep -x {which} >/dev/null")
        time.sleep(scene.rng.uniform(0, 3))
        scene.say(which)
        scene.hands.run(f"kill -9 $(pgrep -x {which})")


class UserEdits(Kind):
    """A user changes own files and an administrator adds a colleague, in the middle."""

    codes = (0, 1)

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        scene.hands.run(
            "echo 'mine = 2' >>/etc/mine.conf; echo 'one more note' >>/home/ops/papers/notes.txt; "
            "echo 'alias la=ls' >>/home/ops/.bashrc; echo new >/srv/models/added; "
            "useradd -m colleague; usermod -aG games ops; echo a >/etc/colleague.conf; "
            "echo '18 4 * * * true' | crontab -u ops -"
        )


class TwoControllers(Kind):
    """A second apply is refused and says why; the first goes on."""

    codes = (0,)

    def strike(self, scene: Scene) -> None:
        scene.when(f"[ -e {OWNER} ]")
        second = nodeproof("apply", scene.bench.inventory, "--yes", "--json")
        if second.code not in (0, 4) or (second.code == 4 and "at work" not in second.out):
            raise AssertionError(f"the second controller: {second.code} {second.out[-500:]}")
        scene.say(f"the second ended with {second.code}")


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


class ControllerFrozen(Kind):
    """For longer than the guard waits: the node takes back what nobody confirmed."""

    codes = (0, 1, 3)

    def strike(self, scene: Scene) -> None:
        scene.when("[ -e /var/lib/nodeproof/armed ]")
        scene.kill(signal.SIGSTOP)
        time.sleep(200)
        scene.kill(signal.SIGCONT)


def name_of(kind: type[Kind]) -> str:
    """Return a kind's name: network_cut."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.__name__).lstrip("_")


KINDS: dict[str, type[Kind]] = {
    name_of(kind): kind
    for kind in (
        *(ControllerKilledAtChange, PowerReset, SessionKilled, JournalKilled, DiskFullVar),
        *(ControllerKilledAtTime, PowerResetWhileArmed, NetworkCut, DpkgLockHeld, DiskFullRoot),
        *(ReadonlyRemount, DownloadFails, ClockJump, SshdStopped, OomKill, ResolverBroken),
        *(UserEdits, InodesGone, PowerResetByPackages, RootShellKilled, ControllerInterrupted),
        *(NetworkCutShort, DiskFullTmp, DiskFullRun, Reboot, SshdRestarted, PackageManagerKilled),
        *(TwoControllers, MachinePaused, ControllerFrozen),
    )
}
