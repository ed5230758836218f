"""A folder laid out as a machine with GPUs, for the scripts of facts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from nodeproof.facts.accelerators import Accelerators
from nodeproof.facts.gpu import Gpus

KERNEL = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout.strip()
ROOTS = (
    *(
        "/sys/",
        "/proc/",
        "/etc/",
        "/run/",
        "/lib/modules/",
        "/var/run/",
        "/opt/",
        "/dev/dxg",
        "/.dockerenv",
    ),
    *("/usr/share/", "/usr/src/", "/usr/local/", "/usr/lib/wsl", "/usr/bin/nvidia"),
    "/var/lib/dpkg/",
)


class Machine:
    """A folder laid out as a machine, and stubs for the programs on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.programs = root / "programs"
        self.programs.mkdir()
        self.program("systemd-detect-virt", "echo none")
        for name in ("dpkg-query", "apt-cache", "rpm", "dnf", "dkms", "modinfo"):
            self.program(name, "exit 1")

    def file(self, path: str, content: str | bytes = "") -> Path:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
        return place

    def program(self, name: str, body: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def pci(self, address: str, ids: str, kind: str, driver: str = "", sub: str = "") -> Path:
        device = f"/sys/bus/pci/devices/{address}"
        vendor, product = ids.split(":")
        sub_vendor, sub_device = (sub or ids).split(":")
        for name, value in (
            *(("vendor", vendor), ("device", product), ("class", kind)),
            *(("subsystem_vendor", sub_vendor), ("subsystem_device", sub_device)),
        ):
            self.file(f"{device}/{name}", f"0x{value}\n")
        place = self.root / device.lstrip("/")
        if driver:
            self.file(f"/sys/bus/pci/drivers/{driver}/bind")
            (place / "driver").symlink_to(self.root / f"sys/bus/pci/drivers/{driver}")
        return place

    def gpus(self, shell: str = "dash", without: str = "no program") -> Accelerators:
        """Return what the fact about accelerators makes of it."""
        fact = Gpus()
        instead = fact.command().replace(f"command -v {without} ", "command -v no-such-program ")
        return fact.process(self.said(instead, shell))

    def said(self, command: str, shell: str = "dash") -> list[str]:
        """Run a fact's script with its paths turned here, and return its lines."""
        for path in ROOTS:
            command = command.replace(path, f"{self.root}{path}")
        done = subprocess.run(
            [shell, "-c", command],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": f"{self.programs}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()


def an_hgx(root: Path) -> Machine:
    """Return an HGX board as /sys has it: ids of bigstack-oss/cubecos issue 259 (H200, 2025-08)."""
    machine = Machine(root)
    machine.pci("0000:05:00.0", "10de:22a3", "068000", "nvidia-nvswitch")
    machine.pci("0000:06:00.0", "10de:22a3", "068000", "nvidia-nvswitch")
    machine.pci("0000:18:00.0", "10de:2335", "030200", "nvidia", "10de:18be")
    machine.pci("0000:2a:00.0", "10de:2335", "030200", "nvidia", "10de:18be")
    machine.pci("0000:19:00.0", "15b3:1021", "020700", "mlx5_core")
    machine.pci("0000:03:00.0", "1a03:2000", "030000", "ast")
    return machine
