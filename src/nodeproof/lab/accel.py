"""Whether KVM works here. A /dev/kvm that can be written to is not proof: boot something."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from nodeproof.lab import requirements, store

log = logging.getLogger(__name__)
KVM = Path("/dev/kvm")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SECONDS = 10  # a working KVM needs one or two
PROOF = b"as init process"  # the kernel's last word before user space


@dataclass(frozen=True)
class Acceleration:
    """How guests run here, and why."""

    kvm: bool
    reason: str

    @property
    def arguments(self) -> list[str]:
        """Return QEMU's arguments."""
        if self.kvm:
            return ["-accel", "kvm", "-cpu", "host"]
        # Emulated cmpxchg16b corrupts the kernel's allocator now and then under load (seen with
        # QEMU 7.2: a double fault in __kmalloc_cache_noprof); without it Linux uses a lock.
        cpu = "max" if platform.machine() == "aarch64" else "max,-cx16"
        return ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", cpu]

    def __str__(self) -> str:
        """Return the choice and its reason."""
        return f"{'KVM' if self.kvm else 'emulation (TCG)'}: {self.reason}"


def choose(kernel: Path, initrd: Path) -> Acceleration:
    """Return how to run guests, booting ``kernel`` under KVM once for each boot of the host."""
    if not os.access(KVM, os.R_OK | os.W_OK):
        what = "cannot be opened by this user" if KVM.exists() else "does not exist"
        return Acceleration(False, f"{KVM} {what}")
    verdicts = store.cache_dir() / "kvm.json"
    boot = BOOT_ID.read_text().strip()
    known = store.read_json(verdicts)
    if known.get("boot") != boot:
        log.info("testing whether %s works (at most %d s)", KVM, SECONDS)
        known = {"boot": boot, "problem": problem(kernel, initrd)}
        verdicts.parent.mkdir(parents=True, exist_ok=True)
        store.write_json(verdicts, known)
    if known["problem"]:
        return Acceleration(False, f"a test boot with {KVM} failed: {known['problem']}")
    return Acceleration(True, f"a test boot with {KVM} reached user space")


def problem(kernel: Path, initrd: Path) -> str:
    """Return why a guest does not reach user space under KVM; empty where it does.

    Its first process ends at once, so the kernel panics, restarts, and QEMU ends.
    """
    argv = [
        *qemu_command(),
        *("-accel", "kvm", "-cpu", "host", "-m", "256", "-display", "none", "-nodefaults"),
        *("-no-reboot", "-serial", "stdio", "-kernel", str(kernel), "-initrd", str(initrd)),
        *("-append", f"console={console()} loglevel=7 rdinit=/bin/true panic=-1"),
    ]
    try:
        done = subprocess.run(  # noqa: S603
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as stopped:
        return "" if PROOF in (stopped.stdout or b"") else f"no progress in {SECONDS} s"
    if PROOF in done.stdout:
        return ""
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return said[0] if said else "QEMU ended early"


def qemu_command() -> list[str]:
    """Return QEMU for this host's own architecture, with its machine type."""
    if os.uname().machine == "aarch64":
        return [requirements.command("qemu-system-aarch64"), "-machine", "virt,gic-version=max"]
    return [requirements.command("qemu-system-x86_64"), "-machine", "q35"]


def console() -> str:
    """Return the guest's name for its serial port."""
    return "ttyAMA0" if os.uname().machine == "aarch64" else "ttyS0"
