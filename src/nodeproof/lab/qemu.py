"""The command line of QEMU for one machine, and the process it becomes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from pathlib import Path

from nodeproof.errors import NodeproofError
from nodeproof.lab import accel, network, requirements
from nodeproof.lab.image import Image
from nodeproof.lab.spec import Spec

log = logging.getLogger(__name__)
DISK = "disk.qcow2"
MONITOR = "qmp.sock"
CONSOLE = "console.log"
PIDFILE = "qemu.pid"
IDENTITY = "identity.tar"
CREDENTIAL = "opt/io.systemd.credentials/lab.identity"  # systemd.exec(5), system credentials


def machine_argv(folder: Path, spec: Spec, *, loadvm: str | None = None) -> list[str]:
    """Return the command that starts the machine of ``folder`` in the background.

    Secrets are in files that it names, never on the command line.
    """
    image = Image(Path(spec.image))
    arguments = (
        f"root=/dev/vda rw console={accel.console()} net.ifnames=0 quiet loglevel=4 "
        "panic=5 systemd.show_status=1"
    )
    return [
        *accel.qemu_command(),
        *accel.choose(image.kernel, image.initrd).arguments,
        *("-name", spec.name, "-smp", str(spec.cpus), "-m", str(spec.memory_mb)),
        *("-display", "none", "-nodefaults", "-no-user-config", "-rtc", "base=utc"),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", arguments),
        # Nothing here must survive the host: without cache flushes dpkg is several times faster.
        *("-drive", f"file={_value(folder / DISK)},format=qcow2,if=virtio,cache=unsafe"),
        *("-fw_cfg", f"name={CREDENTIAL},file={_value(folder / IDENTITY)}"),
        *_network(spec),
        *("-device", "virtio-rng-pci"),
        *("-serial", f"file:{folder / CONSOLE}", "-pidfile", str(folder / PIDFILE), "-daemonize"),
        # Relative: a socket's address holds 108 bytes. QEMU is started in the machine's folder.
        *("-qmp", f"unix:{MONITOR},server=on,wait=off"),
        *(("-loadvm", loadvm) if loadvm else ()),
    ]


def start(folder: Path, spec: Spec, *, loadvm: str | None = None) -> None:
    """Start the machine; return once QEMU runs it in the background."""
    argv = machine_argv(folder, spec, loadvm=loadvm)
    done = subprocess.run(  # noqa: S603
        argv,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NodeproofError(f"{spec.name}: QEMU did not start", hint=done.stderr.strip())


def make_overlay(folder: Path, image: Image) -> None:
    """Make the machine's own disk on top of the image's, which stays as it is."""
    qemu_img = requirements.command("qemu-img")
    backing = ["-F", "raw", "-b", str(image.disk)]
    argv = [qemu_img, "create", "-q", "-f", "qcow2", *backing, str(folder / DISK)]
    subprocess.run(argv, check=True)  # noqa: S603


def pid(folder: Path) -> int | None:
    """Return the process that runs the machine of ``folder``, or None."""
    try:
        number = int((folder / PIDFILE).read_text())
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    # After a reboot of the host the number may be another process's.
    return number if str(folder / PIDFILE).encode() in words else None


def stop(folder: Path) -> None:
    """End QEMU as pulling the plug would, and wait until it is gone."""
    number = pid(folder)
    for name in (signal.SIGTERM, signal.SIGKILL):
        if number is None or pid(folder) != number:
            return
        os.kill(number, name)
        wait_gone(folder, 10)


def wait_gone(folder: Path, seconds: float) -> bool:
    """Wait until QEMU has ended; say whether it has."""
    deadline = time.monotonic() + seconds
    while pid(folder) is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    return pid(folder) is None


def console_tail(folder: Path, lines: int = 20) -> str:
    """Return the last lines of the serial console."""
    try:
        text = (folder / CONSOLE).read_text(errors="replace")
    except FileNotFoundError:
        return "(the serial console is empty)"
    printable = "".join(letter for letter in text if letter.isprintable() or letter == "\n")
    return "\n".join(printable.splitlines()[-lines:])


def _network(spec: Spec) -> list[str]:
    forward = f"hostfwd=tcp:{network.LOOPBACK}:{spec.ssh_port}-:22"
    joined = f"mcast={spec.multicast},localaddr={network.LOOPBACK}"
    return [
        *("-netdev", f"user,id=management,ipv6=off,{forward}"),
        *("-device", _nic("management", network.management_mac(spec.index))),
        *("-netdev", f"socket,id=private,{joined}"),
        *("-device", _nic("private", network.private_mac(spec.index))),
    ]


def _nic(name: str, mac: str) -> str:
    return f"virtio-net-pci,id={name}-nic,netdev={name},mac={mac},romfile="


def _value(path: Path) -> str:
    """Escape a path in an option of QEMU, where a comma separates."""
    return str(path).replace(",", ",,")
