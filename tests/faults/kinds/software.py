"""Faults of what else runs on the machine, and of its users."""

from __future__ import annotations

import time

from tests.faults.kinds.kind import Kind
from tests.faults.scene import Scene


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
