"""Faults of the disk: full, out of inodes, read-only."""

from __future__ import annotations

from typing import ClassVar

from tests.faults.kinds.kind import Kind
from tests.faults.scene import Scene


class _Full(Kind):
    codes = (0, 1, 4)
    path: ClassVar[str]
    first: ClassVar[str] = ":"
    lasts = True

    def strike(self, scene: Scene) -> None:
        scene.at_any()
        scene.hands.run(
            f"{self.first}; f={self.path}/.filler; fallocate -l $(($(df -Pk {self.path} | "
            "awk 'NR==2{print $4}')))K $f || dd if=/dev/zero of=$f bs=1M 2>/dev/null; "
            "dd if=/dev/zero of=$f.2 bs=4k 2>/dev/null; true",
            300,
        )

    def heal(self, scene: Scene) -> None:
        scene.bench.root(f"rm -f {self.path}/.filler {self.path}/.filler.2")


class DiskFullRoot(_Full):
    kernel = True
    path = "/"
    # A full / must not break /var, which is a file on it with holes where mkfs wrote nothing.
    first = "[ ! -e /var.img ] || fallocate -l $(stat -c %s /var.img) /var.img"
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
